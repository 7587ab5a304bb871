"""
A chunk writer that can produce any legal chunk stream, and a way to read one that overwrites its buffer.

`rtmpd.wire.chunk_writer` writes one form of many; readers must understand them all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise

from rtmpd.errors import PeerError
from rtmpd.wire.chunk_reader import ChunkReader
from rtmpd.wire.messages import ABORT, SET_CHUNK_SIZE, Message

EXTENDED = 0xFFFFFF
MODULUS = 1 << 32
NO_LIMITS = [0xFFFFFF] * 256

_BY_HAND = [
    ("02 000000 000004 01 00000000 00010000", (1, 0, 0, "00010000", 2)),
    ("02 000000 000004 05 00000000 002625a0", (5, 0, 0, "002625a0", 2)),
    ("02 000000 000005 06 00000000 002625a0 02", (6, 0, 0, "002625a002", 2)),
    ("02 000000 000006 04 00000000 0000 00000001", (4, 0, 0, "000000000001", 2)),
    ("02 000000 000006 04 00000000 0001 00000001", (4, 0, 0, "000100000001", 2)),
    ("02 000000 000006 04 00000000 0006 000003e8", (4, 0, 0, "0006000003e8", 2)),
    ("02 000001 00000a 04 00000000 0003 00000001 00000bb8", (4, 1, 0, "00030000000100000bb8", 2)),
    (
        "03 000000 00001d 14 00000000 0200075f726573756c74 004010000000000000 05 003ff0000000000000",
        (20, 0, 0, "0200075f726573756c74004010000000000000 05 003ff0000000000000", 3),
    ),
    ("04 000010 000002 08 01000000 af01", (8, 16, 1, "af01", 4)),
    ("04 000010 000002 08 01020304 af01", (8, 16, 0x04030201, "af01", 4)),
    ("3f fffffe 000000 09 ff000000", (9, 0xFFFFFE, 255, "", 63)),
    ("03 ffffff 000000 09 01000000 00ffffff", (9, 0xFFFFFF, 1, "", 3)),
    ("03 ffffff 000001 09 01000000 ffffffff 78", (9, 0xFFFFFFFF, 1, "78", 3)),
    ("0000 000000 000001 09 01000000 78", (9, 0, 1, "78", 64)),
    ("00ff 000000 000001 09 01000000 78", (9, 0, 1, "78", 319)),
    ("010001 000000 000001 09 01000000 78", (9, 0, 1, "78", 320)),
    ("01ffff 000000 000001 09 01000000 78", (9, 0, 1, "78", 65599)),
    (
        f"04 ffffff 00012c 08 01000000 01000000 {'5a' * 128} c4 01000000 {'5a' * 128} c4 01000000 {'5a' * 44}",
        (8, 0x01000000, 1, "5a" * 300, 4),
    ),
]
VECTORS = [
    (bytes.fromhex(wire), Message(type_id, timestamp_ms, msid, bytes.fromhex(body), csid))
    for wire, (type_id, timestamp_ms, msid, body, csid) in _BY_HAND
]
"""Bytes made by hand from the specification, and the message that they are; of one form, so good for both directions."""


def basic_header(fmt: int, csid: int, *, long_form: bool = False) -> bytes:
    """Write a basic header; `long_form` takes 3 bytes where 2 would do."""
    if csid < 64:
        return bytes((fmt << 6 | csid,))
    if csid < 320 and not long_form:
        return bytes((fmt << 6, csid - 64))
    return bytes((fmt << 6 | 1, (csid - 64) & 0xFF, (csid - 64) >> 8))


def header(fmt, csid, *, timestamp=0, length=0, type_id=9, msid=0, extension=b"", long_form=False) -> bytes:
    """Write a header field by field, legal or not; `extension` is appended as it is."""
    fields = b""
    if fmt < 3:
        fields += min(timestamp, EXTENDED).to_bytes(3, "big")
    if fmt < 2:
        fields += length.to_bytes(3, "big") + bytes((type_id,))
    if fmt < 1:
        fields += msid.to_bytes(4, "little")
    return basic_header(fmt, csid, long_form=long_form) + fields + extension


@dataclass
class _Sent:
    """What the receiver remembers of a chunk stream."""

    timestamp: int = 0
    delta: int = 0
    length: int = -1
    type_id: int = -1
    msid: int = 0
    extension: bytes = b""


@dataclass
class FreeChunkWriter:
    """Writes messages chunk by chunk, in any form that RTMP allows."""

    chunk_size: int = 128
    """Looked at whenever a chunk begins; whoever sends a Set Chunk Size changes it."""
    repeats_within: bool = True
    """Repeat an extended timestamp in the fmt 3 headers in mid-message."""
    repeats_at_start: bool = True
    """Repeat it in the fmt 3 headers that begin a message."""
    sent: dict[int, _Sent] = field(default_factory=dict)

    def field_value(self, message: Message, fmt: int) -> int:
        """Return what the timestamp field must say."""
        if fmt == 0:
            return message.timestamp_ms
        return (message.timestamp_ms - self.sent.get(message.chunk_stream_id, _Sent()).timestamp) % MODULUS

    def legal_formats(self, message: Message) -> list[int]:
        """Return the header formats that this message may begin with now."""
        last = self.sent.get(message.chunk_stream_id, _Sent())
        formats = [0]
        if message.message_stream_id == last.msid:
            formats.append(1)
            if (len(message.body), message.type_id) == (last.length, last.type_id):
                formats.append(2)
                # An empty message without the repetition could only be told apart by what comes after it.
                decidable = self.repeats_at_start or message.body or not last.extension
                if self.field_value(message, 3) == last.delta and decidable:
                    formats.append(3)
        return formats

    def chunks(self, message: Message, *, fmt=0, long_form=False, force_extension=False) -> Iterator[bytes]:
        """
        Yield the message's chunks, each in the chunk size of its moment.

        Args:
            message: what to send.
            fmt: how it begins.
            long_form: take 3-byte basic headers where 2 bytes would do.
            force_extension: put even a small timestamp into the extended field.
        """
        type_id, timestamp, msid, body, csid = message
        last = self.sent.setdefault(csid, _Sent())
        value = self.field_value(message, fmt)
        last.timestamp, last.length, last.type_id = timestamp, len(body), type_id
        if fmt == 3:
            extension = last.extension if self.repeats_at_start else b""
        else:
            extended = force_extension or value >= EXTENDED
            extension = last.extension = value.to_bytes(4, "big") if extended else b""
            last.delta = value
        if fmt == 0:
            last.msid = msid
        shown = EXTENDED if extension else value
        head = header(fmt, csid, timestamp=shown, length=len(body), type_id=type_id, msid=msid, long_form=long_form)
        end = self.chunk_size
        yield head + extension + body[:end]
        repeated = last.extension if self.repeats_within else b""
        while end < len(body):
            start, end = end, end + self.chunk_size
            yield basic_header(3, csid, long_form=long_form) + repeated + body[start:end]

    def write(self, message: Message, **form) -> bytes:
        """Write a whole message."""
        return b"".join(self.chunks(message, **form))


def set_chunk_size(size: int, csid: int = 2) -> bytes:
    """Write a Set Chunk Size."""
    return header(0, csid, length=4, type_id=SET_CHUNK_SIZE) + size.to_bytes(4, "big")


def abort(of_csid: int, csid: int = 2) -> bytes:
    """Write an Abort."""
    return header(0, csid, length=4, type_id=ABORT) + of_csid.to_bytes(4, "big")


@dataclass
class Outcome:
    """What a reader made of some bytes; two outcomes are equal if nobody could tell them apart."""

    messages: list[Message]
    error: type[PeerError] | None = None
    reason: str = ""
    offset: int | None = None

    @property
    def media(self) -> list[Message]:
        """The messages that are not about the chunk stream itself."""
        return [message for message in self.messages if message.type_id > ABORT]


def read(data: bytes, cuts: Iterable[int] = (), *, reader: ChunkReader | None = None, **options) -> Outcome:
    """
    Read bytes from a receive buffer that is overwritten after each feed.

    Args:
        data: all of them.
        cuts: where feeds end.
        reader: the one to use.
        options: or arguments of a new one, without limits unless given.
    """
    if reader is None:
        reader = ChunkReader(**({"body_limits": NO_LIMITS} | options))
    messages: list[Message] = []
    buffer = bytearray(len(data))
    edges = sorted({0, len(data), *(cut for cut in cuts if 0 < cut < len(data))})
    for start, stop in pairwise(edges):
        buffer[: stop - start] = data[start:stop]
        try:
            reader.feed(memoryview(buffer)[: stop - start], messages)
        except PeerError as error:
            return Outcome(messages, type(error), str(error), error.offset)
        buffer[: stop - start] = b"\xee" * (stop - start)
    return Outcome(messages)


def read_in_all_ways(data: bytes, **options) -> Outcome:
    """Read bytes whole, one by one and in odd pieces, check that it makes no difference, and return the outcome."""
    whole = read(data, **options)
    for size in (1, 2, 7, 100):
        assert read(data, range(size, len(data), size), **options) == whole, f"in pieces of {size} bytes"
    return whole
