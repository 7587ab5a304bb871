"""
The bounded queue between a worker's reader thread and the writer thread of one recording.

A slow disk fills the queue of its own recordings only: the reader then leaves their feeds alone until half of the
queue has been written, and the server's cursor falls behind instead of the memory growing. All queues of a worker
share a budget; once it is spent, whoever holds more than an equal share of it waits.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

BATCH_BYTES = 4 * 1024 * 1024
"""The most that one `take` returns: a backlog is parsed in pieces, not all at once."""


class Budget:
    """What all queues of a worker may hold together."""

    def __init__(self, limit_bytes: int) -> None:
        """
        Start with nothing spent.

        Args:
            limit_bytes: of all queues together.
        """
        self._limit_bytes = limit_bytes
        self._lock = threading.Lock()
        self._queues = 0
        self.used_bytes = 0
        """In all queues now."""

    @property
    def spent(self) -> bool:
        """Whether there is nothing left."""
        return self.used_bytes >= self._limit_bytes

    @property
    def share_bytes(self) -> int:
        """What each queue may hold in any case."""
        return self._limit_bytes // max(1, self._queues)

    def join(self, queues: int) -> None:
        """Count a queue in (1) or out (-1)."""
        with self._lock:
            self._queues += queues

    def spend(self, size: int) -> None:
        """Take bytes from the budget, or give them back (negative)."""
        with self._lock:
            self.used_bytes += size


class FeedQueue:
    """Chunks of one feed, in order."""

    def __init__(self, limit_bytes: int, on_room: Callable[[], None], budget: Budget | None = None) -> None:
        """
        Start empty.

        Args:
            limit_bytes: above this the queue is full; the chunk that fills it is still taken.
            on_room: called in the writer's thread when a full queue has been emptied to half.
            budget: shared with the worker's other queues.
        """
        self._limit_bytes = limit_bytes
        self._on_room = on_room
        self._budget = budget or Budget(limit_bytes)
        self._budget.join(1)
        self._changed = threading.Condition()
        self._chunks: deque[bytes] = deque()
        self._ended = False
        self._full = False
        self.size = 0
        """Bytes in the queue."""

    @property
    def _may_hold_bytes(self) -> int:
        budget = self._budget
        return min(self._limit_bytes, budget.share_bytes) if budget.spent else self._limit_bytes

    def put(self, data: bytes) -> bool:
        """
        Append a chunk; called by the reader.

        Returns:
            Whether there is room for another; if not, `on_room` will tell when.
        """
        with self._changed:
            self._chunks.append(data)
            self.size += len(data)
            self._budget.spend(len(data))
            self._full = self.size >= self._may_hold_bytes
            self._changed.notify()
            return not self._full

    def end(self) -> None:
        """Say that nothing comes any more; called by the reader."""
        with self._changed:
            self._ended = True
            self._changed.notify()

    def discard(self) -> None:
        """Let go of what nobody will take any more; called by the reader after the writer's end."""
        with self._changed:
            self._chunks.clear()
            self._budget.spend(-self.size)
            self._budget.join(-1)
            self.size = 0

    def take(self, timeout_s: float | None) -> list[bytes] | None:
        """
        Wait for chunks; called by the writer.

        Args:
            timeout_s: seconds to wait at most; None waits for ever.

        Returns:
            Up to BATCH_BYTES of chunks, at least one; none after the timeout; None at the end.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._chunks or self._ended, timeout_s)
            if not self._chunks:
                return None if self._ended else []
            taken: list[bytes] = []
            taken_bytes = 0
            while self._chunks and (not taken or taken_bytes + len(self._chunks[0]) <= BATCH_BYTES):
                taken.append(self._chunks.popleft())
                taken_bytes += len(taken[-1])
            self.size -= taken_bytes
            self._budget.spend(-taken_bytes)
            has_room = self._full and self.size <= self._may_hold_bytes // 2
            if has_room:
                self._full = False
        if has_room:
            self._on_room()
        return taken
