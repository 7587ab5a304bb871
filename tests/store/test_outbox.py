"""The outbox: owed once, in order, in the transaction of the fact."""

from __future__ import annotations

import pytest

from rtmpd.store.database import Database
from rtmpd.store.deliveries import Deliveries, Query
from rtmpd.store.outbox import Outbox, Owed, owe


@pytest.fixture
async def database(tmp_path):
    database = await Database.open(tmp_path / "rtmpd.db")
    yield database
    await database.close()


def owed(event_id="e", at=1.0, **body):
    return Owed(event_id, 100, "live/demo", body, at)


async def test_what_is_owed_comes_back_as_it_was_in_the_order_in_which_it_was_owed(database):
    events = [owed("b", 5.0, size=2**40, name="Zoë\ud800"), owed("a", 3.0, nested={"list": [1, None, 0.5, True]})]
    await database.submit(lambda connection: owe(connection, events))

    assert await Outbox(database).pending(10) == tuple(events)
    assert await Outbox(database).pending(1) == tuple(events[:1])
    assert await Outbox(database).count() == 2


async def test_a_fact_is_never_owed_twice(database):
    await database.submit(lambda connection: owe(connection, [owed(at=1.0, first=1), owed(at=2.0)]))
    await database.submit(lambda connection: owe(connection, [owed(at=3.0), owed("other")]))

    assert await Outbox(database).pending(10) == (owed(at=1.0, first=1), owed("other"))


async def test_what_is_owed_is_undone_with_its_fact(database):
    def work(connection):
        owe(connection, [owed()])
        raise ValueError("the fact is none")

    with pytest.raises(ValueError, match="none"):
        await database.submit(work)

    assert await Outbox(database).count() == 0


async def test_only_an_event_that_is_owed_already_is_passed_over(database):
    with pytest.raises(Exception, match="NOT NULL"):
        await database.submit(lambda connection: owe(connection, [Owed("e", 1, None, {}, 1.0)]))


async def test_an_event_is_owed_to_those_receivers_that_are_known_when_its_fact_is_committed(database):
    deliveries = Deliveries(database)
    await deliveries.set_receivers(["http://a"], 0.0, 0.0)
    await database.submit(lambda connection: owe(connection, [owed("first")]))
    await deliveries.set_receivers(["http://a", "http://b"], 0.0, 0.0)
    await database.submit(lambda connection: owe(connection, [owed("first"), owed("second")]))

    listed = await deliveries.list(Query())

    assert [(each.event_id, each.url) for each in listed] == [
        ("second", "http://a"),
        ("second", "http://b"),
        ("first", "http://a"),
    ]


async def test_without_receivers_an_event_is_stored_and_nobody_is_owed_it(database):
    deliveries = Deliveries(database)
    await deliveries.set_receivers([], 0.0, 0.0)
    await database.submit(lambda connection: owe(connection, [owed()]))

    assert await Outbox(database).pending(10) == (owed(),)
    assert await deliveries.list(Query()) == ()
    assert await deliveries.counts() == {}
