"""The index: what one operation says, what is refused, what is owed with it, and against a model whatever the order."""

from __future__ import annotations

import contextlib
import sqlite3
from dataclasses import asdict, replace

import pytest

from rtmpd.errors import StoreError
from rtmpd.store import schema
from rtmpd.store.database import Database
from rtmpd.store.listing import Entry, Query
from rtmpd.store.outbox import Outbox, Owed
from rtmpd.store.recordings import RecordingIndex, Totals, Unfinished
from tests.helpers.store import closed_file, contents_of, file_row, recording_row

OWED = [Owed("event", 100, "live/demo", {"file_size": 100}, 2_000.0)]


@pytest.fixture
async def database(tmp_path):
    database = await Database.open(tmp_path / "rtmpd.db")
    yield database
    await database.close()


@pytest.fixture
def index(database):
    return RecordingIndex(database)


async def state_of(index, file_id="f"):
    entry = await index.find(file_id)
    return entry and entry.file.state


class TestOneFile:
    """A file from its reservation to its end."""

    async def test_is_known_before_it_is_on_the_disk(self, index):
        recording, file = recording_row(), file_row()
        await index.begin(recording, [file])

        assert await index.find("f") == Entry(recording, file)
        assert await index.find("g") is None
        assert await index.unfinished() == (Unfinished(recording, (file,)),)

    async def test_gets_the_name_and_the_time_with_which_it_was_opened(self, index):
        await index.begin(recording_row(), [file_row()])
        await index.opened("f", "live/demo/f~2.flv", 1_001.5)

        file = replace(file_row(), path="live/demo/f~2.flv", state="open", start_at=1_001.5)
        assert (await index.find("f")).file == file

    async def test_holds_what_its_muxer_measured_when_it_is_closed(self, index):
        await index.begin(recording_row(), [file_row()])
        await index.opened("f", "live/demo/f.flv", 1_001.5)
        contents = contents_of(
            file_row(), start_ms=5, video_frames=250, audio_frames=470, key_frames=10, gaps=1, gap_ms=40, jumps=2,
            left_out=3, tracks=({"kind": "video", "codec": "avc1"},),
        )  # fmt: skip
        await index.closed("f", contents)

        file = (await index.find("f")).file
        assert file == replace(file_row(), state="closed", start_at=1_001.5, **asdict(contents))

    async def test_is_closed_also_when_its_opening_was_not_stored(self, index):
        await index.begin(recording_row(), [file_row()])
        await index.closed("f", contents_of(file_row(), path="live/demo/f~2.flv", end_at=1_030.0, duration_ms=20_500))

        file = (await index.find("f")).file
        assert (file.state, file.path, file.start_at) == ("closed", "live/demo/f~2.flv", 1_009.5)

    async def test_that_goes_on_after_it_was_closed_keeps_its_beginning(self, index):
        await index.begin(recording_row(), [])
        await closed_file(index)
        await index.opened("f", "live/demo/f.flv", 5_000.0)

        file = (await index.find("f")).file
        assert (file.state, file.start_at, file.end_at) == ("open", 1_000.0, None)

    async def test_that_failed_is_there_with_what_it_holds_and_the_reason(self, index):
        await index.begin(recording_row(), [file_row()])
        await index.failed("f", "No space left on device", contents_of(file_row()))

        file = (await index.find("f")).file
        assert (file.state, file.size_bytes, file.fault) == ("closed", 100, "No space left on device")

    async def test_that_was_never_made_is_forgotten(self, index):
        await index.begin(recording_row(), [file_row("f"), file_row("g")])
        await index.failed("f", "MP4 cannot carry sorenson", None)
        await index.discard("g")

        assert await index.find("f") is None
        assert await index.find("g") is None

    async def test_that_is_being_removed_can_not_be_opened_or_closed(self, index):
        await index.begin(recording_row(), [])
        await closed_file(index)
        assert await index.condemn(["f", "nobody"]) == ("f",)

        for refused in (index.opened("f", "x", 1.0), index.closed("f", contents_of(file_row())), index.discard("f")):
            with pytest.raises(StoreError, match="file f is not there"):
                await refused
        assert await state_of(index) == "removing"
        assert await index.remove(["f"]) == 1
        assert await state_of(index) is None

    async def test_that_is_being_written_is_neither_condemned_nor_removed(self, index):
        await index.begin(recording_row(), [file_row("f"), file_row("g")])
        await index.opened("g", "live/demo/g.flv", 1.0)

        assert await index.condemn(["f", "g"]) == ()
        assert await index.remove(["f", "g"]) == 0
        assert (await state_of(index, "f"), await state_of(index, "g")) == ("reserved", "open")


