"""Requests that wait until something has become true, without a task for each and without looking again and again."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import NamedTuple


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
        """Something has changed: wake those who need not wait any longer."""
        for waiter in [waiter for waiter in self._waiters if waiter.is_reached()]:
            self._wake(waiter)

    def dismiss(self) -> None:
        """Wake everybody."""
        for waiter in list(self._waiters):
            self._wake(waiter)

    def _wake(self, waiter: _Waiter) -> None:
        del self._waiters[waiter]
        if not waiter.woken.done():
            waiter.woken.set_result(None)
