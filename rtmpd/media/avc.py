"""
H.264: the AVCDecoderConfigurationRecord of sequence headers, and the size in its sequence parameter set.

ISO/IEC 14496-15 section 5.3.3.1; H.264 sections 7.3.2.1.1 and 7.4.2.1.1 (cropping: equations 7-19 to 7-22).
"""

from __future__ import annotations

from rtmpd.errors import MediaError
from rtmpd.media.bits import BitCursor, checked_size, unescape
from rtmpd.media.codecs import VideoConfiguration

_SPS = 7
_PROFILES = {
    44: "CAVLC 4:4:4 Intra",
    66: "Baseline",
    77: "Main",
    88: "Extended",
    100: "High",
    110: "High 10",
    122: "High 4:2:2",
    244: "High 4:4:4 Predictive",
}
_WITH_CHROMA = frozenset({44, 83, 86, 100, 110, 118, 122, 128, 134, 135, 138, 139, 244})
_CONSTRAINT_SET_1 = 0x40
_CONSTRAINT_SET_3 = 0x10
_CHROMA_UNITS = {0: (1, 1), 1: (2, 2), 2: (2, 1), 3: (1, 1)}
"""Luma samples per cropping unit, across and down, by chroma_format_idc."""
_MAX_PICTURE_ORDER_CYCLE = 255


def parse_avc(record: bytes) -> VideoConfiguration:
    """
    Read an avcC.

    Args:
        record: the body of an AVC sequence header behind its head.

    Returns:
        Its facts; a record without a parameter set leaves the size 0.

    Raises:
        MediaError: it is no avcC, ends early, or its parameter set cannot be read.
    """
    cursor = BitCursor(record, "avcC")
    version, profile, constraints, level = (cursor.unsigned(8) for _ in range(4))
    if version != 1:
        raise MediaError(f"avcC of version {version}: not a configuration record")
    cursor.skip(6)
    nal_length_size = cursor.unsigned(2) + 1
    cursor.skip(3)
    sets = [cursor.take(cursor.unsigned(16)) for _ in range(cursor.unsigned(5))]
    for _ in range(cursor.unsigned(8)):
        cursor.take(cursor.unsigned(16))
    width, height = _size_of_sps(sets[0]) if sets else (0, 0)
    return VideoConfiguration(
        "avc1",
        width,
        height,
        _profile_name(profile, constraints),
        _level_name(profile, constraints, level),
        f"avc1.{profile:02x}{constraints:02x}{level:02x}",
        nal_length_size,
    )


def _profile_name(profile: int, constraints: int) -> str:
    name = _PROFILES.get(profile, f"profile {profile}")
    return f"Constrained {name}" if profile == 66 and constraints & _CONSTRAINT_SET_1 else name


def _level_name(profile: int, constraints: int, level: int) -> str:
    if level == 9 or (level == 11 and profile in (66, 77, 88) and constraints & _CONSTRAINT_SET_3):
        return "1b"
    return f"{level // 10}.{level % 10}"


def _size_of_sps(nal_unit: bytes) -> tuple[int, int]:
    if not nal_unit or nal_unit[0] & 31 != _SPS:
        raise MediaError("avcC holds something else in the place of its sequence parameter set")
    cursor = BitCursor(unescape(nal_unit), "AVC sequence parameter set")
    cursor.skip(8)
    profile = cursor.unsigned(8)
    cursor.skip(16)
    cursor.exp_golomb()  # seq_parameter_set_id
    chroma_format, separate_planes = _read_chroma(cursor) if profile in _WITH_CHROMA else (1, False)
    _skip_picture_order(cursor)
    cursor.exp_golomb()  # max_num_ref_frames
    cursor.flag()  # gaps_in_frame_num_value_allowed_flag
    width_in_mbs, height_in_units = cursor.exp_golomb() + 1, cursor.exp_golomb() + 1
    fields_in_height = 1 if cursor.flag() else 2
    if fields_in_height == 2:
        cursor.flag()  # mb_adaptive_frame_field_flag
    cursor.flag()  # direct_8x8_inference_flag
    left, right, top, bottom = (cursor.exp_golomb() for _ in range(4)) if cursor.flag() else (0, 0, 0, 0)
    unit_x, unit_y = _CHROMA_UNITS[0 if separate_planes else chroma_format]
    return checked_size(
        width_in_mbs * 16 - (left + right) * unit_x,
        (height_in_units * 16 - (top + bottom) * unit_y) * fields_in_height,
        "AVC picture",
    )


def _read_chroma(cursor: BitCursor) -> tuple[int, bool]:
    chroma_format = cursor.exp_golomb()
    if chroma_format not in _CHROMA_UNITS:
        raise MediaError(f"AVC chroma format {chroma_format}")
    separate_planes = chroma_format == 3 and cursor.flag()
    cursor.exp_golomb()  # bit_depth_luma_minus8
    cursor.exp_golomb()  # bit_depth_chroma_minus8
    cursor.flag()  # qpprime_y_zero_transform_bypass_flag
    if cursor.flag():
        for index in range(12 if chroma_format == 3 else 8):
            if cursor.flag():
                _skip_scaling_list(cursor, 16 if index < 6 else 64)
    return chroma_format, separate_planes


def _skip_scaling_list(cursor: BitCursor, size: int) -> None:
    last = following = 8
    for _ in range(size):
        if following != 0:
            following = (last + cursor.signed_exp_golomb()) % 256
        last = following or last


def _skip_picture_order(cursor: BitCursor) -> None:
    cursor.exp_golomb()  # log2_max_frame_num_minus4
    kind = cursor.exp_golomb()
    if kind == 0:
        cursor.exp_golomb()  # log2_max_pic_order_cnt_lsb_minus4
    elif kind == 1:
        cursor.flag()  # delta_pic_order_always_zero_flag
        cursor.signed_exp_golomb()  # offset_for_non_ref_pic
        cursor.signed_exp_golomb()  # offset_for_top_to_bottom_field
        cycle = cursor.exp_golomb()
        if cycle > _MAX_PICTURE_ORDER_CYCLE:
            raise MediaError(f"AVC picture order cycle of {cycle} frames")
        for _ in range(cycle):
            cursor.signed_exp_golomb()
