"""
Chunks in, messages out: the hottest parsing code of the server.

Rule: what comes out depends on the bytes alone, never on how they were split into feeds, and nothing is allocated
because a peer declared a length. RTMP 1.0 section 5.3.1, with the errata of 2024 sections 5 and 6.

How it is fast. A message's chunks nearly always follow each other, so the payload is taken in runs: for chunk size c
and r bytes left of the chunk that is open, the basic headers of the continuation chunks must stand at r, r + c + 1,
r + 2 * (c + 1) and so on. A strided view reads them all at once, and as far as they are the one byte expected, one
extended-slice deletion takes them out of a copy of the payload. A run may end anywhere, even in mid-chunk, so a message
that is only partly there costs no more than a whole one. Against a loop that reads chunk by chunk this is some 8 times
as fast for a frame of 3.6 KB in chunks of 128 bytes, and 30 times for one of 60 KB (bench/micro_chunks.py). Runs are
not tried for chunk stream ids above 63 (headers of 2 or 3 bytes) and under an extended timestamp (4 more bytes): there
each chunk is read by itself.

What is carried from feed to feed: the state of each chunk stream, the payload so far of messages that are not complete
(each in its own bytearray, so that nothing is copied twice), and a header that the feed cut, 18 bytes at most.

Extended timestamps. Where a header of fmt 0, 1 or 2 has one, the errata demand its repetition in the fmt 3 headers that
follow; some peers leave it out. So the next 4 bytes are compared with it:

- In mid-message the first comparison settles the habit of the connection. A peer that does not repeat is never looked at
  again, so that payload which happens to equal the timestamp cannot be taken for it. One that does repeat must go on.
- At the start of a message a comparison settles nothing. Interop: librtmp and OBS >= 30.1 repeat it in mid-message, but
  not in the fmt 3 header that they give to a message with the timestamp of the one before.

Bytes are waited for only while those that are there agree with the timestamp; the first that differs decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct

from rtmpd.errors import ChunkError, LimitExceeded
from rtmpd.wire.messages import ABORT, SET_CHUNK_SIZE, Message

DEFAULT_CHUNK_SIZE = 128
SMALLEST_CHUNK_SIZE = 128
"""No real client goes below the default; a chunk size of 1 makes 60 bytes of CPU work out of one."""
LARGEST_CHUNK_SIZE = 0x1000000
"""One more than the longest message, so that a larger announcement means the same and is clamped to it."""
LONGEST_HEADER_BYTES = 18
"""3 bytes of basic header, 11 of message header (fmt 0), 4 of extended timestamp."""

_EXTENDED = 0xFFFFFF
_MASK = 0xFFFFFFFF
_INCOMPLETE = 0
"""Where a header ends that is not all there yet: no header ends at 0."""
_HEADER_BYTES = (12, 8, 4)
"""For fmt 0, 1 and 2, with the basic header's last byte and without an extended timestamp."""
_CONTINUATIONS = [bytes((0xC0 | csid,)) for csid in range(64)]
_FIRST_LOOK = 64
"""
Chunks whose headers are looked at before all that are there. Without it each short run of an interleaved stream would
cost a look at the rest of the feed: 11 us a chunk against 1 us, for two messages that alternate in a feed of 1 MiB.
"""

_ONE_WORD = Struct(">I").unpack_from
_TWO_WORDS = Struct(">II").unpack_from
_LITTLE_ENDIAN = Struct("<I").unpack_from

# 0.14 us against 0.31 us for Message(...): the generated __new__ is Python code around this call.
_new_tuple = tuple.__new__


def _count_run(headers: memoryview, csid: int) -> int:
    """Return how many bytes at the front of `headers` are the fmt 3 header of a chunk stream id below 64."""
    expected = _CONTINUATIONS[csid]
    look = headers.tobytes() if len(headers) <= _FIRST_LOOK else headers[:_FIRST_LOOK].tobytes()
    run = len(look) - len(look.lstrip(expected))
    if run == _FIRST_LOOK < len(headers):
        look = headers.tobytes()
        run = len(look) - len(look.lstrip(expected))
    return run


