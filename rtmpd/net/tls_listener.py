"""
A listening socket whose connections are handed to the loop's own TLS, for HTTPS.

The loop accepts without end and tells nobody who is still in the handshake, so accepting and its limits are ours.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from asyncio.sslproto import SSLProtocol
from collections.abc import Callable

from rtmpd.net.acceptor import Acceptor, Admission
from rtmpd.net.services import Services

HANDSHAKE_S = 10
"""From a connection to the end of its handshake."""
GOODBYE_S = 10
"""For a client to take the last of an answer, and to close its side of TLS."""
READ_BYTES = 16 * 1024
"""Taken from a connection at a time."""


class TlsListener(Acceptor):
    """Accepts TLS."""

    def __init__(
        self,
        services: Services,
        listening: socket.socket,
        admission: Admission,
        context: ssl.SSLContext,
        make: Callable[[], asyncio.Protocol],
    ) -> None:
        """
        Begin to accept.

        Args:
            services: of the server.
            listening: bound, listening, non-blocking.
            admission: limits on connections in their handshake; `make` sees to the others.
            context: with the certificate.
            make: makes the protocol of a connection.
        """
        super().__init__(services, listening, admission)
        self._context = context
        self._make = make

    def _has_room(self) -> bool:
        return True

    def _take(self, connection: socket.socket, address: str) -> bool:
        connection.setblocking(False)
        self._services.tasks.supervise(self._shake_hands(connection, address), "TLS handshake")
        return True

    async def _shake_hands(self, connection: socket.socket, address: str) -> None:
        loop = self._services.loop
        shaken: asyncio.Future[None] = loop.create_future()
        tls = _Tls(
            loop,
            self._make(),
            self._context,
            shaken,
            server_side=True,
            ssl_handshake_timeout=HANDSHAKE_S,
            ssl_shutdown_timeout=GOODBYE_S,
        )
        try:
            await loop.connect_accepted_socket(lambda: tls, connection)
            await shaken
        except OSError as error:  # no TLS, too slow, or gone
            connection.close()
            # Its frames hold what was waited for, and that holds the error: a circle, with all buffers of TLS in it, that
            # would wait for the collector, which hardly ever runs here.
            error.__traceback__ = None
        finally:
            self._handshake_done(address)


class _Tls(SSLProtocol):
    """The loop's TLS, with less of a buffer: its own are 256 KB for each connection, from its first byte on."""

    max_size = READ_BYTES
