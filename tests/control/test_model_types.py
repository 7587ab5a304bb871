"""Values of the API: what each may be."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from rtmpd.control.model_types import EncodeType, RecordFileType, RecordType, RtmpUrl, StreamPath
from rtmpd.session import urls


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
        *(
            (RtmpUrl, url, url)
            for url in (
                "rtmp://me:p+ss!w@rd@a.example/app/key",
                "rtmp://a.example/app/inst/key/?k=v/w",
                "rtmp://a.example/app?k=v/key",
                "rtmp://a.example/app?k=v/key?w",
            )
        ),
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
        (RtmpUrl, "rtmp:///b/c"),
        (RtmpUrl, "rtmp://a/b"),
        (RtmpUrl, "rtmp://a/b/?c"),
        (RtmpUrl, "rtmp://a/b?c"),
        (RtmpUrl, "rtmp://a%62/b/c"),
        (RtmpUrl, "rtmp://me:p?ss@a/b/c"),
        (RtmpUrl, "rtmp://a:port/b/c"),
        (StreamPath, "/a/b"),
        (StreamPath, "a//b"),
    ],
)
def test_anything_else_is_none(kind, given):
    with pytest.raises(ValidationError):
        TypeAdapter(kind).validate_python(given, strict=True)


URL_PATTERN = TypeAdapter(RtmpUrl).json_schema()["pattern"]


@given(st.from_regex(URL_PATTERN.removesuffix("$") + r"\Z"))
def test_what_is_taken_for_a_target_can_be_relayed_to_but_for_ports_and_addresses(url):
    fault = ""
    try:
        urls.RtmpUrl.parse(url)
    except ValueError as error:
        fault = str(error)

    assert not fault or re.search(r"port|IPV6|longer than", fault)
