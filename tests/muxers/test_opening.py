"""The tracks of an output are those that come in its first half second."""

from __future__ import annotations

import pytest

from muxers.opening import Opening
from muxers.samples import Sample, Track
from rtmpd.wire.messages import AUDIO, VIDEO

VIDEO_TRACK = Track(VIDEO, 0, "avc1", b"avcC")
SECOND_VIDEO = Track(VIDEO, 1, "avc1", b"avcC")
AUDIO_TRACK = Track(AUDIO, 0, "mp4a", b"ASC")


def sample(track, dts_ms=0, payload=b"x", *, is_key=True):
    return Sample(track, payload, dts_ms, 0, is_key)


@pytest.fixture
def opening():
    return Opening()


def test_nothing_is_ready_before_the_first_sample(opening):
    assert not opening.is_ready(10_000)


def test_it_is_ready_half_a_second_after_the_first_sample_it_let_in(opening):
    opening.add(sample(AUDIO_TRACK, 2_000))

    assert not opening.is_ready(2_499)
    assert opening.is_ready(2_500)


def test_the_tracks_are_those_that_came_with_their_first_payloads_pictures_first(opening):
    for each in (
        sample(AUDIO_TRACK, payload=b"one"),
        sample(SECOND_VIDEO, payload=b"two"),
        sample(AUDIO_TRACK, payload=b"three"),
        sample(VIDEO_TRACK, payload=b"four"),
    ):
        assert opening.add(each)

    assert list(opening.tracks.items()) == [(VIDEO_TRACK, b"four"), (SECOND_VIDEO, b"two"), (AUDIO_TRACK, b"one")]
    assert [each.payload for each in opening.held] == [b"one", b"two", b"three", b"four"]


def test_a_track_begins_with_a_key_frame_behind_its_header(opening):
    assert not opening.admits(sample(VIDEO_TRACK, is_key=False))
    assert not opening.admits(sample(VIDEO_TRACK._replace(configuration=None)))
    assert opening.admits(sample(VIDEO_TRACK))

    opening.add(sample(VIDEO_TRACK))

    assert opening.admits(sample(VIDEO_TRACK, is_key=False))
    assert not opening.admits(sample(SECOND_VIDEO, is_key=False))


@pytest.mark.parametrize("change", [{"configuration": b"other"}, {"codec": "av01"}])
def test_a_track_that_changes_is_not_let_in_twice(opening, change):
    opening.add(sample(VIDEO_TRACK))
    changed = VIDEO_TRACK._replace(**change)

    assert opening.is_change(changed)
    assert not opening.add(sample(changed))
    assert not opening.is_change(VIDEO_TRACK)
    assert not opening.is_change(SECOND_VIDEO)
    assert [each.track for each in opening.held] == [VIDEO_TRACK]


@pytest.mark.parametrize(("count", "size"), [(1_000, 1), (8, 1 << 20)])
def test_times_that_stand_still_do_not_fill_the_memory(opening, count, size):
    payload = bytes(size)
    for _ in range(count):
        assert not opening.is_ready(0)
        opening.add(sample(VIDEO_TRACK, payload=payload))

    assert opening.is_ready(0)
