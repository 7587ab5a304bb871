"""Values of the API: what each may be."""

from __future__ import annotations

import pytest
from pydantic import TypeAdapter, ValidationError

from rtmpd.control.model_types import EncodeType, RecordFileType, RecordType, RtmpUrl, StreamPath


@pytest.mark.parametrize(
    ("kind", "given", "meant"),
    [
        (EncodeType, "6", 6),
        (EncodeType, "HLS_AND_RTMP", "hls_and_rtmp"),
        (RecordFileType, 16, 16),
        (RecordFileType, "Mp4", "mp4"),
        (RecordType, "1", 1),
        (RecordType, "AUDIO", "audio"),
        (RtmpUrl, "rtmps://[::1]:443/app/key?a=b", "rtmps://[::1]:443/app/key?a=b"),
        (StreamPath, "a/b/会议", "a/b/会议"),
    ],
)
def test_a_value_may_be_spelled_as_callers_do(kind, given, meant):
    assert TypeAdapter(kind).validate_python(given, strict=True) == meant


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        (EncodeType, True),
        (EncodeType, "\N{ARABIC-INDIC DIGIT FIVE}"),
        (EncodeType, "1" * 5000),
        (RecordFileType, 1.5),
        (RecordType, "2"),
        (RtmpUrl, "rtmp://user name@a/b"),
        (RtmpUrl, "rtmp:///b"),
        (StreamPath, "/a/b"),
        (StreamPath, "a//b"),
    ],
)
def test_anything_else_is_none(kind, given):
    with pytest.raises(ValidationError):
        TypeAdapter(kind).validate_python(given, strict=True)
