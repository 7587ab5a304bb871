"""Listening sockets: they accept, refuse what exceeds the limits, and survive running out of descriptors."""

from __future__ import annotations

import errno
import socket
import ssl
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from rtmpd.errors import StartError
from rtmpd.net.connection import Connection
from rtmpd.net.report import RateReporter
from rtmpd.net.services import Services
from rtmpd.net.transport import TlsTransport, Transport, tune

BACKLOG = 4096
_ACCEPTS_A_TURN = 64
_RETRY_S = 0.1
_BUSY = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


@dataclass(slots=True)
class Admission:
    """How many connections there may be, and how many that have not yet shown that they speak RTMP."""

    connections: int
    handshaking: int
    handshaking_per_address: int


class Listener:
    """One listening socket and the connections that are still in their handshake."""

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
        self._services = services
        self._socket = listening
        self._admission = admission
        self._tls = tls
        self._handshaking: Counter[str] = Counter()
        self._refusals = RateReporter(services.log, services.loop.time)
        services.loop.add_reader(listening.fileno(), self._accept)

    def close(self) -> None:
        """Stop accepting; accepted connections live on. Harmless when called again."""
        if self._socket.fileno() >= 0:
            self._services.loop.remove_reader(self._socket.fileno())
            self._socket.close()

    def _accept(self) -> None:
        for _ in range(_ACCEPTS_A_TURN):
            try:
                connection, address = self._socket.accept()
            except (BlockingIOError, ConnectionAbortedError, InterruptedError):
                return
            except OSError as error:
                self._pause(error)
                return
            self._admit(connection, str(address[0]))

    def _admit(self, connection: socket.socket, address: str) -> None:
        limits = self._admission
        if (
            len(self._services.connections) >= limits.connections
            or self._handshaking.total() >= limits.handshaking
            or self._handshaking[address] >= limits.handshaking_per_address
        ):
            connection.close()
            self._refusals.warn("connections refused: a limit on connections is reached")
            return
        try:
            tune(connection, self._services.lag_limit_s)
        except OSError:  # reset before it was accepted
            connection.close()
            return
        transport: Transport = connection if self._tls is None else TlsTransport(connection, self._tls())
        self._handshaking[address] += 1
        Connection(self._services, transport, address, lambda: self._handshake_done(address))

    def _handshake_done(self, address: str) -> None:
        self._handshaking[address] -= 1
        if not self._handshaking[address]:
            del self._handshaking[address]

    def _pause(self, error: OSError) -> None:
        """Out of descriptors or buffers: the backlog waits a moment; anything else is our own bug."""
        if error.errno not in _BUSY:
            raise error
        self._refusals.warn("cannot accept", reason=error.strerror)
        loop = self._services.loop
        loop.remove_reader(self._socket.fileno())
        loop.call_later(_RETRY_S, self._resume)

    def _resume(self) -> None:
        if self._socket.fileno() >= 0:
            self._services.loop.add_reader(self._socket.fileno(), self._accept)


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
        raise StartError(f"cannot listen on {host}:{port}: {error.strerror}") from error
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
