"""
The log of a live stream: every message once, as the bytes that players are sent.

A stream is an append-only run of bytes and everyone who wants it is a cursor into it. That replaces queues per
client: a late joiner starts at the position of the newest key frame (this is the GOP cache), a slow player is a
position far behind, and what is sent to ten thousand players was serialised once.

**When the bytes may be shared.** Log bytes are valid for a player only because all of this is fixed for the whole
server: outgoing chunk size `OUT_CHUNK_SIZE`, one chunk stream per kind of message, message stream id 1, absolute
timestamps, and a type 0 header at the start of every message. A consumer that needs anything else (a relay whose
target gave another message stream id) must be served by a private writer, never from here.

A log holds one *form*: RTMP chunks for RTMP players, FLV tags for recorders and HTTP. The FLV form is a second log,
made when somebody first asks for it (`rtmpd.live.stream`).

Positions are absolute byte offsets that never wrap or restart while the stream lives. The bytes lie in segments of
`SEGMENT_BYTES` that are allocated whole, filled, and never rewritten, so memoryviews over them stay valid while the
log grows; a growing bytearray would refuse to be resized as long as one of them exists. No message spans two
segments.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from rtmpd.live.forms import Form, Preamble
from rtmpd.media.tags import KEY_FRAME
from rtmpd.wire.messages import DATA_AMF0

if TYPE_CHECKING:
    from rtmpd.live.subscription import Cursor

SEGMENT_BYTES = 256 * 1024
_FORGET_BATCH = 512
_new_tuple = tuple.__new__
"""0.14 us against 0.31 us for the class itself, whose generated __new__ is Python code around this call."""
TRIM_EVERY_S = 1.0
ENTRY_COST_BYTES = 128
"""What a message costs beside its bytes; counted, or a flood of 15-byte messages would take twice the memory allowed."""


@dataclass(frozen=True, slots=True)
class Retention:
    """
    How much of a stream its log keeps.

    The key frame before the newest one is kept too: if the log began at the newest, every player that is one batch
    behind when a key frame arrives would have to jump.
    """

    seconds: float = 10.0
    """Nothing older is kept, key frame or not: an encoder without key frames must not grow the log."""
    bytes_: int = 16 * 1024 * 1024
    """Upper bound of the log's size."""
    at_least_s: float = 0.0
    """Kept even when the key frames would allow less: what a recorder may lag behind."""


LogMessage = tuple[int, int, bytes, int]
"""Type id, unwrapped time (ms), body, flags. A plain tuple: one is made for every message of every publisher."""


class Entry(NamedTuple):
    """Where a message lies in the log."""

    position: int
    type_id: int
    timestamp_ms: int
    """Unwrapped, 64 bits."""
    flags: int
    """Of `rtmpd.media.tags.classify`."""
    arrived_s: float


class KeyFrame:
    """A position where a player may start, with the headers in force there."""

    __slots__ = ("_preamble", "headers", "position", "timestamp_ms")

    def __init__(self, position: int, timestamp_ms: int, headers: Preamble) -> None:
        self.position = position
        self.timestamp_ms = timestamp_ms
        self.headers = headers
        self._preamble: bytes | None = None

    def preamble(self, form: Form) -> bytes:
        """Headers and metadata, serialised at this key frame's time; made once for all who start here."""
        if self._preamble is None:
            self._preamble = self.headers.serialise(form, self.timestamp_ms)
        return self._preamble


class _Segment:
    """A run of log bytes, allocated whole."""

    __slots__ = ("data", "filled", "start", "view")

    def __init__(self, start: int, size: int) -> None:
        self.start = start
        self.data = bytearray(size)
        self.view = memoryview(self.data)
        self.filled = 0

    @property
    def end(self) -> int:
        return self.start + self.filled


