"""
VP8 and VP9: the VPCodecConfigurationRecord of sequence headers, which does not tell the size.

VP Codec ISO Media File Format Binding, sections "VP Codec Configuration Box" and "Codecs Parameter String".
"""

from __future__ import annotations

from rtmpd.errors import MediaError
from rtmpd.media.bits import BitCursor
from rtmpd.media.codecs import VideoConfiguration

_DEPTHS = (8, 10, 12)


def parse_vp9(record: bytes, codec: str = "vp09") -> VideoConfiguration:
    """
    Read a vpcC.

    Args:
        record: the body of a VP9 sequence header behind its head, with or without the four bytes of version and flags
            that make it a box of MP4.
        codec: "vp09", or "vp08", whose record is the same.

    Returns:
        Its facts, size 0.

    Raises:
        MediaError: it ends early or holds a bit depth that does not exist.
    """
    cursor = BitCursor(record, "vpcC")
    if record[:4] == b"\1\0\0\0":
        cursor.skip(32)
    profile, level, depth = cursor.unsigned(8), cursor.unsigned(8), cursor.unsigned(4)
    cursor.skip(4 + 8 + 8 + 8)  # chroma and range, three colour numbers
    cursor.take(cursor.unsigned(16))
    if depth not in _DEPTHS:
        raise MediaError(f"vpcC of {depth} bits a sample")
    return VideoConfiguration(
        codec,
        0,
        0,
        f"Profile {profile}",
        f"{level // 10}.{level % 10}" if level else "",
        f"{codec}.{profile:02d}.{level:02d}.{depth:02d}",
    )
