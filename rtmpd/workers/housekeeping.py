"""
What has to be done about recordings now and then: room on the disk, retention, an index that tells the truth.

One task; whatever one round runs into is logged, and the next round tries again.
"""

from __future__ import annotations

import asyncio

from rtmpd.errors import StoreError
from rtmpd.logs import Logger
from rtmpd.workers.retention import Retention
from rtmpd.workers.studio import Studio

ROUND_S = 2.0
SWEEP_S = 30.0
_LATE_BYTES = 8 * 1024 * 1024
"""Of media that waits in a worker for its disk: worth a line in the log."""


class Housekeeping:
    """Looks after the recordings of a server."""

    def __init__(self, studio: Studio, retention: Retention, log: Logger) -> None:
        """
        Prepare; `run` does the work.

        Args:
            studio: what all recordings share.
            retention: removes what has to go.
            log: for what was removed, and what is slow.
        """
        self._studio = studio
        self._retention = retention
        self._log = log
        self._late = False

    async def run(self) -> None:
        """Work for ever; to be supervised, and cancelled."""
        await self._verify()
        swept_s = float("-inf")
        while True:
            await self._studio.look_for_room()
            self._look_at_workers()
            now_s = self._studio.loop.time()
            if now_s - swept_s >= SWEEP_S:
                swept_s = now_s
                await self._sweep()
            await asyncio.sleep(ROUND_S)

    async def _verify(self) -> None:
        try:
            gone = await self._retention.verify()
        except (StoreError, OSError) as error:  # the directory is not there: a disk that is not mounted, most likely
            self._log.error("index not verified", reason=str(error))
            return
        for file in gone:
            self._log.warning("recording gone", path=file.path)

    async def _sweep(self) -> None:
        try:
            swept = await self._retention.sweep(self._studio.now())
        except (StoreError, OSError) as error:
            self._log.error("recordings not swept", reason=str(error))
            return
        for removed in swept.removed:
            self._log.info("recording deleted", path=removed.file.path, reason=removed.reason)
        for failure in swept.failed:
            self._log.error("recording not deleted", path=failure.file.path, reason=failure.reason)

    def _look_at_workers(self) -> None:
        """Tell when disks fall behind, and when they have caught up; once each."""
        health = self._studio.supervisor.health
        queued = sum(each.queued_bytes for each in health)
        late = queued > _LATE_BYTES
        if late != self._late:
            self._late = late
            say = self._log.warning if late else self._log.info
            memory = [each.resident_bytes for each in health]
            say("disk is behind" if late else "disk caught up", queued_bytes=queued, worker_memory_bytes=memory)
