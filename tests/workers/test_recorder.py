"""The recorder: which streams are recorded, what the index and the outbox say of their files, and how it stops."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from rtmpd.config_file import validate
from rtmpd.errors import StartError, StoreError
from rtmpd.workers.feeds import FeedEnded, FeedProgress, FileClosed, FileFailed, FileOpened, WorkerDied
from rtmpd.workers.stream_recorder import Phase
from tests.helpers.played_workers import file_facts
from tests.helpers.studio import Rig, rows_of


@pytest.fixture
async def rig(tmp_path):
    rig = await Rig.open(tmp_path)
    yield rig
    await rig.close()


async def start(rig, kinds="k.", name="s"):
    publication = rig.publish(name)
    rig.send(publication, kinds)
    await rig.settle()
    rig.worker.write()
    await rig.settle()
    return publication


async def test_an_application_that_says_auto_is_recorded_and_its_directory_is_made(rig):
    await start(rig)

    assert rig.directory.is_dir()
    assert rig.supervisor.started
    (file,) = [file for file in await rig.files() if file.state == "open"]
    assert [file.path] == rig.on_disk()
    assert rig.said("recording started")[0]["path"] == str(rig.directory / file.path)


async def test_manual_applications_and_those_that_are_gone_from_the_configuration_are_not_recorded(tmp_path):
    rig = await Rig.open(tmp_path, record="manual")
    rig.publish()
    rig.recorder.apps = {}
    rig.publish("t")
    await rig.settle()

    assert rig.supervisor.workers == []
    await rig.close()


@pytest.mark.parametrize("name", ["../../x", "a/b", "..", "\N{SNOWMAN}", "x" * 300])
async def test_files_lie_in_the_recordings_directory_whatever_the_stream_is_called(rig, name):
    await start(rig, name=name)

    (path,) = rig.on_disk()
    assert (rig.directory / path).resolve().is_relative_to(rig.directory)
    assert Path(path).suffix == ".flv"


async def test_a_request_is_no_reason_not_to_record_what_the_configuration_says(tmp_path):
    rig = await Rig.open(tmp_path, record="manual")
    publication = rig.publish()
    rig.record(publication)
    await rig.settle()
    rig.end(publication)
    rig.recorder.apps = validate({"apps": {"live": {"record": "auto"}}}).apps
    rig.publish()
    await rig.settle()

    assert [each.plan.origin for each in rig.recorder.recordings] == ["manual", "auto"]
    await rig.close()


async def test_both_recordings_of_a_stream_wait_for_its_publisher(rig):
    publication = await start(rig)
    rig.record(publication)
    await rig.settle()
    rig.end(publication)
    await rig.settle()
    again = rig.publish()
    await rig.settle()

    assert [each.phase for each in rig.recorder.recordings] == [Phase.RUNNING, Phase.RUNNING]
    assert len(rig.supervisor.workers) == 2
    assert again.current


async def test_a_publisher_that_comes_while_the_last_recording_still_ends_gets_another_one(tmp_path):
    rig = await Rig.open(tmp_path, resume_s=0)
    publication = await start(rig)
    rig.end(publication)
    await rig.settle()
    again = rig.publish()
    numbers = rig.send(again, "k")
    await rig.settle()
    await rig.stop_recording(again)

    assert len(await rig.recordings()) == 2
    assert numbers in [rig.frames(file.path) for file in await rig.files()]
    await rig.close()


async def test_events_of_recordings_that_are_gone_are_ignored(rig):
    publication = await start(rig)
    feed = rig.worker.feed
    (granted, _) = feed.request.outputs[0].grants
    await rig.stop_recording(publication)
    before, turns = await rig.files(), await rig.turns()
    for event in (
        FileOpened(feed, "flv", granted.file_id),
        FileClosed(feed, "flv", granted.file_id, file_facts()),
        FileFailed(feed, "flv", granted.file_id, "late", 0, None),
        FeedProgress(feed),
        FeedEnded(feed),
        WorkerDied(1, "late", (feed,)),
    ):
        rig.recorder.on_event(event)
    await rig.settle()

    assert await rig.files() == before
    assert await rig.turns() == turns


async def test_stop_waits_until_every_recording_is_complete_and_in_the_index(tmp_path):
    rig = await Rig.open(tmp_path, resume_s=0)
    publication = await start(rig)
    stopping = asyncio.ensure_future(rig.recorder.close(5.0))
    await rig.settle()
    assert not rig.supervisor.stopped
    rig.worker.finish()
    await stopping

    assert rig.supervisor.stopped
    assert rig.workshop.stopped
    assert [file.state for file in await rig.files()] == ["closed"]
    assert list((await rig.recordings()).values()) == ["ended"]
    assert publication.current
    await rig.close()


async def test_a_recording_that_may_be_resumed_waits_over_the_stop_and_is_not_called_ended(rig):
    await start(rig)
    await rig.stop()

    rows = rows_of(rig.database.path)
    assert [(row["state"], row["waiting_since"] is not None) for row in rows["recordings"]] == [("waiting", True)]
    assert [row["event_type"] for row in rows["outbox"]] == [332, 332, 100]


async def test_stop_does_not_wait_for_repairs(rig):
    await start(rig)
    rig.workshop.gate.clear()
    rig.supervisor.die(rig.worker)
    await rig.settle()
    await rig.stop()

    assert rig.said("recordings were cut off") == []
    assert [row["state"] for row in rows_of(rig.database.path)["files"]] == ["open", "reserved", "closed"]


async def test_stop_gives_up_on_a_database_that_takes_nothing(rig):
    rig.hold_database()
    publication = rig.publish()
    rig.send(publication)
    await rig.recorder.close(0.02)
    rig.release_database()
    await rig.settle()

    assert [values["event"] for level, values in rig.lines if level != "info"] == [
        "recordings were cut off",
        "index behind",
    ]
    assert rig.supervisor.workers == []


async def test_stop_gives_up_on_a_worker_that_hangs_and_leaves_its_files_to_the_next_server(rig):
    await start(rig)
    rig.supervisor.finishes_at_stop = False
    await rig.recorder.close(0.02)

    assert len(rig.said("recording not finished")) == 1
    assert [file.state for file in await rig.files()] == ["open", "reserved"]
    assert list((await rig.recordings()).values()) == ["running"]


async def test_a_worker_that_dies_while_its_recording_is_stopped_is_replaced_for_what_is_left(rig):
    publication = rig.publish()
    numbers = rig.send(publication, "k.")
    await rig.settle()
    stopping = asyncio.ensure_future(rig.recorder.close(5.0))
    await rig.settle()
    rig.supervisor.die(rig.worker)
    await rig.settle()
    rig.worker.finish()
    await stopping

    assert [rig.frames(path) for path in rig.on_disk()] == [numbers]


async def test_nothing_runs_after_a_start_that_could_not_read_the_index(rig, monkeypatch):
    def unfinished():
        raise StoreError("damaged")

    monkeypatch.setattr(rig.index, "unfinished", unfinished)
    rig.supervisor.started = False
    with pytest.raises(StoreError):
        await rig.recorder.open()

    assert not rig.supervisor.started


async def test_a_worker_that_cannot_be_started_is_said_at_the_start(rig, monkeypatch):
    async def start():
        raise StartError("no worker")

    monkeypatch.setattr(rig.supervisor, "start", start)
    with pytest.raises(StartError):
        await rig.recorder.open()


async def test_a_request_records_beside_the_configuration_and_ends_alone(rig):
    publication = await start(rig, "k")
    requested = rig.record(publication, task_id="t", tags=("a",))
    await rig.settle()
    numbers = rig.send(publication, ".k")
    await rig.settle()
    requested.end("stopped")
    await rig.settle()
    rig.worker.finish()
    await rig.settle()

    (file,) = await rig.files(task_id="t")
    assert rig.frames(file.path)[1:] == numbers
    assert sorted((await rig.recordings()).values()) == ["ended", "running"]
    (body,) = map(json.loads, await rig.owed(100))
    assert body["task_id"] == "t"

    rig.send(publication, ".")
    await rig.stop_recording(publication)
    assert len(await rig.files()) == 2
    assert len(rig.frames((await rig.files(state="closed"))[0].path)) == 4


async def test_a_recording_whose_first_file_is_written_while_the_server_stops_is_told_as_paused_then(tmp_path):
    rig = await Rig.open(tmp_path)
    rig.send(rig.publish(), "k.")
    await rig.settle()
    stopping = asyncio.ensure_future(rig.recorder.close(5.0))
    await rig.settle()
    assert await rig.turns() == []
    rig.worker.finish()
    await stopping
    await rig.close()

    told = [json.loads(row["body"]) for row in rows_of(rig.database.path)["outbox"]]
    assert [each.get("record_event", each["event_type"]) for each in told] == [
        "record_start_succeeded",
        100,
        "record_paused",
    ]
