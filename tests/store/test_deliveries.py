"""What becomes of what is owed: lines in order, pauses, dead letters, replays, and little read at a time."""

from __future__ import annotations

import contextlib
import sqlite3

import pytest

from rtmpd.store import schema
from rtmpd.store.database import Database
from rtmpd.store.deliveries import UNTRIED, Counts, Deliveries, Purged, Query
from rtmpd.store.outbox import Outbox, Owed, owe

A, B = "http://a", "http://b"


class Rig:
    """Deliveries of a database, with what a test asks of them again and again."""

    def __init__(self, database):
        self.database = database
        self.deliveries = Deliveries(database)

    async def owe(self, *events, stream="live/demo", at=1.0):
        owed = [Owed(each, 1, stream, {"n": each}, at) for each in events]
        await self.database.submit(lambda connection: owe(connection, owed))

    async def heads(self, url=A, now=1_000.0, first=9, again=9, busy=()):
        due = await self.deliveries.due(url, now, first=first, again=again, busy=busy)
        return [[each.event_id for each in lane] for lane in (due.first, due.again)]

    async def numbers(self):
        return {each.event_id: each.number for each in await self.deliveries.list(Query(limit=99))}

    async def one(self, event_id, url=A):
        (found,) = [
            each for each in await self.deliveries.list(Query(limit=99)) if (each.event_id, each.url) == (event_id, url)
        ]
        return found

    async def delivered(self, event_id, url=A, now=50.0):
        await self.deliveries.delivered((await self.numbers())[event_id], url, now)

    async def failed(self, event_id, url=A, next_try_at=60.0):
        await self.deliveries.failed((await self.numbers())[event_id], url, next_try_at, "answered 500")

    async def given_up(self, event_id, url=A, now=50.0, next_try_at=55.0):
        await self.deliveries.given_up((await self.numbers())[event_id], url, now, next_try_at, "answered 500")


@pytest.fixture
async def rig(tmp_path):
    database = await Database.open(tmp_path / "rtmpd.db")
    rig = Rig(database)
    await rig.deliveries.set_receivers([A, B], 0.0, 0.0)
    yield rig
    await database.close()


async def test_of_each_line_the_oldest_is_due_and_the_next_when_it_is_delivered(rig):
    await rig.owe("a1", "a2", stream="live/a")
    await rig.owe("b1", "b2", stream="live/b")
    assert await rig.heads() == [["a1", "b1"], []]

    await rig.delivered("a1")

    assert await rig.heads() == [["b1", "a2"], []]
    assert await rig.heads(B) == [["a1", "b1"], []]
    assert (await rig.one("a2")).body == {"n": "a2"}


async def test_an_event_is_forgotten_when_its_last_receiver_has_it(rig):
    await rig.owe("e")
    await rig.delivered("e", A)
    assert await Outbox(rig.database).count() == 1
    await rig.delivered("e", B)

    assert await Outbox(rig.database).count() == 0


async def test_a_failed_line_waits_for_its_time_apart_from_the_others(rig):
    await rig.owe("a1", "a2", stream="live/a")
    await rig.owe("b1", stream="live/b")
    await rig.failed("a1", next_try_at=60.0)

    assert await rig.heads(now=59.0) == [["b1"], []]
    assert (await rig.deliveries.due(A, 59.0, first=9, again=9)).next_at == 60.0
    assert await rig.heads(now=60.0) == [["b1"], ["a1"]]
    assert (await rig.deliveries.due(A, 60.0, first=9, again=9)).next_at is None
    failed = await rig.one("a1")
    assert (failed.attempts, failed.failures, failed.last_error) == (1, 1, "answered 500")

    await rig.delivered("a1")
    assert (await rig.one("a2")).failures == 0
    assert await rig.heads() == [["b1", "a2"], []]


