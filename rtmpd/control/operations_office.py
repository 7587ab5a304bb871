"""
The operations, put together: what is made of what, what is followed, and in which order it begins and ends.

The server knows this and nothing below it.
"""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple

from rtmpd.config import Config
from rtmpd.control import models
from rtmpd.control.callbacks import Callbacks
from rtmpd.control.clients import Clients
from rtmpd.control.commits import Commits
from rtmpd.control.draining import Drainer
from rtmpd.control.files import Files
from rtmpd.control.operations import Desks, Operations
from rtmpd.control.publications import Publications
from rtmpd.control.pulls import Pulls
from rtmpd.control.push_desk import PushDesk
from rtmpd.control.push_recordings import PushRecordings
from rtmpd.control.pushes import Pushes
from rtmpd.control.reach import Reach
from rtmpd.control.records import Records
from rtmpd.control.relay_dialler import RelayDialler
from rtmpd.control.relay_news import RelayNews
from rtmpd.control.relay_views import RelayDesk
from rtmpd.control.relayed import RelayTools
from rtmpd.control.relays import Relays
from rtmpd.control.streams import Measures, Streams
from rtmpd.control.urls import Listening, bases
from rtmpd.errors import NotPossible, StartError
from rtmpd.net.services import Services
from rtmpd.session.limits import ClientLimits
from rtmpd.store.database import Database
from rtmpd.store.deliveries import Deliveries
from rtmpd.store.recordings import RecordingIndex
from rtmpd.workers.recorder import Recorder
from rtmpd.workers.retention import Retention, Rules


class Around(NamedTuple):
    """What operations work on."""

    services: Services
    database: Database
    recorder: Recorder
    publications: Publications
    """Take what is told of relays."""
    recordings: Path
    """The directory that holds them, absolute."""
    listening: Listening
    measures: Measures
    pulls: Pulls
    wake: Callable[[], None]
    """Has callbacks that are due delivered."""
    drainer: Drainer
    describe: Callable[[], models.ServerInfo]
    reload: Callable[[], Awaitable[models.Reloaded]]


class OperationsOffice:
    """Everything that a server has for its operations."""

    def __init__(self, config: Config, around: Around) -> None:
        """
        Put it together; follow with `open`.

        Args:
            config: of the server.
            around: what they work on.
        """
        services, recorder = around.services, around.recorder
        log = services.log
        self._around = around
        self._reach = Reach(config.rooms, bases(config.urls, around.listening))
        self._commits = Commits(around.database, log)
        recordings = PushRecordings(recorder, services.tasks, log)
        self._pushes = Pushes(self._commits, services.registry, recordings, config.apps, tasks=services.tasks, log=log)
        self._relays = Relays(_relay_tools(around), self._pushes, config.apps)
        self._streams = Streams(services, recorder, self._pushes, self._reach, around.measures)
        self._writing: asyncio.Task[None] | None = None
        index = RecordingIndex(around.database)
        # No rules: this one only deletes what it is told to.
        retention = Retention(index, around.recordings, Rules())
        self.operations = Operations(
            Desks(
                streams=self._streams,
                clients=Clients(services),
                pushes=PushDesk(self._pushes, self._reach, self._relays),
                relays=RelayDesk(self._relays.views, around.pulls.states),
                records=Records(recorder, services.registry, self._pushes, self._reach, around.pulls.bring, log),
                files=Files(index, retention, self._reach, log),
                callbacks=Callbacks(Deliveries(around.database), around.wake, log),
                drainer=around.drainer,
                describe=around.describe,
                reload=around.reload,
            )
        )

    async def open(self) -> None:
        """
        Go on with the pushes of an earlier server, and follow streams; after recording, before anybody can publish.

        Raises:
            StartError: the database does not answer.
        """
        try:
            await self._pushes.take_up()
        except NotPossible as error:
            raise StartError(f"cannot read the pushes: {error}") from error
        # The recorder comes first: a push finds what records its stream already, and relays find what a push has done.
        self._around.services.registry.observers += [self._pushes, self._relays, self._streams]
        self._writing = self._around.services.tasks.supervise(self._commits.run(), "pushes")

    def tick(self, now: float) -> None:
        """
        Do what has its time; about once a second.

        Args:
            now: unix seconds.
        """
        self._pushes.tick(now)

    def reload(self, config: Config) -> None:
        """Use another configuration from now on."""
        self._pushes.apps = config.apps
        self._relays.reload(config.apps)
        self._reach.rooms = config.rooms
        self._reach.bases = bases(config.urls, self._around.listening)

    async def close(self, timeout_s: float) -> None:
        """
        See relays off, and write what is noted of pushes; after all streams have ended, before the database is closed.

        Args:
            timeout_s: for the targets, and for the database.
        """
        await self._relays.close(timeout_s)
        if not await self._commits.flush(timeout_s):
            self._around.services.log.error("pushes not written", reason="the database did not take everything")
        if self._writing is not None:
            self._writing.cancel()
            await asyncio.gather(self._writing, return_exceptions=True)


def _relay_tools(around: Around) -> RelayTools:
    services = around.services
    return RelayTools(
        services,
        RelayDialler(services.lag_limit_s).dial,
        ClientLimits(**dataclasses.asdict(services.limits)),
        RelayNews(around.publications, services.log, time.time),
        time.time,
    )
