from __future__ import annotations

import av
import pytest

from rtmpd.errors import MediaError
from rtmpd.media.configurations import AudioConfiguration, VideoConfiguration, describe_configuration, describe_header
from rtmpd.wire.messages import AUDIO, COMMAND_AMF0, DATA_AMF0, VIDEO
from tests.corpus.media.make import HERE, read_tags

AVCC = read_tags((HERE / "h264-high-50x38.flv").read_bytes())[0].body[5:]
ASC = b"\x11\x90"

VIDEO_FILES = [
    "h264-high-50x38",
    "h264-baseline-320x180",
    "h264-422-interlaced-50x76",
    "h264-444-51x37",
    "h264-two-tracks-64x48",
    "hevc-main-50x38",
    "hevc-main10-1280x720",
    "av1-66x70",
]
AUDIO_FILES = [
    "aac-48000-stereo",
    "aac-44100-mono",
    "opus-48000-stereo",
    "opus-48000-5.1",
    "flac-44100-stereo",
]


def first_header(name):
    tag = read_tags((HERE / f"{name}.flv").read_bytes())[0]
    return describe_header(tag.type_id, tag.body)


@pytest.mark.parametrize("name", VIDEO_FILES)
def test_video_size_and_profile_are_what_pyav_says_of_the_same_stream(name):
    header = first_header(name)
    with av.open(str(HERE / f"{name}.flv"), format="flv") as container:
        stream = container.streams.video[0]
        assert (header.width, header.height) == (stream.width, stream.height)
        assert header.profile == stream.codec_context.profile


@pytest.mark.parametrize("name", AUDIO_FILES)
def test_audio_rate_and_channels_are_what_pyav_says_of_the_same_stream(name):
    header = first_header(name)
    with av.open(str(HERE / f"{name}.flv"), format="flv") as container:
        stream = container.streams.audio[0]
        assert (header.sample_rate, header.channels) == (stream.sample_rate, stream.channels)


def test_the_configuration_of_another_track_is_taken_out_of_its_body():
    tags = read_tags((HERE / "h264-two-tracks-64x48.flv").read_bytes())
    assert describe_header(VIDEO, tags[1].body) == describe_header(VIDEO, tags[0].body)


def test_of_many_tracks_the_first_is_described_within_its_bounds():
    body = b"\x95\x10mp4a\0" + len(ASC).to_bytes(3) + ASC + b"\1\0\0\0"
    assert describe_header(AUDIO, body) == AudioConfiguration("mp4a", 48_000, 2, "LC", "mp4a.40.2")
    short = b"\x95\x10mp4a\0\0\0\1" + ASC[:1] + b"\1\0\0\1" + ASC[1:]
    with pytest.raises(MediaError, match="ends early"):
        describe_header(AUDIO, short)


def test_one_codec_is_one_codec_in_both_kinds_of_header():
    assert describe_header(VIDEO, b"\x17\0\0\0\0" + AVCC) == describe_header(VIDEO, b"\x90avc1" + AVCC)
    assert describe_header(AUDIO, b"\xaf\0" + ASC) == describe_header(AUDIO, b"\x90mp4a" + ASC)


def test_a_configuration_alone_says_what_it_says_in_its_header():
    assert describe_configuration("avc1", AVCC) == describe_header(VIDEO, b"\x90avc1" + AVCC)
    assert describe_configuration("speex", b"") is None
    with pytest.raises(MediaError):
        describe_configuration("avc1", b"")


def test_vp8_is_described_by_its_own_name():
    header = describe_header(VIDEO, b"\x90vp08\0\x0a\x82\2\2\2\0\0")
    assert isinstance(header, VideoConfiguration)
    assert header.codec == "vp08"


@pytest.mark.parametrize(
    ("type_id", "body"),
    [
        (VIDEO, b"\x27\1\0\0\0\0"),
        (VIDEO, b"\x17\2\0\0\0"),
        (VIDEO, b"\x12\0"),
        (VIDEO, b"\x57\0"),
        (VIDEO, b"\x84hvc1\2\0\x09colorInfo"),
        (VIDEO, b"\x95av01\x80"),
        (VIDEO, b"\x90vvc1\xff"),
        (AUDIO, b"\xaf\1\x21"),
        (AUDIO, b"\x2f\xff"),
        (AUDIO, b"\x94mp4a\1\2\0\0\0\3"),
        (AUDIO, b"\x90ac-3"),
        (DATA_AMF0, b"\x02\0\x0aonMetaData"),
        (COMMAND_AMF0, b""),
    ],
)
def test_what_is_no_configuration_is_none(type_id, body):
    assert describe_header(type_id, body) is None


@pytest.mark.parametrize(
    ("type_id", "body"),
    [
        (VIDEO, b""),
        (VIDEO, b"\x17\0\0\0\0"),
        (VIDEO, b"\x17\0\0\0\0\1\x64\0\x1f\xff\xff"),
        (VIDEO, b"\x90hvc1"),
        (VIDEO, b"\x90hvc1\1" + b"\xff" * 30),
        (VIDEO, b"\x90av01\x81"),
        (VIDEO, b"\x90vp09\0"),
        (VIDEO, b"\x90avc1" + b"\1" * 100_000),
        (AUDIO, b"\xaf\0"),
        (AUDIO, b"\x90OpusOpusHead"),
        (AUDIO, b"\x90fLaCfLaC"),
    ],
)
def test_a_hostile_header_is_a_media_error(type_id, body):
    with pytest.raises(MediaError):
        describe_header(type_id, body)
