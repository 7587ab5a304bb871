"""Pauses double, vary, and end somewhere."""

from __future__ import annotations

import pytest

from rtmpd.net.backoff import FIRST_PAUSE_S, LONGEST_PAUSE_S, pause_s


@pytest.mark.parametrize(("failures", "full_s"), [(1, 0.5), (2, 1), (3, 2), (6, 16), (7, 30), (8, 30), (10**9, 30)])
def test_pauses_double_up_to_the_longest(failures, full_s):
    assert pause_s(failures, 0.0) == full_s / 2
    assert full_s * 0.99 < pause_s(failures, 0.999) < full_s


def test_auto_push_has_had_two_more_tries_within_three_seconds():
    assert pause_s(1, 1.0) + pause_s(2, 1.0) < 3
    assert pause_s(1, 1.0) == FIRST_PAUSE_S
    assert pause_s(99, 1.0) == LONGEST_PAUSE_S
