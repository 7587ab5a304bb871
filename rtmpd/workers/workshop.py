"""
The worker process for jobs on files (`rtmpd.workers.jobs`), as the server's event loop sees it.

It is another process than those that record, so that a file that makes FFmpeg crash costs no recording; it is started
with the first job and let go when there is none, as most servers seldom need it.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from rtmpd.errors import UsageError
from rtmpd.workers import protocol
from rtmpd.workers.child import WorkerChild

DIED = "died"
"""Outcome of a job whose worker died with it."""


class Workshop:
    """Has jobs done, one after another."""

    def __init__(self) -> None:
        """Prepare; the process is started with the first job."""
        self._child: WorkerChild | None = None
        self._alive: set[WorkerChild] = set()
        """The process in use, and those that were let go and have not ended yet."""
        self._waiting: dict[int, asyncio.Future[protocol.JobDone]] = {}
        self._last_id = 0

    async def run(self, kind: str, file_format: str, path: Path) -> protocol.JobDone:
        """
        Have a job done.

        Args:
            kind: a key of `rtmpd.workers.jobs.JOBS`.
            file_format: of the file.
            path: absolute.

        Returns:
            What became of it; its outcome is `DIED` where the worker died meanwhile.

        Raises:
            OSError: no process to be had.
        """
        if self._child is None:
            self._child = self._spawn()
        self._last_id += 1
        job = protocol.Job(self._last_id, kind, file_format, str(path))
        done: asyncio.Future[protocol.JobDone] = asyncio.get_running_loop().create_future()
        self._waiting[job.job_id] = done
        self._child.send(job)
        try:
            return await done
        finally:
            del self._waiting[job.job_id]

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
        child = WorkerChild(self._take, lambda _pid, reason: self._mourn(child, reason))
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
