"""Turns of a recording are counted where they are stored: none twice, none left out, over every restart."""

from __future__ import annotations

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


def turn(event_id, recording_id="r"):
    return Owed(event_id, RECORDING_STATUS, "live/demo", {"session_id": recording_id}, 1.0)


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


async def test_a_recording_is_a_started_one_from_its_start_on(index):
    seen = []
    for event in ("record_error", "record_start_succeeded", "record_paused"):
        told = turn(event)
        told.body["record_event"] = event
        await index.tell([told])
        seen.append({each.recording.recording_id: each.recording.started for each in await index.unfinished()})

    assert [each["r"] for each in seen] == [False, True, True]
    assert [each["s"] for each in seen] == [False, False, False]