class TestPaths:
    """Two recordings never write one file."""

    async def test_one_that_is_taken_is_refused_and_nothing_of_the_recording_is_kept(self, index):
        await index.begin(recording_row("r"), [file_row("f", path="live/demo.flv")])

        with pytest.raises(StoreError, match="path") as caught:
            await index.begin(recording_row("s"), [file_row("g", "s"), file_row("h", "s", path="live/demo.flv")], OWED)
        assert caught.value.cause == "SQLITE_CONSTRAINT_UNIQUE"
        assert await index.find("g") is None
        assert [each.recording.recording_id for each in await index.unfinished()] == ["r"]

    async def test_one_that_is_taken_cannot_be_given_when_a_file_is_opened(self, index):
        await index.begin(recording_row(), [file_row("f"), file_row("g")])

        with pytest.raises(StoreError, match="path"):
            await index.opened("g", file_row("f").path, 1.0)
        assert (await index.find("g")).file == file_row("g")

    async def test_one_is_free_again_when_its_file_is_forgotten(self, index):
        await index.begin(recording_row(), [file_row("f", path="x.flv")])
        await index.discard("f")
        await index.reserve(file_row("g", path="x.flv"))

        assert await state_of(index, "g") == "reserved"


class TestOneRecording:
    """A recording over all its feeds."""

    async def test_waits_for_its_publisher_and_goes_on(self, index):
        await index.begin(recording_row(), [])
        await index.wait("r", 50.0)
        assert (await index.unfinished())[0].recording == recording_row(state="waiting", waiting_since=50.0)

        await index.resumed("r")
        assert (await index.unfinished())[0].recording == recording_row()

    async def test_gives_each_feed_a_number_of_its_own(self, index):
        await index.begin(recording_row(last_sequence=1), [])
        await index.begin(recording_row("s", last_sequence=7), [])

        assert [await index.next_sequence(each) for each in "rrsr"] == [2, 3, 8, 4]
        assert (await index.unfinished())[0].recording.last_sequence == 4

    async def test_that_has_ended_does_nothing_more(self, index):
        await index.begin(recording_row(), [])
        await index.ended("r", 60.0, "No space left on device")

        for refused in (
            index.wait("r", 1.0),
            index.resumed("r"),
            index.next_sequence("r"),
            index.ending("r", 99.0),
            index.ended("r", 99.0),
            index.resumed("nobody"),
        ):
            with pytest.raises(StoreError, match="is not there to"):
                await refused

    async def test_remembers_when_it_was_first_told_to_end(self, index):
        await index.begin(recording_row(), [])
        await index.ending("r", 50.0)
        await index.ending("r", 60.0)

        assert (await index.unfinished())[0].recording == recording_row(ending_at=50.0)

    async def test_by_request_is_found_by_its_task_with_the_files_that_it_wrote(self, index):
        files = [file_row(name) for name in "fghi"]
        await index.begin(recording_row(task_id="t"), files)
        await index.begin(recording_row("s", task_id="u"), [file_row("j", "s")])
        await index.opened("f", files[0].path, 1_000.0)
        await index.closed("g", contents_of(files[1]))
        await index.closed("h", contents_of(files[2]))
        await index.condemn(["h"])
        task = await index.find_task("t")

        assert task.recording == recording_row(task_id="t")
        assert [(file.file_id, file.state) for file in task.files] == [("f", "open"), ("g", "closed")]
        assert await index.find_task("nobody") is None

    async def test_is_unfinished_until_it_has_ended_and_its_files_are_closed(self, index):
        await index.begin(recording_row(), [file_row("f"), file_row("g")])
        await index.wait("r", 50.0)
        await index.ended("r", 60.0, "gone")
        ended = recording_row(state="ended", ended_at=60.0, fault="gone")
        await index.discard("g")
        assert await index.unfinished() == (Unfinished(ended, (file_row("f"),)),)

        await index.closed("f", contents_of(file_row("f")))
        assert await index.unfinished() == ()
        assert (await index.find("f")).recording == ended

    async def test_of_which_nothing_is_left_is_forgotten_some_time_after_its_end(self, index):
        for name in ("running", "empty", "recent", "full"):
            await index.begin(recording_row(name), [])
        await closed_file(index, "f", "full")
        for name, at in (("empty", 10.0), ("recent", 20.0), ("full", 10.0)):
            await index.ended(name, at)

        assert await index.prune(20.0) == 1
        with pytest.raises(StoreError):
            await index.reserve(file_row("g", "empty"))
        assert [each.recording.recording_id for each in await index.unfinished()] == ["running"]
        assert await index.prune(21.0) == 1
        assert (await index.find("f")).recording.recording_id == "full"


FACTS = {
    "begin": lambda index: index.begin(recording_row("new"), [], OWED),
    "closed": lambda index: index.closed("f", contents_of(file_row()), OWED),
    "failed": lambda index: index.failed("f", "full", contents_of(file_row()), OWED),
    "never made": lambda index: index.failed("f", "full", None, OWED),
    "opened": lambda index: index.opened("f", file_row().path, 1.0, OWED),
    "wait": lambda index: index.wait("r", 1.0, OWED),
    "resumed": lambda index: index.resumed("r", OWED),
    "ended": lambda index: index.ended("r", 1.0, None, OWED),
}


