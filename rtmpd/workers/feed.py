"""
A feed: the cursor of a recorder, written to a media worker's socket like to any player.

It differs from a player's in three ways: it is never given up for being slow, a jump is named in the stream by a
script tag, and it knows which log position each byte of the feed came from, so that a dead worker's successor can go
on where the file ends.
"""

from __future__ import annotations

import math
import socket
from typing import NamedTuple

from rtmpd.live.subscription import NOWHERE
from rtmpd.net.sink import Sink, SinkOwner
from rtmpd.wire import amf0
from rtmpd.wire.flv import encode_tag
from rtmpd.wire.messages import DATA_AMF0

GAP = "onGap"
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
