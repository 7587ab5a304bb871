"""
AV1: the AV1CodecConfigurationRecord of sequence headers, and the size in its sequence header OBU.

AV1 Codec ISO Media File Format Binding sections 2.3 and 5 (codec string); AV1 bitstream sections 5.3, 5.5 and 6.4.
"""

from __future__ import annotations

from rtmpd.errors import MediaError
from rtmpd.media.bits import MAX_UNITS, BitCursor, checked_size
from rtmpd.media.codecs import VideoConfiguration

_SEQUENCE_HEADER = 1
_PROFILES = {0: "Main", 1: "High", 2: "Professional"}
_MARKER_AND_VERSION = 0x81
_MAX_PARAMETERS_LEVEL = 31
_MAX_UVLC_ZEROS = 32


def parse_av1(record: bytes) -> VideoConfiguration:
    """
    Read an av1C.

    Args:
        record: the body of an AV1 sequence header behind its head.

    Returns:
        Its facts; a record without a sequence header OBU leaves the size 0.

    Raises:
        MediaError: it is no av1C, ends early, or its sequence header cannot be read.
    """
    cursor = BitCursor(record, "av1C")
    marker = cursor.unsigned(8)
    if marker != _MARKER_AND_VERSION:
        raise MediaError(f"av1C begins {marker:02x}: not a configuration record")
    profile, level, tier = cursor.unsigned(3), cursor.unsigned(5), cursor.unsigned(1)
    depth = 8 + 2 * cursor.flag() + 2 * cursor.flag()
    cursor.skip(5 + 8)  # chroma, then the presentation delay
    header = _find_sequence_header(cursor)
    width, height = _size_of_sequence_header(header) if header is not None else (0, 0)
    return VideoConfiguration(
        "av01",
        width,
        height,
        _PROFILES.get(profile, f"profile {profile}"),
        "" if level == _MAX_PARAMETERS_LEVEL else f"{2 + level // 4}.{level % 4}",
        f"av01.{profile}.{level:02d}{'MH'[tier]}.{depth:02d}",
    )


def _find_sequence_header(cursor: BitCursor) -> bytes | None:
    for _ in range(MAX_UNITS):
        if not cursor.remaining:
            return None
        cursor.skip(1)
        kind, extended, sized = cursor.unsigned(4), cursor.flag(), cursor.flag()
        cursor.skip(9 if extended else 1)
        unit = cursor.take(_read_leb128(cursor) if sized else cursor.remaining // 8)
        if kind == _SEQUENCE_HEADER:
            return unit
    raise MediaError(f"av1C of more than {MAX_UNITS} OBUs")


def _read_leb128(cursor: BitCursor) -> int:
    value = 0
    for position in range(8):
        more = cursor.flag()
        value |= cursor.unsigned(7) << 7 * position
        if not more:
            return value
    raise MediaError("av1C holds an OBU size of more than 8 bytes")


def _size_of_sequence_header(payload: bytes) -> tuple[int, int]:
    cursor = BitCursor(payload, "AV1 sequence header")
    cursor.skip(4)  # seq_profile, still_picture
    if cursor.flag():
        cursor.skip(5)  # seq_level_idx
    else:
        _skip_operating_points(cursor)
    width_bits, height_bits = cursor.unsigned(4) + 1, cursor.unsigned(4) + 1
    return checked_size(cursor.unsigned(width_bits) + 1, cursor.unsigned(height_bits) + 1, "AV1 picture")


def _skip_operating_points(cursor: BitCursor) -> None:
    delay_bits = _skip_timing(cursor) if cursor.flag() else 0
    display_delays = cursor.flag()
    for _ in range(cursor.unsigned(5) + 1):
        cursor.skip(12)  # operating_point_idc
        if cursor.unsigned(5) > 7:
            cursor.skip(1)  # seq_tier
        if delay_bits and cursor.flag():
            cursor.skip(2 * delay_bits + 1)
        if display_delays and cursor.flag():
            cursor.skip(4)


def _skip_timing(cursor: BitCursor) -> int:
    """The width of buffer delays; 0 without a decoder model."""
    cursor.skip(64)  # num_units_in_display_tick, time_scale
    if cursor.flag():
        _skip_uvlc(cursor)
    if not cursor.flag():
        return 0
    delay_bits = cursor.unsigned(5) + 1
    cursor.skip(32 + 5 + 5)
    return delay_bits


def _skip_uvlc(cursor: BitCursor) -> None:
    zeros = 0
    while not cursor.flag():
        zeros += 1
        if zeros == _MAX_UVLC_ZEROS:
            raise MediaError("AV1 sequence header of more than 2**32 ticks a picture")
    cursor.skip(zeros)
