"""Families of metrics, made of rows: what all that is measured here has in common."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import isinf

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from rtmpd.net.distribution import Distribution

Row = tuple[Sequence[str], float]
"""Values of the labels, and the value."""


def gauge(name: str, about: str, labels: Sequence[str], rows: Iterable[Row]) -> Metric:
    """
    Make a family of what goes up and down.

    Args:
        name: with its unit, if it has one: seconds or bytes.
        about: one sentence.
        labels: their names.
        rows: each combination of label values once.
    """
    return _filled(GaugeMetricFamily(f"rtmpd_{name}", about, labels=labels), rows)


def counter(name: str, about: str, labels: Sequence[str], rows: Iterable[Row]) -> Metric:
    """
    Make a family of what only goes up, until the server starts again.

    Args:
        name: with its unit; "_total" is added to it.
        about: one sentence.
        labels: their names.
        rows: each combination of label values once.
    """
    return _filled(CounterMetricFamily(f"rtmpd_{name}", about, labels=labels), rows)


def histogram(name: str, about: str, distribution: Distribution) -> Metric:
    """
    Make a family of durations.

    Args:
        name: ends in "seconds".
        about: one sentence.
        distribution: of the durations.
    """
    buckets = [("+Inf" if isinf(bound_s) else str(bound_s), count) for bound_s, count in distribution.cumulative]
    return HistogramMetricFamily(f"rtmpd_{name}", about, buckets=buckets, sum_value=distribution.sum_s)


def _filled(family: GaugeMetricFamily | CounterMetricFamily, rows: Iterable[Row]) -> Metric:
    for values, value in rows:
        family.add_metric(values, value)
    return family
