"""Players, counted by stream and kind."""

from __future__ import annotations

from rtmpd.control.audience import Audience, audiences
from tests.helpers.fake_client import FakeClient


def test_players_are_counted_by_stream_and_kind_with_the_worst_lag_and_all_that_was_skipped():
    clients = [
        FakeClient(lag_ms=30, bytes_out=100),
        FakeClient(kind="hls", skipped_ms=500, bytes_out=20),
        FakeClient(lag_ms=90, skipped_ms=40, bytes_out=3),
        FakeClient(path="live/other", lag_ms=7),
    ]

    assert audiences(clients) == {
        "live/s": Audience({"rtmp": 2, "hls": 1}, 90, 540, 123),
        "live/other": Audience({"rtmp": 1}, 7, 0, 0),
    }


def test_who_publishes_or_has_asked_for_nothing_is_no_player():
    assert audiences([FakeClient(role="publish"), FakeClient(role="-", path="-")]) == {}
