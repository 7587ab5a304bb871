"""
Thousands of players for the price of one: the kernel throws their bytes away, and they are polled, not waited for.

`recv` with MSG_TRUNC drops what a TCP socket holds without copying it (tcp(7)). Every player is polled once in
PERIOD_S, a few at a time, so that neither the publisher nor the probes wait for a sweep over all of them.
"""

from __future__ import annotations

import mmap
import socket
from collections.abc import Callable
from operator import add

PERIOD_S = 0.05
_WAKE_S = 0.0025
_SLICE = 128
# never touched, so it costs address space only: recv_into wants a buffer as large as what it may drop
_DROPPED = mmap.mmap(-1, 16 << 20)
_FLAGS = socket.MSG_TRUNC | socket.MSG_DONTWAIT


class Edge:
    """
    The mean of every player's byte count over the sweeps of one stretch of time.

    A difference of two such means, each over a whole number of the source's loops, does not depend on where in a
    batch or in a group of pictures a player happened to be: single readings err by more than the 1 % that counts.
    """

    def __init__(self, players: int) -> None:
        """
        Begin with nothing.

        Args:
            players: how many there are.
        """
        self._sums = [0] * players
        self._owed = 0
        self.sweeps = 0

    def add(self, counts: list[int], owed: int) -> None:
        """
        Take one sweep in.

        Args:
            counts: bytes that each player has received so far.
            owed: bytes that the publisher has caused for each so far.
        """
        self._sums = list(map(add, self._sums, counts))
        self._owed += owed
        self.sweeps += 1

    def shares_until(self, end: Edge) -> list[float]:
        """
        Compare two edges.

        Args:
            end: the later edge.

        Returns:
            For each player what it received between the edges, as a share of what it was owed, sorted.
        """
        first, last = max(1, self.sweeps), max(1, end.sweeps)
        owed = end._owed / last - self._owed / first
        return sorted((b / last - a / first) / owed for a, b in zip(self._sums, end._sums, strict=True))


class Players:
    """All players of one load."""

    def __init__(self) -> None:
        """Begin without any."""
        self.counts: list[int] = []
        self.lost = 0
        """Connections that the server has closed."""
        self.edge: Edge | None = None
        """Takes every sweep in, while there is one."""
        self._sockets: list[socket.socket] = []
        self._receive: list[Callable[[mmap.mmap, int, int], int]] = []
        self._next = 0
        self._turn_s = 0.0

    def __len__(self) -> int:
        """How many there are, those lost included."""
        return len(self.counts)

    def add(self, connection: socket.socket) -> None:
        """
        Take over a connection that plays.

        Args:
            connection: any mode; closed by `close`.
        """
        self._sockets.append(connection)
        self._receive.append(connection.recv_into)
        self.counts.append(0)

    def sweep(self, now_s: float, owed: int) -> float:
        """
        Poll those whose turn has come since the last call, at most a slice of them.

        Args:
            now_s: monotonic time.
            owed: bytes that the publisher has caused for each player so far.

        Returns:
            Seconds after which it wants to be called again.
        """
        total = len(self.counts)
        if now_s - self._turn_s > 2 * PERIOD_S:
            self._turn_s = now_s
        wanted = min(total, int((now_s - self._turn_s) / PERIOD_S * total))
        stop = min(wanted, self._next + _SLICE)
        self._poll(self._next, stop)
        self._next = stop
        if stop == total and now_s - self._turn_s >= PERIOD_S:
            if self.edge is not None:
                self.edge.add(self.counts, owed)
            self._next = 0
            self._turn_s += PERIOD_S
        return 0.0 if stop < wanted else _WAKE_S

    def close(self) -> None:
        """Close every connection."""
        for connection in self._sockets:
            connection.close()

    def _poll(self, start: int, stop: int) -> None:
        counts, receive, dropped, flags = self.counts, self._receive, _DROPPED, _FLAGS
        for index in range(start, stop):
            try:
                count = receive[index](dropped, 0, flags)
            except BlockingIOError:
                continue
            except OSError:
                count = 0
            if count:
                counts[index] += count
            else:
                self.lost += 1
                receive[index] = _nothing


def _nothing(_buffer: mmap.mmap, _size: int, _flags: int) -> int:
    """Stand in for a closed connection."""
    raise BlockingIOError
