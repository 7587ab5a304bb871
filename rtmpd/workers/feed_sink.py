"""
The server's end of a feed: the cursor of a recording, written to a media worker's socket like to any player.

It differs from a player's in four ways: it is never given up for being slow, a jump is named in the stream by a script
tag, it can go on in another life of its stream, and it knows which log position each byte of the feed came from, so
that a dead worker's successor can go on where the files end.
"""

from __future__ import annotations

import math
import socket
from typing import NamedTuple

from muxers.marks import ON_RESUME
from rtmpd.live.log import Log
from rtmpd.live.subscription import NOWHERE
from rtmpd.net.sink import Sink, SinkOwner
from rtmpd.wire import amf0
from rtmpd.wire.flv import encode_tag
from rtmpd.wire.messages import DATA_AMF0

GAP = "onGap"
OWED_BYTES = 32 * 1024 * 1024
"""Of a log that ended while its worker was slow, kept for the worker; beyond that the rest is a gap."""
_TIMESTAMP_MASK = 0xFFFF_FFFF


class _Start(NamedTuple):
    """From this byte of the feed on, its bytes are the log's from this position on."""

    feed_bytes: int
    position: int


class FeedSink(Sink):
    """A cursor in a stream's FLV log whose bytes go to a media worker."""

    __slots__ = ("_starts", "gaps")

    def __init__(self, feed: socket.socket, owner: SinkOwner) -> None:
        """
        Take over the server's end of a feed.

        Args:
            feed: non-blocking.
            owner: is told of its end.
        """
        super().__init__(feed.fileno(), feed.send, owner, patience_s=math.inf)
        self._starts: list[_Start] = []
        self.gaps: list[tuple[int, int]] = []
        """Jumps, each from and to a time of the stream (ms)."""

    @property
    def overdrawn(self) -> bool:
        """Never: what is owed here is media, and bounded by `cross_over`."""
        return False

    def begin(self, log: Log, position: int) -> None:
        """
        Go on in a log, at the key frame at or before a position, or wait for the next one.

        Where the log still has its beginning and no key frame before the position, that is the beginning.

        Args:
            log: of a stream, in FLV form.
            position: where the recording is to begin, or go on; 0 for everything that the log has, NOWHERE where there
                was nothing to begin with.
        """
        self.attach(log)
        key_frame = None if position == NOWHERE else log.key_frame_at_or_before(position)
        if log.start == 0 <= position and (key_frame is None or key_frame.position > position):
            self.start_at(0)
        elif key_frame is not None:
            self.start_at_key_frame(key_frame)
        else:
            self.await_key_frame()

    def cross_over(self, log: Log) -> None:
        """
        Go on where another publisher begins: in the log of the stream's next life, or later in the same log.

        What is left before it goes out first, then a mark: the file's time goes on without a leap.

        Args:
            log: where to go on: at its end if it is the same one, else at its beginning.
        """
        same = log is self.log
        self._take_rest()
        self.private += encode_tag(DATA_AMF0, 0, ON_RESUME)
        if same:
            self.start_at(log.end)
            return
        self.detach()
        self._starts.clear()
        self.begin(log, 0)

    def start_at(self, position: int) -> None:
        """Go on at a message start, and note which byte of the feed that is."""
        super().start_at(position)
        written = self.private_sent_bytes + self.sent_bytes
        self._starts.append(_Start(written + len(self.private), position))

    def position_of(self, feed_bytes: int) -> int:
        """
        Find what a byte of the feed is in the log.

        Args:
            feed_bytes: counted from the feed's beginning.

        Returns:
            The log position; the first one fed for a byte of what was sent before it, `NOWHERE` if nothing was.
        """
        if not self._starts:
            return NOWHERE
        start = next((each for each in reversed(self._starts) if each.feed_bytes <= feed_bytes), None)
        if start is None:
            return self._starts[0].position
        return start.position + feed_bytes - start.feed_bytes

    def gap_marker(self, from_ms: int, to_ms: int) -> bytes:
        """Name a jump in the feed: the recording is honest about what it lacks."""
        self.gaps.append((from_ms, to_ms))
        body = amf0.encode(GAP, {"from_ms": float(from_ms), "to_ms": float(to_ms)})
        return encode_tag(DATA_AMF0, to_ms & _TIMESTAMP_MASK, body)

    def _take_rest(self) -> None:
        """Take what the log still has for this feed with us."""
        log = self.log
        if log is None or self.position == NOWHERE:
            return
        if len(self.private) + log.end - self.position <= OWED_BYTES:
            self.private += log.slice(self.position, log.end)
        else:
            from_ms = log.timestamp_at(self.position)
            self.insert(self.gap_marker(from_ms, log.timestamp_at(log.end)))
        self._leave_position()
