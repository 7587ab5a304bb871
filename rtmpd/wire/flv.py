"""
FLV: the file header and the tags, which are RTMP messages with another header.

Writing is one call per message of a recorded stream and therefore lean. Reading takes bytes in any split.
Adobe Flash Video File Format 10.1, annex E.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from rtmpd.errors import MessageError, UsageError
from rtmpd.wire.messages import AUDIO, DATA_AMF0, DATA_AMF3, VIDEO

FILE_HEADER_BYTES = 13
"""With PreviousTagSize0, which follows every file header."""
TAG_HEADER_BYTES = 11
PREVIOUS_TAG_SIZE_BYTES = 4
MAX_BODY_BYTES = 0xFFFFFF

_AUDIO_FLAG = 4
_VIDEO_FLAG = 1
_FILE_HEADER = struct.Struct(">3sBBII")  # signature, version, flags, size of the header, PreviousTagSize0
_TAG_HEADER = struct.Struct(">II3x")  # type u8 and size u24; time low u24 and high u8; stream id u24, always 0
_PREVIOUS_TAG_SIZE = struct.Struct(">I")
_TAG_TYPES = frozenset({AUDIO, VIDEO, DATA_AMF0, DATA_AMF3})

# Bound once: encode_tag runs for every message that is recorded or played by HTTP.
_pack_header = _TAG_HEADER.pack
_pack_size = _PREVIOUS_TAG_SIZE.pack


class FlvTag(NamedTuple):
    """One tag, without the size that follows it."""

    type_id: int
    """8 audio, 9 video, 18 script data (15 in AMF3), as the message types of RTMP."""
    timestamp_ms: int
    """Unsigned, 0 .. 2**32 - 1."""
    body: bytes


def encode_file_header(*, audio: bool, video: bool) -> bytes:
    """
    Make the 13 bytes that a file starts with, PreviousTagSize0 included.

    Args:
        audio: the file has audio tags; a flag without tags stalls some players.
        video: the file has video tags.
    """
    flags = (_AUDIO_FLAG if audio else 0) | (_VIDEO_FLAG if video else 0)
    return _FILE_HEADER.pack(b"FLV", 1, flags, FILE_HEADER_BYTES - PREVIOUS_TAG_SIZE_BYTES, 0)


def encode_tag(type_id: int, timestamp_ms: int, body: bytes) -> bytes:
    """
    Make a tag and the PreviousTagSize after it.

    Args:
        type_id: 8, 9, 15 or 18.
        timestamp_ms: 0 .. 2**32 - 1.
        body: at most MAX_BODY_BYTES, as every RTMP message.

    Raises:
        UsageError: the time or the body does not fit its field.
    """
    size = len(body)
    if size >> 24 or timestamp_ms >> 32:
        raise UsageError(f"no FLV tag holds {size} bytes at {timestamp_ms} ms")
    header = _pack_header(type_id << 24 | size, (timestamp_ms & 0xFFFFFF) << 8 | timestamp_ms >> 24)
    return b"".join((header, body, _pack_size(size + TAG_HEADER_BYTES)))


class TagReader:
    """
    Turns the bytes of an FLV stream, in any split, into its tags; a file header may stand in front.

    Bounded: it keeps at most one incomplete tag, which the format limits to 16 MiB.
    """

    __slots__ = ("_buffer", "_fault", "position")

    def __init__(self) -> None:
        """Expect a file header or a tag."""
        self._buffer = bytearray()
        self._fault: MessageError | None = None
        self.position = 0
        """Bytes of the stream that the file header and whole tags took: where a torn last tag begins."""

    def feed(self, data: bytes | bytearray | memoryview) -> list[FlvTag]:
        """
        Take the next bytes of the stream.

        Args:
            data: any number of bytes; not kept, so a shared receive buffer will do.

        Returns:
            The tags that are complete now. A fault behind them is raised by the next call, not to lose them.

        Raises:
            MessageError: the bytes are no FLV; every later call raises it again.
        """
        if self._fault is not None:
            raise self._fault
        self._buffer += data
        tags: list[FlvTag] = []
        try:
            self._read_into(tags)
        except MessageError as fault:
            self._fault = fault
            self._buffer.clear()
            if not tags:
                raise
        return tags

    def _read_into(self, tags: list[FlvTag]) -> None:
        start = 0
        try:
            with memoryview(self._buffer) as view:
                if not self.position and bytes(view[:1]) == b"F":
                    start = _end_of_file_header(view)
                    if not start:
                        return
                while end := _end_of_tag(view, start):
                    tags.append(_read_tag(view, start, end))
                    start = end
        finally:
            self.position += start
            del self._buffer[:start]


def _end_of_file_header(view: memoryview) -> int:
    """Find where the file header ends; 0 while it is incomplete."""
    if not b"FLV\x01".startswith(bytes(view[:4])):
        raise MessageError("an FLV file header with a wrong signature or version")
    if len(view) < FILE_HEADER_BYTES:
        return 0
    header_bytes = _FILE_HEADER.unpack_from(view)[3]
    if header_bytes != FILE_HEADER_BYTES - PREVIOUS_TAG_SIZE_BYTES:
        raise MessageError(f"an FLV file header of {header_bytes} bytes")
    return FILE_HEADER_BYTES


def _end_of_tag(view: memoryview, start: int) -> int:
    """Find where the tag and the size after it end; 0 while they are incomplete."""
    body_start = start + TAG_HEADER_BYTES
    if body_start > len(view):
        return 0
    type_and_size, _ = _TAG_HEADER.unpack_from(view, start)
    if type_and_size >> 24 not in _TAG_TYPES:
        raise MessageError(f"an FLV tag of type {type_and_size >> 24}")
    end = body_start + (type_and_size & 0xFFFFFF) + PREVIOUS_TAG_SIZE_BYTES
    return end if end <= len(view) else 0


def _read_tag(view: memoryview, start: int, end: int) -> FlvTag:
    type_and_size, time = _TAG_HEADER.unpack_from(view, start)
    size = type_and_size & 0xFFFFFF
    (previous_tag_size,) = _PREVIOUS_TAG_SIZE.unpack_from(view, end - PREVIOUS_TAG_SIZE_BYTES)
    # Interop: writers in the field leave out the header or one byte of it; ffmpeg reads those, and so do we. Any other
    # value means that the sizes do not add up, so that what follows is not a tag.
    if size + TAG_HEADER_BYTES - previous_tag_size not in {0, 1, TAG_HEADER_BYTES}:
        raise MessageError(f"an FLV tag with a body of {size} bytes is followed by the size {previous_tag_size}")
    body = bytes(view[start + TAG_HEADER_BYTES : end - PREVIOUS_TAG_SIZE_BYTES])
    return FlvTag(type_and_size >> 24, time >> 8 | (time & 0xFF) << 24, body)
