"""
The server's end of one feed of the packager: a cursor in a stream's FLV log that is written to it, and the records that
come back on the same socket.

The cursor is never given up for being slow, but it may fall out of the log and go on at a key frame: live pictures that
are late are worth nothing. The end of what is written and the end of what is read are two events: parts come between.
"""

from __future__ import annotations

import math
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress

from rtmpd.live.log import KeyFrame, Log
from rtmpd.net.services import Services
from rtmpd.net.sink import Sink
from rtmpd.workers.fragment_feed import Record, RecordReader


class PackagingSink(Sink):
    """A cursor whose private bytes are headers and the rest of one frame, so bounded without a limit of their own."""

    __slots__ = ()

    @property
    def overdrawn(self) -> bool:
        """Never."""
        return False


class PackagingFeed:
    """One feed, from its first byte to the end of what comes back."""

    def __init__(
        self,
        services: Services,
        connection: socket.socket,
        on_records: Callable[[Sequence[Record]], None],
        on_end: Callable[[], None],
    ) -> None:
        """
        Take over our end of a feed; follow with `begin`.

        Args:
            services: of the server.
            connection: of `Packager.open_feed`; closed by `close`.
            on_records: is given what comes back, in order, at least one at a time.
            on_end: called once, when nothing more comes back; not after `close`.
        """
        self._services = services
        self._connection = connection
        self._on_records = on_records
        self._on_end = on_end
        self._reader = RecordReader()
        self._sink = PackagingSink(connection.fileno(), connection.send, self, patience_s=math.inf)
        self._is_over = False
        self.ending_since_s: float | None = None
        """Loop time of `finish`."""
        services.poller.register(self._sink.descriptor, self)

    def begin(self, log: Log, key_frame: KeyFrame | None) -> None:
        """
        Feed a log.

        Args:
            log: of a stream, in FLV form.
            key_frame: where to begin; None where the log has none: at its beginning, or with the next one.
        """
        sink = self._sink
        sink.private += log.form.opening
        sink.attach(log)
        if key_frame is not None:
            sink.start_at_key_frame(key_frame)
        elif log.start == 0:
            sink.start_at(0)
        else:
            sink.await_key_frame()
        self._services.fanout.serve(sink)

    def finish(self) -> None:
        """Feed nothing more once the log is fed to its end; what comes back of it still does."""
        if self.ending_since_s is None and not self._is_over:
            self.ending_since_s = self._services.loop.time()
            self._sink.ending = True
            self._services.fanout.serve(self._sink)

    def close(self) -> None:
        """Let go of everything; harmless when called again."""
        if not self._is_over:
            self._is_over = True
            self._services.poller.unregister(self._sink.descriptor)
            self._services.fanout.forget(self._sink)
            self._connection.close()

    def on_readable(self) -> bool:
        """Read once, as from any other socket."""
        if self._is_over:
            return False
        try:
            return self._read()
        except Exception:  # our own bug: loud, and the end of this feed alone
            self._services.log.exception("internal error")
            self._end()
            return False

    def on_writable(self) -> None:
        """Go on feeding."""
        if not self._is_over:
            self._services.fanout.serve(self._sink)

    def on_drained(self) -> None:
        """Tell the packager that this was all."""
        self._close_input()

    def on_lost(self, reason: str) -> None:  # noqa: ARG002 - the packager is gone; the end of what it sent tells
        """Read what the packager has sent before it went."""
        self._close_input()

    def _close_input(self) -> None:
        self._services.fanout.forget(self._sink)
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_WR)

    def _read(self) -> bool:
        buffer = self._services.buffer
        try:
            size = self._connection.recv_into(buffer)
        except BlockingIOError:
            return False
        except OSError:  # it died with something of ours unread
            size = 0
        if not size:
            self._end()
            return False
        records = self._reader.feed(buffer[:size])
        if records:
            self._on_records(records)
        return size == len(buffer)

    def _end(self) -> None:
        if not self._is_over:
            self.close()
            self._on_end()