async def test_no_more_heads_are_read_than_asked_for_and_none_that_is_busy(rig):
    for name in "abc":
        await rig.owe(name, stream=f"live/{name}")
    for name in "xyz":
        await rig.owe(name, stream=f"live/{name}")
        await rig.failed(name, next_try_at=5.0)
    numbers = await rig.numbers()

    assert await rig.heads(first=2, again=1) == [["a", "b"], ["x"]]
    assert await rig.heads(first=0, again=0) == [[], []]
    assert await rig.heads(first=2, again=2, busy=[numbers["a"], numbers["y"]]) == [["b", "c"], ["x", "z"]]


async def test_a_clock_that_was_set_back_does_not_hold_up_lines_that_did_not_fail(rig):
    await rig.owe("e1", "e2", at=500.0)
    await rig.delivered("e1", now=500.0)

    assert await rig.heads(now=1.0) == [["e2"], []]


async def test_a_dead_one_leaves_its_line_and_the_next_waits_as_its_failure_demands(rig):
    await rig.owe("e1", "e2", "e3")
    await rig.failed("e1")
    await rig.given_up("e1", now=50.0, next_try_at=55.0)

    dead = await rig.one("e1")
    assert (dead.dead_at, dead.next_try_at, dead.attempts, dead.last_error) == (50.0, None, 2, "answered 500")
    assert await rig.heads(now=54.0) == [[], []]
    assert await rig.heads(now=55.0) == [[], ["e2"]]
    assert (await rig.one("e2")).failures == 2
    await rig.delivered("e2")
    assert await rig.heads() == [["e3"], []]
    assert await rig.deliveries.counts() == {A: Counts(1, 1), B: Counts(3, 0)}


async def test_a_replayed_one_is_tried_anew_beside_its_line(rig):
    await rig.owe("e1", "e2", "e3")
    await rig.given_up("e1")
    await rig.failed("e2")
    assert await rig.deliveries.retry("e1", 70.0) == 2

    replayed = await rig.one("e1")
    assert (replayed.attempts, replayed.failures, replayed.since, replayed.dead_at) == (0, 0, 70.0, None)
    assert await rig.heads(now=70.0) == [["e1"], ["e2"]]

    await rig.given_up("e1", now=80.0)
    assert await rig.heads(now=1_000.0) == [[], ["e2"]]
    await rig.deliveries.retry("e1", 90.0)
    await rig.delivered("e1")
    assert await rig.heads(now=1_000.0) == [[], ["e2"]]
    await rig.delivered("e2")
    assert await rig.heads(now=1_000.0) == [["e3"], []]


async def test_what_waits_is_tried_now_when_asked_or_the_one_before_which_it_may_not_be(rig):
    await rig.owe("e1", "e2", "e3")
    await rig.failed("e1", next_try_at=5_000.0)
    assert await rig.heads() == [[], []]

    assert await rig.deliveries.retry("e3", 60.0) == 2

    assert await rig.heads(now=60.0) == [[], ["e1"]]
    assert (await rig.one("e1")).attempts == 1
    assert await rig.deliveries.retry("unknown", 60.0) == 0


async def test_a_replayed_one_that_fails_again_is_tried_now_when_asked(rig):
    await rig.owe("e1", "e2")
    await rig.given_up("e1")
    await rig.deliveries.retry("e1", 70.0)
    await rig.failed("e1", next_try_at=5_000.0)
    await rig.delivered("e2")

    await rig.deliveries.retry("e1", 80.0)

    assert await rig.heads(now=80.0) == [[], ["e1"]]


async def test_a_dead_one_of_a_receiver_that_is_gone_is_kept_and_not_replayed(rig):
    await rig.owe("e1", "e2")
    await rig.given_up("e1")
    assert await rig.deliveries.set_receivers([B], 60.0, 0.0) == 1

    assert await rig.deliveries.retry("e1", 70.0) == 1
    assert (await rig.one("e1")).dead_at == 50.0
    assert await rig.heads() == [[], []]
    assert await rig.deliveries.counts() == {A: Counts(0, 1), B: Counts(2, 0)}


