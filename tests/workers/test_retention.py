"""Retention: what goes and in which order, what stays, and that a kill leaves neither a lie nor a leak."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtmpd.errors import StoreError
from rtmpd.store.database import Database
from rtmpd.store.listing import Query
from rtmpd.store.recordings import RecordingIndex
from rtmpd.workers import removal
from rtmpd.workers import retention as retention_module
from rtmpd.workers.retention import KEEP_EMPTY_S, Failure, Removed, Retention, Rules, Swept, free_bytes
from tests.helpers.store import contents_of, file_row, recording_row

NOW = 1_000_000.0
SIZE = 1_000


class Archive:
    """Recordings on a disk of a given size, and their index."""

    def __init__(self, database, directory):
        self.database = database
        self.directory = directory
        self.index = RecordingIndex(database)
        self.disk_bytes = 100 * SIZE
        directory.mkdir()

    def retention(self, **rules):
        return Retention(self.index, self.directory, Rules(**rules), free_bytes=self.free_bytes)

    def free_bytes(self, directory):
        assert directory == self.directory
        assert threading.current_thread() is not threading.main_thread()
        return self.disk_bytes - sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())

    async def add(self, file_id, age_s=0.0, *, state="closed", path=None, file_format="flv", size=SIZE, on_disk=True):
        file = file_row(file_id, path=path or f"live/demo/{file_id}.flv", file_format=file_format)
        await self.index.reserve(file)
        if on_disk:
            (self.directory / file.path).parent.mkdir(parents=True, exist_ok=True)
            (self.directory / file.path).write_bytes(bytes(size))
        if state != "reserved":
            await self.index.opened(file_id, file.path, NOW - age_s - 10)
        if state == "closed":
            await self.index.closed(file_id, contents_of(file, end_at=NOW - age_s, size_bytes=size))
        return self.directory / file.path

    async def listed(self):
        return {entry.file.file_id for entry in await self.index.list(Query())}

    @property
    def on_disk(self):
        return {path.stem for path in self.directory.rglob("*") if path.is_file()}

    @property
    def folders(self):
        return {str(path.relative_to(self.directory)) for path in self.directory.rglob("*") if path.is_dir()}


@pytest.fixture
async def archive(tmp_path):
    database = await Database.open(tmp_path / "rtmpd.db")
    archive = Archive(database, tmp_path / "recordings")
    await archive.index.begin(recording_row(), [])
    yield archive
    await database.close()


def reasons(swept):
    return [(each.file.file_id, each.reason) for each in swept.removed]


async def test_without_rules_nothing_goes(archive):
    await archive.add("old", 1e9)
    swept = await archive.retention().sweep(2e9)

    assert (swept.removed, swept.failed, swept.size_bytes) == ((), (), 0)
    assert archive.on_disk == {"old"}


async def test_what_is_too_old_goes(archive):
    for file_id, age_s in (("young", 9.0), ("old", 11.0), ("older", 12.0), ("exact", 10.0)):
        await archive.add(file_id, age_s)
    swept = await archive.retention(max_age_s=10).sweep(NOW)

    assert reasons(swept) == [("older", "age"), ("old", "age")]
    assert swept.size_bytes == 2 * SIZE
    assert archive.on_disk == await archive.listed() == {"young", "exact"}


async def test_what_is_too_much_goes_oldest_first_and_no_more_than_that(archive):
    for number in range(5):
        await archive.add(f"f{number}", 100.0 - number)
    swept = await archive.retention(max_bytes=3 * SIZE - 1).sweep(NOW)

    assert reasons(swept) == [("f0", "size"), ("f1", "size"), ("f2", "size")]
    assert archive.on_disk == await archive.listed() == {"f3", "f4"}


async def test_what_is_being_written_counts_and_stays(archive):
    await archive.add("open", state="open", size=3 * SIZE)
    await archive.add("reserved", state="reserved", on_disk=False)
    await archive.add("f", 50.0)
    assert reasons(await archive.retention(max_bytes=4 * SIZE).sweep(NOW)) == []
    assert reasons(await archive.retention(max_bytes=4 * SIZE - 1).sweep(NOW)) == [("f", "size")]
    await archive.retention(max_bytes=1, max_age_s=1, min_free_bytes=10**9).sweep(NOW)

    assert archive.on_disk == {"open"}
    assert await archive.listed() == {"open", "reserved"}


async def test_room_is_made_on_a_disk_that_runs_full(archive):
    for number in range(5):
        await archive.add(f"f{number}", 100.0 - number)
    archive.disk_bytes = 6 * SIZE
    swept = await archive.retention(min_free_bytes=2 * SIZE + 1).sweep(NOW)

    assert reasons(swept) == [("f0", "space"), ("f1", "space")]


async def test_space_that_a_file_system_gives_back_late_costs_no_further_file(archive):
    for number in range(5):
        await archive.add(f"f{number}", 100.0 - number)
    retention = Retention(archive.index, archive.directory, Rules(min_free_bytes=SIZE), free_bytes=lambda _: 0)

    assert reasons(await retention.sweep(NOW)) == [("f0", "space")]
    assert reasons(await retention.sweep(NOW)) == [("f1", "space")]


async def test_the_rules_work_together(archive):
    for number in range(6):
        await archive.add(f"f{number}", 100.0 - number)
    archive.disk_bytes = 7 * SIZE
    swept = await archive.retention(max_age_s=98.5, max_bytes=3 * SIZE, min_free_bytes=5 * SIZE).sweep(NOW)

    assert reasons(swept) == [("f0", "age"), ("f1", "age"), ("f2", "size"), ("f3", "space")]


async def test_many_files_go_in_batches(archive, monkeypatch):
    monkeypatch.setattr(retention_module, "BATCH", 3)
    for number in range(8):
        await archive.add(f"f{number}", 100.0 - number)
    swept = await archive.retention(max_bytes=SIZE).sweep(NOW)

    assert [each.file.file_id for each in swept.removed] == [f"f{number}" for number in range(7)]
    assert archive.on_disk == {"f7"}


async def test_of_hls_everything_goes(archive):
    playlist = await archive.add("a", 50.0, path="live/demo/a.m3u8", file_format="hls")
    playlist.with_suffix("").mkdir()
    (playlist.with_suffix("") / "00000.m4s").write_bytes(bytes(SIZE))
    await archive.retention(max_age_s=1).sweep(NOW)

    assert archive.on_disk == set()
    assert archive.folders == set()


async def test_folders_that_nothing_is_left_in_go_but_for_those_that_are_about_to_be_written_in(archive):
    await archive.add("a", 50.0, path="x/y/a.flv")
    await archive.add("b", 50.0, path="x/z/b.flv")
    await archive.add("c", 50.0, path="u/v/w/c.flv")
    await archive.add("next", path="u/v/next.flv", state="reserved", on_disk=False)
    await archive.add("d", 0.0, path="x/d.flv")
    await archive.add("e", 50.0, path="e.flv")
    await archive.retention(max_age_s=1).sweep(NOW)

    assert archive.folders == {"x", "u", "u/v"}
    assert archive.on_disk == {"d"}


async def test_a_file_that_is_gone_already_counts_as_removed(archive):
    (await archive.add("gone", 50.0)).unlink()
    swept = await archive.retention(max_age_s=1).sweep(NOW)

    assert reasons(swept) == [("gone", "age")]
    assert await archive.listed() == set()


async def test_a_file_that_cannot_be_removed_is_reported_and_stops_nothing(archive, monkeypatch):
    monkeypatch.setattr(retention_module, "BATCH", 2)
    for number in range(6):
        await archive.add(f"f{number}", 100.0 - number)
    stuck = [archive.directory / f"live/demo/f{number}.flv" for number in (0, 1, 2)]
    for path in stuck:
        path.unlink()
        path.mkdir()
    retention = archive.retention(max_age_s=1)
    swept = await retention.sweep(NOW)

    assert [each.file.file_id for each in swept.failed] == ["f0", "f1", "f2"]
    assert all(isinstance(each, Failure) and "directory" in each.reason for each in swept.failed)
    assert [each.file.file_id for each in swept.removed] == ["f3", "f4", "f5"]
    assert (await archive.index.totals()).files == 3

    stuck[0].rmdir()
    again = await retention.sweep(NOW)
    assert reasons(again) == [("f0", "condemned")]
    assert [each.file.file_id for each in again.failed] == ["f1", "f2"]


async def test_a_path_that_leads_out_is_reported_and_not_followed(archive, tmp_path):
    (tmp_path / "secret").write_bytes(b"mine")
    await archive.add("out", 50.0, path="../secret", on_disk=False)
    swept = await archive.retention(max_age_s=1).sweep(NOW)

    assert [each.file.file_id for each in swept.failed] == ["out"]
    assert (tmp_path / "secret").read_bytes() == b"mine"


async def test_a_file_that_goes_on_being_written_is_let_live(archive):
    await archive.add("a", 50.0)
    retention = archive.retention(max_age_s=1)
    oldest = archive.index.oldest_closed

    async def reopened_meanwhile(limit):
        files = await oldest(limit)
        for file in files:
            await archive.index.opened(file.file_id, file.path, NOW)
        return files

    archive.index.oldest_closed = reopened_meanwhile
    swept = await retention.sweep(NOW)

    assert (swept.removed, swept.failed) == ((), ())
    assert archive.on_disk == await archive.listed() == {"a"}


class Killed(Exception):
    """Stands for a kill: nothing after it happens."""


STEPS = ["condemn", "remove", "unused"]


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_kill_between_two_steps_leaves_neither_a_lie_nor_an_orphan(archive, step, when):
    for number in range(3):
        await archive.add(f"f{number}", 100.0)
    real = getattr(archive.index, step)

    async def killed(*arguments):
        if when == "after":
            await real(*arguments)
        raise Killed

    setattr(archive.index, step, killed)
    with pytest.raises(Killed):
        await archive.retention(max_age_s=1).sweep(NOW)
    known = await archive.listed() | {file.file_id for file in await archive.index.condemned()}
    assert await archive.listed() <= archive.on_disk <= known

    setattr(archive.index, step, real)
    await archive.retention(max_age_s=1).sweep(NOW)
    assert archive.on_disk == await archive.listed() == set()
    assert await archive.index.condemned() == ()


async def test_a_kill_between_two_files_leaves_neither_a_lie_nor_an_orphan(archive, monkeypatch):
    for number in range(3):
        await archive.add(f"f{number}", 100.0 - number)
    real = removal.remove

    def killed(directory, path, file_format):
        if "f1" in path:
            raise Killed
        real(directory, path, file_format)

    monkeypatch.setattr(removal, "remove", killed)
    with pytest.raises(Killed):
        await archive.retention(max_age_s=1).sweep(NOW)
    assert await archive.listed() == set()
    assert archive.on_disk == {"f1", "f2"}

    monkeypatch.setattr(removal, "remove", real)
    swept = await archive.retention().sweep(NOW)
    assert reasons(swept) == [(f"f{number}", "condemned") for number in range(3)]
    assert archive.on_disk == set()


async def test_no_row_is_forgotten_before_the_removal_of_its_file_is_on_the_disk(archive, monkeypatch):
    await archive.add("f", 100.0)
    listed = []
    sync, remove = removal.sync_folders, archive.index.remove

    def noted_sync(directory, paths):
        assert archive.on_disk == set()
        listed.append("synced")
        sync(directory, paths)

    async def noted_remove(file_ids):
        listed.append(tuple(file_ids))
        return await remove(file_ids)

    monkeypatch.setattr(removal, "sync_folders", noted_sync)
    archive.index.remove = noted_remove
    await archive.retention(max_age_s=1).sweep(NOW)

    assert listed == ["synced", ("f",)]


class FullDisk:
    """An index that can store a mark only when so many files are gone."""

    def __init__(self, archive, needed, cause="SQLITE_FULL"):
        self.archive = archive
        self.needed = needed
        self.cause = cause
        self.condemn = archive.index.condemn
        archive.index.condemn = self

    async def __call__(self, file_ids):
        if len(self.archive.on_disk) > self.needed:
            raise StoreError("database or disk is full", cause=self.cause)
        return await self.condemn(file_ids)


async def test_on_a_full_disk_that_takes_no_mark_a_file_goes_first(archive):
    for number in range(5):
        await archive.add(f"f{number}", 100.0 - number)
    FullDisk(archive, needed=3)
    swept = await archive.retention(max_bytes=SIZE).sweep(NOW)

    assert [each.file.file_id for each in swept.removed] == ["f0", "f1", "f2", "f3"]
    assert archive.on_disk == await archive.listed() == {"f4"}


async def test_a_disk_on_which_no_file_makes_room_is_told(archive):
    await archive.add("f0", 100.0)
    await archive.add("f1", 10.0)
    FullDisk(archive, needed=-1)

    with pytest.raises(StoreError, match="made no room") as caught:
        await archive.retention(max_age_s=50).sweep(NOW)
    assert caught.value.disk_full
    assert archive.on_disk == {"f1"}
    assert [file.file_id for file in await archive.retention().verify()] == ["f0"]


async def test_any_other_failure_of_the_index_removes_nothing(archive):
    await archive.add("f0", 100.0)
    FullDisk(archive, needed=-1, cause="SQLITE_IOERR")

    with pytest.raises(StoreError):
        await archive.retention(max_age_s=50).sweep(NOW)
    assert archive.on_disk == {"f0"}


async def test_recordings_of_which_nothing_is_left_are_forgotten_in_the_end(archive):
    await archive.add("a", KEEP_EMPTY_S + 50.0)
    await archive.index.ended("r", NOW - KEEP_EMPTY_S - 1)
    swept = await archive.retention(max_age_s=1).sweep(NOW)

    assert swept.recordings == 1
    with pytest.raises(StoreError):
        await archive.index.next_sequence("r")


class TestVerify:
    """An index that tells the truth."""

    async def test_forgets_what_somebody_else_has_removed(self, archive, monkeypatch):
        monkeypatch.setattr(retention_module, "BATCH", 2)
        for number in range(5):
            await archive.add(f"f{number}", on_disk=number not in {1, 4})
        await archive.add("open", state="open", on_disk=False)
        await archive.add("reserved", state="reserved", on_disk=False)
        forgotten = await archive.retention().verify()

        assert [file.file_id for file in forgotten] == ["f1", "f4"]
        assert await archive.listed() == {"f0", "f2", "f3", "open", "reserved"}

    @pytest.mark.parametrize("there", [True, False], ids=["empty", "missing"])
    async def test_takes_a_directory_that_holds_nothing_for_a_disk_that_is_not_mounted(self, archive, there):
        await archive.add("f0", on_disk=False)
        if not there:
            archive.directory.rmdir()

        with pytest.raises(FileNotFoundError, match="none of the 1 files of the index; is its disk mounted"):
            await archive.retention().verify()
        assert await archive.listed() == {"f0"}

    async def test_has_nothing_to_say_of_an_empty_index(self, archive):
        assert await archive.retention().verify() == ()


def test_free_space_is_what_the_disk_has_for_us(tmp_path):
    assert 0 < free_bytes(tmp_path) < 2**60


files_of_any_size = st.lists(st.integers(0, 50), max_size=12)


@given(sizes=files_of_any_size, limit=st.integers(0, 200), lacking=st.integers(-50, 200))
def test_what_is_chosen_is_the_fewest_of_the_oldest_that_suffice(sizes, limit, lacking):
    files = [file_row(f"f{n}", size_bytes=size, end_at=float(n), state="closed") for n, size in enumerate(sizes)]
    excess = retention_module._Excess(0.0)
    excess.over_bytes, excess.lacking_bytes = sum(sizes) - limit, lacking
    chosen = excess.choose(files)

    def suffices(count):
        gone = sum(sizes[:count])
        return sum(sizes) - gone <= limit and gone >= lacking

    assert [each.file for each in chosen] == files[: len(chosen)]
    assert suffices(len(chosen)) or len(chosen) == len(files)
    assert not any(suffices(count) for count in range(len(chosen)))
    assert all(isinstance(each, Removed) for each in chosen)


async def test_one_file_is_removed_as_asked_for_whatever_the_rules_say(archive):
    await archive.add("1")
    await archive.add("2", path="live/demo/below/2.flv")
    entry = await archive.index.find("2")
    swept = await archive.retention().delete(entry.file)

    assert swept.removed == (Removed(entry.file, "request"),)
    assert (await archive.listed(), archive.on_disk) == ({"1"}, {"1"})
    assert archive.folders == {"live", "live/demo"}


async def test_a_file_that_is_written_again_is_not_removed(archive):
    await archive.add("1")
    entry = await archive.index.find("1")
    await archive.index.opened("1", entry.file.path, NOW)

    assert await archive.retention().delete(entry.file) == Swept((), (), 0)
    assert archive.on_disk == {"1"}
