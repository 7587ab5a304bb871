"""Connections of HTTP's listener: how many there may be, and how long one may be silent before it asks for anything."""

from __future__ import annotations

import asyncio

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

MOST_CONNECTIONS = 1024
"""At once, over TCP; more are closed as they come."""
FIRST_REQUEST_S = 10.0
"""From a connection to the end of its first request's headers. Between requests, aiohttp's keep-alive is the limit."""


class Connections:
    """Makes a protocol for each connection that there is room for."""

    def __init__(self, server: web.Server) -> None:
        """
        Start with no connections.

        Args:
            server: aiohttp's, which makes the protocols.
        """
        self._server = server
        self._silent: set[RequestHandler] = set()

    def __call__(self) -> asyncio.Protocol:
        """Make the protocol of a connection; what `loop.create_server` calls."""
        if len(self._server.connections) >= MOST_CONNECTIONS:
            return _TurnedAway()
        protocol = self._server()
        self._silent.add(protocol)
        asyncio.get_running_loop().call_later(FIRST_REQUEST_S, self._close_if_silent, protocol)
        return protocol

    def note(self, request: web.Request) -> None:
        """
        Remember that a connection has asked.

        Args:
            request: its first, or any other.
        """
        self._silent.discard(request.protocol)

    def _close_if_silent(self, protocol: RequestHandler) -> None:
        if protocol in self._silent:
            self._silent.discard(protocol)
            protocol.force_close()


class _TurnedAway(asyncio.Protocol):
    """A connection that there is no room for."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()
