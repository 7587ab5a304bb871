"""
The hosted service's numbers and names, beside rtmpd's own: what a push may be watched as, what it is recorded as.

Existing callers send numbers, people write names; both mean the same everywhere. Numbers are those of the hosted
service's client libraries, where the record file type is a bit mask.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, TypeAlias

EncodeNumber: TypeAlias = Literal[1, 2, 4, 5, 6, 7]
EncodeName: TypeAlias = Literal["hls", "flv", "raw", "rtmp", "hls_and_rtmp", "fmp4"]
RecordFileNumber: TypeAlias = Literal[0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23]
RecordFileName: TypeAlias = Literal["none", "hls", "flv", "hls_flv", "mp4", "hls_mp4", "flv_mp4", "hls_flv_mp4", "mp3"]
RecordTypeNumber: TypeAlias = Literal[0, 1]
RecordTypeName: TypeAlias = Literal["video", "audio"]

HLS, FLV, RAW, RTMP, HLS_AND_RTMP, FMP4 = 1, 2, 4, 5, 6, 7
ENCODE_TYPES: Mapping[str, int] = MappingProxyType(
    {"hls": HLS, "flv": FLV, "raw": RAW, "rtmp": RTMP, "hls_and_rtmp": HLS_AND_RTMP, "fmp4": FMP4}
)
RATE_ORIGINAL = 0

_RECORD_BITS = {1: "hls", 2: "flv", 4: "mp4", 16: "mp3"}


def outputs(encode_type: int) -> frozenset[int]:
    """The kinds of watch URL that an encode type asks for: HLS_AND_RTMP is two, everything else itself."""
    return frozenset({HLS, RTMP}) if encode_type == HLS_AND_RTMP else frozenset({encode_type})


def record_formats(mask: int) -> tuple[str, ...]:
    """The formats of a record file type, as `muxers.formats` names them; empty for NONE."""
    return tuple(name for bit, name in _RECORD_BITS.items() if mask & bit)


def record_mask(name: str) -> int:
    """The number of a record file type's name, which is made of its formats' names."""
    return sum(bit for bit, format_name in _RECORD_BITS.items() if format_name in name.split("_"))
