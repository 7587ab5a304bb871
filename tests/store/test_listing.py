"""The list of files: which there are, newest first, a page at a time."""

from __future__ import annotations

import pytest

from rtmpd.store.database import Database
from rtmpd.store.listing import Query
from rtmpd.store.recordings import RecordingIndex
from tests.helpers.store import closed_file, file_row, recording_row


@pytest.fixture
async def filled(tmp_path):
    database = await Database.open(tmp_path / "rtmpd.db")
    index = RecordingIndex(database)
    await index.begin(recording_row("a", stream="one", task_id="t1"), [])
    await index.begin(recording_row("b", app="other", stream="two", origin="manual", task_id="t2"), [])
    for number, recording_id in enumerate("aabba"):
        await closed_file(index, f"f{number}", recording_id, start_at=100.0 * number)
    await index.reserve(file_row("f5", "a"))
    await closed_file(index, "f6", "b")
    await index.condemn(["f6"])
    yield index
    await database.close()


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, "f5 f4 f3 f2 f1 f0"),
        ({"limit": 2}, "f5 f4"),
        ({"limit": 2, "offset": 3}, "f2 f1"),
        ({"offset": 6}, ""),
        ({"app": "other"}, "f3 f2"),
        ({"stream": "one"}, "f5 f4 f1 f0"),
        ({"stream": "one", "app": "other"}, ""),
        ({"recording_id": "a", "state": "closed"}, "f4 f1 f0"),
        ({"task_id": "t2"}, "f3 f2"),
        ({"state": "reserved"}, "f5"),
        ({"state": "removing"}, "f6"),
        ({"has_begun": True}, "f4 f3 f2 f1 f0"),
        ({"has_begun": False}, "f5"),
        ({"since": 100.0, "until": 300.0}, "f2 f1"),
        ({"since": 400.0}, "f4"),
        ({"stream": "one' OR 1=1 --"}, ""),
    ],
)
async def test_the_list_holds_what_the_query_asks_for(filled, query, expected):
    entries = await filled.list(Query(**query))

    assert [entry.file.file_id for entry in entries] == expected.split()
    assert all(entry.file.recording_id == entry.recording.recording_id for entry in entries)


async def test_a_file_is_found_in_any_state(filled):
    assert (await filled.find("f6")).file.state == "removing"
    assert (await filled.find("f5")).recording.stream == "one"
    assert await filled.find("f7") is None


async def test_a_file_is_found_by_its_path_in_any_state(filled):
    for file_id in ("f0", "f5", "f6"):
        entry = await filled.find_path(f"live/demo/{file_id}.flv")
        assert (entry, entry.file.file_id) == (await filled.find(file_id), file_id)
    assert await filled.find_path("live/demo/none.flv") is None
