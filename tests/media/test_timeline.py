from __future__ import annotations

from itertools import pairwise

import pytest

from rtmpd.media.timeline import JUMP_MS, Jump, Timeline

FULL, HALF, LOW = 2**32, 2**31, 2**24


def unwrap_all(timestamps, **options):
    timeline = Timeline(**options)
    return timeline, [timeline.unwrap(raw_ms) for raw_ms in timestamps]


def steps(values):
    return [after - before for before, after in pairwise(values)]


@pytest.mark.parametrize("first", [0, 7, LOW, HALF, FULL - 1])
def test_the_first_timestamp_is_taken_as_it_is(first):
    timeline, values = unwrap_all([first])
    assert values == [first]
    assert timeline.value_ms == first
    assert timeline.jump is None


@pytest.mark.parametrize("width", [LOW, HALF, FULL])
def test_a_wrap_is_no_jump(width):
    start = width - 100
    timeline, values = unwrap_all([(start + 40 * count) % width for count in range(10)])
    assert values == [start + 40 * count for count in range(10)]
    assert timeline.jump is None


def test_passing_the_24_and_31_bit_boundaries_upwards_is_nothing_special():
    for width in (LOW, HALF):
        timeline, values = unwrap_all([width - 20, width, width + 20])
        assert values == [width - 20, width, width + 20]
        assert timeline.jump is None


def test_wraps_add_up():
    timeline = Timeline()
    for count in range(5 * LOW // 4_000):
        value = timeline.unwrap(count * 4_000 % LOW)
        assert value == count * 4_000
    assert value > 4 * LOW
    assert timeline.jump is None


@pytest.mark.parametrize("width", [LOW, HALF, FULL])
def test_a_small_regression_stays_one_across_a_wrap(width):
    """Audio and video are interleaved: one is already behind the boundary, the other still before it."""
    raws = [width - 40, 3, width - 7, 13, width - 1, 33]
    timeline, values = unwrap_all(raws)
    assert steps(values) == [43, -10, 20, -14, 34]
    assert timeline.jump is None


@pytest.mark.parametrize("step", [-40, -1, 0, 1, 33, JUMP_MS, -JUMP_MS])
def test_steps_up_to_the_threshold_are_no_jump(step):
    timeline, values = unwrap_all([100_000, 100_000 + step])
    assert steps(values) == [step]
    assert timeline.jump is None


def test_a_regression_before_the_first_timestamp_goes_below_zero():
    timeline, values = unwrap_all([0, FULL - 20])
    assert values == [0, -20]
    assert timeline.jump is None


@pytest.mark.parametrize(
    ("raws", "jump"),
    [
        ([100_000, 100_000 + JUMP_MS + 1], Jump("forward", 100_000, 105_001)),
        ([100_000, 0], Jump("backward", 100_000, 0)),
        ([1_000, FULL - 10_000], Jump("backward", 1_000, -10_000)),
        ([FULL - 10_000, 10_000], Jump("forward", FULL - 10_000, FULL + 10_000)),
        ([0, HALF], Jump("forward", 0, HALF)),
        ([HALF, 0], Jump("backward", HALF, 0)),
        ([1_000, LOW - 1_000], Jump("forward", 1_000, LOW - 1_000)),
        ([HALF - 10_000, 0], Jump("forward", HALF - 10_000, HALF)),
    ],
)
def test_a_jump_is_reported_and_followed(raws, jump):
    timeline, values = unwrap_all(raws)
    assert timeline.take_jump() == jump
    assert values[-1] == jump.to_ms
    assert timeline.take_jump() is None


def test_the_threshold_can_be_set():
    timeline, _ = unwrap_all([0, 300], threshold_ms=250)
    assert timeline.take_jump() == Jump("forward", 0, 300)


def test_alternating_by_half_a_turn_goes_nowhere():
    timeline, values = unwrap_all([0, HALF] * 50)
    assert values == [0, HALF] * 50
    assert timeline.take_jump() is not None


def test_a_stream_goes_on_after_a_jump_with_its_own_steps():
    _, values = unwrap_all([500_000, 500_040, 0, 40, 80])
    assert values == [500_000, 500_040, 0, 40, 80]
