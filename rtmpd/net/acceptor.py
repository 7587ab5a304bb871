"""Accepting: it refuses what exceeds the limits, and survives running out of descriptors."""

from __future__ import annotations

import errno
import socket
from abc import ABC, abstractmethod
from collections import Counter
from dataclasses import dataclass

from rtmpd.address import counted_as
from rtmpd.net.report import RateReporter
from rtmpd.net.services import Services

_ACCEPTS_A_TURN = 64
_RETRY_S = 0.1
_BUSY = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


@dataclass(slots=True)
class Admission:
    """How many connections there may be, and how many that have not yet shown that they speak the protocol."""

    connections: int
    handshaking: int
    handshaking_per_address: int


class Acceptor(ABC):
    """One listening socket and the connections that are still in their handshake."""

    def __init__(self, services: Services, listening: socket.socket, admission: Admission) -> None:
        """
        Begin to accept.

        Args:
            services: of the server.
            listening: bound, listening, non-blocking.
            admission: limits on connections.
        """
        self._services = services
        self._socket = listening
        self._admission = admission
        self._handshaking: Counter[str] = Counter()
        """By address, as `counted_as` has it."""
        self._refusals = RateReporter(services.log, services.loop.time)
        services.loop.add_reader(listening.fileno(), self._accept)

    def close(self) -> None:
        """Stop accepting; accepted connections live on. Harmless when called again."""
        if self._socket.fileno() >= 0:
            self._services.loop.remove_reader(self._socket.fileno())
            self._socket.close()

    @abstractmethod
    def _has_room(self) -> bool:
        """Say whether there may be another connection."""

    @abstractmethod
    def _take(self, connection: socket.socket, address: str) -> bool:
        """Begin with a connection; whether its handshake goes on, until `_handshake_done`. Closes it otherwise."""

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
        limits, counted = self._admission, counted_as(address)
        if (
            not self._has_room()
            or self._handshaking.total() >= limits.handshaking
            or self._handshaking[counted] >= limits.handshaking_per_address
        ):
            connection.close()
            self._refusals.warn("connections refused: a limit on connections is reached")
            return
        self._handshaking[counted] += 1
        if not self._take(connection, address):
            self._handshake_done(address)

    def _handshake_done(self, address: str) -> None:
        counted = counted_as(address)
        self._handshaking[counted] -= 1
        if not self._handshaking[counted]:
            del self._handshaking[counted]

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
