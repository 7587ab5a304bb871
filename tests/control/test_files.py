"""Recorded files: listed as asked, deleted whole, and only when nobody writes them."""

from __future__ import annotations

import asyncio

import pytest

from rtmpd.config import RoomsConfig
from rtmpd.control import answered, models
from rtmpd.control.files import Files
from rtmpd.control.reach import Reach
from rtmpd.control.urls import Bases
from rtmpd.errors import NotPossible
from rtmpd.store.database import Database
from rtmpd.store.recordings import RecordingIndex
from rtmpd.workers import removal
from rtmpd.workers.retention import Retention, Rules
from tests.helpers.store import HoldUp, contents_of, file_row, recording_row
from tests.helpers.studio import logger_to


class Archive:
    """Files on a disk and in an index, and the desk that is asked about them."""

    def __init__(self, directory, database):
        self.directory = directory / "recordings"
        self.database = database
        self.index = RecordingIndex(database)
        self.lines = []
        self.reach = Reach(RoomsConfig(), Bases("rtmp://a", ""))
        retention = Retention(self.index, self.directory, Rules())
        self.files = Files(self.index, retention, self.reach, logger_to(self.lines))

    async def add(self, file_id, recording_id="r", *, state="closed", file_format="flv", names=None, start_at=5.0):
        """Add a file with what belongs to it on the disk; the first name is its path."""
        names = names or [f"live/demo/{file_id}.flv"]
        for name in names:
            path = self.directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x")
        file = file_row(file_id, recording_id, path=names[0], file_format=file_format)
        await self.index.reserve(file)
        if state != "reserved":
            await self.index.opened(file_id, file.path, start_at)
        if state == "closed":
            await self.index.closed(file_id, contents_of(file))

    async def listed(self, **query):
        answer = await self.files.list(models.RecordingsQuery(**query))
        return [each.file_id for each in answer.recordings]

    def on_disk(self):
        return sorted(str(path.relative_to(self.directory)) for path in self.directory.rglob("*"))


@pytest.fixture
async def archive(tmp_path):
    database = await Database.open(tmp_path / "rtmpd.db")
    archive = Archive(tmp_path, database)
    await archive.index.begin(recording_row("r"), [])
    await archive.index.begin(recording_row("m", app="a/b", stream="other", task_id="t", origin="manual"), [])
    yield archive
    await database.close()


async def refused(operation):
    with pytest.raises(NotPossible) as raised:
        await operation
    return raised.value.kind, raised.value.detail


async def test_files_are_listed_as_asked(archive):
    await archive.add("1", start_at=10.0)
    await archive.add("2", "m", start_at=20.0)
    await archive.add("3", state="open", start_at=30.0)
    await archive.add("4", state="reserved")

    assert await archive.listed() == ["3", "2", "1"]
    for query, expected in (
        ({"state": "reserved"}, ["4"]),
        ({"stream": "live/demo"}, ["3", "1"]),
        ({"stream": "a/b/other"}, ["2"]),
        ({"app": "a/b"}, ["2"]),
        ({"app": "a"}, []),
        ({"app": "live", "stream": "live/demo"}, ["3", "1"]),
        ({"app": "a/b", "stream": "live/demo"}, []),
        ({"task_id": "t"}, ["2"]),
        ({"state": "closed"}, ["2", "1"]),
        ({"since": 20.0, "until": 30.0}, ["2"]),
        ({"limit": 2, "offset": 1}, ["2", "1"]),
    ):
        assert await archive.listed(**query) == expected, query


async def test_a_file_is_shown_with_its_recording(archive):
    await archive.add("2", "m")
    shown = await archive.files.get("2")

    assert (shown.stream, shown.task_id, shown.recording_id, shown.state) == ("a/b/other", "t", "m", "closed")
    assert (shown.size, shown.duration, shown.url) == (100, 10.0, "")
    assert await refused(archive.files.get("never")) == ("unknown", "there is no file never")


async def test_a_file_is_deleted_from_the_disk_and_the_index_and_its_neighbours_stay(archive):
    await archive.add("1")
    await archive.add("2")
    assert (await archive.files.delete("1")).model_dump() == {"already": False, "notes": []}

    assert await archive.listed() == ["2"]
    assert archive.on_disk() == ["live", "live/demo", "live/demo/2.flv"]
    assert await refused(archive.files.delete("1")) == ("unknown", "there is no file 1")
    assert await refused(archive.files.delete("never")) == ("unknown", "there is no file never")
    assert [values["file_id"] for _, values in archive.lines] == ["1"]


async def test_hls_is_deleted_with_its_segments_and_folders_that_are_left_empty(archive):
    names = ["live/demo/h.m3u8", "live/demo/h/init-1.mp4", "live/demo/h/1.m4s", "live/demo/h/2.m4s"]
    await archive.add("h", file_format="hls", names=names)
    await archive.files.delete("h")

    assert archive.on_disk() == []


@pytest.mark.parametrize("state", ["reserved", "open"])
async def test_what_is_still_written_stays(archive, state):
    await archive.add("1", state=state)

    kind, detail = await refused(archive.files.delete("1"))
    assert (kind, detail) == ("conflict", "file 1 is still written: stop its recording first")
    assert archive.on_disk() == ["live", "live/demo", "live/demo/1.flv"]


async def test_what_is_written_again_while_it_is_to_be_deleted_stays(archive):
    await archive.add("1")
    held = HoldUp(archive.database)
    deleting = asyncio.ensure_future(archive.files.delete("1"))
    await asyncio.sleep(0)
    reopened = archive.index.opened("1", "live/demo/1.flv", 5.0)
    held.release()

    kind, _ = await refused(deleting)
    await reopened
    assert kind == "conflict"
    assert archive.on_disk() == ["live", "live/demo", "live/demo/1.flv"]


async def test_what_the_disk_does_not_remove_is_listed_no_more_and_tried_again(archive, monkeypatch):
    await archive.add("1")

    def fail(*_):
        raise PermissionError("read-only")

    with monkeypatch.context() as patch:
        patch.setattr(removal, "remove", fail)
        answer = await archive.files.delete("1")
    assert answer.notes == ["the disk did not remove it yet; that is tried again"]
    assert await archive.listed() == []
    assert await refused(archive.files.delete("1")) == ("unknown", "there is no file 1")

    await Retention(archive.index, archive.directory, Rules()).sweep(0.0)
    assert archive.on_disk() == []


async def test_an_index_that_does_not_answer_is_said(archive, monkeypatch):
    monkeypatch.setattr(answered.answered, "__defaults__", (0.02,))
    held = HoldUp(archive.database)
    for operation in (archive.listed(), archive.files.get("1"), archive.files.delete("1")):
        kind, detail = await refused(operation)
        assert (kind, detail) == ("unavailable", "the database did not answer for 0.02 s")
    held.release()
