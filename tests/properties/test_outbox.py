"""Callbacks against a model, whatever comes between: each receiver gets each stream's in order, and nothing vanishes."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from rtmpd.store import schema
from rtmpd.store.deliveries import Counts, Deliveries, Query
from rtmpd.store.outbox import Owed, owe

URLS = ("http://a", "http://b")
STREAMS = ("live/x", "live/y")
FOR_EVER = 1e12


class AtOnce:
    """A database without a thread: a work is done when it is submitted."""

    def __init__(self):
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        self.connection.row_factory = sqlite3.Row
        schema.migrate(self.connection)
        self.connection.execute("PRAGMA foreign_keys = ON")

    def submit(self, work):
        return work(self.connection)


@dataclass
class Line:
    """What one receiver is owed of one stream."""

    waiting: list[str] = field(default_factory=list)
    dead: list[str] = field(default_factory=list)
    replayed: list[str] = field(default_factory=list)
    got: list[str] = field(default_factory=list)


class OutboxAgainstModel(RuleBasedStateMachine):
    """Any operations in any order, as a server that is killed now and then would make them."""

    def __init__(self):
        super().__init__()
        self.database = AtOnce()
        self.deliveries = Deliveries(self.database)
        self.now = 0.0
        self.owed = {stream: [] for stream in STREAMS}
        self.known = set()
        self.lines = {(url, stream): Line() for url in URLS for stream in STREAMS}
        self.name_receivers(set(URLS))

    def teardown(self):
        self.database.connection.close()

    @rule(urls=st.sets(st.sampled_from(URLS)))
    def name_receivers(self, urls):
        gone = [line for (url, _), line in self.lines.items() if url not in urls]
        dropped = sum(len(line.waiting) + len(line.replayed) for line in gone)
        assert self.deliveries.set_receivers(urls, self.now, 0.0) == dropped
        self.known = urls
        for line in gone:
            line.waiting, line.replayed = [], []

    @rule(streams=st.lists(st.sampled_from(STREAMS), min_size=1, max_size=4), repeated=st.booleans())
    def owe(self, streams, repeated):
        events = []
        for stream in streams:
            event_id = f"{stream}-{len(self.owed[stream])}"
            self.owed[stream].append(event_id)
            events.append(Owed(event_id, 1, stream, {}, self.now))
            for url in self.known:
                self.lines[url, stream].waiting.append(event_id)
        self.database.submit(lambda connection: owe(connection, events * (1 + repeated)))

    @rule(seconds=st.sampled_from([0.0, 1.0, 30.0, -30.0]))
    def let_time_pass(self, seconds):
        self.now += seconds

    @rule()
    def restart(self):
        self.deliveries = Deliveries(self.database)
        self.deliveries.set_receivers(self.known, self.now, 0.0)
        self.deliveries.hasten(self.now, beyond=self.now)

    @precondition(lambda self: self.known)
    @rule(
        url=st.sampled_from(URLS),
        which=st.integers(0, 3),
        outcome=st.sampled_from(["delivered", "delivered", "failed", "given_up", "killed before it was stored"]),
        pause_s=st.sampled_from([0.0, 20.0]),
    )
    def attempt(self, url, which, outcome, pause_s):
        heads = self.heads(url, self.now)
        if not heads:
            return
        head = heads[which % len(heads)]
        line = self.lines[url, head.stream]
        in_line = head.event_id not in line.replayed
        place = line.waiting if in_line else line.replayed
        if in_line:
            assert head.event_id == line.waiting[0]
        if outcome == "delivered":
            self.deliveries.delivered(head.number, url, self.now)
            place.remove(head.event_id)
            line.got.append(head.event_id)
        elif outcome == "failed":
            self.deliveries.failed(head.number, url, self.now + pause_s, "why")
        elif outcome == "given_up":
            self.deliveries.given_up(head.number, url, self.now, self.now + pause_s, "why")
            place.remove(head.event_id)
            line.dead.append(head.event_id)

    @rule(stream=st.sampled_from(STREAMS), number=st.integers(0, 20))
    def retry(self, stream, number):
        event_id = f"{stream}-{number}"
        owed = 0
        for url in URLS:
            line = self.lines[url, stream]
            if url in self.known and event_id in line.dead:
                line.dead.remove(event_id)
                line.replayed.append(event_id)
            owed += event_id in line.waiting or event_id in line.replayed
        assert self.deliveries.retry(event_id, self.now) == owed

    @rule()
    def clear_away_what_nobody_is_owed(self):
        self.deliveries.purge(self.now, unowed_before=FOR_EVER, dead_before=-FOR_EVER, untried_before=-FOR_EVER)

    def heads(self, url, now):
        due = self.deliveries.due(url, now, first=99, again=99)
        return [*due.first, *due.again]

    @invariant()
    def every_line_that_has_something_has_one_head_its_oldest(self):
        for url in URLS:
            heads = {head.event_id for head in self.heads(url, FOR_EVER)}
            expected = {line.waiting[0] for (of, _), line in self.lines.items() if of == url and line.waiting}
            replayed = {each for (of, _), line in self.lines.items() if of == url for each in line.replayed}
            assert heads == expected | replayed

    @invariant()
    def nobody_gets_one_twice_or_one_that_was_never_owed(self):
        for (_, stream), line in self.lines.items():
            assert len(set(line.got)) == len(line.got)
            assert {*line.got, *line.waiting, *line.dead, *line.replayed} <= set(self.owed[stream])

    @invariant()
    def nothing_vanishes(self):
        stored = {
            (each.url, each.event_id, each.dead_at is not None) for each in self.deliveries.list(Query(limit=999))
        }
        expected = set()
        for (url, _), line in self.lines.items():
            expected |= {(url, each, False) for each in [*line.waiting, *line.replayed]}
            expected |= {(url, each, True) for each in line.dead}
        assert stored == expected
        counts = self.deliveries.counts()
        for url in URLS:
            pending = sum(1 for of, _, dead in stored if of == url and not dead)
            dead = sum(1 for of, _, dead in stored if of == url and dead)
            assert counts.get(url, Counts(0, 0)) == Counts(pending, dead)


TestOutboxAgainstModel = OutboxAgainstModel.TestCase
TestOutboxAgainstModel.settings = settings(settings(), stateful_step_count=30)
