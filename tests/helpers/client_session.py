"""Sessions of aiohttp's client that are over when they are closed."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

import aiohttp

from tests.helpers.processes import PATIENCE_S


@contextlib.asynccontextmanager
async def client_session(**options) -> AsyncIterator[aiohttp.ClientSession]:
    """
    Open a session; behind it all its connections are closed.

    A WebSocket over TLS is closed by aiohttp when its peer has said goodbye, and that is not waited for: where the loop ended
    before, the collector found the transport in some later test.

    Args:
        options: of the connector.

    Returns:
        The session.
    """
    sockets: list[socket.socket] = []

    def create(address) -> socket.socket:
        family, kind, protocol, *_ = address
        sockets.append(socket.socket(family, kind, protocol))
        return sockets[-1]

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(socket_factory=create, **options)) as session:
        yield session
    async with asyncio.timeout(PATIENCE_S):
        while any(each.fileno() != -1 for each in sockets):
            await asyncio.sleep(0.01)
