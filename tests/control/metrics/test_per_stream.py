"""Streams: how many, and what comes and goes of each; strangers cannot make up any."""

from __future__ import annotations

from rtmpd.control.audience import Audience
from rtmpd.control.metrics import per_stream as module
from rtmpd.control.metrics.per_stream import per_stream, rows_of, totals
from tests.helpers.live import audio_frame, inter_frame, key_frame, new_registry, publish_to
from tests.helpers.metrics import Samples


def samples_of(registry, audiences=None, sent_bytes=None):
    return Samples(per_stream(rows_of(registry, audiences or {}, sent_bytes or {})))


def test_a_stream_has_what_came_and_what_was_sent():
    registry = new_registry()
    publication = publish_to(registry)
    publication.extend([key_frame(0), inter_frame(40), audio_frame(40)], 0.0)
    audience = Audience()
    audience.kinds.update({"rtmp": 2, "hls": 1})
    audience.bytes_out, audience.lag_ms, audience.skipped_ms = 500, 1200, 40
    samples = samples_of(registry, {"live/s": audience}, {"live/s": 70})

    assert samples.of("rtmpd_stream_received_bytes_total") == {("live/s",): publication.stream.log.end}
    assert samples.of("rtmpd_stream_frames_total") == {("video", "live/s"): 2, ("audio", "live/s"): 1}
    assert samples.of("rtmpd_stream_sent_bytes_total") == {("live/s",): 570}
    assert samples.of("rtmpd_stream_players") == {("rtmp", "live/s"): 2, ("hls", "live/s"): 1}
    assert samples.of("rtmpd_stream_lag_seconds") == {("live/s",): 1.2}
    assert samples.of("rtmpd_stream_skipped_seconds") == {("live/s",): 0.04}


def test_a_stream_whose_publisher_dropped_keeps_its_metrics():
    registry = new_registry()
    publication = publish_to(registry)
    publication.append(key_frame(0), 0.0)
    registry.unpublish(publication, "gone", 10.0)

    assert samples_of(registry).of("rtmpd_stream_received_bytes_total") == {("live/s",): publication.stream.log.end}
    assert Samples(totals(registry)).of("rtmpd_streams") == {("live", "grace"): 1}


def test_names_that_players_make_up_have_no_metrics_of_their_own():
    registry = new_registry()
    publish_to(registry)
    for number in range(50):
        registry.join("live", f"made-up-{number}", object())

    assert samples_of(registry).of("rtmpd_stream_lag_seconds") == {("live/s",): 0}
    assert Samples(totals(registry)).of("rtmpd_streams") == {("live", "live"): 1, ("live", "idle"): 50}
    assert Samples(totals(registry)).value("rtmpd_streams_left_out") == 0


def test_only_so_many_streams_have_metrics_of_their_own_and_the_others_are_counted(monkeypatch):
    monkeypatch.setattr(module, "MOST_STREAMS", 3)
    registry = new_registry()
    for number in range(5):
        publish_to(registry, f"s{number}")

    assert set(samples_of(registry).of("rtmpd_stream_lag_seconds")) == {("live/s0",), ("live/s1",), ("live/s2",)}
    assert Samples(totals(registry)).value("rtmpd_streams_left_out") == 2
