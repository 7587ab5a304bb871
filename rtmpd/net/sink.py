"""
A sink: a log's consumer that has a socket.

Raw, TLS and feed sockets differ in `send` alone; the fan-out knows no more of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from rtmpd.live.subscription import Cursor

NO_DESCRIPTOR = -1
"""Of a sink whose owner hears by itself that there is room again, as it writes through a transport of the loop."""


class SinkOwner(Protocol):
    """Who is told what becomes of a sink."""

    def on_readable(self) -> bool:
        """The socket has something to read, or an error to report; whether there is more to read."""

    def on_writable(self) -> None:
        """A full socket has room again."""

    def on_drained(self) -> None:
        """An ending sink has sent everything that it owed."""

    def on_lost(self, reason: str) -> None:
        """The socket failed, or the consumer was too slow."""


class Nobody:
    """The owner of a sink that is served no more: without it sink and owner would keep each other, and the log, alive."""

    def on_readable(self) -> bool:
        """Read nothing."""
        return False

    def on_writable(self) -> None:
        """Write nothing."""

    def on_drained(self) -> None:
        """Care for nothing."""

    def on_lost(self, reason: str) -> None:
        """Lose nothing."""


NOBODY = Nobody()


class Sink(Cursor):
    """A cursor with a socket to write to."""

    __slots__ = (
        "aside",
        "blocked",
        "descriptor",
        "ending",
        "may_jump",
        "owner",
        "patience_s",
        "progressed_s",
        "send",
        "settle",
    )

    def __init__(
        self,
        descriptor: int,
        send: Callable[[memoryview | bytearray], int],
        owner: SinkOwner,
        *,
        patience_s: float,
        may_jump: bool = True,
        settle: Callable[[], bool] | None = None,
    ) -> None:
        """
        Join a cursor and a socket.

        Args:
            descriptor: of the socket, as the poller knows it; or NO_DESCRIPTOR.
            send: takes some of the bytes and returns how many; raises BlockingIOError when it can take none.
            owner: is told of the end.
            patience_s: how long the socket may take nothing before it is given up.
            may_jump: go on at the newest key frame after falling out of the log, rather than be cut off.
            settle: for a transport that takes bytes before the socket does (TLS): writes them, and says whether
                nothing is left.
        """
        super().__init__()
        self.descriptor = descriptor
        self.send = send
        self.owner = owner
        self.patience_s = patience_s
        self.may_jump = may_jump
        self.settle = settle
        self.aside = settle is not None
        """Not for the fan-out's inner loop: blocked, or in need of `settle`."""
        self.blocked = False
        """The socket is full; the poller will say when to go on."""
        self.ending = False
        """Tell the owner when everything is sent."""
        self.progressed_s = 0.0
        """While blocked: when the socket last took anything."""