async def test_an_outcome_that_comes_too_late_harms_nothing(rig):
    await rig.owe("e1", "e2")
    numbers = await rig.numbers()
    await rig.deliveries.set_receivers([B], 60.0, 0.0)

    await rig.deliveries.failed(numbers["e1"], A, 70.0, "late")
    await rig.deliveries.given_up(numbers["e1"], A, 70.0, 70.0, "late")
    await rig.deliveries.delivered(numbers["e1"], A, 70.0)

    assert await rig.heads(B) == [["e1"], []]
    assert await rig.deliveries.counts() == {B: Counts(2, 0)}


async def test_what_waits_for_long_is_hastened(rig):
    await rig.owe("e1", stream="live/a")
    await rig.owe("e2", stream="live/b")
    await rig.failed("e1", next_try_at=70.0)
    await rig.failed("e2", next_try_at=5_000.0)

    assert await rig.deliveries.hasten(60.0, beyond=120.0) == 1
    assert await rig.heads(now=60.0) == [[], ["e2"]]
    assert await rig.deliveries.hasten(60.0, beyond=60.0) == 1
    assert await rig.heads(now=60.0) == [[], ["e1", "e2"]]


async def test_what_nobody_is_owed_and_what_died_long_ago_goes_and_nothing_else(rig):
    await rig.owe("dead early", "dead late", "pending", at=1.0)
    for name in ("dead early", "dead late"):
        await rig.given_up(name, A, now=20.0 if name == "dead early" else 30.0)
        await rig.delivered(name, B)
    await rig.deliveries.set_receivers([], 40.0, 0.0)
    await rig.owe("unowed late", at=45.0)

    purged = await rig.deliveries.purge(50.0, unowed_before=40.0, dead_before=30.0, untried_before=0.0)

    assert purged == Purged(events=2, untried=0)
    assert [each.event_id for each in await Outbox(rig.database).pending(9)] == ["dead late", "unowed late"]


async def test_what_waits_for_too_long_behind_another_is_given_up_untried(rig):
    await rig.owe("head", "old", at=1.0)
    await rig.owe("young", at=30.0)

    purged = await rig.deliveries.purge(50.0, unowed_before=0.0, dead_before=0.0, untried_before=30.0)

    assert purged.untried == 2
    untried = await rig.one("old")
    assert (untried.dead_at, untried.last_error, untried.attempts) == (50.0, UNTRIED, 0)
    assert await rig.heads() == [["head"], []]
    await rig.delivered("head")
    assert await rig.heads() == [["young"], []]


async def test_the_list_is_newest_first_filtered_and_paged(rig):
    await rig.owe("e1", "e2", stream="live/a")
    await rig.owe("e3", stream="live/b")
    await rig.given_up("e1")

    async def ids(**query):
        return [(each.event_id, each.url) for each in await rig.deliveries.list(Query(**query))]

    assert await ids() == [("e3", A), ("e3", B), ("e2", A), ("e2", B), ("e1", A), ("e1", B)]
    assert await ids(limit=2, offset=1) == [("e3", B), ("e2", A)]
    assert await ids(state="dead") == [("e1", A)]
    assert await ids(state="pending", url=A) == [("e3", A), ("e2", A)]
    assert await ids(stream="live/b") == [("e3", A), ("e3", B)]


async def test_receivers_named_twice_or_again_change_nothing(rig):
    await rig.owe("e1", "e2")
    await rig.failed("e1", next_try_at=70.0)

    assert await rig.deliveries.set_receivers([A, B, A], 60.0, 0.0) == 0

    assert await rig.heads(now=69.0) == [[], []]
    assert await rig.heads(now=70.0) == [[], ["e1"]]