def _find_body(view: memoryview, at: int, fmt: int) -> int:
    """Return where a header of fmt 0, 1 or 2 ends whose basic header ends with byte `at`, or _INCOMPLETE."""
    body_at = at + _HEADER_BYTES[fmt]
    if body_at <= len(view) and _ONE_WORD(view, at)[0] & _EXTENDED == _EXTENDED:
        body_at += 4
    return body_at if body_at <= len(view) else _INCOMPLETE


def _join(chunks: memoryview, chunk_size: int, csid: int) -> bytes | None:
    """Take the headers out of a message that is all there; None if other chunks stand between its own."""
    step = chunk_size + 1
    headers = chunks[chunk_size::step].tobytes()
    if headers != _CONTINUATIONS[csid] * len(headers):
        return None
    payload = bytearray(chunks)
    del payload[chunk_size::step]
    return bytes(payload)


class _ChunkStream:
    """What the headers of one chunk stream id leave for the next header, and the message under way on it."""

    __slots__ = (
        "body",
        "csid",
        "delta_ms",
        "extension",
        "left",
        "length",
        "message_stream_id",
        "timestamp_ms",
        "type_id",
    )

    def __init__(self, csid: int) -> None:
        self.csid = csid
        # Interop: librtmp opens csid 2 with fmt 1 for its control messages; what fmt 1 lacks is then 0.
        self.timestamp_ms = 0
        self.message_stream_id = 0
        self.delta_ms = 0
        self.length = 0
        self.type_id = 0
        self.extension = b""
        """The extended timestamp of the last fmt 0, 1 or 2 header, as sent; empty if it had none."""
        self.left = 0
        """Bytes that the message under way still lacks; 0 between messages."""
        self.body: bytearray | None = None
        """Those that it has, if they came in more than one run."""

    def read_fields(self, view: memoryview, at: int, fmt: int) -> int:
        """
        Take in a header of fmt 0, 1 or 2 that is all there, and begin the next message with it.

        Args:
            view: the bytes.
            at: where the basic header's last byte is. The fields are read as words that begin there: one unpacking of
                whole words costs less than slices of 3 bytes.
            fmt: 0, 1 or 2.

        Returns:
            Where the header ends.
        """
        if fmt == 2:
            (field,) = _ONE_WORD(view, at)
        else:
            field, kind = _TWO_WORDS(view, at)
            self.length = kind >> 8
            self.type_id = kind & 0xFF
            if fmt == 0:
                (self.message_stream_id,) = _LITTLE_ENDIAN(view, at + 8)
                # Absolute; as a delta it serves too, if the next message begins with fmt 3.
                self.timestamp_ms = 0
        end = at + _HEADER_BYTES[fmt]
        field &= 0xFFFFFF
        self.extension = b""
        if field == _EXTENDED:
            (field,) = _ONE_WORD(view, end)
            self.extension = bytes(view[end : end + 4])
            end += 4
        self.delta_ms = field
        self.timestamp_ms = self.timestamp_ms + field & _MASK
        return end


