"""
AV1 frames as MP4 wants them: without the OBUs that only transport streams need.

The one thing that FFmpeg's MP4 muxer changes in the payloads that publishers send. AV1 Codec ISO Media File Format
Binding section 2.4; AV1 bitstream sections 5.3 and 6.2.
"""

from __future__ import annotations

_TEMPORAL_DELIMITER = b"\x12\0"
_LEFT_OUT = frozenset({2, 7, 8, 15})
"""Temporal delimiters, redundant frame headers, tile lists, padding."""
_MOST_SIZE_BYTES = 8


def without_framing(payload: bytes) -> bytes:
    """
    Take out what MP4 forbids.

    Args:
        payload: OBUs of one temporal unit, each with its size; the last one may be without.

    Returns:
        The rest; the payload as it is where it cannot be read.
    """
    payload = payload.removeprefix(_TEMPORAL_DELIMITER)
    kept = []
    start = 0
    while start < len(payload):
        end = _end_of_unit(payload, start)
        if end > len(payload):
            return payload
        if payload[start] >> 3 & 15 not in _LEFT_OUT:
            kept.append((start, end))
        start = end
    if len(kept) == 1 and kept[0] == (0, len(payload)):
        return payload
    return b"".join(payload[start:end] for start, end in kept)


def _end_of_unit(payload: bytes, start: int) -> int:
    """Where an OBU ends; behind the payload's end where it is broken."""
    has_extension, has_size = payload[start] & 4, payload[start] & 2
    position = start + (2 if has_extension else 1)
    if not has_size:
        return len(payload)
    size = 0
    for index in range(_MOST_SIZE_BYTES):
        if position >= len(payload):
            break
        byte = payload[position]
        position += 1
        size |= (byte & 127) << 7 * index
        if byte < 128:
            return position + size
    return len(payload) + 1