@pytest.fixture
def old_database(tmp_path, monkeypatch):
    """What a version without receivers has left."""
    path = tmp_path / "old.db"
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection, monkeypatch.context() as patch:
        patch.setattr(schema, "STEPS", schema.STEPS[:1])
        schema.migrate(connection)
        for number, (name, stream, at) in enumerate(
            [("too old", "live/a", 5.0), ("a1", "live/a", 10.0), ("b1", "live/b", 11.0), ("a2", "live/a", 12.0)], 3
        ):
            connection.execute(
                "INSERT INTO outbox (number, event_id, event_type, stream, body, created_at, attempts)"
                " VALUES (?, ?, 100, ?, '{}', ?, 7)",
                (number, name, stream, at),
            )
    return path


async def test_what_an_earlier_version_owed_is_owed_to_those_who_are_named_first(old_database):
    database = await Database.open(old_database)
    rig = Rig(database)
    await rig.owe("a3", stream="live/a", at=13.0)
    assert await rig.deliveries.list(Query()) == ()

    assert await rig.deliveries.set_receivers([A, B], 20.0, since=10.0) == 0
    assert await rig.heads(A) == await rig.heads(B) == [["a1", "b1"], []]
    await rig.delivered("a1")
    await rig.delivered("a2")
    assert await rig.heads(A) == [["b1", "a3"], []]
    assert (await rig.one("a3", B)).number == 7

    await rig.deliveries.set_receivers([A, B, "http://c"], 20.0, since=0.0)
    assert await rig.heads("http://c") == [[], []]
    await database.close()


async def test_what_an_earlier_version_owed_is_not_kept_for_those_who_come_later(old_database):
    database = await Database.open(old_database)
    deliveries = Deliveries(database)
    await deliveries.set_receivers([], 20.0, since=0.0)
    await deliveries.set_receivers([A], 20.0, since=0.0)

    assert await deliveries.list(Query()) == ()
    assert await Outbox(database).count() == 4
    await database.close()


def plan_of(connection, statement, work):
    """How SQLite runs the statement that begins so."""
    statements = []
    connection.set_trace_callback(statements.append)
    work()
    connection.set_trace_callback(None)
    (traced,) = [each for each in statements if statement in each]
    return "; ".join(row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {traced}"))


@pytest.mark.parametrize(
    ("part", "index"),
    [("failures = 0 AND", "deliveries_first"), ("failures > 0 AND next_try_at <=", "deliveries_again")],
)
async def test_heads_are_found_by_an_index_without_sorting(rig, part, index):
    def work(connection):
        deliveries = Deliveries(Direct(connection))
        return plan_of(connection, part, lambda: deliveries.due(A, 5.0, first=2, again=2, busy=[1, 2]))

    plan = await rig.database.submit(work)

    assert f"SEARCH deliveries USING INDEX {index} (url=?" in plan
    assert "SCAN deliveries" not in plan


class Direct:
    """A database that does each work at once, in the thread that asks."""

    def __init__(self, connection):
        self.connection = connection

    def submit(self, work):
        return work(self.connection)


@pytest.mark.parametrize("streams", [1, 10_000])
async def test_ten_thousand_that_wait_make_the_next_one_no_more_costly(rig, streams):
    owed = [Owed(f"e{each}", 1, f"live/{each % streams}", {}, 1.0) for each in range(10_000)]
    await rig.database.submit(lambda connection: owe(connection, owed))
    steps = []

    def work(connection):
        connection.set_progress_handler(lambda: steps.append(1) and None, 1)
        deliveries = Deliveries(Direct(connection))
        due = deliveries.due(A, 1_000.0, first=1, again=1)
        deliveries.delivered(due.first[0].number, A, 1_000.0)
        connection.set_progress_handler(None, 0)

    await rig.database.submit(work)

    # Steps of SQLite's machine, which are what takes the time: a look at all of the rows would be 20,000 at least.
    assert 0 < len(steps) < 2_000
