"""Families of metrics, made of rows."""

from __future__ import annotations

from prometheus_client import generate_latest

from rtmpd.control.metrics.exposition import _One
from rtmpd.control.metrics.families import counter, gauge, histogram
from rtmpd.net.distribution import Distribution


def text(family):
    return generate_latest(_One(family)).decode().splitlines()


def test_a_gauge_has_a_sample_for_each_row():
    lines = text(gauge("things", "Things.", ["kind"], [(["a"], 1), (["b"], 2.5)]))

    assert lines == [
        "# HELP rtmpd_things Things.",
        "# TYPE rtmpd_things gauge",
        'rtmpd_things{kind="a"} 1.0',
        'rtmpd_things{kind="b"} 2.5',
    ]


def test_a_counter_ends_in_total():
    assert text(counter("sent_bytes", "Bytes.", (), [((), 7)]))[2:] == ["rtmpd_sent_bytes_total 7.0"]


def test_a_histogram_has_cumulative_buckets_a_count_and_a_sum():
    distribution = Distribution()
    for duration_s in (0.002, 0.5, 3.0):
        distribution.add(duration_s)
    lines = text(histogram("pass_seconds", "Passes.", distribution))

    assert 'rtmpd_pass_seconds_bucket{le="0.0025"} 1.0' in lines
    assert 'rtmpd_pass_seconds_bucket{le="+Inf"} 3.0' in lines
    assert lines[-2:] == ["rtmpd_pass_seconds_count 3.0", "rtmpd_pass_seconds_sum 3.502"]


def test_what_clients_call_their_streams_stays_in_its_quotation_marks():
    (line,) = text(gauge("streams", "Streams.", ["stream"], [(['live/"}\n\\x 1'], 1)]))[2:]

    assert line == 'rtmpd_streams{stream="live/\\"}\\n\\\\x 1"} 1.0'
