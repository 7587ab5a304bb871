"""
How messages are written into a log: as RTMP chunks for RTMP players, as FLV tags for recorders and HTTP.

What every message of a log is preceded by at its beginning, headers or an initialisation section, is a preamble.
"""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from struct import Struct
from typing import Protocol

from rtmpd.wire.chunk_writer import OUT_CHUNK_SIZE, encode_chunks
from rtmpd.wire.flv import TAG_HEADER_BYTES, encode_file_header, encode_tag
from rtmpd.wire.messages import AUDIO, DATA_AMF0, VIDEO

OUT_MESSAGE_STREAM_ID = 1
_TIMESTAMP_MASK = 0xFFFF_FFFF
_EXTENDED = b"\xff\xff\xff"
_EXTENDED_MS = 0xFFFFFF
_words = Struct(">III").pack


class Form(Protocol):
    """How a message is written into a log."""

    opening: bytes
    """What a consumer is sent once, before anything else, where it is not known what will come."""

    def opening_for(self, kinds: AbstractSet[int]) -> bytes:
        """The same where these types of message are known to come."""

    def frame(self, type_id: int, timestamp_ms: int, body: bytes) -> bytes:
        """Serialise one message; the timestamp is 64 bits wide and is cut to what the form can carry."""

    def body(self, framed: memoryview) -> bytes:
        """Take the body back out of what `frame` made."""


class Preamble(Protocol):
    """What a consumer must have before its first message (`rtmpd.live.headers`, `rtmpd.live.fragments`)."""

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        """Type and body of each message that it has, for those who write them in a form of their own."""

    def serialise(self, form: Form, timestamp_ms: int) -> bytes:
        """Write it in a log's form, for a message of that time."""


class ChunkForm:
    """RTMP chunks of `OUT_CHUNK_SIZE` (RTMP 1.0 section 5.3)."""

    opening = b""

    def opening_for(self, kinds: AbstractSet[int]) -> bytes:  # noqa: ARG002 - RTMP does not announce what will come
        """Nothing."""
        return self.opening

    _CHUNK_STREAM_IDS = {AUDIO: 4, VIDEO: 6, DATA_AMF0: 5}  # noqa: RUF012 - a constant, never written

    def frame(self, type_id: int, timestamp_ms: int, body: bytes) -> bytes:
        """Serialise one message as chunks."""
        timestamp_ms &= _TIMESTAMP_MASK
        size = len(body)
        if size <= OUT_CHUNK_SIZE and timestamp_ms < _EXTENDED_MS:
            # What nearly every message is: 0.25 us against 0.6 us through encode_chunks.
            first = self._CHUNK_STREAM_IDS[type_id] << 24 | timestamp_ms
            return _words(first, size << 8 | type_id, OUT_MESSAGE_STREAM_ID << 24) + body
        return encode_chunks(
            type_id,
            timestamp_ms,
            OUT_MESSAGE_STREAM_ID,
            self._CHUNK_STREAM_IDS[type_id],
            body,
            OUT_CHUNK_SIZE,
        )

    def body(self, framed: memoryview) -> bytes:
        """Drop the chunk headers."""
        extended = 4 if bytes(framed[1:4]) == _EXTENDED else 0
        first = 12 + extended
        if len(framed) <= first + OUT_CHUNK_SIZE:
            return bytes(framed[first:])
        body = bytearray()
        step = OUT_CHUNK_SIZE + 1 + extended
        for start in range(first, len(framed), step):
            body += framed[start : start + OUT_CHUNK_SIZE]
        return bytes(body)


class FlvForm:
    """FLV tags, each with its PreviousTagSize (FLV 10.1 annex E.4)."""

    opening = encode_file_header(audio=True, video=True)

    def opening_for(self, kinds: AbstractSet[int]) -> bytes:
        """Name the kinds of track: flv.js and mpegts.js wait for ever for one that is announced and does not come."""
        return (
            encode_file_header(audio=AUDIO in kinds, video=VIDEO in kinds) if kinds & {AUDIO, VIDEO} else self.opening
        )

    def frame(self, type_id: int, timestamp_ms: int, body: bytes) -> bytes:
        """Serialise one message as a tag."""
        return encode_tag(type_id, timestamp_ms & _TIMESTAMP_MASK, body)

    def body(self, framed: memoryview) -> bytes:
        """Drop tag header and PreviousTagSize."""
        return bytes(framed[TAG_HEADER_BYTES:-4])


CHUNK_FORM: Form = ChunkForm()
FLV_FORM: Form = FlvForm()
