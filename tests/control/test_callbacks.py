"""Callbacks: shown without their receivers' secrets, and tried again."""

from __future__ import annotations

import pytest

from rtmpd.control import models
from rtmpd.control.callbacks import Callbacks
from rtmpd.errors import NotPossible, StoreError
from rtmpd.store.database import Database
from rtmpd.store.deliveries import Counts, Deliveries, Delivery, Query
from rtmpd.store.outbox import Owed, owe
from tests.helpers.studio import logger_to


class PlayedDeliveries:
    def __init__(self, *deliveries):
        self.deliveries = deliveries
        self.queries, self.retried = [], []
        self.error = None

    async def list(self, query):
        self.queries.append(query)
        return self.deliveries

    async def counts(self):
        if self.error:
            raise self.error
        return {"http://a": Counts(2, 1), "http://b": Counts(3, 0)}

    async def retry(self, event_id, now):
        self.retried.append((event_id, now))
        return sum(each.event_id == event_id for each in self.deliveries)


def delivery(**fields):
    known = {
        "number": 1,
        "url": "https://me:SECRET@hooks.example:8443/cb?token=SECRET#x",
        "event_id": "e",
        "event_type": 1,
        "stream": "live/s",
        "body": {"event_type": 1},
        "created_at": 5.0,
        "since": 5.0,
        "attempts": 2,
        "failures": 2,
        "next_try_at": 9.0,
        "last_error": "HTTP 500",
        "dead_at": None,
    }
    return Delivery(**known | fields)


def desk(deliveries):
    woken, lines = [], []
    callbacks = Callbacks(deliveries, lambda: woken.append(1), logger_to(lines), clock=lambda: 7.0)
    callbacks.woken, callbacks.lines = woken, lines
    return callbacks


async def test_what_was_not_delivered_is_shown():
    deliveries = PlayedDeliveries(delivery(), delivery(event_id="d", dead_at=8.0, next_try_at=None))
    listed = await desk(deliveries).list(models.CallbacksQuery(state="dead", limit=10, offset=5))

    assert deliveries.queries == [Query(state="dead", limit=10, offset=5)]
    assert (listed.pending, listed.dead) == (5, 1)
    assert [each.model_dump() for each in listed.callbacks] == [
        {
            "event_id": "e",
            "event_type": 1,
            "stream": "live/s",
            "url": "https://hooks.example:8443/cb",
            "state": "pending",
            "attempts": 2,
            "created_at": 5.0,
            "next_try_at": 9.0,
            "last_error": "HTTP 500",
            "body": {"event_type": 1},
        },
        {**listed.callbacks[0].model_dump(), "event_id": "d", "state": "dead", "next_try_at": None},
    ]


async def test_a_callback_is_tried_now():
    deliveries = PlayedDeliveries(delivery())
    callbacks = desk(deliveries)
    await callbacks.retry("e")

    assert (deliveries.retried, callbacks.woken) == ([("e", 7.0)], [1])
    assert [values["event_id"] for _, values in callbacks.lines] == ["e"]


async def test_a_callback_that_is_none_is_unknown():
    callbacks = desk(PlayedDeliveries())
    with pytest.raises(NotPossible, match="no receiver is owed callback e") as raised:
        await callbacks.retry("e")
    assert raised.value.kind == "unknown"
    assert callbacks.woken == []


async def test_a_database_that_fails_is_unavailable():
    deliveries = PlayedDeliveries()
    deliveries.error = StoreError("disk I/O error")
    with pytest.raises(NotPossible, match="disk I/O error") as raised:
        await desk(deliveries).list(models.CallbacksQuery())
    assert raised.value.kind == "unavailable"


async def test_what_the_database_holds_is_shown_and_tried_again(tmp_path):
    database = await Database.open(tmp_path / "rtmpd.db")
    deliveries = Deliveries(database)
    await deliveries.set_receivers(["http://a/cb?token=SECRET"], now=1.0, since=0.0)
    await database.submit(lambda connection: owe(connection, [Owed("e", 1, "live/s", {"event_type": 1}, 5.0)]))
    (due,) = (await deliveries.due("http://a/cb?token=SECRET", 6.0, first=1, again=1)).first
    await deliveries.given_up(due.number, due.url, 6.0, 7.0, "HTTP 500")
    callbacks = desk(deliveries)

    (dead,) = (await callbacks.list(models.CallbacksQuery(state="dead"))).callbacks
    assert (dead.event_id, dead.url, dead.state, dead.last_error) == ("e", "http://a/cb", "dead", "HTTP 500")
    await callbacks.retry("e")
    listed = await callbacks.list(models.CallbacksQuery())
    assert (listed.pending, listed.dead, [each.state for each in listed.callbacks]) == (1, 0, ["pending"])
    with pytest.raises(NotPossible, match="no receiver is owed callback never"):
        await callbacks.retry("never")
    await database.close()


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("key=SECRET&userid=7", "key=***&userid=7"),
        ("txSecret=SECRET&txTime=6b073bab", "txSecret=***&txTime=6b073bab"),
        ("a&%6bey=SECRET&b=", "a&%6bey=***&b="),
        ("", ""),
    ],
)
async def test_what_opened_the_stream_is_not_shown(query, shown):
    body = {"event_type": 1, "stream_param": query}

    (callback,) = (await desk(PlayedDeliveries(delivery(body=body))).list(models.CallbacksQuery())).callbacks

    assert callback.body == {"event_type": 1, "stream_param": shown}
    assert body["stream_param"] == query
