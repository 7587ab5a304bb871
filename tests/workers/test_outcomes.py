"""What becomes of files: in the index with what they hold, and told together with it."""

from __future__ import annotations

import errno
import json

import pytest

from tests.helpers.played_workers import FULL, file_facts
from tests.helpers.studio import Rig, rows_of


@pytest.fixture
async def rig(tmp_path):
    rig = await Rig.open(tmp_path)
    yield rig
    await rig.close()


async def start(rig, kinds="k."):
    publication = rig.publish()
    rig.send(publication, kinds)
    await rig.settle()
    rig.worker.write()
    await rig.settle()
    return publication


async def test_a_complete_file_is_in_the_index_and_owed_with_what_it_holds(rig):
    publication = await start(rig, "k..")
    await rig.stop_recording(publication)

    (file,) = await rig.files()
    (body,) = map(json.loads, await rig.owed(100))
    assert (file.state, file.size_bytes, file.duration_ms, file.video_frames) == ("closed", 12, 120, 3)
    assert file.end_at == pytest.approx(file.start_at + 0.12)
    assert (body["file_id"], body["file_size"], body["path"]) == (file.file_id, 12, file.path)
    assert rig.said("recording closed")[0]["size_bytes"] == 12


async def test_an_empty_file_leaves_no_row_and_is_owed_to_nobody(rig):
    publication = rig.publish()
    await rig.settle()
    rig.worker.write()
    await rig.stop_recording(publication)

    assert await rig.files() == []
    assert rig.on_disk() == []
    assert await rig.owed(100) == []
    assert await rig.owed(341) == []


async def test_a_file_that_fails_is_told_and_repaired_and_the_recording_goes_on(rig):
    publication = await start(rig)
    rig.worker.fail()
    numbers = rig.send(publication, "k")
    await rig.pass_time(1)
    await rig.stop_recording(publication)

    failed, good = await rig.files()
    assert (failed.fault, good.fault) == (str(FULL), None)
    assert rig.frames(good.path) == numbers
    assert rig.workshop.jobs == [("repair", rig.directory / failed.path)]
    turns = ["record_start_succeeded", "record_error", "record_paused", "record_ended"]
    assert await rig.turns() == turns
    assert [json.loads(body)["seq"] for body in await rig.owed(332)] == [1, 2, 3, 4]
    assert [json.loads(body)["file_id"] for body in await rig.owed(100)] == [failed.file_id, good.file_id]


async def test_a_file_that_cannot_be_made_leaves_no_row(rig):
    publication = rig.publish()
    rig.send(publication)
    await rig.settle()
    rig.worker.open(error=OSError(errno.EACCES, "Permission denied"))
    rig.worker.write()
    await rig.settle()

    assert [(file.sequence, file.state) for file in await rig.files()] == [(2, "open")]
    assert rig.said("recording failed")[0]["reason"] == "[Errno 13] Permission denied"


async def test_a_recording_ends_after_the_repair_of_its_files_and_says_so_last(tmp_path):
    rig = await Rig.open(tmp_path, resume_s=0)
    publication = await start(rig)
    rig.workshop.gate.clear()
    rig.supervisor.die(rig.worker)
    await rig.settle()
    await rig.stop_recording(publication)
    assert list((await rig.recordings()).values()) == ["running"]

    rig.workshop.gate.set()
    await rig.settle()

    kinds = await rig.select("SELECT event_type FROM outbox ORDER BY number")
    assert [kind for (kind,) in kinds] == [332, 100, 100, 332]
    assert list((await rig.recordings()).values()) == ["ended"]
    assert rig.said("media worker died")[0]["reason"] == "killed by signal 9"
    await rig.close()


async def test_an_mp4_is_owed_after_its_index_was_moved_with_the_size_it_has_then(tmp_path):
    rig = await Rig.open(tmp_path, record_formats="mp4", record_faststart=True)
    rig.workshop.gate.clear()
    publication = await start(rig)
    rig.worker.close("mp4")
    await rig.settle()
    assert await rig.owed(100) == []
    (path,) = rig.on_disk()
    (rig.directory / path).write_bytes(bytes(100))
    rig.workshop.gate.set()
    await rig.settle()

    assert rig.workshop.jobs == [("faststart", rig.directory / path)]
    (body,) = map(json.loads, await rig.owed(100))
    assert body["file_size"] == 100
    assert publication.current
    await rig.close()


async def test_a_recording_has_started_with_its_first_file_and_only_once(rig):
    publication = await start(rig)
    (file,) = await rig.files(state="open")
    (body,) = map(json.loads, await rig.owed(332))
    assert (body["record_event"], body["seq"]) == ("record_start_succeeded", 1)
    assert body["session_id"] == file.recording_id

    rig.send(publication, "k")
    rig.worker.cut()
    await rig.settle()
    assert await rig.turns() == ["record_start_succeeded"]


