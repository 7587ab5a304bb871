"""Time that only leads on, and where it breaks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muxers.live_clock import APART_MS, BACKWARD_MS, FORWARD_MS, LONGEST_MS, LiveClock
from rtmpd.wire.messages import AUDIO, VIDEO


def place_all(clock, times, type_id=VIDEO):
    return [clock.place(type_id, time) for time in times]


def test_times_stay_on_the_publishers_line():
    assert place_all(LiveClock(), [5_000, 5_040, 5_080]) == [(5_000, False), (5_040, False), (5_080, False)]


def test_a_wrap_is_no_leap():
    times = place_all(LiveClock(), [2**32 - 40, 0, 40])

    assert times == [(2**32 - 40, False), (2**32, False), (2**32 + 40, False)]


def test_a_leap_forwards_breaks_and_keeps_its_length():
    clock = LiveClock()

    place_all(clock, [0, 40, 40 + FORWARD_MS])

    assert clock.place(VIDEO, 8_000) == (8_000, True)
    assert clock.place(VIDEO, 8_040) == (8_040, False)


def test_pictures_that_are_far_apart_are_no_leaps_once_they_are_known():
    assert [breaks for _, breaks in place_all(LiveClock(), range(0, 50_000, 5_000))] == [False, True] + [False] * 8


def test_a_track_that_pauses_while_another_goes_on_is_no_leap():
    clock = LiveClock()
    place_all(clock, range(0, 4_000, 20), AUDIO)

    assert clock.place(VIDEO, 4_000) == (4_000, False)


def test_a_clock_that_was_set_goes_on_at_once():
    clock = LiveClock()
    place_all(clock, [0, 40, 80])

    assert clock.place(VIDEO, 81 + LONGEST_MS) == (120, True)
    assert clock.place(VIDEO, 121 + LONGEST_MS) == (160, False)


@pytest.mark.parametrize(("back_ms", "wanted"), [(BACKWARD_MS, (700, False)), (BACKWARD_MS + 1, (1_040, True))])
def test_a_small_step_back_stays_and_a_larger_one_goes_on_behind_a_break(back_ms, wanted):
    clock = LiveClock()
    place_all(clock, range(0, 1_040, 40))

    assert clock.place(VIDEO, 1_000 - back_ms) == wanted


def test_small_steps_back_do_not_add_up():
    clock = LiveClock()
    place_all(clock, [960, 1_000])

    assert [breaks for _, breaks in place_all(clock, [800, 600])] == [False, True]


def test_each_kind_is_compared_with_itself():
    clock = LiveClock()
    for time in range(0, 4_000, 40):
        assert clock.place(VIDEO, 10_000 + time) == (10_000 + time, False)
        assert clock.place(AUDIO, 10_000 - APART_MS + time) == (10_000 - APART_MS + time, False)


def test_sound_that_begins_on_another_line_breaks_once_and_both_lead_on():
    clock = LiveClock()
    place_all(clock, [100_000, 100_040])

    assert clock.place(AUDIO, 0) == (100_080, True)


def test_a_resumption_breaks_and_goes_on_one_frame_later():
    clock = LiveClock()
    place_all(clock, [960, 1_000])

    clock.resume()

    assert place_all(clock, [70_000, 70_040]) == [(1_040, True), (1_080, False)]


def test_a_resumption_before_anything_came_is_none():
    clock = LiveClock()

    clock.resume()

    assert place_all(clock, [1_000, 1_040]) == [(1_000, False), (1_040, False)]


@given(st.lists(st.tuples(st.sampled_from([AUDIO, VIDEO]), st.integers(0, 2**32 - 1)), max_size=60))
def test_whatever_a_publisher_says_its_kinds_lead_on_and_no_step_is_too_long(frames):
    clock = LiveClock()
    newest, latest = {}, None
    for type_id, time in frames:
        placed, breaks = clock.place(type_id, time)
        if breaks:
            newest.clear()
            assert placed > latest
        assert placed >= max(0, newest.get(type_id, placed) - BACKWARD_MS)
        assert latest is None or placed - latest <= LONGEST_MS
        newest[type_id] = max(placed, newest.get(type_id, 0))
        latest = placed if latest is None else max(latest, placed)
