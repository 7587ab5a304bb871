"""
One selector for every media socket, itself watched by the event loop as a single descriptor.

asyncio spends a Handle, a context switch and two dictionary look-ups on each ready descriptor; with a selector of our
own inside the loop's (epoll and kqueue descriptors can be polled themselves), all of that is spent once for all that
is ready. It also makes a connection cheaper: no Handle and no loop registration for each.
"""

from __future__ import annotations

import asyncio
import selectors
from typing import Protocol

_READ = selectors.EVENT_READ
_WRITE = selectors.EVENT_WRITE


class SocketOwner(Protocol):
    """
    Who is told that a socket is ready.

    It may be told once more in the turn in which it was unregistered, by what somebody else did in that turn: asking
    the selector before each call would cost every call what only this rare one needs.
    """

    def on_readable(self) -> None:
        """Read once; the selector is level-triggered and will say so again if there is more."""

    def on_writable(self) -> None:
        """Go on writing."""


class Poller:
    """Readiness of all media sockets."""

    def __init__(self, loop: asyncio.AbstractEventLoop, slice_s: float) -> None:
        """
        Join the event loop.

        Args:
            loop: the running loop.
            slice_s: after so much work the loop gets a turn, even if more is ready.
        """
        self._loop = loop
        self._slice_s = slice_s
        self._selector = selectors.DefaultSelector()
        descriptor = getattr(self._selector, "fileno", None)
        if descriptor is None:  # poll and select based selectors have no descriptor of their own
            raise NotImplementedError("rtmpd needs epoll or kqueue")
        self._descriptor: int = descriptor()
        loop.add_reader(self._descriptor, self._poll)

    def register(self, descriptor: int, owner: SocketOwner) -> None:
        """Watch a socket for reading."""
        self._selector.register(descriptor, _READ, owner)

    def watch(self, descriptor: int, owner: SocketOwner, *, writable: bool) -> None:
        """Watch a registered socket for writing too, or no longer."""
        events = _READ | _WRITE if writable else _READ
        self._selector.modify(descriptor, events, owner)

    def unregister(self, descriptor: int) -> None:
        """Forget a socket; call this before it is closed."""
        self._selector.unregister(descriptor)

    def close(self) -> None:
        """Leave the event loop."""
        self._loop.remove_reader(self._descriptor)
        self._selector.close()

    def _poll(self) -> None:
        clock = self._loop.time
        limit = clock() + self._slice_s
        for key, events in self._selector.select(0):
            owner = key.data
            if events & _READ:
                owner.on_readable()
            if events & _WRITE:
                owner.on_writable()
            if clock() > limit:
                return
