"""What a live output waits for before it begins."""

from __future__ import annotations

import pytest

from muxers.live_opening import KEY_WAIT_MS, MOST_BYTES, MOST_SAMPLES, WAIT_MS, LiveOpening
from muxers.samples import Sample, Track
from rtmpd.wire.messages import AUDIO, VIDEO

PICTURES = Track(VIDEO, 0, "avc1", b"avcC")
SOUND = Track(AUDIO, 0, "mp4a", b"asc")


def key(dts_ms, track=PICTURES, payload=b"key"):
    return Sample(track, payload, dts_ms, 0, is_key=True)


def inter(dts_ms, track=PICTURES):
    return Sample(track, b"inter", dts_ms, 0, is_key=False)


def sound(dts_ms, track=SOUND, payload=b"sound"):
    return Sample(track, payload, dts_ms, 0, is_key=True)


@pytest.fixture
def opening():
    return LiveOpening()


def add(opening, *samples):
    for sample in samples:
        opening.add(sample)


def test_pictures_and_sound_begin_at_once(opening):
    add(opening, sound(0), key(10))

    assert opening.is_ready(10)
    assert list(opening.tracks.items()) == [(PICTURES, b"key"), (SOUND, b"sound")]
    assert opening.start_ms == 10
    assert list(opening.held) == [sound(0), key(10)]


@pytest.mark.parametrize("make", [key, sound])
def test_one_track_alone_waits_for_another_one_for_half_a_second(opening, make):
    add(opening, make(100))

    assert not opening.is_ready(99 + WAIT_MS)
    assert opening.is_ready(100 + WAIT_MS)
    assert opening.start_ms == 100


def test_nothing_is_never_ready(opening):
    assert not opening.is_ready(10_000)


def test_pictures_without_a_key_frame_hold_everything_up_and_old_sound_is_let_go(opening):
    add(opening, inter(0))
    for time in range(0, 3_000, 20):
        add(opening, sound(time), inter(time))
        assert not opening.is_ready(time)

    add(opening, key(3_000))

    assert opening.is_ready(3_000)
    assert [sample.dts_ms for sample in opening.held] == [*range(2_480, 3_000, 20), 3_000]


def test_pictures_that_never_have_a_key_frame_do_not_hold_sound_up_for_ever(opening):
    add(opening, inter(0), sound(KEY_WAIT_MS - 1))
    assert not opening.is_ready(KEY_WAIT_MS - 1)

    add(opening, sound(KEY_WAIT_MS + WAIT_MS))

    assert opening.is_ready(KEY_WAIT_MS + WAIT_MS)
    assert list(opening.tracks) == [SOUND]


def test_a_change_takes_the_place_of_what_was_held(opening):
    changed = PICTURES._replace(configuration=b"other")
    add(opening, key(0), inter(40), sound(50), inter(80, changed))
    assert list(opening.tracks) == [PICTURES, SOUND]

    add(opening, key(120, changed))

    assert list(opening.tracks) == [changed, SOUND]
    assert list(opening.held) == [sound(50), key(120, changed)]


def test_a_track_can_be_let_go_of(opening):
    add(opening, key(0), sound(10), inter(40))

    opening.remove(VIDEO)
    opening.remove(VIDEO)

    assert list(opening.held) == [sound(10)]
    assert opening.start_ms == 10


@pytest.mark.parametrize(("count", "size"), [(MOST_SAMPLES, 1), (2, MOST_BYTES // 2)])
def test_times_that_stand_still_do_not_fill_the_memory(opening, count, size):
    for _ in range(count - 1):
        add(opening, key(0, payload=bytes(size)))
        assert not opening.is_full
    add(opening, key(0, payload=bytes(size)))

    assert opening.is_full
    assert opening.is_ready(0)


def test_sound_that_stands_still_does_not_either_while_a_key_frame_is_waited_for(opening):
    add(opening, inter(0))
    for _ in range(3 * MOST_SAMPLES):
        add(opening, sound(0))
        opening.is_ready(0)

    assert len(opening.held) < MOST_SAMPLES