@pytest.mark.parametrize("fact", FACTS)
async def test_a_fact_is_stored_with_what_it_owes(database, index, fact):
    await index.begin(recording_row(), [file_row()])
    await FACTS[fact](index)

    assert await Outbox(database).pending(10) == tuple(OWED)


@pytest.mark.parametrize("fact", FACTS)
async def test_what_is_no_fact_owes_nothing(database, index, fact):
    await index.begin(recording_row("new"), [])
    await index.begin(recording_row(), [])
    await closed_file(index)
    await index.condemn(["f"])
    await index.ended("r", 1.0)

    with pytest.raises(StoreError):
        await FACTS[fact](index)
    assert await Outbox(database).count() == 0


class TestWhatRetentionAsks:
    """Oldest first, sums, and parts."""

    async def test_the_oldest_are_those_that_ended_first(self, index):
        await index.begin(recording_row(), [file_row("open")])
        for file_id, end_at in (("b", 20.0), ("c", 30.0), ("a", 10.0), ("gone", 5.0)):
            await closed_file(index, file_id, end_at=end_at)
        await index.condemn(["gone"])

        assert [file.file_id for file in await index.oldest_closed(2)] == ["a", "b"]
        assert [file.file_id for file in await index.oldest_closed(9)] == ["a", "b", "c"]
        assert [file.file_id for file in await index.condemned()] == ["gone"]

    async def test_the_sum_is_of_what_is_on_the_disk_and_not_being_written(self, index):
        assert await index.totals() == Totals(0, 0)
        await index.begin(recording_row(), [file_row("open", size_bytes=5)])
        await closed_file(index, "a", size_bytes=2**40)
        await closed_file(index, "b", size_bytes=10)
        await index.condemn(["b"])

        assert await index.totals() == Totals(2, 2**40 + 10)

    async def test_paths_come_in_parts(self, index):
        await index.begin(recording_row(), [file_row("open")])
        for file_id in "dabc":
            await closed_file(index, file_id)

        first = await index.closed_paths("", 3)
        assert [file.file_id for file in first] == ["a", "b", "c"]
        assert [file.file_id for file in await index.closed_paths(first[-1].path, 3)] == ["d"]

    async def test_a_folder_that_something_is_reserved_in_is_not_dropped(self, index):
        await index.begin(recording_row(), [file_row("f", path="live/a/x/f.flv"), file_row("g", path="live/b/g.flv")])
        await index.closed("g", contents_of(file_row("g", path="live/b/g.flv")))
        dropped = []
        folders = ["live/a/x", "live/a", "live", "live/b", "live/a/xy", "liv", "live/a/x/f.flv"]
        await index.unused(folders, dropped.append)

        assert dropped == ["live/b", "live/a/xy", "liv", "live/a/x/f.flv"]


class Explaining:
    """A database that asks SQLite how it goes about each statement."""

    def __init__(self, connection):
        self.connection = connection
        self.plans = []

    def submit(self, work):
        statements = []
        self.connection.set_trace_callback(statements.append)
        with contextlib.suppress(StoreError, sqlite3.IntegrityError):
            work(self.connection)
        self.connection.set_trace_callback(None)
        for statement in statements:
            self.plans += [row[3] for row in self.connection.execute(f"EXPLAIN QUERY PLAN {statement}")]


@pytest.fixture
def connection():
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.row_factory = sqlite3.Row
        schema.migrate(connection)
        connection.execute("PRAGMA foreign_keys = ON")
        yield connection


QUESTIONS = {
    "opened": lambda index: index.opened("f", "x", 1.0),
    "closed": lambda index: index.closed("f", contents_of(file_row())),
    "ended": lambda index: index.ended("r", 1.0),
    "next_sequence": lambda index: index.next_sequence("r"),
    "find": lambda index: index.find("f"),
    "condemn": lambda index: index.condemn(["f"]),
    "remove": lambda index: index.remove(["f"]),
    "condemned": lambda index: index.condemned(),
    "oldest_closed": lambda index: index.oldest_closed(10),
    "closed_paths": lambda index: index.closed_paths("x", 10),
    "totals": lambda index: index.totals(),
    "unused": lambda index: index.unused(["x"], print),
    "prune": lambda index: index.prune(1.0),
    "list of a recording": lambda index: index.list(Query(recording_id="r")),
    "find a task": lambda index: index.find_task("t"),
    "list of a task": lambda index: index.list(Query(task_id="t")),
    "list": lambda index: index.list(Query()),
}
SCANNED = {"list": ["SCAN files"]}
"""In its own order, and no further than the page."""
SORTED = {"condemned", "list of a task"}
"""What is sorted are the few files that were found by an index."""


@pytest.mark.parametrize("question", QUESTIONS)
def test_an_index_answers_without_reading_or_sorting_every_row(connection, question):
    database = Explaining(connection)
    QUESTIONS[question](RecordingIndex(database))

    assert database.plans
    assert [plan for plan in database.plans if plan.startswith("SCAN")] == SCANNED.get(question, [])
    assert any("TEMP B-TREE" in plan for plan in database.plans) == (question in SORTED)
