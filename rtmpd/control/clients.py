"""Connections, as they are now."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal

from rtmpd.control import models
from rtmpd.errors import NotPossible
from rtmpd.net.services import Client, Services

_ROLES: dict[str, Literal["publish", "play"]] = {"publish": "publish", "play": "play"}


class Clients:
    """Every connection of a server."""

    def __init__(self, services: Services, *, clock: Callable[[], float] = time.time) -> None:
        """
        Look over the connections of a server.

        Args:
            services: of the server.
            clock: unix seconds.
        """
        self._services = services
        self._clock = clock

    def list(self) -> models.ClientList:
        """Every connection, oldest first."""
        accepted_at = self._clock() - self._services.loop.time()  # of what the loop's clock calls 0
        clients = sorted(self._services.connections, key=lambda client: client.number)
        return models.ClientList(clients=[_show(client, accepted_at + client.accepted_s) for client in clients])

    def kick(self, client_id: int) -> models.Done:
        """
        Disconnect a client.

        Args:
            client_id: its number, as in the list and in log lines.

        Raises:
            NotPossible: "unknown": there is none, or it has gone.
        """
        client = next((each for each in self._services.connections if each.number == client_id), None)
        if client is None:
            raise NotPossible("unknown", f"there is no client {client_id}")
        self._services.log.info("client kicked", client=client.number, role=client.role, stream=client.path)
        client.evict("kicked by an operator")
        return models.Done()


def _show(client: Client, connected_at: float) -> models.ClientInfo:
    return models.ClientInfo(
        client_id=client.number,
        kind=client.kind,
        address=client.address,
        role=_ROLES.get(client.role, "-"),
        stream=client.path,
        connected_at=connected_at,
        bytes_in=client.bytes_in,
        bytes_out=client.bytes_out,
        skipped_ms=client.skipped_ms,
        lag_ms=client.lag_ms,
    )
