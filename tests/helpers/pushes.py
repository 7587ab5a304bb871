"""Pushes with a real database and real streams, and a recorder that the test plays."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass, field
from types import SimpleNamespace

from rtmpd.config_file import validate
from rtmpd.control.commits import Commits
from rtmpd.control.push_recordings import ALIVE, PushRecordings
from rtmpd.control.push_values import PushRequest
from rtmpd.control.pushes import Pushes
from rtmpd.control.rooms import Named
from rtmpd.live.log import Retention
from rtmpd.live.registry import Registry, Takeover
from rtmpd.live.terms import Terms
from rtmpd.net.tasks import Tasks
from rtmpd.store.database import Database
from rtmpd.workers.answers import NotEntered
from rtmpd.workers.request import RequestRefused
from tests.helpers.store import HoldUp
from tests.helpers.studio import PATIENCE_S, logger_to, until

LIVE_S = Named("live", "s")
TARGET = "rtmp://a.example/app/secret-key?token=secret"


@dataclass
class PlayedRow:
    """A recording as the index has it."""

    recording_id: str
    task_id: str | None
    app: str
    stream: str
    formats: tuple = ("flv",)
    origin: str = "manual"
    file_name: str = ""
    record_type: str = "video"
    tags: tuple = ()
    push: bool = False
    started_at: float = 100.0
    ends_at: float | None = None


@dataclass
class PlayedStatus:
    row: PlayedRow
    phase: str = "running"


@dataclass
class PlayedStarted:
    row: PlayedRow
    already: bool
    notes: tuple = ()
    not_entered: str = ""

    async def entered(self):
        if self.not_entered:
            raise NotEntered(self.not_entered)


@dataclass
class PlayedRecorder:
    """Records nothing; it outlives a server that is killed, as its index does."""

    statuses: list = field(default_factory=list)
    requests: list = field(default_factory=list)
    stopped: list = field(default_factory=list)
    files: tuple = ()
    refuse: str = ""
    not_entered: str = ""
    notes: tuple = ()
    numbers: itertools.count = field(default_factory=itertools.count)
    apps: tuple = ("live",)

    def statuses_of(self, app, stream):
        return tuple(each for each in self.statuses if (each.row.app, each.row.stream) == (app, stream))

    def find(self, task_id):
        return next((each for each in self.statuses if each.row.task_id == task_id), None)

    def start(self, stream, request):
        if self.refuse:
            raise RequestRefused(self.refuse)
        self.requests.append(request)
        asked = (stream.app, stream.name, request.file_name, request.push)
        for each in self.statuses:
            row = each.row
            if each.phase in ALIVE and (row.app, row.stream, row.file_name, row.push) == asked:
                return PlayedStarted(row, already=True, notes=self.notes, not_entered=self.not_entered)
        row = PlayedRow(
            f"r{next(self.numbers)}",
            request.task_id,
            stream.app,
            stream.name,
            request.formats or ("flv",),
            file_name=request.file_name,
            record_type=request.record_type,
            tags=request.tags,
            push=request.push,
        )
        self.statuses.append(PlayedStatus(row))
        return PlayedStarted(row, already=False, notes=self.notes, not_entered=self.not_entered)

    async def stop(self, task_id):
        if self.not_entered:
            raise NotEntered(self.not_entered)
        status = self.find(task_id)
        if status is None:
            return None
        self.stopped.append(task_id)
        self.statuses.remove(status)
        return SimpleNamespace(row=status.row, state="closed", already=False, files=self.files)

    @property
    def running(self):
        """Tasks of pushes that go on."""
        return [each.row.task_id for each in self.statuses if each.row.push]

    # As an observer of streams

    def stream_published(self, stream):
        self._set_phase(stream, "running")

    def stream_ended(self, stream, reason):
        self._set_phase(stream, "waiting")

    def _set_phase(self, stream, phase):
        for each in self.statuses:
            if (each.row.app, each.row.stream) == (stream.app, stream.name):
                each.phase = phase

    def give_up_waiting(self):
        """Let what waits for its publisher end."""
        self.statuses = [each for each in self.statuses if each.phase != "waiting"]


class Watcher:
    """Somebody who waits for a stream, or plays it."""

    def __init__(self):
        self.heard = []

    def stream_started(self, stream):
        self.heard.append("started")

    def stream_ended(self, stream, reason):
        self.heard.append(f"ended: {reason}")


class PushRig:
    """Everything that pushes need; made by `open`, ended by `close`."""

    def __init__(self, directory, app):
        self.directory = directory
        self.now = 1_000.0
        self.lines = []
        self.failures = []
        self.log = logger_to(self.lines)
        self.recorder = PlayedRecorder()
        self.config = validate({"apps": {"live": app}})
        self.held = None

    @classmethod
    async def open(cls, directory, **app):
        """
        Start on what is in a directory.

        Args:
            directory: of the server's data.
            app: of `[apps.live]`.
        """
        rig = cls(directory, app)
        await rig._start()
        return rig

    async def _start(self):
        self.database = await self._open_database()
        self.tasks = Tasks(self.failures.append)
        self.commits = Commits(self.database, self.log, timeout_s=PATIENCE_S, retry_s=0.001)
        self.registry = Registry(Retention(10.0))
        self.pushes = Pushes(
            self.commits,
            self.registry,
            PushRecordings(self.recorder, self.tasks, self.log),
            self.config.apps,
            tasks=self.tasks,
            log=self.log,
            clock=lambda: self.now,
        )
        self.registry.observers += [self.recorder, self.pushes]
        await self.pushes.take_up()
        self.writing = self.tasks.supervise(self.commits.run(), "commits")

    async def _open_database(self):
        return await Database.open(self.directory / "rtmpd.db")

    async def close(self):
        """Leave nothing behind; whatever a task raised is raised here."""
        await self.kill()
        for failure in self.failures:
            raise failure

    async def kill(self):
        """End as with SIGKILL, but for the database's thread: what was not submitted is lost."""
        self.release_database()
        await self.tasks.cancel()
        await self.database.close()

    async def restart(self, *, killed=True):
        """Go on as another server; nobody publishes any more."""
        if not killed:
            self.registry.end_all("server stops")
            assert await self.commits.flush(PATIENCE_S)
        await self.kill()
        for each in self.recorder.statuses:
            each.phase = "waiting"
        await self._start()
        return self

    def wait_for_commits(self, timeout_s):
        """Let operations wait for the database for so long from now on."""
        self.commits._timeout_s = timeout_s

    def hold_database(self):
        """From now on the database takes nothing."""
        self.held = HoldUp(self.database)

    def release_database(self):
        if self.held is not None:
            self.held.release()
            self.held = None

    async def settle(self):
        """Wait until everything that was begun is done."""
        await until(lambda: self.commits._idle.is_set() and len(self.tasks._tasks) == 1)

    def publish(self, name="s", *, public=False, targets=(), identity="me", evict=lambda _: None):
        terms = Terms(is_public=public, targets=targets, address="192.0.2.7", client=7)
        return self.registry.publish("live", name, identity, Takeover.SAME, evict, terms)

    def lose(self, publication, grace_until_s=None):
        self.registry.unpublish(publication, "lost", grace_until_s)

    def watch(self, name="s"):
        watcher = Watcher()
        stream = self.registry.join("live", name, watcher)
        if stream.is_watchable:
            watcher.stream_started(stream)
        return watcher

    def is_watchable(self, name="s"):
        stream = self.registry.find("live", name)
        return stream is not None and stream.is_watchable

    async def start(self, name="s", **fields):
        return await self.pushes.start(Named("live", name), PushRequest(**{"channel_name": "n"} | fields))

    async def stop(self, *channel_ids):
        return await self.pushes.stop(channel_ids)

    def push(self, name="s"):
        kept = self.pushes.of(Named("live", name))
        return None if kept is None else kept.push

    def said(self, event):
        """Lines of the log."""
        return [values for _, values in self.lines if values["event"] == event]

    def select(self, statement, *values):
        return self.database.submit(lambda connection: connection.execute(statement, values).fetchall())

    async def rows(self):
        """Pushes as they are stored: (channel id, mode, waiting since, ended at)."""
        rows = await self.select("SELECT channel_id, mode, waiting_since, ended_at FROM pushes ORDER BY rowid")
        return [tuple(row) for row in rows]


async def let_run():
    """Let what is ready run."""
    for _ in range(5):
        await asyncio.sleep(0)
