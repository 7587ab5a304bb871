"""Files before they are complete: none that the index does not know, no name twice, and patience with a full disk."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from tests.helpers.played_workers import FULL
from tests.helpers.studio import Rig


@pytest.fixture
async def rig(tmp_path):
    rig = await Rig.open(tmp_path, record_formats=["flv", "hls"])
    yield rig
    await rig.close()


async def start(rig, kinds="k"):
    publication = rig.publish()
    rig.send(publication, kinds)
    await rig.settle()
    return publication


def make_next_file(rig, content):
    """Make what the worker was granted next, behind its back."""
    path = Path(rig.worker.grants["flv"][0].path)
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    return path


def content_of(path):
    return path.read_bytes()


async def test_every_file_that_a_worker_may_open_is_in_the_index_before(rig):
    rig.hold_database()
    publication = await start(rig)
    assert rig.supervisor.workers == []

    rig.release_database()
    await rig.settle()
    rig.worker.write()
    await rig.settle()

    granted = [grant for output in rig.worker.feed.request.outputs for grant in output.grants]
    files = {file.file_id: file for file in await rig.files()}
    assert [Path(grant.path) for grant in granted] == [rig.directory / files[grant.file_id].path for grant in granted]
    assert sorted(file.state for file in files.values()) == ["open", "open", "reserved", "reserved"]
    assert publication.current


async def test_one_file_is_always_in_reserve(rig):
    publication = await start(rig)
    for _ in range(3):
        rig.worker.write()
        rig.worker.cut("flv")
        rig.send(publication)
        await rig.pass_time(1)

    assert len(rig.worker.grants["flv"]) == len(rig.worker.grants["hls"]) == 1
    assert [file.sequence for file in await rig.files() if file.file_format == "flv"] == [1, 2, 3, 4, 5]


async def test_what_was_not_used_is_struck_out_at_the_end(rig):
    publication = await start(rig)
    rig.worker.write()
    await rig.stop_recording(publication)

    assert [(file.file_format, file.state) for file in await rig.files()] == [("flv", "closed"), ("hls", "closed")]
    assert [file.path for file in await rig.files()] == rig.on_disk()


async def test_a_name_that_the_index_has_gets_a_number_and_no_number_is_left_out(tmp_path):
    rig = await Rig.open(tmp_path, record_path="{app}/{stream}.{format}", resume_s=0)
    for _ in range(3):
        publication = await start(rig)
        rig.worker.write()
        rig.worker.cut()
        rig.send(publication)
        await rig.stop_recording(publication)
    await rig.settle()

    names = [Path(file.path).name for file in await rig.files()]
    assert names == ["s.flv", "s~2.flv", "s~3.flv", "s~4.flv", "s~5.flv", "s~6.flv"]
    assert [file.sequence for file in await rig.files()] == [1, 2] * 3
    assert sorted(file.path for file in await rig.files()) == rig.on_disk()
    await rig.close()


async def test_a_name_that_a_stranger_has_on_the_disk_is_left_alone(rig):
    rig.hold_database()
    await start(rig)
    rig.release_database()
    await rig.settle()
    taken = make_next_file(rig, b"mine")

    rig.worker.open("flv")
    rig.worker.write()
    await rig.pass_time(1)

    rows = [file for file in await rig.files() if file.file_format == "flv"]
    assert content_of(taken) == b"mine"
    assert [(file.sequence, file.state) for file in rows] == [(2, "open"), (3, "reserved")]
    assert Path(rows[1].path).stem.endswith("-003~2")
    assert rig.said("recording failed")[0]["reason"] == str(FileExistsError(errno.EEXIST, "File exists", str(taken)))


def reserved(rig, file_format="flv"):
    return len(rig.worker.grants[file_format])


async def test_a_full_disk_is_not_tried_again_before_it_has_room(rig):
    await start(rig)
    rig.worker.write()
    rig.studio.has_room = False
    rig.worker.fail("flv", FULL)
    rig.worker.open("flv", FULL)
    await rig.pass_time(100)
    assert reserved(rig) == 0

    rig.studio.has_room = True
    await rig.pass_time(2)
    assert reserved(rig) == 1
    rig.worker.open("flv")
    await rig.pass_time(2)

    assert reserved(rig) == 1
    assert [file.state for file in await rig.files() if file.file_format == "flv"] == ["closed", "open", "reserved"]


async def test_pauses_grow_with_each_failure_and_begin_anew_when_a_file_was_completed(rig):
    await start(rig)
    rig.worker.write()
    await rig.pass_time(1)
    for pause_s in (0.5, 1.0, 2.0):
        await fail_and_wait(rig, pause_s)

    rig.worker.cut("flv")
    await rig.pass_time(5)
    await fail_and_wait(rig, 0.5)


async def fail_and_wait(rig, pause_s):
    """The file that is open fails, the one in reserve takes its place, and after the pause there is another one."""
    rig.worker.fail("flv", FULL)
    rig.worker.open("flv")
    await rig.pass_time(pause_s - 0.01)
    assert reserved(rig) == 0, pause_s
    await rig.pass_time(0.02)
    assert reserved(rig) == 1, pause_s


async def test_another_error_than_a_full_disk_does_not_wait_for_room(rig):
    await start(rig)
    rig.worker.write()
    rig.studio.has_room = False
    rig.worker.open("flv", OSError(errno.EACCES, "Permission denied"))
    await rig.pass_time(1)

    assert reserved(rig) == 1


async def test_a_file_that_a_dead_worker_had_made_and_not_named_is_no_orphan(rig):
    await start(rig)
    made = make_next_file(rig, b"")
    rig.supervisor.die(rig.worker)
    await rig.settle()
    rig.worker.write()
    await rig.settle()

    assert str(made.relative_to(rig.directory)) not in rig.on_disk()
    assert [(file.sequence, file.state) for file in await rig.files() if file.file_format == "flv"] == [
        (2, "open"),
        (3, "reserved"),
    ]


async def test_a_grant_that_comes_after_its_workers_death_goes_to_the_next_one(rig):
    await start(rig)
    rig.worker.write()
    await rig.pass_time(1)
    rig.hold_database()
    rig.worker.cut("flv")
    await rig.pass_time(1)
    rig.supervisor.die(rig.worker)
    rig.release_database()
    await rig.settle()
    granted = [grant.file_id for grant in rig.worker.grants["flv"]]

    assert set(granted) < {file.file_id for file in await rig.files()}
    assert len(granted) == 2

    for _ in range(3):
        rig.worker.open("flv")
        await rig.pass_time(1)
    assert reserved(rig) == 1


async def test_hls_goes_on_in_its_files_when_a_worker_dies_and_flv_does_not(rig):
    publication = await start(rig)
    rig.worker.write()
    rig.supervisor.die(rig.worker)
    await rig.settle()
    assert [grant.resume for grant in rig.worker.grants["hls"]] == [True, False]
    rig.worker.write()
    await rig.stop_recording(publication)

    assert [(file.file_format, file.state) for file in await rig.files()] == [
        ("flv", "closed"),
        ("hls", "closed"),
        ("flv", "closed"),
    ]


async def test_nothing_is_granted_after_the_end(rig):
    publication = await start(rig)
    rig.worker.write()
    await rig.pass_time(1)
    rig.worker.open("flv", FULL)
    await rig.stop_recording(publication)
    count = len(await rig.files())
    await rig.pass_time(100)

    assert len(await rig.files()) == count
