"""Requests of one connection that are being decided, each on its own message stream."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from rtmpd.net.tasks import Tasks


class Decisions:
    """Tasks that answer requests; one ends when its request does, the others go on."""

    __slots__ = ("_pending", "_tasks")

    def __init__(self, tasks: Tasks) -> None:
        """
        Start with none.

        Args:
            tasks: runs them.
        """
        self._tasks = tasks
        self._pending: dict[int, asyncio.Task[None]] = {}

    def start(self, message_stream_id: int, decide: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """
        Begin to decide.

        Args:
            message_stream_id: of the request; the session admits one at a time.
            decide: makes the coroutine, once the task really runs: one that is dropped before would never be awaited.
        """
        self.drop(message_stream_id)
        self._pending[message_stream_id] = self._tasks.supervise(
            self._run(message_stream_id, decide), f"decide on message stream {message_stream_id}"
        )

    def drop(self, message_stream_id: int) -> None:
        """Forget a request that is over; harmless where there is none."""
        task = self._pending.pop(message_stream_id, None)
        if task is not None:
            task.cancel()

    def drop_all(self) -> None:
        """Forget every request."""
        for message_stream_id in list(self._pending):
            self.drop(message_stream_id)

    async def _run(self, message_stream_id: int, decide: Callable[[], Coroutine[Any, Any, None]]) -> None:
        await decide()
        self._pending.pop(message_stream_id, None)
