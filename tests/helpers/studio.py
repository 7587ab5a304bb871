"""The server's side of recording, with a real index and fan-out, and media workers that the test plays."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import json
import math
import sqlite3
import time
from contextlib import closing

import structlog

from rtmpd.config_file import validate
from rtmpd.live.log import Retention
from rtmpd.live.registry import Registry, Takeover
from rtmpd.live.terms import Terms
from rtmpd.net.fanout import FanOut, Pace
from rtmpd.net.poller import Poller
from rtmpd.store.database import Database
from rtmpd.store.listing import Query
from rtmpd.store.recordings import RecordingIndex
from rtmpd.wire.messages import VIDEO, Message
from rtmpd.workers.ledger import Ledger
from rtmpd.workers.mending import Mending
from rtmpd.workers.recorder import Recorder
from rtmpd.workers.request import RecordingRequest
from rtmpd.workers.studio import Studio
from tests.helpers.live import video_header
from tests.helpers.played_workers import PlayedSupervisor, PlayedWorkshop
from tests.helpers.store import HoldUp

PATIENCE_S = 20.0
KEEP_S = 10.0
KEY, INTER = b"\x17\x01\0\0\0", b"\x27\x01\0\0\0"


def logger_to(lines):
    """A logger that keeps level and values of each line."""

    def keep(_logger, method, event):
        lines.append((method, event))
        raise structlog.DropEvent

    return structlog.wrap_logger(None, processors=[keep], wrapper_class=structlog.make_filtering_bound_logger(0))


class Clock:
    """An event loop's time and timers, which go on when they are told to."""

    def __init__(self):
        self._now = 1000.0
        self._timers = []
        self._count = itertools.count()

    def time(self):
        return self._now

    def create_future(self):
        return asyncio.get_running_loop().create_future()

    def call_soon(self, callback, *arguments):
        return asyncio.get_running_loop().call_soon(callback, *arguments)

    def call_later(self, delay_s, callback, *arguments):
        timer = Timer(callback, arguments)
        heapq.heappush(self._timers, (self._now + delay_s, next(self._count), timer))
        return timer

    @property
    def next_s(self):
        """When the next timer is due."""
        return self._timers[0][0] if self._timers else math.inf

    def run_next(self):
        """Go on to the next timer."""
        when, _, timer = heapq.heappop(self._timers)
        self._now = max(self._now, when)
        timer.run()

    def go_on_to(self, time_s):
        self._now = time_s

    def go_on(self, seconds):
        self._now += seconds


class Timer:
    """Runs its callback unless it is cancelled."""

    def __init__(self, callback, arguments):
        self._callback = callback
        self._arguments = arguments

    def run(self):
        if self._callback is not None:
            self._callback(*self._arguments)

    def cancel(self):
        self._callback = None


async def until(reached):
    """Wait for a condition that nobody tells of."""
    deadline = time.monotonic() + PATIENCE_S
    while not reached():
        assert time.monotonic() < deadline, "what was waited for did not come"
        await asyncio.sleep(0.001)


def _is_awaited(event):
    """Whether the task that serves an event has nothing left to do."""
    return bool(event._waiters) and not event.is_set()


