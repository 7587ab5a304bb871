"""The time within a file."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muxers.clock import FileClock
from rtmpd.media.tags import END_OF_SEQUENCE, KEY_FRAME, SEQUENCE_HEADER


def place(*timestamps):
    clock = FileClock()
    return [clock.place(timestamp, 0) for timestamp in timestamps], clock


def test_the_first_frame_is_at_0_and_the_others_follow_in_the_publishers_steps():
    placed, clock = place(5000, 5040, 5021, 5080)

    assert placed == [0, 40, 21, 80]
    assert (clock.start_ms, clock.latest_ms, clock.jumps) == (5000, 80, 0)


def test_headers_before_the_first_frame_are_at_0_and_do_not_set_the_start():
    clock = FileClock()

    assert clock.place(99_999, SEQUENCE_HEADER) == 0
    assert clock.start_ms is None
    assert clock.place(5000, KEY_FRAME) == 0


def test_headers_and_ends_stamped_0_in_mid_stream_do_not_disturb():
    clock = FileClock()
    placed = [
        clock.place(*step) for step in [(9000, 0), (9040, 0), (0, END_OF_SEQUENCE), (0, SEQUENCE_HEADER), (9080, 0)]
    ]

    assert placed == [0, 40, 40, 40, 80]
    assert clock.jumps == 0


def test_a_gap_is_kept():
    placed, clock = place(0, 40, 60_000, 60_040)

    assert placed == [0, 40, 60_000, 60_040]
    assert clock.jumps == 1


def test_a_clock_that_starts_again_is_continued_with_one_offset():
    placed, clock = place(100_000, 100_040, 0, 20, 40)

    assert placed == [0, 40, 41, 61, 81]
    assert clock.jumps == 1


def test_one_wrong_timestamp_leaves_the_others_where_they_belong():
    placed, _ = place(100_000, 100_040, 3, 100_080, 100_120)

    assert placed == [0, 40, 41, 80, 120]


def test_frames_from_before_the_start_are_at_the_start():
    placed, _ = place(1000, 990, 1010)

    assert placed == [0, 0, 10]


@pytest.mark.parametrize("other", [2**31, 2**31 + 5, 2**24 * 3])
def test_timestamps_that_alternate_between_two_clocks_do_not_grow_the_file(other):
    timestamps = [step * 40 + (other if step % 2 else 0) for step in range(50)]

    placed, _ = place(*timestamps)

    # The first leap forward is a gap like any other; from then on both clocks are known.
    assert max(placed) - placed[1] <= 60 * 40


@pytest.mark.parametrize("back_at_ms", [0, 90_000, 2**32 - 10])
def test_a_publisher_that_comes_back_goes_on_one_frame_later_whatever_its_clock_says(back_at_ms):
    clock = FileClock()
    before = [clock.place(timestamp, 0) for timestamp in (50_000, 50_040, 50_080)]

    clock.resume()
    after = [clock.place((back_at_ms + step) % 2**32, 0) for step in (0, 40, 21)]

    assert before + after == [0, 40, 80, 120, 160, 141]
    assert (clock.jumps, clock.start_ms, clock.latest_ms) == (0, 50_000, 160)


def test_coming_back_before_the_first_frame_is_beginning():
    clock = FileClock()
    clock.resume()

    assert clock.place(7_000, KEY_FRAME) == 0
    assert clock.start_ms == 7_000


def test_a_leap_after_coming_back_is_a_leap():
    clock = FileClock()
    clock.place(1_000, 0)
    clock.resume()

    assert [clock.place(timestamp, 0) for timestamp in (100_000, 100_040, 0)] == [1, 41, 42]
    assert clock.jumps == 1


@given(st.lists(st.integers(0, 2**32 - 1), max_size=50))
def test_no_timestamps_make_a_negative_time(timestamps):
    placed, clock = place(*timestamps)

    assert all(time_ms >= 0 for time_ms in placed)
    assert clock.latest_ms == max(placed, default=0)
