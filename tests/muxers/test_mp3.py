"""MP3 files are the frames of the feed."""

from __future__ import annotations

import pytest

from muxers.base import MuxError, TrackFacts
from muxers.mp3 import Mp3Muxer
from rtmpd.wire import amf0
from rtmpd.wire.flv import FlvTag
from tests.helpers.footage import demux, footage, tags_of, tracks_of


@pytest.fixture
def path(tmp_path):
    return tmp_path / "recording.mp3"


@pytest.fixture
def muxer(path):
    muxer = Mp3Muxer(path)
    muxer.open()
    yield muxer
    muxer.close()


def test_the_frames_of_the_source_are_the_file_and_ffmpeg_reads_them(path, muxer):
    source = footage("libx264", "libmp3lame")
    frames = [packet.payload for packet in demux(source) if packet.kind == "audio"]

    assert muxer.write(tags_of(source)) == len(tags_of(source)) == muxer.confirmed_tags
    assert path.read_bytes() == b"".join(frames)
    facts = muxer.close()

    assert [packet.payload for packet in tracks_of(path)["audio 0"]] == frames
    assert facts.tracks == (TrackFacts("audio", 0, ".mp3", sample_rate=44_100, channels=2),)
    assert (facts.audio_frames, facts.video_frames, facts.left_out) == (len(frames), 0, 0)
    assert facts.size_bytes == path.stat().st_size
    assert facts.duration_ms == pytest.approx(3_000, abs=60)


def test_mp3_with_an_extended_header_is_the_same(path, muxer):
    muxer.write(
        [FlvTag(8, 0, b"\x90.mp3"), FlvTag(8, 0, b"\x91.mp3\xff\xfbframe"), FlvTag(8, 26, b"\x2f\xff\xfbframe2")]
    )

    assert path.read_bytes() == b"\xff\xfbframe\xff\xfbframe2"


def test_only_the_default_track_is_taken_and_the_others_are_counted(path, muxer):
    def one(track):
        return FlvTag(8, 0, b"\x95\x01.mp3" + bytes([track]) + b"\xff\xfb" + bytes([track]))

    muxer.write([one(0), one(1), FlvTag(8, 0, b"\x95\x11.mp3\0\0\0\x01A\x01\0\0\x01B"), FlvTag(8, 0, b"\x99junk")])

    assert path.read_bytes() == b"\xff\xfb\0A"
    assert muxer.facts().left_out == 2


@pytest.mark.parametrize(
    ("body", "codec"),
    [(b"\xaf\0\x11\x90", "mp4a"), (b"\xaf\x01frame", "mp4a"), (b"\x91Opusx", "Opus"), (b"\xb2x", "speex")],
)
def test_other_sound_is_refused_by_name_and_what_came_before_it_is_kept(path, muxer, body, codec):
    muxer.write([FlvTag(8, 0, b"\x2f\xff\xfbframe")])

    with pytest.raises(MuxError, match=f"MP3 cannot carry {codec}"):
        muxer.write([FlvTag(8, 26, b"\x2f\xff\xfbframe"), FlvTag(8, 52, body)])

    assert muxer.confirmed_tags == 2
    assert muxer.close().audio_frames == 2
    assert path.read_bytes() == b"\xff\xfbframe" * 2


def test_gaps_are_counted_and_pictures_are_not(muxer):
    gap = amf0.encode("onGap", {"from_ms": 0.0, "to_ms": 500.0})
    muxer.write([FlvTag(9, 0, b"\x17\x01\0\0\0x"), FlvTag(18, 0, gap), FlvTag(8, 0, b"\x2f\xff\xfb")])

    facts = muxer.facts()
    assert (facts.gaps, facts.gap_ms, facts.left_out, facts.video_frames) == (1, 500, 0, 0)
