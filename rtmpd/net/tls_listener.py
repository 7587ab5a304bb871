"""
A listening socket whose connections are handed to the loop's own TLS, for HTTPS.

The loop accepts without end and tells nobody who is still in the handshake, so accepting and its limits are ours.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable

from rtmpd.net.acceptor import Acceptor, Admission
from rtmpd.net.services import Services

HANDSHAKE_S = 10.0
"""From a connection to the end of its handshake."""
GOODBYE_S = 10.0
"""For a client to take the last of an answer, and to close its side of TLS."""


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
        try:
            await self._services.loop.connect_accepted_socket(
                self._make,
                connection,
                ssl=self._context,
                ssl_handshake_timeout=HANDSHAKE_S,
                ssl_shutdown_timeout=GOODBYE_S,
            )
        except OSError as error:  # no TLS, too slow, or gone
            connection.close()
            # Its frames hold what was waited for, and that holds the error: a circle of 300 KB, as the buffers of TLS are
            # in it, that would wait for the collector, which hardly ever runs here.
            error.__traceback__ = None
        finally:
            self._handshake_done(address)
