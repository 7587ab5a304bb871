"""What waits to be written to the database: at once where that can be, and again for as long as the disk takes nothing."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod


class Backlog(ABC):
    """Facts that were noted and are not stored yet; what they are is up to each kind."""

    def __init__(self, retry_s: float) -> None:
        """
        Start with nothing.

        Args:
            retry_s: between two tries.
        """
        self._retry_s = retry_s
        self._changed = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    async def run(self) -> None:
        """Write for ever; to be supervised, and cancelled."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            while self._is_left():
                if not await self._write_group():
                    await asyncio.sleep(self._retry_s)
            self._idle.set()

    async def flush(self, timeout_s: float) -> bool:
        """
        Wait until everything noted is written.

        Args:
            timeout_s: how long.

        Returns:
            Whether it is.
        """
        try:
            async with asyncio.timeout(timeout_s):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True

    def _has_more(self) -> None:
        """Have `run` look again: something was noted."""
        self._idle.clear()
        self._changed.set()

    @abstractmethod
    def _is_left(self) -> bool:
        """Whether anything waits."""

    @abstractmethod
    async def _write_group(self) -> bool:
        """Write what waits now; says whether it makes sense to go on at once."""
