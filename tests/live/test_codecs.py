"""Which codecs a stream carries, from its headers and, without them, from its newest frames."""

from __future__ import annotations

import pytest

from rtmpd.live.codecs import codecs_of
from rtmpd.wire.messages import AUDIO, VIDEO, Message
from tests.helpers.live import audio_header, key_frame, metadata, new_stream, publish, video_header

MP3_FRAME = Message(AUDIO, 5, 1, b"\x2f\xff\xfb" + bytes(20))
TWO_CODECS = Message(VIDEO, 0, 1, b"\x96\x20avc1\0\0\0\x01xhvc1\x01\0\0\x01x")


@pytest.fixture
def publication():
    return publish(new_stream())


def test_nothing_is_said_of_a_stream_of_which_nothing_has_come(publication):
    assert codecs_of(publication.stream) == (frozenset(), frozenset())


def test_headers_name_the_codecs(publication):
    publication.extend([metadata(width=64), video_header(), audio_header()], 0.0)

    assert codecs_of(publication.stream) == ({"avc1"}, {"mp4a"})


def test_every_track_of_a_header_counts(publication):
    publication.append(TWO_CODECS, 0.0)

    assert codecs_of(publication.stream).video == {"avc1", "hvc1"}


def test_a_codec_without_headers_is_named_by_its_frames(publication):
    publication.extend([video_header(), key_frame(0), MP3_FRAME], 0.0)

    assert codecs_of(publication.stream) == ({"avc1"}, {".mp3"})


def test_what_cannot_be_read_has_no_codec(publication):
    publication.extend([Message(AUDIO, 0, 1, b"\xcf\x01x"), Message(VIDEO, 0, 1, b"\x1f\x01x")], 0.0)

    assert codecs_of(publication.stream) == (frozenset(), frozenset())
