"""Recordings, media workers, relays and callbacks, measured."""

from __future__ import annotations

from types import SimpleNamespace

from rtmpd.control import models
from rtmpd.control.metrics.duties import callbacks, recordings, relays, workers
from rtmpd.store.deliveries import Counts
from rtmpd.workers.protocol import Health
from tests.helpers.metrics import Samples
from tests.helpers.pushes import PlayedRow, PlayedStatus


def relay(kind, state, lag_ms=0):
    return models.Relay(
        kind=kind,
        stream="live/s",
        url="rtmp://h/a",
        state=state,
        reason="",
        since=0.0,
        attempts=1,
        bytes=0,
        target_id=None,
        lag_ms=lag_ms,
        skipped_ms=0,
    )


def test_recordings_are_counted_by_origin_and_state():
    statuses = [
        PlayedStatus(PlayedRow(str(number), None, "live", "s", origin=origin), phase)
        for number, (origin, phase) in enumerate([("auto", "running"), ("auto", "running"), ("manual", "waiting")])
    ]

    assert Samples(recordings(statuses)).of("rtmpd_recordings") == {("auto", "running"): 2, ("manual", "waiting"): 1}


def test_workers_of_every_kind_are_told_one_by_one():
    kinds = {
        "recording": SimpleNamespace(health=(Health(100, 5), Health(200, 0)), deaths=3),
        "packaging": SimpleNamespace(health=Health(50, 1), deaths=0),
        "none": SimpleNamespace(health=(), deaths=0),
    }
    samples = Samples(workers(kinds))

    assert samples.of("rtmpd_worker_resident_bytes") == {
        ("recording", "0"): 100,
        ("recording", "1"): 200,
        ("packaging", "0"): 50,
    }
    assert samples.of("rtmpd_worker_queued_bytes") == {
        ("recording", "0"): 5,
        ("recording", "1"): 0,
        ("packaging", "0"): 1,
    }
    assert samples.of("rtmpd_worker_deaths_total") == {("recording",): 3, ("packaging",): 0, ("none",): 0}


def test_relays_are_counted_by_kind_and_state_with_the_worst_lag():
    listed = models.RelayList(
        relays=[
            relay("push", "live", 40),
            relay("push", "live", 1500),
            relay("push", "backing_off"),
            relay("pull", "idle"),
        ]
    )
    samples = Samples(relays(listed))

    assert samples.of("rtmpd_relays") == {("push", "live"): 2, ("push", "backing_off"): 1, ("pull", "idle"): 1}
    assert samples.value("rtmpd_relay_lag_seconds") == 1.5
    assert Samples(relays(models.RelayList(relays=[]))).value("rtmpd_relay_lag_seconds") == 0


def test_callbacks_are_told_by_receiver_without_what_may_be_a_secret():
    secret = "https://me:SECRET@hooks.example/cb?token=SECRET"
    samples = Samples(
        callbacks(
            {secret: Counts(2, 1), "https://hooks.example/cb": Counts(3, 0)},
            {(secret, "delivered"): 7, (secret, "failed"): 2, ("https://hooks.example/cb", "delivered"): 1},
        )
    )
    shown = "https://hooks.example/cb"

    assert samples.of("rtmpd_callbacks") == {(shown, "pending"): 5, (shown, "dead"): 1}
    assert samples.of("rtmpd_callback_attempts_total") == {("delivered", shown): 8, ("failed", shown): 2}


def test_a_database_that_does_not_say_what_is_owed_leaves_only_that_out():
    samples = Samples(callbacks(None, {("http://a", "failed"): 2}))

    assert "rtmpd_callbacks" not in {family.name for family in samples.families}
    assert samples.of("rtmpd_callback_attempts_total") == {("failed", "http://a"): 2}
