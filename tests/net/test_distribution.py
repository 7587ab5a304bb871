"""Durations, counted in buckets."""

from __future__ import annotations

import pytest

from rtmpd.net.distribution import BOUNDS_S, Distribution


def test_each_duration_is_in_the_bucket_of_the_first_bound_that_is_not_shorter():
    distribution = Distribution()
    for duration_s in (0.0, 0.0001, 0.0002, 0.5, 0.9, 1.0, 7.0):
        distribution.add(duration_s)
    cumulative = dict(distribution.cumulative)

    assert cumulative[0.0001] == 2
    assert cumulative[0.0005] == 3
    assert cumulative[0.25] == 3
    assert cumulative[0.5] == 4
    assert cumulative[1.0] == 6
    assert cumulative[float("inf")] == distribution.count == 7
    assert distribution.sum_s == pytest.approx(9.4003)


def test_buckets_never_go_down_and_end_with_all():
    distribution = Distribution()
    for number in range(2000):
        distribution.add(number / 1000)
    counts = [count for _, count in distribution.cumulative]

    assert counts == sorted(counts)
    assert [bound_s for bound_s, _ in distribution.cumulative] == [*BOUNDS_S, float("inf")]
    assert counts[-1] == 2000