class Rig:
    """Recording on a directory; made by `open`, ended by `close` or, as a server that is killed, by `kill`."""

    numbers = itertools.count(1)

    def __init__(self, directory, database, app):
        loop = asyncio.get_running_loop()
        self.clock = Clock()
        self.database = database
        self.lines = []
        self.faults = []
        loop.set_exception_handler(lambda _loop, context: self.faults.append(context))
        self.poller = Poller(loop, 0.005, share=1.0, max_delay_s=0.0)
        self.fanout = FanOut(loop, self.poller, Pace(max_delay_s=0.0))
        self.index = RecordingIndex(database)
        log = logger_to(self.lines)
        self.config = validate({"apps": {"live": {"record": "auto"} | app}})
        self.supervisor = PlayedSupervisor(self._on_event)
        self.workshop = PlayedWorkshop()
        self.ledger = Ledger(self.index, log)
        self.directory = directory / "recordings"
        self.studio = Studio(
            directory=self.directory,
            keep_s=KEEP_S,
            loop=self.clock,
            fanout=self.fanout,
            poller=self.poller,
            supervisor=self.supervisor,
            workshop=self.workshop,
            ledger=self.ledger,
            log=log,
        )
        self.mending = Mending(self.studio, self.index)
        self.recorder = Recorder(self.studio, self.config.apps, self.mending, self.index)
        self.registry = Registry(Retention(3600.0))
        self.registry.observers.append(self.recorder)
        self.running = [asyncio.ensure_future(work.run()) for work in (self.ledger, self.mending)]
        self.held = None

    def _on_event(self, event):
        self.recorder.on_event(event)

    @classmethod
    async def open(cls, directory, answers=(), *, gate=True, **app):
        """
        Start on what is in a directory.

        Args:
            directory: of the server's data.
            answers: for `PlayedWorkshop.answers`.
            gate: whether the workshop answers at once.
            app: of `[apps.live]`.
        """
        rig = cls(directory, await Database.open(directory / "rtmpd.db"), app)
        rig.workshop.answers.update(answers)
        if not gate:
            rig.workshop.gate.clear()
        await rig.recorder.open()
        await rig.settle()
        return rig

    async def close(self):
        """Leave nothing behind; whatever a task or a callback raised is raised here."""
        await self.kill()
        for each in self.running:
            assert each.cancelled(), each.exception()
        assert not self.faults, self.faults

    async def kill(self):
        """End as with SIGKILL: what is not in the database, or on the disk, is lost."""
        self.release_database()
        for each in self.running:
            each.cancel()
        await asyncio.gather(*self.running, return_exceptions=True)
        self.supervisor.close()
        self.poller.close()
        await self.database.close()

    async def stop(self):
        """End as with SIGTERM; the workers finish what they are fed."""
        self.registry.end_all("server stops")
        stopping = asyncio.ensure_future(self.recorder.close(5.0))
        while not stopping.done():
            for worker in self.supervisor.running:
                worker.finish()
            await asyncio.sleep(0.0005)
        await stopping
        await self.close()

    def hold_database(self):
        """From now on the database takes nothing."""
        self.held = HoldUp(self.database)

    def release_database(self):
        if self.held is not None:
            self.held.release()
            self.held = None

    async def settle(self):
        """Wait until everything that was begun is done; what waits for the database, only while that takes it."""
        calm = 0
        deadline = time.monotonic() + PATIENCE_S
        while calm < 3:
            assert time.monotonic() < deadline, f"it does not come to rest: {self._restless()}"
            calm = 0 if self._restless() else calm + 1
            await asyncio.sleep(0 if calm else 0.0005)
        return self

    def _restless(self):
        """Name what still works."""
        if any(each.done() for each in self.running):
            return []
        works = {
            "fan-out": self.fanout._scheduled,
            "ledger": self.held is None and not (_is_awaited(self.ledger._changed) and self.ledger._idle.is_set()),
            "mending": not _is_awaited(self.mending._changed) and self.workshop.gate.is_set(),
        }
        return [name for name, is_working in works.items() if is_working]

    async def pass_time(self, seconds):
        """Let timers come due, one after another."""
        end_s = self.clock.time() + seconds
        await self.settle()
        while self.clock.next_s <= end_s:
            self.clock.run_next()
            await self.settle()
        self.clock.go_on_to(end_s)

    def publish(self, name="s", identity="me", **terms):
        """Publish a stream, which begins with a header."""
        terms = Terms(**terms)
        publication = self.registry.publish("live", name, identity, Takeover.SAME, lambda _reason: None, terms)
        self._append(publication, video_header())
        return publication

    def send(self, publication, kinds="k"):
        """Send a key frame for each "k" and another one for each "."; returns their numbers."""
        sent = [next(self.numbers) for _ in kinds]
        for number, kind in zip(sent, kinds, strict=True):
            body = (KEY if kind == "k" else INTER) + number.to_bytes(4)
            self._append(publication, Message(VIDEO, 40 * number, 1, body))
        return sent

    def _append(self, publication, message):
        publication.append(message, asyncio.get_running_loop().time())
        self.fanout.mark(publication.stream.logs)

    def end(self, publication):
        """End the stream: its publisher has finished."""
        self.registry.unpublish(publication, "done", None)

    async def stop_recording(self, publication):
        """End a stream, its recordings, and what a worker has to do for them."""
        self.end(publication)
        for each in self.recorder.recordings:
            each.finish()
        await self.settle()
        for worker in self.supervisor.running:
            worker.finish()
        await self.settle()

    def lose(self, publication):
        """Lose the publisher, who may come back within the grace time."""
        self.registry.unpublish(publication, "lost", 1e12)

    def request(self, publication, **request):
        """Ask for a recording of a stream."""
        request = {"task_id": f"task-{next(self.numbers)}", "formats": ("flv",)} | request
        return self.recorder.start(publication.stream, RecordingRequest(**request))

    def record(self, publication, **request):
        """Record a stream by request, apart from other requests."""
        return self.request(publication, **{"file_name": f"name{next(self.numbers)}"} | request).recorder

    @property
    def worker(self):
        """The worker's side of the newest feed."""
        return self.supervisor.workers[-1]

    def said(self, event):
        """Lines of the log."""
        return [values for _, values in self.lines if values["event"] == event]

    async def files(self, **query):
        """Rows of the index, oldest first."""
        return [entry.file for entry in reversed(await self.index.list(Query(limit=1000, **query)))]

    async def recordings(self):
        """Every recording's state by its id."""
        return {row["recording_id"]: row["state"] for row in await self.select("SELECT * FROM recordings")}

    async def owed(self, *event_types):
        """Bodies of the callbacks that are owed, of one kind or of some."""
        rows = await self.select("SELECT event_type, body FROM outbox ORDER BY number")
        return [row["body"] for row in rows if row["event_type"] in event_types]

    async def told_last(self):
        """What was told last of every recording's life, by its id."""
        return {row["recording_id"]: row["told"] for row in await self.select("SELECT * FROM recordings")}

    async def turns(self):
        """What was told of recordings' lives, in its order."""
        return [json.loads(body)["record_event"] for body in await self.owed(332)]

    def select(self, statement, *values):
        return self.database.submit(lambda connection: connection.execute(statement, values).fetchall())

    def on_disk(self):
        """Every file, relative to the recordings directory."""
        return sorted(str(path.relative_to(self.directory)) for path in self.directory.rglob("*") if path.is_file())

    def frames(self, path):
        """Numbers of the frames in a file that a worker was played to write."""
        data = (self.directory / path).read_bytes()
        return [int.from_bytes(data[start : start + 4]) for start in range(0, len(data), 4)]


def rows_of(path):
    """Read what a server that is gone has left: its tables by their names."""
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        names = ("recordings", "files", "outbox")
        return {name: connection.execute(f"SELECT * FROM {name} ORDER BY rowid").fetchall() for name in names}
