"""Connections and what they carry: totals that never go back."""

from __future__ import annotations

import functools

from rtmpd.control.metrics.traffic import Census, traffic
from rtmpd.net.turnover import Connections
from tests.helpers.fake_client import FakeClient
from tests.helpers.metrics import Samples

a_client = functools.partial(FakeClient, bytes_in=10, bytes_out=1000, skipped_ms=500, lag_ms=20)


def samples_of(connections):
    census = Census()
    census.count(connections)
    return Samples(traffic(census, connections.turnover)), census


def test_connections_are_counted_by_kind_and_role():
    connections = Connections()
    for client in (a_client(), a_client(), a_client(kind="hls"), a_client(role="publish", bytes_out=0)):
        connections.add(client)
    samples, census = samples_of(connections)

    assert samples.of("rtmpd_clients") == {("rtmp", "play"): 2, ("hls", "play"): 1, ("rtmp", "publish"): 1}
    assert samples.of("rtmpd_clients_accepted_total") == {("rtmp",): 3, ("hls",): 1}
    assert samples.of("rtmpd_received_bytes_total") == {("rtmp",): 30, ("hls",): 10}
    assert samples.of("rtmpd_sent_bytes_total") == {("rtmp",): 2000, ("hls",): 1000}
    assert samples.of("rtmpd_skipped_seconds_total") == {("rtmp",): 1.5, ("hls",): 0.5}
    assert (census.audiences["live/s"].bytes_out, census.audiences["live/s"].lag_ms) == (3000, 20)


def test_totals_stay_when_clients_go():
    connections = Connections()
    client = a_client()
    connections.add(client)
    before, _ = samples_of(connections)
    connections.discard(client)
    after, _ = samples_of(connections)

    for name in ("received_bytes", "sent_bytes", "skipped_seconds", "clients_accepted"):
        assert before.of(f"rtmpd_{name}_total") == after.of(f"rtmpd_{name}_total") != {}
    assert after.of("rtmpd_clients") == {}
    assert after.of("rtmpd_clients_closed_total") == {("rtmp", "play"): 1}
