"""
H.265: the HEVCDecoderConfigurationRecord of sequence headers, and the size in its sequence parameter set.

ISO/IEC 14496-15 section 8.3.3.1 and annex E (codec string); H.265 sections 7.3.2.2, 7.3.3 and 7.4.3.2.1.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from rtmpd.errors import MediaError
from rtmpd.media.bits import MAX_UNITS, BitCursor, checked_size, unescape
from rtmpd.media.codecs import VideoConfiguration

_SPS = 33
_PROFILES = {1: "Main", 2: "Main 10", 3: "Main Still Picture", 4: "Range Extensions", 9: "Screen Content Coding"}
_CHROMA_UNITS = {0: (1, 1), 1: (2, 2), 2: (2, 1), 3: (1, 1)}
"""Luma samples per cropping unit, across and down, by chroma_format_idc."""
_PROFILE_BITS = 88
_LEVEL_BITS = 8
_SPACES = ("", "A", "B", "C")


class _Profile(NamedTuple):
    space: int
    tier: int
    profile: int
    compatibility: int
    constraints: bytes
    level: int


def parse_hevc(record: bytes) -> VideoConfiguration:
    """
    Read an hvcC.

    Args:
        record: the body of an HEVC sequence header behind its head.

    Returns:
        Its facts; a record without a parameter set leaves the size 0.

    Raises:
        MediaError: it is no hvcC, ends early, or its parameter set cannot be read.
    """
    cursor = BitCursor(record, "hvcC")
    version = cursor.unsigned(8)
    if version > 1:  # some writers leave it 0
        raise MediaError(f"hvcC of version {version}: not a configuration record")
    profile = _read_profile(cursor)
    # Segmentation, parallelism, chroma format, bit depths and frame rate, then layers but the length size.
    cursor.skip(16 + 8 + 8 + 8 + 8 + 16 + 6)
    nal_length_size = cursor.unsigned(2) + 1
    sets = [unit for kind, unit in _nal_units(cursor) if kind == _SPS]
    width, height = _size_of_sps(sets[0]) if sets else (0, 0)
    return VideoConfiguration(
        "hvc1",
        width,
        height,
        _PROFILES.get(profile.profile, f"profile {profile.profile}"),
        f"{profile.level // 30}.{profile.level % 30 // 3}",
        _codec_string(profile),
        nal_length_size,
    )


def _read_profile(cursor: BitCursor) -> _Profile:
    return _Profile(
        space=cursor.unsigned(2),
        tier=cursor.unsigned(1),
        profile=cursor.unsigned(5),
        compatibility=cursor.unsigned(32),
        constraints=cursor.take(6),
        level=cursor.unsigned(8),
    )


def _codec_string(profile: _Profile) -> str:
    reversed_flags = int(f"{profile.compatibility:032b}"[::-1], 2)
    parts = [
        f"hvc1.{_SPACES[profile.space]}{profile.profile}",
        f"{reversed_flags:X}",
        f"{'LH'[profile.tier]}{profile.level}",
        *(f"{byte:X}" for byte in profile.constraints.rstrip(b"\0")),
    ]
    return ".".join(parts)


def _nal_units(cursor: BitCursor) -> Iterator[tuple[int, bytes]]:
    units = 0
    for _ in range(cursor.unsigned(8)):
        cursor.skip(2)
        kind = cursor.unsigned(6)
        count = cursor.unsigned(16)
        units += count
        if units > MAX_UNITS:
            raise MediaError(f"hvcC of more than {MAX_UNITS} NAL units")
        for _ in range(count):
            yield kind, cursor.take(cursor.unsigned(16))


def _size_of_sps(nal_unit: bytes) -> tuple[int, int]:
    cursor = BitCursor(unescape(nal_unit), "HEVC sequence parameter set")
    cursor.skip(1)
    if cursor.unsigned(6) != _SPS:
        raise MediaError("hvcC holds something else in the place of its sequence parameter set")
    cursor.skip(9 + 4)  # layer, temporal id, sps_video_parameter_set_id
    sub_layers = cursor.unsigned(3)
    cursor.skip(1)
    _skip_profile_tier_level(cursor, sub_layers)
    cursor.exp_golomb()  # sps_seq_parameter_set_id
    chroma_format = cursor.exp_golomb()
    if chroma_format not in _CHROMA_UNITS:
        raise MediaError(f"HEVC chroma format {chroma_format}")
    separate_planes = chroma_format == 3 and cursor.flag()
    width, height = cursor.exp_golomb(), cursor.exp_golomb()
    left, right, top, bottom = (cursor.exp_golomb() for _ in range(4)) if cursor.flag() else (0, 0, 0, 0)
    unit_x, unit_y = _CHROMA_UNITS[0 if separate_planes else chroma_format]
    return checked_size(width - (left + right) * unit_x, height - (top + bottom) * unit_y, "HEVC picture")


def _skip_profile_tier_level(cursor: BitCursor, sub_layers: int) -> None:
    cursor.skip(_PROFILE_BITS + _LEVEL_BITS)
    present = [(cursor.flag(), cursor.flag()) for _ in range(sub_layers)]
    if sub_layers:
        cursor.skip(2 * (8 - sub_layers))
    for profile, level in present:
        cursor.skip(_PROFILE_BITS * profile + _LEVEL_BITS * level)
