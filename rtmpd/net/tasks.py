"""
The one place that starts tasks.

A bare task that fails is silent until it is collected, and one that nobody refers to may be collected while it runs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any


class Tasks:
    """Tasks that are owned, reported when they fail, and cancelled together."""

    def __init__(self, on_failure: Callable[[BaseException], None]) -> None:
        """
        Start with no tasks.

        Args:
            on_failure: is given what a task raised, but for its cancellation.
        """
        self._on_failure = on_failure
        self._tasks: set[asyncio.Task[None]] = set()

    def supervise(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """
        Run a coroutine as a task.

        Args:
            work: what to run.
            name: for debugging.

        Returns:
            The task; cancel it when what it works for has gone.
        """
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    async def cancel(self) -> None:
        """Cancel all that run and wait until they have ended."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._on_failure(error)