class _Pool:
    """
    Segments that are free again.

    A new one costs 64 page faults and 256 KB of zeros, a tenth of all that a publisher costs. One may be used again
    at once when its log has dropped it: nobody keeps a view of a log from one turn of the loop to the next.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._free: list[_Segment] = []

    def take(self, start: int, size: int) -> _Segment:
        if size > SEGMENT_BYTES or not self._free:
            return _Segment(start, max(size, SEGMENT_BYTES))
        segment = self._free.pop()
        segment.start = start
        segment.filled = 0
        return segment

    def give_back(self, segments: list[_Segment]) -> None:
        for segment in segments:
            if len(segment.data) == SEGMENT_BYTES and len(self._free) < self._most:
                self._free.append(segment)


_pool = _Pool(most=256)


class Log:
    """An append-only run of serialised messages with an index, and the cursors that read it."""

    __slots__ = (
        "_entries",
        "_first",
        "_key_frames",
        "_last",
        "_retention",
        "_segments",
        "_trimmed_s",
        "cursors",
        "end",
        "form",
        "start",
    )

    def __init__(self, form: Form, retention: Retention) -> None:
        """
        Start empty.

        Args:
            form: how messages are written.
            retention: what `trim` keeps.
        """
        self.form = form
        self.start = 0
        self.end = 0
        self.cursors: list[Cursor] = []
        self._retention = retention
        self._entries: list[Entry] = []
        self._first = 0
        self._trimmed_s = 0.0
        self._key_frames: list[KeyFrame] = []
        self._last = _Segment(0, 0)
        self._segments: list[_Segment] = []

    def append(
        self, type_id: int, timestamp_ms: int, body: bytes, flags: int, headers: Preamble, arrived_s: float
    ) -> None:
        """Serialise one message behind the last; see `extend`."""
        self.extend(((type_id, timestamp_ms, body, flags),), headers, arrived_s)

    def extend(self, messages: Sequence[LogMessage], headers: Preamble, arrived_s: float) -> None:
        """
        Serialise messages behind the last.

        A run at a time: for the 7 messages that a read of one of 200 publishers finds, the calls and look-ups of doing
        it one by one cost a quarter of the whole.

        Args:
            messages: type id (8, 9 or 18), unwrapped time (ms, 64 bits), body and flags of
                `rtmpd.media.tags.classify` of each.
            headers: in force at them; kept for key frames only.
            arrived_s: when they came, for the retention by time.
        """
        frame = self.form.frame
        remember = self._entries.append
        segment = self._last
        filled = segment.filled
        position = self.end
        for type_id, timestamp_ms, body, flags in messages:
            framed = frame(type_id, timestamp_ms, body)
            size = len(framed)
            if filled + size > len(segment.data):
                segment = self._add_segment(position, size)
                filled = 0
            segment.data[filled : filled + size] = framed
            filled += size
            segment.filled = filled
            remember(_new_tuple(Entry, (position, type_id, timestamp_ms, flags, arrived_s)))
            if flags & KEY_FRAME:
                self._key_frames.append(KeyFrame(position, timestamp_ms, headers))
            position += size
        self.end = position

    def opening(self) -> bytes:
        """Make what a consumer that joins now is sent before anything else."""
        if not self.form.opening:  # RTMP and fragments: spared what takes some 30 us
            return b""
        kinds = {entry.type_id for entry in islice(self._entries, self._first, None)}
        if self._key_frames:
            kinds.update(type_id for type_id, _ in self._key_frames[-1].headers)
        return self.form.opening_for(kinds)

    def view(self, position: int) -> memoryview:
        """
        Look at the longest contiguous run of bytes from a position on.

        Args:
            position: `start` <= position < `end`.

        Returns:
            A view that ends at the end of its segment; the next call goes on from there.
        """
        segment = self._last
        if position < segment.start:
            segment = self._segments[bisect_right(self._segments, position, key=lambda each: each.start) - 1]
        return segment.view[position - segment.start : segment.filled]

    def boundary(self, position: int) -> int:
        """Find the first message start at or after a position."""
        index = self._index(position)
        return self._entries[index].position if index < len(self._entries) else self.end

    def slice(self, start: int, end: int) -> bytes:
        """Copy a short run out: the rest of one message, or one message."""
        parts = []
        while start < end:
            view = self.view(start)[: end - start]
            parts.append(view)
            start += len(view)
        return b"".join(parts)

    @property
    def newest_key_frame(self) -> KeyFrame | None:
        """The best place for a player to start, if the log still has one."""
        return self._key_frames[-1] if self._key_frames else None

    def key_frame_at_or_after(self, position: int) -> KeyFrame | None:
        """The first key frame that does not lie before a position; None if there is none yet."""
        index = bisect_left(self._key_frames, position, key=lambda each: each.position)
        return self._key_frames[index] if index < len(self._key_frames) else None

    def key_frame_at_or_before(self, position: int) -> KeyFrame | None:
        """The last key frame that does not lie after a position; the oldest kept one if all do."""
        if not self._key_frames:
            return None
        index = bisect_right(self._key_frames, position, key=lambda each: each.position)
        return self._key_frames[max(index - 1, 0)]

    def timestamp_at(self, position: int) -> int:
        """Time of the frame at or after a position, in ms; of the last message at the end of the log."""
        entries = self._entries
        for index in range(self._index(position), len(entries)):  # islice would walk there from the first
            entry = entries[index]
            if entry.type_id != DATA_AMF0:
                return entry.timestamp_ms
        return entries[-1].timestamp_ms if entries else 0

    def messages(self, position: int) -> Iterator[tuple[Entry, bytes]]:
        """Read messages back, with their bodies, from a message start on: how a second form is filled."""
        entries = self._entries[self._index(position) :]
        ends = [*(entry.position for entry in entries[1:]), self.end]
        for entry, end in zip(entries, ends, strict=bool(entries)):
            framed = self.view(entry.position)[: end - entry.position]
            yield entry, self.form.body(framed)

    def newest_first(self, position: int) -> Iterator[Entry]:
        """Go back over the messages, without their bodies, from the newest one to the first at or after a position."""
        entries = self._entries
        for index in range(len(entries) - 1, self._first - 1, -1):
            entry = entries[index]
            if entry.position < position:
                return
            yield entry

    def retain(self, at_least_s: float) -> None:
        """Keep more than the key frames ask for, or stop doing so (0)."""
        kept = self._retention
        self._retention = Retention(max(kept.seconds, at_least_s), kept.bytes_, at_least_s)

    def trim_if_due(self, now: float) -> None:
        """Trim once a second, and at once when the log is larger than it may be."""
        if now - self._trimmed_s >= TRIM_EVERY_S or self._cost_from(self._first) > self._retention.bytes_:
            self.trim(now)

    def trim(self, now: float) -> None:
        """
        Drop what the retention no longer covers.

        Cursors that still point there take the rest of their message with them and are told that they fell out.

        Args:
            now: seconds, of the clock that `append` was given.
        """
        self._trimmed_s = now
        start = self._retained_from(now)
        if start <= self.start:
            return
        for cursor in self.cursors:
            if cursor.position < start:
                cursor.fall_out(start)
        self.start = start
        self._forget(start)

    def _retained_from(self, now: float) -> int:
        kept = self._retention
        keep = self._key_frames[-2].position if len(self._key_frames) > 1 else self.start
        if kept.at_least_s:
            keep = min(keep, self._arrived_since(now - kept.at_least_s))
        keep = max(keep, self._arrived_since(now - kept.seconds))
        return max(keep, self._affordable(kept.bytes_))

    def _affordable(self, bytes_: int) -> int:
        """Find the first position from which on bytes and index together cost no more than allowed."""
        if self._cost_from(self._first) <= bytes_:
            return self.start
        count = len(self._entries)
        index = bisect_left(range(count), -bytes_, lo=self._first, key=lambda each: -self._cost_from(each))
        return self._entries[index].position if index < count else self.end

    def _cost_from(self, index: int) -> int:
        entries = self._entries
        if index >= len(entries):
            return 0
        return self.end - entries[index].position + ENTRY_COST_BYTES * (len(entries) - index)

    def _arrived_since(self, instant: float) -> int:
        index = bisect_left(self._entries, instant, lo=self._first, key=lambda entry: entry.arrived_s)
        return self._entries[index].position if index < len(self._entries) else self.end

    def _index(self, position: int) -> int:
        """Find the first entry at or after a position."""
        return bisect_left(self._entries, (position,), lo=self._first)

    def _forget(self, start: int) -> None:
        self._first = self._index(start)
        if self._first > _FORGET_BATCH:
            del self._entries[: self._first]
            self._first = 0
        kept = bisect_left(self._key_frames, start, key=lambda each: each.position)
        del self._key_frames[:kept]
        whole = 0
        while whole < len(self._segments) - 1 and self._segments[whole].end <= start:
            whole += 1
        _pool.give_back(self._segments[:whole])
        del self._segments[:whole]

    def _add_segment(self, start: int, size: int) -> _Segment:
        self._last = _pool.take(start, size)
        self._segments.append(self._last)
        return self._last
