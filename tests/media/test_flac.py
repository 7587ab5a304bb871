from __future__ import annotations

import pytest

from rtmpd.errors import MediaError
from rtmpd.media.flac import parse_flac
from tests.corpus.media.make import HERE, read_tags

STREAMINFO = read_tags((HERE / "flac-44100-stereo.flv").read_bytes())[0].body[5:]


def test_the_block_that_ffmpeg_sends_alone_is_read():
    assert parse_flac(STREAMINFO) == ("fLaC", 44_100, 2, "", "fLaC")


def test_the_whole_start_of_a_stream_is_read():
    assert parse_flac(b"fLaC\x80\0\0\x22" + STREAMINFO) == parse_flac(STREAMINFO)
    assert parse_flac(b"fLaC\x00\0\0\x22" + STREAMINFO + b"\x84\0\0\0") == parse_flac(STREAMINFO)


@pytest.mark.parametrize("header", [STREAMINFO, b"fLaC\x80\0\0\x22" + STREAMINFO])
def test_a_header_cut_anywhere_is_a_media_error(header):
    for size in range(len(header)):
        with pytest.raises(MediaError):
            parse_flac(header[:size])


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (b"fLaC\x84\0\0\x22" + STREAMINFO, "block of type 4"),
        (b"fLaC\x80\xff\xff\xff" + STREAMINFO, "16777215 bytes"),
        (bytes(34), "without a rate"),
    ],
)
def test_a_hostile_header_is_a_media_error(header, message):
    with pytest.raises(MediaError, match=message):
        parse_flac(header)