async def test_a_recording_whose_publisher_is_gone_before_its_first_file_is_told_as_paused_with_its_start(rig):
    publication = rig.publish()
    rig.send(publication, "k.")
    await rig.settle()
    rig.end(publication)
    await rig.settle()
    assert await rig.turns() == []

    rig.worker.write()
    await rig.settle()
    assert await rig.turns() == ["record_start_succeeded", "record_paused"]

    rig.publish()
    await rig.settle()
    assert await rig.turns() == ["record_start_succeeded", "record_paused", "record_resumed"]


async def test_a_file_that_begins_while_its_recording_waits_tells_nothing_again(rig):
    publication = await start(rig, "k.k.")
    rig.end(publication)
    rig.worker.cut()
    await rig.settle()

    assert await rig.turns() == ["record_start_succeeded", "record_paused"]


async def test_a_recording_that_cannot_start_before_and_after_a_restart_says_so_once(tmp_path):
    for _ in range(2):
        rig = await Rig.open(tmp_path)
        rig.send(rig.publish(), "k.")
        await rig.settle()
        rig.worker.open(error=FULL)
        await rig.settle()
        await rig.kill()

    told = [json.loads(row["body"]).get("record_event") for row in rows_of(rig.database.path)["outbox"]]
    assert [event for event in told if event] == ["record_start_failed", "record_error", "record_error"]


async def test_a_recording_that_cannot_start_says_so_once_and_again_when_it_has(rig):
    publication = rig.publish()
    rig.send(publication, "k.")
    await rig.settle()
    for _ in range(2):
        rig.worker.open(error=FULL)
        await rig.pass_time(1)
    assert await rig.turns() == ["record_start_failed", "record_error", "record_error"]
    abnormal = [json.loads(body) for body in await rig.owed(341)]
    assert [each["exception"] for each in abnormal] == 2 * [[{"type": -104, "occurs": 1, "desc": str(FULL)}]]
    assert len({each["file_id"] for each in abnormal}) == 2

    rig.worker.open()
    await rig.settle()
    bodies = [json.loads(body) for body in await rig.owed(332)]
    assert bodies[-1]["record_event"] == "record_start_succeeded"
    assert bodies[0]["record_detail"]["reason"] == str(FULL)
    assert [body["seq"] for body in bodies] == [1, 2, 3, 4]


async def close_with(rig, **facts):
    rig.worker._complete = lambda grant, _format: file_facts(grant.path, **facts)
    rig.worker.cut()
    await rig.settle()


def track(codec="avc1", width=64):
    return {
        "kind": "video",
        "track_id": 0,
        "codec": codec,
        "width": width,
        "height": 48,
        "sample_rate": 0,
        "channels": 0,
    }


async def test_what_a_file_lacks_is_told_with_the_file(rig):
    await start(rig)
    await close_with(rig, gaps=2, gap_ms=80, jumps=1)

    (file,) = await rig.files(state="closed")
    (body,) = map(json.loads, await rig.owed(341))
    assert {each["type"]: each["occurs"] for each in body["exception"]} == {-16: 2, -9: 1}
    assert (body["file_id"], body["session_id"]) == (file.file_id, file.recording_id)


async def test_a_track_that_the_headers_announced_and_that_never_came_is_told(rig):
    await start(rig)
    await close_with(rig, video_frames=0, audio_frames=1)

    (body,) = map(json.loads, await rig.owed(341))
    assert [each["type"] for each in body["exception"]] == [-18]


async def test_a_change_that_forced_a_new_file_is_told_of_the_new_one(rig):
    publication = await start(rig)
    for tracks in ([track()], [track()], [track(width=128)], [track("hvc1", 128)]):
        await close_with(rig, tracks=tracks)
        rig.send(publication, "k")
        await rig.pass_time(1)
        rig.worker.write()

    bodies = [json.loads(body) for body in await rig.owed(341)]
    files = [file.file_id for file in await rig.files(state="closed")]
    assert [(body["file_id"], body["exception"][0]["type"]) for body in bodies] == [(files[2], -100), (files[3], -120)]


async def test_a_change_over_a_restart_is_seen_too(tmp_path):
    rig = await Rig.open(tmp_path)
    await start(rig)
    await close_with(rig, tracks=[track()])
    await rig.stop()
    rig = await Rig.open(tmp_path)
    await start(rig)
    await close_with(rig, tracks=[track(width=128)])

    assert len(await rig.owed(341)) == 1
    await rig.close()