class ChunkReader:
    """Reassembles the messages of one direction of a connection."""

    __slots__ = (
        "_body_limits",
        "_chunk_left",
        "_header",
        "_max_chunk_streams",
        "_max_incomplete_bytes",
        "_repeats",
        "_room",
        "_stream",
        "_streams",
        "bytes_received",
        "chunk_size",
    )

    def __init__(
        self,
        *,
        body_limits: Sequence[int],
        max_chunk_streams: int = 64,
        max_incomplete_bytes: int = 32 << 20,
        offset: int = 0,
    ) -> None:
        """
        Begin where the handshake ended.

        Args:
            body_limits: the longest body allowed, in bytes, for each of the 256 message types.
            max_chunk_streams: how many chunk stream ids the peer may use.
            max_incomplete_bytes: the most that messages under way may hold together. Counted by their declared
                lengths: what has arrived of them depends on how the bytes were split, and a verdict must not.
            offset: bytes that the connection received before.
        """
        self.bytes_received = offset
        """Bytes from the start of the connection; does not wrap."""
        self.chunk_size = DEFAULT_CHUNK_SIZE
        self._body_limits = body_limits
        self._max_chunk_streams = max_chunk_streams
        self._max_incomplete_bytes = max_incomplete_bytes
        self._room = max_incomplete_bytes
        self._streams: dict[int, _ChunkStream] = {}
        self._stream: _ChunkStream | None = None
        """The chunk stream whose chunk the last feed cut, if it did."""
        self._chunk_left = 0
        self._header = b""
        """The header that the last feed cut, if it did."""
        self._repeats: bool | None = None
        """Whether the peer repeats extended timestamps in mid-message, once that is known."""

    def allow_incomplete(self, max_bytes: int) -> None:
        """
        Change what messages under way may hold together, from the next message on.

        Args:
            max_bytes: as `max_incomplete_bytes`.
        """
        self._room += max_bytes - self._max_incomplete_bytes
        self._max_incomplete_bytes = max_bytes

    def feed(self, data: bytes | bytearray | memoryview, messages: list[Message]) -> None:
        """
        Read on.

        Set Chunk Size and Abort are obeyed here, and still handed out.

        Args:
            data: the bytes that came in; may be overwritten afterwards.
            messages: where the messages that are now complete are appended, in the order of their last bytes.

        Raises:
            ChunkError: no header, or no Set Chunk Size or Abort, may look like this. Whatever was complete before is in
                `messages`; the reader is of no further use.
            LimitExceeded: a body longer than its type allows, too many chunk streams or too much under way at once;
                as above.
        """
        view = data if isinstance(data, memoryview) else memoryview(data)
        origin = self.bytes_received
        self.bytes_received += len(view)
        if self._header:
            # Copies the feed, but only after one that ended within a header: one in hundreds.
            origin -= len(self._header)
            view = memoryview(self._header + view)
            self._header = b""
        end = len(view)
        position = 0
        if self._stream is not None:
            position = self._read_body(self._stream, view, 0, origin, messages)
        streams = self._streams
        while position < end:
            # What nearly every message is: on a chunk stream known and idle, in one chunk, whole. This path repeats a
            # little of _read_chunk and takes 1.2 us for 3.6 KB where that takes 2.7.
            first = view[position]
            stream = streams.get(first & 0x3F)
            if stream is None or stream.left or end - position < 16 or (first >= 0xC0 and stream.extension):
                position = self._read_chunk(view, position, origin, messages)
                continue
            if first < 0xC0:
                body_at = stream.read_fields(view, position, first >> 6)
            else:
                body_at = position + 1
                stream.timestamp_ms = stream.timestamp_ms + stream.delta_ms & _MASK
            length = stream.length
            type_id = stream.type_id
            chunk_size = self.chunk_size
            stop = body_at + length if length <= chunk_size else body_at + length + (length - 1) // chunk_size
            body = None
            if stop <= end and length <= self._body_limits[type_id] and length <= self._room and type_id > ABORT:
                if length <= chunk_size:
                    body = view[body_at:stop].tobytes()
                elif not stream.extension:
                    body = _join(view[body_at:stop], chunk_size, stream.csid)
            if body is None:
                self._begin(stream, origin + position)
                position = self._read_body(stream, view, body_at, origin, messages)
                continue
            fields = (type_id, stream.timestamp_ms, stream.message_stream_id, body, stream.csid)
            messages.append(_new_tuple(Message, fields))
            position = stop

    def _read_chunk(self, view: memoryview, position: int, origin: int, messages: list[Message]) -> int:
        """
        Read a header of any form, and what is there of its chunk.

        Returns:
            Where to read on; the end, if the header was cut and is kept for the next feed.
        """
        at = position
        csid = view[at] & 0x3F
        if csid < 2:
            at += csid + 1
            if at >= len(view):
                return self._keep(view, position)
            csid = 64 + view[position + 1] + (view[at] << 8 if csid else 0)
        fmt = view[position] >> 6
        offset = origin + position
        stream = self._streams.get(csid) or self._open(csid, fmt, offset)
        if fmt == 3:
            body_at = self._skip_extension(stream, view, at + 1, offset) if stream.extension else at + 1
        elif stream.left:
            # Readers disagree about this one (and one overflowed its heap: CVE-2016-10191); no known client sends it.
            raise ChunkError(f"fmt {fmt} header in mid-message on chunk stream {csid}", offset=offset)
        else:
            body_at = _find_body(view, at, fmt)
        if body_at == _INCOMPLETE:
            return self._keep(view, position)
        if stream.left:
            self._stream = stream
            self._chunk_left = min(stream.left, self.chunk_size)
        else:
            if fmt == 3:
                stream.timestamp_ms = stream.timestamp_ms + stream.delta_ms & _MASK
            else:
                stream.read_fields(view, at, fmt)
            self._begin(stream, offset)
        return self._read_body(stream, view, body_at, origin, messages)

    def _keep(self, view: memoryview, position: int) -> int:
        self._header = view[position:].tobytes()
        return len(view)

    def _open(self, csid: int, fmt: int, offset: int) -> _ChunkStream:
        if fmt >= 2:
            raise ChunkError(f"fmt {fmt} header on chunk stream {csid}, which had none before", offset=offset)
        if len(self._streams) >= self._max_chunk_streams:
            raise LimitExceeded(f"more than {self._max_chunk_streams} chunk streams", offset=offset)
        stream = self._streams[csid] = _ChunkStream(csid)
        return stream

    def _skip_extension(self, stream: _ChunkStream, view: memoryview, position: int, offset: int) -> int:
        """Return where the body begins after a fmt 3 header under an extended timestamp (see the head of this file)."""
        if self._repeats is False:
            return position
        continues = stream.left > 0
        seen = view[position : position + 4].tobytes()
        if seen == stream.extension:
            if continues:
                self._repeats = True
            return position + 4
        if stream.extension.startswith(seen):
            return _INCOMPLETE
        if continues:
            if self._repeats:
                raise ChunkError(f"extended timestamp not repeated on chunk stream {stream.csid}", offset=offset)
            self._repeats = False
        return position

    def _begin(self, stream: _ChunkStream, offset: int) -> None:
        limit = self._body_limits[stream.type_id]
        if stream.length > limit:
            raise LimitExceeded(
                f"message of type {stream.type_id} with {stream.length} bytes; the limit is {limit}", offset=offset
            )
        if stream.length > self._room:
            raise LimitExceeded(f"{stream.length} bytes more under way than the limit allows", offset=offset)
        self._room -= stream.length
        self._stream = stream
        self._chunk_left = min(stream.length, self.chunk_size)
        stream.left = stream.length

    def _read_body(
        self, stream: _ChunkStream, view: memoryview, position: int, origin: int, messages: list[Message]
    ) -> int:
        """
        Take what is there of the chunk that is open and of the chunks behind it that continue the message.

        Returns:
            Where to read on.
        """
        left = stream.left
        step = self.chunk_size + 1
        chunk_left = span = self._chunk_left
        stop = position + span
        if stop < len(view) and span < left and stream.csid < 64 and not stream.extension:
            run = _count_run(view[stop : stop - (span - left) // self.chunk_size * step : step], stream.csid)
            span = min(left, span + run * self.chunk_size)
            stop = position + span + run
        payload = bytearray(view[position:stop])
        del payload[chunk_left::step]
        stream.left = left - len(payload)
        self._chunk_left = span - len(payload)
        if stream.body is None:
            stream.body = payload
        else:
            stream.body += payload
        stop = min(stop, len(view))
        if not stream.left:
            self._finish(stream, origin + stop, messages)
        elif not self._chunk_left:
            self._stream = None
        return stop

    def _finish(self, stream: _ChunkStream, offset: int, messages: list[Message]) -> None:
        body = bytes(stream.body or b"")
        stream.body = None
        self._stream = None
        self._room += stream.length
        if stream.type_id in (SET_CHUNK_SIZE, ABORT):
            self._obey(stream.type_id, body, offset)
        fields = (stream.type_id, stream.timestamp_ms, stream.message_stream_id, body, stream.csid)
        messages.append(_new_tuple(Message, fields))

    def _obey(self, type_id: int, body: bytes, offset: int) -> None:
        if len(body) != 4:
            # A longer one is refused too: no client sends it, so it is a sign that chunks and headers are mixed up.
            raise ChunkError(f"message of type {type_id} with {len(body)} bytes instead of 4", offset=offset)
        value = int.from_bytes(body, "big")
        if type_id == ABORT:
            self._abort(value)
        elif SMALLEST_CHUNK_SIZE <= value < 1 << 31:
            self.chunk_size = min(value, LARGEST_CHUNK_SIZE)
        else:
            raise ChunkError(f"chunk size {value}", offset=offset)

    def _abort(self, csid: int) -> None:
        stream = self._streams.get(csid)
        if stream is not None and stream.left:
            # Its timestamp stays, as the base of later deltas (errata section 6).
            stream.left = 0
            stream.body = None
            self._room += stream.length
