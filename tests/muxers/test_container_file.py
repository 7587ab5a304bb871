"""What holds for every format of one file that FFmpeg writes piece by piece."""

from __future__ import annotations

import tracemalloc

import pytest

from muxers.base import TrackFacts
from muxers.conformance_feed import Feed
from muxers.container_file import PAUSE_MS
from muxers.mp4 import Mp4Muxer
from muxers.ts import TsMuxer
from rtmpd.wire import amf0
from rtmpd.wire.flv import FlvTag
from tests.helpers.footage import footage, shifted, tags_of, tracks_of


@pytest.fixture
def path(tmp_path):
    return tmp_path / "recording"


@pytest.fixture(params=[Mp4Muxer, TsMuxer])
def muxer(request, path):
    muxer = request.param(path)
    muxer.open()
    yield muxer
    muxer.close()


def test_a_paused_track_does_not_hold_back_what_is_confirmed(muxer):
    feed = Feed()
    feed.add_video_header()
    feed.add_audio_header()
    feed.add_frames(0, 1_000)
    feed.add_frames(1_000, 1_000 + 2 * PAUSE_MS, video=False)

    for tag in feed.tags:
        muxer.write([tag])

    assert muxer.confirmed_tags > len(feed.tags) - 60


def test_a_changed_size_begins_a_new_file_at_its_key_frame(path, muxer):
    small, large = tags_of(footage(audio=None)), tags_of(footage(audio=None, width=128))
    later = shifted([tag for tag in large if tag.type_id == 9], 3_000)

    taken = muxer.write(small[:-1] + later)

    assert taken == len(small)  # the header is taken, the key frame behind it is not
    assert muxer.write(later) == 0
    assert muxer.close().tracks == (TrackFacts("video", 0, "avc1", width=64, height=48),)


def test_frames_of_a_new_kind_are_left_out_until_a_file_can_begin(path, muxer):
    feed = Feed()
    feed.add_video_header()
    feed.add_frames(0, 1_000, audio=False)
    feed.add_audio_header()
    feed.add_frames(1_000, 3_000)

    taken = muxer.write(feed.tags)

    assert feed.tags[taken].body[0] == 0x17
    assert feed.tags[taken].timestamp_ms == 71_200
    assert muxer.close().left_out == sum(frame.kind == "audio" and frame.tag < taken for frame in feed.frames) > 5


def test_a_file_that_would_span_more_hours_than_ffmpeg_can_count_ends(path, muxer):
    feed = Feed()
    feed.add_video_header()
    feed.add_audio_header()
    feed.add_frames(0, 1_200)
    feed.add_frames(13 * 3_600_000, 13 * 3_600_000 + 1_200)

    taken = muxer.write(feed.tags)

    assert feed.tags[taken].body[0] == 0x17
    assert muxer.close().left_out <= 20  # the sound up to the next key frame
    assert len(tracks_of(path)["video 0"]) == sum(tag.type_id == 9 for tag in feed.tags[1:taken])


def test_pictures_before_the_first_key_frame_are_left_out_and_the_time_begins_with_what_is_in(path, muxer):
    feed = Feed()
    feed.add_video_header()
    for number in range(5):
        feed.add_video(number * 40, key=False)
    feed.add_frames(200, 1_400, audio=False)

    muxer.write(feed.tags)
    facts = muxer.close()

    assert facts.left_out == 10  # five, and five up to the next key frame of the feed's own count
    assert facts.start_ms == feed.frames[10].dts_ms
    assert tracks_of(path)["video 0"][0].dts_ms == 0


def test_bodies_that_cannot_be_read_are_left_out(path, muxer):
    feed = Feed()
    feed.add_video_header()
    feed.add_frames(0, 1_000, audio=False)
    broken = [FlvTag(9, 70_500, b"\x2f??"), FlvTag(8, 70_500, b"\x99????"), FlvTag(8, 70_500, b"\x91zzzz")]

    muxer.write(feed.tags[:10] + broken + feed.tags[10:])

    facts = muxer.close()
    assert (facts.left_out, facts.video_frames) == (3, len(feed.frames))


def test_script_tags_are_facts_and_nothing_in_the_file(path, muxer):
    gap = amf0.encode("onGap", {"from_ms": 0.0, "to_ms": 70.0})
    cue = amf0.encode("onCuePoint", {"name": "x"})
    muxer.write([*tags_of(footage(seconds=1)), FlvTag(18, 0, gap), FlvTag(18, 0, cue), FlvTag(15, 0, b"\0x")])

    facts = muxer.close()

    assert (facts.gaps, facts.gap_ms) == (1, 70)
    assert set(tracks_of(path)) == {"video 0", "audio 0"}


def test_memory_does_not_grow_with_the_recording(muxer):
    feed = Feed()
    feed.add_video_header()
    feed.add_audio_header()
    feed.add_frames(0, 40_000)
    muxer.write(feed.tags[:400])
    tracemalloc.start()
    try:
        for tag in feed.tags[400:]:
            muxer.write([tag])
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert size < 20_000  # 2,400 frames; each object would be 50 bytes and more
