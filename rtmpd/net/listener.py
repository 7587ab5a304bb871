"""Listening sockets, and the connections of RTMP that they accept."""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import Callable

from rtmpd.errors import StartError
from rtmpd.net.acceptor import Acceptor, Admission
from rtmpd.net.connection import Connection
from rtmpd.net.services import Services
from rtmpd.net.transport import TlsTransport, Transport, tune

BACKLOG = 4096
_ELSEWHERE = " (rtmpd can listen elsewhere: --rtmp HOST:PORT, --http HOST:PORT)"
"""Port 8080 is taken on many machines on which a newcomer tries this."""


class Listener(Acceptor):
    """Accepts RTMP."""

    def __init__(
        self,
        services: Services,
        listening: socket.socket,
        admission: Admission,
        tls: Callable[[], ssl.SSLContext] | None = None,
    ) -> None:
        """
        Begin to accept.

        Args:
            services: of the server.
            listening: bound, listening, non-blocking.
            admission: limits on connections.
            tls: gives the context for RTMPS; asked for each connection, so that a renewed certificate is used.
        """
        super().__init__(services, listening, admission)
        self._tls = tls

    def _has_room(self) -> bool:
        return self._services.sockets < self._admission.connections

    def _take(self, connection: socket.socket, address: str) -> bool:
        try:
            tune(connection, self._services.lag_limit_s)
        except OSError:  # reset before it was accepted
            connection.close()
            return False
        transport: Transport = connection if self._tls is None else TlsTransport(connection, self._tls())
        Connection(self._services, transport, address, lambda: self._handshake_done(address))
        return True


def listen(host: str, port: int) -> list[socket.socket]:
    """
    Open listening sockets.

    Args:
        host: a name or address; empty for every interface.
        port: 0 lets the system choose.

    Returns:
        One socket for each address of the host.

    Raises:
        StartError: the port is taken, the address is not ours or the name is unknown.
    """
    try:
        found = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE | socket.AI_ADDRCONFIG
        )
    except socket.gaierror as error:
        raise StartError(f"cannot listen on {host}:{port}: {error.strerror}") from error
    sockets: list[socket.socket] = []
    try:
        sockets.extend(_open(family, address) for family, _, _, _, address in dict.fromkeys(found))
    except OSError as error:
        for each in sockets:
            each.close()
        hint = _ELSEWHERE if error.errno == errno.EADDRINUSE else ""
        raise StartError(f"cannot listen on {host}:{port}: {error.strerror}{hint}") from error
    return sockets


def _open(family: int, address: tuple[object, ...]) -> socket.socket:
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listening.bind(address)
        listening.listen(BACKLOG)
        listening.setblocking(False)
    except OSError:
        listening.close()
        raise
    return listening
