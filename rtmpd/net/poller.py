"""
One selector for every media socket, itself watched by the event loop as a single descriptor.

asyncio spends a Handle, a context switch and two dictionary look-ups on each ready descriptor; with a selector of our
own inside the loop's (epoll and kqueue descriptors can be polled themselves), all of that is spent once for all that
is ready. It also makes a connection cheaper: no Handle and no loop registration for each.

Reading is batched like writing (`rtmpd.net.fanout`): after a turn that cost c seconds the next one waits c / share, at
most `max_delay_s`, so that with hundreds of publishers each read finds several messages. One publisher waits for
nothing.
"""

from __future__ import annotations

import asyncio
import select
import selectors
from typing import Protocol

from rtmpd.net.distribution import Distribution

_READ = selectors.EVENT_READ
_WRITE = selectors.EVENT_WRITE


class SocketOwner(Protocol):
    """
    Who is told that a socket is ready.

    It may be told once more after it was unregistered, by what somebody else did in the same round: asking the
    selector before each call would cost every call what only this rare one needs.
    """

    def on_readable(self) -> bool:
        """Read once and say whether there is probably more; the selector will report it again."""

    def on_writable(self) -> None:
        """Go on writing."""


READ_SHARE = 0.05
"""Of one core: 200 publishers of 73 messages a second then find 7 messages at each read."""
READ_DELAY_S = 0.1
_WORTH_A_TIMER_S = 0.001


class Poller:
    """Readiness of all media sockets."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        slice_s: float,
        share: float = READ_SHARE,
        max_delay_s: float = READ_DELAY_S,
    ) -> None:
        """
        Join the event loop.

        Args:
            loop: the running loop.
            slice_s: after so much work the loop gets a turn, even if more is ready.
            share: part of one core that reading may use before it is made rarer.
            max_delay_s: longest pause between two turns.
        """
        self._loop = loop
        self._slice_s = slice_s
        self._share = share
        self._max_delay_s = max_delay_s
        self._cost_s = 0.0
        self._more = False
        self._ready: list[tuple[selectors.SelectorKey, int]] = []
        self._timer: asyncio.TimerHandle | None = None
        self.turns = Distribution()
        """What it cost to serve all that was ready."""
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

    def is_writable(self, descriptor: int) -> bool:
        """Ask about one socket now, for who cannot wait for its turn; also true where writing would fail."""
        asked = select.poll()
        asked.register(descriptor, select.POLLOUT)
        return bool(asked.poll(0))

    def close(self) -> None:
        """Leave the event loop."""
        if self._timer is not None:
            self._timer.cancel()
        self._loop.remove_reader(self._descriptor)
        self._selector.close()

    def _poll(self) -> None:
        clock = self._loop.time
        began = now = clock()
        limit = began + self._slice_s
        if not self._ready:
            self._ready = self._selector.select(0)
            self._ready.reverse()
        ready = self._ready
        while ready:
            key, events = ready.pop()
            owner = key.data
            if events & _READ and owner.on_readable():
                self._more = True
            if events & _WRITE:
                owner.on_writable()
            now = clock()
            if now > limit and ready:
                # Kept, not asked for again: the selector would name the busiest first each time, and them alone.
                self._cost_s += now - began
                return
        self._pause(self._cost_s + now - began)

    def _pause(self, cost_s: float) -> None:
        self.turns.add(cost_s)
        self._cost_s = 0.0
        more, self._more = self._more, False
        delay_s = min(cost_s / self._share, self._max_delay_s)
        if delay_s >= _WORTH_A_TIMER_S and not more:
            self._loop.remove_reader(self._descriptor)
            self._timer = self._loop.call_later(delay_s, self._resume)

    def _resume(self) -> None:
        self._timer = None
        self._loop.add_reader(self._descriptor, self._poll)
