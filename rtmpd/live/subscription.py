"""
A consumer's place in a log, and what it is owed before the next log byte.

Promise 3: a consumer's bytes are its preamble, then a contiguous run of log bytes from a message start; private bytes
(control messages) only between messages; after a jump the headers in force and then a key frame.
"""

from __future__ import annotations

from rtmpd.live.log import KeyFrame, Log

NOWHERE = -1
"""Position of a cursor that has no next log byte: detached, waiting for a key frame, or fallen out."""
MAX_PRIVATE_BYTES = 1024 * 1024
"""What may be owed to one consumer besides log bytes; see `Cursor.overdrawn`."""


class Cursor:
    """
    A position in a log.

    The fan-out reads and moves `position` directly for consumers that keep up: a method call for each player and
    batch would cost more than the rest of the loop. Everything rarer is a method here.
    """

    __slots__ = (
        "_awaits_after",
        "_gap_from_ms",
        "_owed_bytes",
        "_sent_bytes",
        "log",
        "position",
        "private",
        "private_sent_bytes",
        "skipped_ms",
        "slot",
    )

    def __init__(self) -> None:
        self.log: Log | None = None
        self.position = NOWHERE
        self.private = bytearray()
        """Goes out before the log byte at `position`."""
        self.slot = NOWHERE
        """Index in `log.cursors`, so that leaving costs the same whatever the number of players."""
        self.skipped_ms = 0
        """How much of the stream was jumped over in all."""
        self._awaits_after = NOWHERE
        self._gap_from_ms: int | None = None
        self._sent_bytes = 0
        self._owed_bytes = 0
        self.private_sent_bytes = 0

    @property
    def fell_out(self) -> bool:
        """Whether the log went on without this consumer and it has not found a new place yet."""
        return self._gap_from_ms is not None

    @property
    def sent_bytes(self) -> int:
        """Log bytes read so far; from positions alone, so that counting costs the fan-out nothing."""
        return self._sent_bytes + max(self.position, 0)

    @property
    def lag_ms(self) -> int:
        """Media time between the newest message of the log and the next one to be read; 0 without a log."""
        log = self.log
        if log is None or self.position == log.end:  # what nearly all of ten thousand players are, when all are asked
            return 0
        newest_ms = log.timestamp_at(log.end)
        if self.position == NOWHERE:
            return 0 if self._gap_from_ms is None else max(newest_ms - self._gap_from_ms, 0)
        return max(newest_ms - log.timestamp_at(self.position), 0)

    @property
    def overdrawn(self) -> bool:
        """Whether more control messages are waiting than any consumer may be owed: it must be cut off."""
        return len(self.private) - self._owed_bytes > MAX_PRIVATE_BYTES

    def next_bytes(self) -> memoryview | bytearray | None:
        """
        Look at what is to be sent next, finding a place in the log first where there is none.

        Returns:
            Some bytes, not necessarily all; None if there is nothing to send now. Follow with `advance`.
        """
        if self.private:
            return self.private
        log = self.log
        if log is None:
            return None
        if self.position == NOWHERE:
            self._find_place(log)
            return self.private or None
        return None if self.position == log.end else log.view(self.position)

    def advance(self, sent: int) -> None:
        """Move over the first `sent` of the bytes that `next_bytes` returned."""
        if self.private:
            del self.private[:sent]
            self._owed_bytes = max(self._owed_bytes - sent, 0)
            self.private_sent_bytes += sent
        else:
            self.position += sent

    def attach(self, log: Log) -> None:
        """Join a log's consumers without a position yet; follow with one of the `start_` methods."""
        self.detach()
        self.log = log
        self.slot = len(log.cursors)
        log.cursors.append(self)

    def join(self, log: Log) -> None:
        """Join a log's consumers where decoding can start soonest."""
        self.attach(log)
        self.private += log.opening()
        if (key_frame := log.newest_key_frame) is not None:
            self.start_at_key_frame(key_frame)
        elif log.start == 0:
            self.start_at(0)
        else:
            self.await_key_frame()

    def detach(self) -> None:
        """Leave the log at a message boundary: what is partly sent goes on as private bytes."""
        log = self.log
        if log is None:
            return
        self._finish_message(log)
        self._leave_position()
        self.log = None
        last = log.cursors.pop()
        if last is not self:
            log.cursors[self.slot] = last
            last.slot = self.slot
        self.slot = NOWHERE

    def start_at(self, position: int) -> None:
        """Go on at a message start."""
        self._leave_position()
        self._sent_bytes -= position
        self.position = position
        self._awaits_after = NOWHERE

    def start_at_key_frame(self, key_frame: KeyFrame) -> None:
        """Go on at a key frame, after the headers in force there."""
        assert self.log is not None
        self.private += key_frame.preamble(self.log.form)
        self.start_at(key_frame.position)

    def await_key_frame(self) -> None:
        """Have nothing to read until a key frame comes that the log does not have yet."""
        assert self.log is not None
        self._leave_position()
        self._awaits_after = self.log.end

    def insert(self, data: bytes) -> None:
        """Queue private bytes for the next message boundary."""
        if self.log is not None:
            self._finish_message(self.log)
        self.private += data

    def fall_out(self, new_start: int) -> None:
        """Leave the part of the log before `new_start`, which is about to be dropped, keeping a begun message whole."""
        log = self.log
        if log is None or self.position == NOWHERE or self.position >= new_start:
            return
        self._finish_message(log)
        if self.position < new_start:
            self._gap_from_ms = log.timestamp_at(self.position)
            self._leave_position()

    def gap_marker(self, from_ms: int, to_ms: int) -> bytes:  # noqa: ARG002 - for recorders, which override it
        """What the consumer is told about a jump, in its own form; players are told nothing."""
        return b""

    def _find_place(self, log: Log) -> None:
        # Who waited from the beginning is owed all from the first one on, also where several come at once after a stall.
        key_frame = log.newest_key_frame if self.fell_out else log.key_frame_at_or_after(self._awaits_after)
        if key_frame is None:
            return
        self._close_gap(key_frame.timestamp_ms)
        self.start_at_key_frame(key_frame)

    def _leave_position(self) -> None:
        self._sent_bytes += max(self.position, 0)
        self.position = NOWHERE

    def _close_gap(self, to_ms: int) -> None:
        if self._gap_from_ms is None:
            return
        self.skipped_ms += max(to_ms - self._gap_from_ms, 0)
        self.private += self.gap_marker(self._gap_from_ms, to_ms)
        self._gap_from_ms = None

    def _finish_message(self, log: Log) -> None:
        if self.position == NOWHERE:
            return
        boundary = log.boundary(self.position)
        if boundary != self.position:
            rest = log.slice(self.position, boundary)
            self._owed_bytes = len(rest)
            self.private += rest
            self.position = boundary
