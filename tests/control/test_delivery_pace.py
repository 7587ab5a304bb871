"""Pauses that grow, and places that lines which fail cannot take from the others."""

from __future__ import annotations

import pytest

from rtmpd.control.delivery_pace import Room, pause_s, rest_s, room


@pytest.mark.parametrize(
    ("failures", "longest_s", "pause"),
    [(1, 60, 1), (2, 60, 2), (3, 60, 4), (6, 60, 32), (7, 60, 60), (10**9, 60, 60), (1, 0.25, 0.25)],
)
def test_pauses_double_up_to_the_longest(failures, longest_s, pause):
    assert pause_s(failures, longest_s, 0.5) == pytest.approx(pause)


@pytest.mark.parametrize(("chance", "pause"), [(0.0, 48.0), (1.0, 72.0)])
def test_pauses_differ_by_a_fifth_in_both_directions(chance, pause):
    assert pause_s(20, 60.0, chance) == pytest.approx(pause)


def test_a_place_rests_for_a_second_or_as_long_as_the_longest_pause():
    assert (rest_s(60.0), rest_s(0.25)) == (1.0, 0.25)


@pytest.mark.parametrize("parallel", [1, 2, 3, 16])
def test_lines_that_fail_have_half_of_the_places_at_most_and_get_those_first(parallel):
    half = max(1, parallel // 2)

    assert room(parallel, 0, 0) == Room(parallel, half)
    assert room(parallel, 0, half) == Room(parallel - half, 0)
    assert room(parallel, parallel, 0) == Room(0, 0)
    assert room(parallel, parallel - 1, 0) == Room(1, 1)


def test_when_there_are_fewer_places_than_before_nothing_begins_until_they_are_free():
    assert room(2, 3, 1) == Room(0, 0)
