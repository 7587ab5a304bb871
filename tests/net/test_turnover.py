"""Connections that come and go: what they did is kept, and counted once."""

from __future__ import annotations

import functools

from rtmpd.net.turnover import MOST_PATHS, Connections
from tests.helpers.fake_client import FakeClient
from tests.helpers.live import key_frame, video_header
from tests.helpers.rig import Rig

a_client = functools.partial(FakeClient, bytes_in=3, bytes_out=100, skipped_ms=40)


def test_what_clients_did_is_kept_by_kind_when_they_have_gone():
    connections = Connections()
    clients = [a_client(), a_client(), a_client(kind="hls", path="live/t"), a_client(role="publish")]
    for client in clients:
        connections.add(client)
    turnover = connections.turnover
    assert (turnover.accepted, turnover.closed, turnover.bytes_in) == ({"rtmp": 3, "hls": 1}, {}, {})
    for client in clients:
        connections.discard(client)

    assert turnover.closed == {("rtmp", "play"): 2, ("hls", "play"): 1, ("rtmp", "publish"): 1}
    assert (turnover.bytes_in, turnover.bytes_out) == ({"rtmp": 9, "hls": 3}, {"rtmp": 300, "hls": 100})
    assert turnover.skipped_ms == {"rtmp": 120, "hls": 40}
    assert turnover.sent_bytes == {"live/s": 200, "live/t": 100}


def test_nobody_is_counted_twice():
    connections = Connections()
    client = a_client()
    connections.discard(client)
    for _ in range(2):
        connections.add(client)
    for _ in range(2):
        connections.discard(client)

    assert (connections.turnover.accepted["rtmp"], connections.turnover.closed["rtmp", "play"]) == (1, 1)
    assert not connections


def test_streams_that_are_made_up_do_not_fill_the_memory():
    connections = Connections()
    for number in range(MOST_PATHS + 10):
        for client in (a_client(path=f"live/{number}"), a_client(path="live/popular")):
            connections.add(client)
            connections.discard(client)
        unsent = a_client(path=f"never/{number}", bytes_out=0)
        connections.add(unsent)
        connections.discard(unsent)

    assert len(connections.turnover.sent_bytes) == MOST_PATHS
    assert "live/10" not in connections.turnover.sent_bytes
    assert "live/11" in connections.turnover.sent_bytes
    assert connections.turnover.sent_bytes["live/popular"] == 100 * (MOST_PATHS + 10)


def test_a_copy_stays_as_it_is():
    connections = Connections()
    connections.add(a_client())
    copy = connections.turnover.copy()
    for client in list(connections):
        connections.discard(client)

    assert (copy.accepted, copy.closed, copy.sent_bytes) == ({"rtmp": 1}, {}, {})


async def test_real_connections_are_counted_with_all_that_they_sent_and_were_sent():
    async with Rig() as rig:
        publisher = await rig.publisher()
        await publisher.send(video_header(), key_frame(0, size=5000))
        player = await rig.player()
        await rig.until(lambda: player.connection.bytes_out > 5000)
        for client in (player, publisher):
            client.close()
        await rig.until(lambda: not rig.services.connections)
        turnover = rig.services.connections.turnover

        assert turnover.closed == {("rtmp", "publish"): 1, ("rtmp", "play"): 1}
        assert turnover.bytes_out["rtmp"] == player.connection.bytes_out == turnover.sent_bytes["live/s"]
        assert turnover.bytes_in["rtmp"] == player.connection.bytes_in + publisher.connection.bytes_in
