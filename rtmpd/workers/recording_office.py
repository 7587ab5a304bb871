"""
Recording, put together: what is made of what, which tasks run, and in which order it ends.

The server knows this and nothing below it.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from rtmpd.config import Config, RecordingsConfig
from rtmpd.logs import Logger
from rtmpd.net.fanout import FanOut
from rtmpd.net.poller import Poller
from rtmpd.net.tasks import Tasks
from rtmpd.store.database import Database
from rtmpd.store.recordings import RecordingIndex
from rtmpd.workers.feeds import FeedEvent
from rtmpd.workers.housekeeping import Housekeeping
from rtmpd.workers.ledger import Ledger
from rtmpd.workers.mending import Mending
from rtmpd.workers.recorder import Recorder
from rtmpd.workers.retention import Retention, Rules
from rtmpd.workers.studio import Studio
from rtmpd.workers.supervisor import Supervisor
from rtmpd.workers.workshop import Workshop


class RecordingOffice:
    """Everything that a server has for recording."""

    def __init__(
        self,
        config: Config,
        directory: Path,
        database: Database,
        *,
        fanout: FanOut,
        poller: Poller,
        tasks: Tasks,
        log: Logger,
    ) -> None:
        """
        Put it together; follow with `open`.

        Args:
            config: of the server.
            directory: absolute; holds the recordings.
            database: holds their index.
            fanout: feeds the media workers.
            poller: watches the feeds.
            tasks: run what goes on beside.
            log: for what happens to recordings.
        """
        index = RecordingIndex(database)
        self.supervisor = supervisor = Supervisor(
            self._on_event,
            worker_count=config.workers.count,
            queue_bytes=config.workers.queue_bytes,
            memory_bytes=config.workers.memory_bytes,
        )
        self._tasks = tasks
        self._running: list[asyncio.Task[None]] = []
        self._ledger = Ledger(index, log)
        studio = Studio(
            directory=directory,
            keep_s=config.log.recorder_keep_s,
            loop=asyncio.get_running_loop(),
            fanout=fanout,
            poller=poller,
            supervisor=supervisor,
            workshop=Workshop(),
            ledger=self._ledger,
            log=log,
        )
        self._mending = Mending(studio, index)
        self._retention = Retention(index, directory, _rules(config.recordings))
        self._housekeeping = Housekeeping(studio, self._retention, log)
        self.recorder = Recorder(studio, config.apps, self._mending, index)

    async def open(self) -> None:
        """
        Start the media workers and take up what an earlier server left behind.

        Raises:
            StartError: a media worker could not be started.
            StoreError: the index cannot be read.
        """
        await self.recorder.open()
        for name, work in (("ledger", self._ledger), ("mending", self._mending), ("housekeeping", self._housekeeping)):
            self._running.append(self._tasks.supervise(work.run(), name))

    def reload(self, config: Config) -> None:
        """Use another configuration from now on, for what begins from now on."""
        self.recorder.apps = config.apps
        self._retention.rules = _rules(config.recordings)

    async def close(self) -> None:
        """End what goes on beside; after `Recorder.close`, or instead of it when the server could not start."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    def _on_event(self, event: FeedEvent) -> None:
        self.recorder.on_event(event)


def _rules(config: RecordingsConfig) -> Rules:
    return Rules(config.max_age_s, config.max_bytes, config.min_free_bytes)
