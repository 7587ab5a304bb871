"""The kit's stream is one that FFmpeg takes for real."""

from __future__ import annotations

import io

import av
import pytest

from muxers.conformance_feed import Feed, is_start, number_of
from rtmpd.media.tags import classify
from rtmpd.wire.flv import FlvTag
from tests.helpers.footage import demux, feed_of


@pytest.fixture
def feed():
    feed = Feed()
    feed.add_metadata()
    feed.add_video_header()
    feed.add_audio_header()
    feed.add_frames(0, 2_000)
    return feed


def test_every_frame_comes_back_under_its_number(feed):
    found = {number_of(packet.payload): packet for packet in demux(feed_of(feed.tags))}

    assert sorted(found) == [frame.number for frame in feed.frames]
    for frame in feed.frames:
        packet = found[frame.number]
        assert (packet.kind, packet.dts_ms) == (frame.kind, frame.dts_ms)
        assert packet.pts_ms == frame.dts_ms + frame.composition_ms


@pytest.mark.parametrize(("version", "width", "rate"), [(0, 16, 48_000), (1, 32, 44_100)])
def test_both_configurations_decode(version, width, rate):
    feed = Feed()
    feed.add_video_header(version)
    feed.add_audio_header(version)
    feed.add_frames(0, 1_000, version=version)

    with av.open(io.BytesIO(feed_of(feed.tags)), format="flv") as container:
        pictures = [frame for packet in container.demux(video=0) for frame in packet.decode()]
    with av.open(io.BytesIO(feed_of(feed.tags)), format="flv") as container:
        sounds = [frame for packet in container.demux(audio=0) for frame in packet.decode()]

    assert {picture.width for picture in pictures} == {width}
    assert {sound.sample_rate for sound in sounds} == {rate}
    assert len(pictures) == 25
    assert len(sounds) >= 46


def test_mp3_decodes():
    feed = Feed(".mp3")
    feed.add_audio_header()
    feed.add_frames(0, 1_000, video=False)

    with av.open(io.BytesIO(feed_of(feed.tags)), format="flv") as container:
        assert container.streams.audio[0].codec_context.name.startswith("mp3")
        assert len([frame for packet in container.demux(audio=0) for frame in packet.decode()]) >= 37
    assert {len(tag.body) for tag in feed.tags} == {418}


def test_the_headers_in_force_are_the_last_of_each(feed):
    feed.add_video_header(1)

    assert feed.headers_before(3) == feed.tags[1:3]
    assert feed.headers_before(len(feed.tags)) == [feed.tags[-1], feed.tags[2]]


def test_an_output_starts_at_a_key_frame_or_without_pictures_at_a_sound(feed):
    kinds = [(tag.type_id, bool(classify(tag.type_id, tag.body) & 1)) for tag in feed.tags]

    assert [is_start(tag, video=True) for tag in feed.tags] == [kind == (9, True) for kind in kinds]
    assert not is_start(feed.tags[2], video=False)
    assert is_start(next(tag for tag in feed.tags[3:] if tag.type_id == 8), video=False)
    assert not is_start(FlvTag(18, 0, b""), video=False)


def test_a_payload_without_a_number_is_not_the_feeds():
    with pytest.raises(AssertionError, match="never had"):
        number_of(b"#12#")
