"""
The worker process for jobs on files (`rtmpd.workers.jobs`), as the server's event loop sees it.

It is another process than those that record, so that a file that makes FFmpeg crash costs no recording; it is started
with the first job and let go when there is none, as most servers seldom need it. Files are repaired in one of them, and
pictures are made in others (`rtmpd.workers.thumbnails`).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path

from rtmpd.errors import UsageError
from rtmpd.workers import protocol
from rtmpd.workers.child import WorkerChild

DIED = "died"
"""Outcome of a job whose worker died with it."""


class Workshop:
    """Has jobs done, one after another."""

    def __init__(self, arguments: Sequence[str] = ()) -> None:
        """
        Prepare; the process is started with the first job.

        Args:
            arguments: for its command line.
        """
        self._arguments = arguments
        self._child: WorkerChild | None = None
        self._alive: set[WorkerChild] = set()
        """The process in use, and those that were let go and have not ended yet."""
        self._waiting: dict[int, asyncio.Future[protocol.JobDone]] = {}
        self._last_id = 0

    @property
    def is_running(self) -> bool:
        """Whether there is a process already."""
        return self._child is not None

    async def run(
        self, kind: str, file_format: str, path: Path | str, descriptors: Sequence[int] = ()
    ) -> protocol.JobDone:
        """
        Have a job done.

        Args:
            kind: as `protocol.Job` has it.
            file_format: of the file.
            path: absolute; empty where the job is about no file.
            descriptors: go with it, and are closed in any case.

        Returns:
            What became of it; its outcome is `DIED` where the worker died meanwhile.

        Raises:
            OSError: no process to be had.
        """
        if self._child is None:
            try:
                self._child = self._spawn()
            except OSError:
                for descriptor in descriptors:
                    os.close(descriptor)
                raise
        self._last_id += 1
        job = protocol.Job(self._last_id, kind, file_format, str(path))
        done: asyncio.Future[protocol.JobDone] = asyncio.get_running_loop().create_future()
        self._waiting[job.job_id] = done
        self._child.send(job, descriptors)
        try:
            return await done
        finally:
            del self._waiting[job.job_id]

    def kill(self) -> None:
        """End the process at once, and with it what it does; the next job has another one."""
        if self._child is not None:
            self._child.kill()

    def rest(self) -> None:
        """Let the process go until there is another job; harmless where there is none."""
        child, self._child = self._child, None
        if child is not None:
            child.hang_up()

    def stop(self) -> None:
        """End the process; every job can be begun again by the next server."""
        self._child = None
        for child in self._alive:
            child.release()
        self._alive.clear()
        self._give_up("the server stops")

    def _spawn(self) -> WorkerChild:
        child = WorkerChild(self._take, lambda _pid, reason: self._mourn(child, reason), self._arguments)
        child.spawn()
        self._alive.add(child)
        return child

    def _take(self, packet: protocol.Packet) -> None:
        match packet:
            case protocol.JobDone():
                done = self._waiting.get(packet.job_id)
                if done is not None and not done.done():
                    done.set_result(packet)
            case protocol.Ready() | protocol.Health():
                pass
            case _:
                raise UsageError(f"no word of a worker that does jobs: {packet}")

    def _mourn(self, child: WorkerChild, reason: str) -> None:
        self._alive.discard(child)
        if child is self._child:
            self._child = None
            self._give_up(reason)

    def _give_up(self, reason: str) -> None:
        for job_id, done in self._waiting.items():
            if not done.done():
                done.set_result(protocol.JobDone(job_id, DIED, reason))
