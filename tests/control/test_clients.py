"""Connections as they are shown, and clients that are kicked: with real ones."""

from __future__ import annotations

import pytest

from rtmpd.control.clients import Clients
from rtmpd.errors import NotPossible
from tests.helpers.rig import Rig


async def test_connections_are_listed_oldest_first_with_what_they_do():
    async with Rig() as rig:
        clients = Clients(rig.services, clock=lambda: 1_000_000.0 + rig.loop.time())
        publisher = await rig.publisher()
        player = await rig.player(address="2001:db8::1")
        rig.connect()
        first, second, third = clients.list().clients

        assert [each.kind for each in (first, second, third)] == ["rtmp"] * 3
        assert (first.role, first.stream, first.address) == ("publish", "live/s", "192.0.2.1")
        assert (second.role, second.stream, second.address) == ("play", "live/s", "2001:db8::1")
        assert (third.role, third.stream) == ("-", "-")
        assert first.client_id == publisher.connection.number < second.client_id == player.connection.number
        assert first.connected_at == pytest.approx(1_000_000.0 + publisher.connection.accepted_s)
        assert first.bytes_in > 0
        assert (second.bytes_out, second.lag_ms) == (player.connection.bytes_out, 0)


async def test_a_client_that_is_kicked_has_gone():
    async with Rig() as rig:
        clients = Clients(rig.services)
        client = await rig.publisher()
        number = client.connection.number
        assert clients.kick(number).model_dump() == {"already": False, "notes": []}

        assert clients.list().clients == []
        assert [line["reason"] for line in rig.closed()] == ["kicked by an operator"]
        assert [line["client"] for line in rig.lines if line["event"] == "client kicked"] == [number]
        with pytest.raises(NotPossible, match=f"there is no client {number}") as raised:
            clients.kick(number)
        assert raised.value.kind == "unknown"
