"""Listening: limits, taken ports, and running out of descriptors."""

from __future__ import annotations

import asyncio
import socket

import pytest

from rtmpd.errors import StartError
from rtmpd.net.listener import Listener, listen
from tests.helpers.elsewhere import Elsewhere
from tests.helpers.listening import Listening, refused
from tests.helpers.rig import Rig


class Door(Listening):
    """A listener of RTMP."""

    def __init__(self, rig, **admission):
        super().__init__(lambda listening, limits: Listener(rig.services, listening, limits), **admission)


async def test_accepts_until_the_limit_on_connections_and_closes_the_rest_at_once():
    async with Rig() as rig:
        with Door(rig, connections=3) as door:
            clients = [door.knock() for _ in range(5)]
            await rig.until(lambda: sum(map(refused, clients)) == 2)

            assert len(rig.services.connections) == 3
            assert rig.lines[0]["event"].startswith("connections refused")


@pytest.mark.parametrize("limit", ["handshaking", "handshaking_per_address"])
async def test_half_open_connections_are_bounded_and_make_room_when_they_go(limit):
    async with Rig() as rig:
        with Door(rig, **{limit: 2}) as door:
            clients = [door.knock() for _ in range(3)]
            await rig.until(lambda: sum(map(refused, clients)) == 1)
            for client in clients:
                client.close()
            await rig.until(lambda: not rig.services.connections)
            again = door.knock()
            await rig.until(lambda: len(rig.services.connections) == 1)
            assert not refused(again)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("2001:db8::1", "2001:db8::2", "2001:db8::3"), "2001:db8:0:1::1"),
        (("192.0.2.1", "::ffff:192.0.2.1", "192.0.2.1"), "192.0.2.2"),
    ],
)
async def test_all_that_one_host_may_call_itself_counts_together(one, other):
    async with Rig() as rig:
        with Door(rig, handshaking_per_address=2) as door:
            door.listener._socket = Elsewhere(door.socket, *one, other, one[2])
            *clients, stranger = [door.knock() for _ in range(4)]
            await rig.until(lambda: len(rig.services.connections) == 3)
            await rig.until(lambda: refused(clients[2]))
            assert [refused(each) for each in (*clients, stranger)] == [False, False, True, False]
            assert {each.address for each in rig.services.connections} == {*one[:2], other}

            clients[0].close()
            await rig.until(lambda: len(rig.services.connections) == 2)
            door.knock()
            await rig.until(lambda: len(rig.services.connections) == 3)


async def test_without_descriptors_the_backlog_waits_and_is_served_later():
    async with Rig() as rig:
        with Door(rig) as door:
            with door.without_descriptors():
                door.knock()
                await rig.until(lambda: rig.lines)
                assert rig.lines[0]["event"] == "cannot accept"
            await rig.until(lambda: len(rig.services.connections) == 1)


async def test_taken_port_is_one_clear_line():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(StartError, match=rf"cannot listen on 127.0.0.1:{port}: Address already in use"):
            listen("127.0.0.1", port)


async def test_unknown_host_is_one_clear_line():
    with pytest.raises(StartError, match=r"cannot listen on no.such.host.invalid:1935"):
        listen("no.such.host.invalid", 1935)


async def test_burst_of_connections_is_accepted_over_several_turns():
    async with Rig() as rig:
        with Door(rig, connections=500, handshaking=500, handshaking_per_address=500) as door:
            for _ in range(200):
                door.knock()
            await asyncio.wait_for(rig.until(lambda: len(rig.services.connections) == 200), 10)
