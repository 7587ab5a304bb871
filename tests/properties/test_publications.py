"""Publications against a disk that fills up and a server that dies: for each one event 1 and one event 0, in order."""

from __future__ import annotations

import asyncio
import itertools
import sqlite3
from unittest.mock import patch

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from rtmpd.control import diary as diary_module
from rtmpd.control import publications as publications_module
from rtmpd.control.publications import Publications
from rtmpd.errors import StoreError
from rtmpd.store import schema
from rtmpd.store.publications import PublicationBook
from tests.helpers.live import new_registry
from tests.helpers.push import NODE, TERMS, take_over
from tests.helpers.store import deliver_everything
from tests.helpers.studio import logger_to

NAMES = st.sampled_from(["a", "b"])
TURNS = 40


class FickleDisk:
    """
    A database without a thread that refuses what changes it, for as long as it is full or a number of times, or says so
    of what it has done.
    """

    def __init__(self, connection):
        self.connection = connection
        self.is_full = False
        self.refusals = 0
        self.lies = 0

    def submit(self, work):
        future = asyncio.get_running_loop().create_future()
        self.connection.execute("SAVEPOINT work")
        before = self.connection.total_changes
        result = work(self.connection)
        if self.connection.total_changes > before and (self.is_full or self.refusals):
            self.refusals -= not self.is_full
            self.connection.execute("ROLLBACK TO work")
            future.set_exception(StoreError("database or disk is full", cause="SQLITE_FULL"))
        elif self.connection.total_changes > before and self.lies:
            self.lies -= 1
            future.set_exception(StoreError("disk I/O error", cause="SQLITE_IOERR_FSYNC"))
        else:
            future.set_result(result)
        self.connection.execute("RELEASE work")
        return future


class PublicationsAndTheirEvents(RuleBasedStateMachine):
    """Publishers come, go and replace each other; the disk fills up; the server is killed and started again."""

    def __init__(self):
        super().__init__()
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        self.connection.row_factory = sqlite3.Row
        schema.migrate(self.connection)
        self.disk = FickleDisk(self.connection)
        self.patches = [
            patch.object(diary_module, "RETRY_S", 0),
            patch.object(diary_module, "GROUP", 3),
            patch.object(publications_module, "BEGIN_WAIT_S", 0.001),
            patch.object(publications_module, "secrets", self),
        ]
        for each in self.patches:
            each.start()
        self.numbers = itertools.count(1)
        self.heard = []
        self.promised = set()
        """Sequences of publishers that were told to go ahead because they were written down."""
        self.loop = asyncio.new_event_loop()
        self.now_s = 0.0
        self.loop.run_until_complete(self.start())

    def randbits(self, _bits):
        """In the place of `secrets`: sequences that can be compared."""
        return next(self.numbers)

    async def start(self):
        self.registry = new_registry()
        self.publications = Publications(
            PublicationBook(self.disk), logger_to([]), NODE, lambda: self.now_s, lambda: self.now_s
        )
        self.registry.observers.append(self.publications)
        self.held = {}
        self.tasks = [asyncio.ensure_future(self.publications.run())]
        await self.publications.recover()

    async def begin(self, publication):
        await self.publications.began(publication)
        if (running := self.publications.find(publication)) and self.is_written(running.row.sequence):
            self.promised.add(running.row.sequence)

    def is_written(self, sequence):
        return (1, sequence) in [(kind, number) for kind, number, _ in self.events()]

    def events(self):
        """What was ever told, in its order."""
        rows = self.connection.execute(
            "SELECT event_type, json_extract(body, '$.sequence'), stream FROM outbox ORDER BY number"
        )
        return self.heard + [tuple(row) for row in rows]

    async def turn(self, turns=TURNS):
        for _ in range(turns):
            await asyncio.sleep(0)

    @rule(name=NAMES)
    def publish(self, name):
        async def work():
            publication = take_over(self.registry, self.publications, name, TERMS)
            self.held[name] = publication
            self.tasks.append(asyncio.ensure_future(self.begin(publication)))
            await asyncio.sleep(0)

        self.loop.run_until_complete(work())

    @rule(name=NAMES, is_clean=st.booleans())
    def leave(self, name, is_clean):
        async def work():
            publication = self.held.pop(name, None)
            if publication is not None:
                self.registry.unpublish(publication, "gone", None if is_clean else 1e9)
                self.publications.over(publication, "gone", clean=is_clean)

        self.loop.run_until_complete(work())

    @rule(seconds=st.sampled_from([0.5, 30.0, 100_000.0]))
    def wait(self, seconds):
        self.now_s += seconds
        self.loop.run_until_complete(self.turn())

    @rule(is_full=st.booleans())
    def fill(self, is_full):
        self.disk.is_full = is_full

    @rule(times=st.integers(1, 3))
    def stumble(self, times):
        self.disk.refusals = times

    @rule(times=st.integers(1, 3))
    def lie(self, times):
        self.disk.lies = times

    @rule()
    def deliver(self):
        """Take out of the outbox what a receiver has heard."""
        self.heard = self.events()
        deliver_everything(self.connection)

    @rule()
    def crash(self):
        async def work():
            for task in self.tasks:
                task.cancel()
            await asyncio.gather(*self.tasks, return_exceptions=True)
            await self.start()

        self.loop.run_until_complete(work())

    @invariant()
    def each_stream_tells_of_one_publication_after_the_other(self):
        for name in ("a", "b"):
            told = [(kind, sequence) for kind, sequence, stream in self.events() if stream == f"live/{name}"]
            beginnings = [sequence for kind, sequence in told if kind == 1]
            expected = [(kind, sequence) for sequence in beginnings for kind in (1, 0)]
            assert told == expected[: len(told)]
            assert len(expected) - len(told) in {0, 1}
            assert beginnings == sorted(set(beginnings), key=int)

    def teardown(self):
        self.disk.is_full = False
        self.disk.refusals = self.disk.lies = 0
        self.loop.run_until_complete(self.end())
        self.each_stream_tells_of_one_publication_after_the_other()
        told = self.events()
        for kind in (0, 1):
            assert self.promised <= {sequence for each, sequence, _ in told if each == kind}
        assert len([kind for kind, *_ in told if kind]) == len([kind for kind, *_ in told if not kind])
        for each in self.patches:
            each.stop()
        self.loop.close()
        self.connection.close()

    async def end(self):
        """Come to rest, die once more, and come to rest again."""
        for _ in range(2):
            assert await self.publications.flush(5)
            for task in self.tasks:
                task.cancel()
            await asyncio.gather(*self.tasks, return_exceptions=True)
            await self.start()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


TestPublicationsAndTheirEvents = PublicationsAndTheirEvents.TestCase
TestPublicationsAndTheirEvents.settings = settings(settings(), stateful_step_count=30)
