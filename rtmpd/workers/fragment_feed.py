"""
What a packager sends back on the feed of a stream: initialisation sections and parts, one record after another.

The feed is a stream socket in both directions: FLV to the packager, records from it, big endian:

    kind (1 byte) · length of the rest (4 bytes) · the rest

    1 initialisation: has video (1) · length of codecs (2) · codecs, ASCII · the section
    2 part:           start, ms (8, signed) · duration, ms (4) · independent (1) · moof and mdat
    3 refusal:        why nothing can be packaged, UTF-8

Both ends are the same program in the same version: a record that cannot be read is a bug of ours.
"""

from __future__ import annotations

import struct
from typing import NamedTuple, TypeAlias

from rtmpd.errors import UsageError
from rtmpd.live.fragments import Init, Part

RECORD_BYTES = 64 * 1024 * 1024
"""The longest record: a part of the largest key frame that a publisher may send, and more."""
_INIT, _PART, _REFUSAL = 1, 2, 3
_HEAD = struct.Struct(">BI")
_INIT_HEAD = struct.Struct(">?H")
_PART_HEAD = struct.Struct(">qI?")


class Refusal(NamedTuple):
    """The stream cannot be packaged as it is."""

    reason: str
    """One line: which codec, and what would be carried."""


Record: TypeAlias = Init | Part | Refusal


def encode_record(record: Record) -> bytes:
    """
    Encode one record.

    Args:
        record: what to send.

    Raises:
        UsageError: it is longer than RECORD_BYTES.
    """
    if isinstance(record, Init):
        codecs = record.codecs.encode("ascii")
        kind, rest = _INIT, _INIT_HEAD.pack(record.has_video, len(codecs)) + codecs + record.data
    elif isinstance(record, Part):
        head = _PART_HEAD.pack(record.start_ms, record.duration_ms, record.is_independent)
        kind, rest = _PART, head + record.data
    else:
        kind, rest = _REFUSAL, record.reason.encode()
    if len(rest) > RECORD_BYTES:
        raise UsageError(f"a record of {len(rest)} bytes")
    return _HEAD.pack(kind, len(rest)) + rest


class RecordReader:
    """Takes the bytes of a feed apart."""

    def __init__(self) -> None:
        """Start before the first byte."""
        self._buffer = bytearray()

    def feed(self, data: bytes | memoryview) -> list[Record]:
        """
        Take the next bytes.

        Args:
            data: any number of them.

        Returns:
            The records that became whole.

        Raises:
            UsageError: the bytes are no records of this version.
        """
        self._buffer += data
        records: list[Record] = []
        start = 0
        while start + _HEAD.size <= len(self._buffer):
            kind, size = _HEAD.unpack_from(self._buffer, start)
            if size > RECORD_BYTES:
                raise UsageError(f"a record of {size} bytes")
            end = start + _HEAD.size + size
            if end > len(self._buffer):
                break
            records.append(_decode(kind, bytes(self._buffer[start + _HEAD.size : end])))
            start = end
        del self._buffer[:start]
        return records


def _decode(kind: int, rest: bytes) -> Record:
    try:
        if kind == _INIT:
            has_video, size = _INIT_HEAD.unpack_from(rest)
            codecs_end = _INIT_HEAD.size + size
            return Init(rest[codecs_end:], rest[_INIT_HEAD.size : codecs_end].decode("ascii"), has_video)
        if kind == _PART:
            start_ms, duration_ms, is_independent = _PART_HEAD.unpack_from(rest)
            return Part(rest[_PART_HEAD.size :], start_ms, duration_ms, is_independent)
        if kind == _REFUSAL:
            return Refusal(rest.decode())
    except (struct.error, UnicodeDecodeError) as error:
        raise UsageError(f"no record: {error}") from error
    raise UsageError(f"no kind of record: {kind}")
