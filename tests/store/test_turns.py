"""Turns of a recording are counted where they are stored: none twice, none left out, over every restart."""

from __future__ import annotations

import itertools
import json

import pytest

from rtmpd.errors import StoreError
from rtmpd.store.database import Database
from rtmpd.store.outbox import Owed
from rtmpd.store.recordings import RecordingIndex
from rtmpd.store.turns import RECORDING_STATUS
from tests.helpers.store import deliver_everything, recording_row


@pytest.fixture
async def database(tmp_path):
    database = await Database.open(tmp_path / "rtmpd.db")
    yield database
    await database.close()


@pytest.fixture
async def index(database):
    index = RecordingIndex(database)
    for recording_id in "rs":
        await index.begin(recording_row(recording_id), ())
    return index


def turn(event_id, recording_id="r", event="record_error"):
    body = {"session_id": recording_id, "record_event": event}
    return Owed(event_id, RECORDING_STATUS, "live/demo", body, 1.0)


async def numbers(database):
    rows = await database.submit(
        lambda connection: connection.execute("SELECT event_id, body FROM outbox ORDER BY number").fetchall()
    )
    return {event_id: json.loads(body).get("seq") for event_id, body in rows}


async def test_the_turns_of_a_recording_are_numbered_from_one(index, database):
    await index.tell([turn("a"), turn("b"), turn("x", "s")])
    await index.resumed("r", [turn("c")])

    assert await numbers(database) == {"a": 1, "b": 2, "x": 1, "c": 3}


async def test_numbers_go_on_over_a_restart_also_when_what_was_told_is_delivered(index, database, tmp_path):
    await index.tell([turn("a"), turn("b")])
    await database.submit(deliver_everything)
    again = await Database.open(tmp_path / "rtmpd.db")
    await RecordingIndex(again).tell([turn("c")])

    assert await numbers(database) == {"c": 3}
    await again.close()


async def test_a_turn_that_is_owed_already_takes_no_number(index, database):
    await index.tell([turn("a")])
    await index.tell([turn("a"), turn("b")])

    assert await numbers(database) == {"a": 1, "b": 2}


async def test_a_fact_that_is_refused_takes_no_number(index, database):
    with pytest.raises(StoreError):
        await index.wait("nobody", 1.0, [turn("a")])
    await index.tell([turn("b")])

    assert await numbers(database) == {"b": 1}


async def test_other_callbacks_have_no_number(index, database):
    await index.tell([Owed("f", 100, "live/demo", {}, 1.0)])

    assert await numbers(database) == {"f": None}


async def test_a_turn_of_a_recording_that_is_not_there_is_refused(index, database):
    with pytest.raises(StoreError, match="not there to have a turn"):
        await index.tell([turn("a", "nobody")])

    assert await numbers(database) == {}


async def tell(index, *names):
    """Find a recording at each of some turns, in their order; says what was told last of it then."""
    ids = itertools.count()
    for name in names:
        await index.tell([turn(f"{next(ids)}-{name}", event=f"record_{name}")])
    return {each.recording.recording_id: each.recording.told for each in await index.unfinished()}


@pytest.mark.parametrize(
    ("found", "told"),
    [
        ("start_succeeded start_succeeded", "start_succeeded"),
        ("start_failed start_failed start_succeeded start_failed", "start_failed start_succeeded"),
        ("paused resumed start_succeeded resumed", "start_succeeded"),
        ("start_failed paused resumed ended", "start_failed ended"),
        (
            "start_succeeded paused start_succeeded paused resumed resumed paused",
            "start_succeeded paused resumed paused",
        ),
        ("start_succeeded paused ended", "start_succeeded paused ended"),
        ("ended ended start_failed start_succeeded paused resumed", "ended"),
        (
            "error start_failed error error start_succeeded error",
            "error start_failed error error start_succeeded error",
        ),
    ],
)
async def test_a_turn_is_told_if_it_may_follow_what_was_told_last(index, database, found, told):
    await tell(index, *found.split())

    numbered = await numbers(database)
    assert [event_id.split("-")[1] for event_id in numbered] == told.split()
    assert list(numbered.values()) == list(range(1, len(numbered) + 1))


async def test_what_was_told_last_is_kept_for_each_recording_whatever_was_delivered(index, database):
    assert await tell(index, "start_succeeded", "paused", "error") == {"r": "record_paused", "s": ""}
    await database.submit(deliver_everything)

    assert await tell(index, "start_succeeded", "paused", "resumed") == {"r": "record_resumed", "s": ""}
    assert list((await numbers(database)).values()) == [4]


async def test_a_turn_that_is_not_told_keeps_nothing_else_from_being_owed(index, database):
    await index.wait("r", 1.0, [turn("a", event="record_paused"), Owed("f", 100, "live/demo", {}, 1.0)])

    assert await numbers(database) == {"f": None}
    assert [each.recording.state for each in await index.unfinished()] == ["waiting", "running"]


async def test_what_was_told_is_undone_with_its_fact(index):
    with pytest.raises(StoreError):
        await index.tell([turn("a", event="record_start_succeeded"), turn("b", "nobody")])

    assert await tell(index) == {"r": "", "s": ""}
