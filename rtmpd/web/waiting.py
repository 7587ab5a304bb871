"""Requests that wait until something has become true, without a task for each and without looking again and again."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import NamedTuple

WOKEN_AT_ONCE = 50
"""In one turn of the loop: answering them takes 5 ms, for which everybody else's media wait."""


class _Waiter(NamedTuple):
    is_reached: Callable[[], bool]
    woken: asyncio.Future[None]


class Waiting:
    """Those who wait for one thing to change, each until it has come to what that one needs."""

    def __init__(self) -> None:
        """Start with nobody."""
        self._waiters: dict[_Waiter, None] = {}

    def __len__(self) -> int:
        return len(self._waiters)

    async def until(self, is_reached: Callable[[], bool], timeout_s: float) -> bool:
        """
        Wait.

        Args:
            is_reached: asked now and whenever `look` is called; quick.
            timeout_s: at most so long.

        Returns:
            What it says in the end.
        """
        if is_reached():
            return True
        waiter = _Waiter(is_reached, asyncio.get_running_loop().create_future())
        self._waiters[waiter] = None
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    await waiter.woken
        finally:
            self._waiters.pop(waiter, None)
        return is_reached()

    def look(self) -> None:
        """Something has changed: wake those who need not wait any longer, in the order in which they came."""
        self._wake([waiter for waiter in self._waiters if waiter.is_reached()])

    def dismiss(self) -> None:
        """Wake everybody."""
        self._wake(list(self._waiters))

    def _wake(self, waiters: list[_Waiter]) -> None:
        for waiter in waiters[:WOKEN_AT_ONCE]:
            self._waiters.pop(waiter, None)
            if not waiter.woken.done():
                waiter.woken.set_result(None)
        if len(waiters) > WOKEN_AT_ONCE:
            asyncio.get_running_loop().call_soon(self._wake, waiters[WOKEN_AT_ONCE:])
