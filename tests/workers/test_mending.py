"""What nobody finished: made whole after a kill, tried again while it is written, and never forgotten."""

from __future__ import annotations

import json
import threading
import time

import pytest

from rtmpd.workers import mending as mending_module
from rtmpd.workers.mending import DEATHS, FIRST_PAUSE_S, LONGEST_PAUSE_S
from rtmpd.workers.workshop import DIED
from tests.helpers.played_workers import file_facts
from tests.helpers.store import deliver_everything
from tests.helpers.studio import Rig, rows_of, until

BOTH = {"record_formats": ["flv", "hls"], "resume_s": 60}


async def record(rig, kinds="k..", name="s"):
    publication = rig.publish(name)
    numbers = rig.send(publication, kinds)
    await rig.settle()
    rig.worker.write()
    await rig.settle()
    return numbers


async def killed(tmp_path, name="s", **app):
    """Leave what a server leaves that is killed while it records; returns the numbers of the frames."""
    rig = await Rig.open(tmp_path, **app)
    numbers = await record(rig, name=name)
    await rig.kill()
    return numbers


def path_of(rig, suffix):
    (path,) = [path for path in rig.on_disk() if path.endswith(suffix)]
    return rig.directory / path


async def test_a_file_of_a_killed_server_is_made_whole_and_then_its_recording_ends(tmp_path):
    numbers = await killed(tmp_path, resume_s=0)
    rig = await Rig.open(tmp_path, resume_s=0)

    (file,) = await rig.files()
    assert (file.state, file.size_bytes, file.fault) == ("closed", 12, None)
    assert rig.frames(file.path) == numbers
    assert [kind for (kind,) in await rig.select("SELECT event_type FROM outbox ORDER BY number")] == [332, 100, 332]
    assert await rig.turns() == ["record_start_succeeded", "record_ended"]
    assert list((await rig.recordings()).values()) == ["ended"]
    assert rig.said("recordings interrupted") == [{"event": "recordings interrupted", "recordings": 1, "files": 1}]
    await rig.close()


async def test_a_repair_that_is_itself_interrupted_is_done_by_the_next_server_once(tmp_path):
    await killed(tmp_path, resume_s=0)
    rig = await Rig.open(tmp_path, resume_s=0, gate=False)
    await rig.kill()
    assert [row["state"] for row in rows_of(rig.database.path)["files"]] == ["open"]

    for _ in range(2):
        rig = await Rig.open(tmp_path, resume_s=0)
        await rig.kill()

    assert [row["event_type"] for row in rows_of(rig.database.path)["outbox"]] == [332, 100, 332]


async def killed_before_its_start_was_entered(tmp_path, **app):
    rig = await Rig.open(tmp_path, **app)
    publication = rig.publish()
    rig.send(publication, "k..")
    await rig.settle()
    rig.running[0].cancel()  # the ledger: what is noted from now on is lost by the kill
    rig.worker.write()
    await until(lambda: rig.said("recording started"))
    await rig.kill()
    assert rows_of(rig.database.path)["outbox"] == []


@pytest.mark.parametrize("resume_s", [0, 60])
async def test_a_start_that_a_killed_server_did_not_enter_is_told_before_anything_else_and_once(tmp_path, resume_s):
    await killed_before_its_start_was_entered(tmp_path, resume_s=resume_s)
    rig = await Rig.open(tmp_path, resume_s=resume_s, gate=False)
    await rig.kill()
    rig = await Rig.open(tmp_path, resume_s=resume_s)
    await rig.pass_time(resume_s)

    (file,) = await rig.files()
    assert (file.state, file.size_bytes) == ("closed", 12)
    paused = ["record_paused"] if resume_s else []
    assert await rig.turns() == ["record_start_succeeded", *paused, "record_ended"]
    assert (await rig.select("SELECT event_type FROM outbox ORDER BY number"))[0]["event_type"] == 332
    await rig.close()


async def test_a_recording_that_waits_and_whose_start_was_not_entered_is_told_as_paused_too(tmp_path):
    rig = await Rig.open(tmp_path)
    publication = rig.publish()
    rig.send(publication, "k..")
    rig.end(publication)
    await rig.settle()
    (path,) = [tmp_path / "recordings" / file.path for file in await rig.files() if file.sequence == 1]
    await rig.kill()
    assert [row["state"] for row in rows_of(rig.database.path)["recordings"]] == ["waiting"]
    path.parent.mkdir(parents=True)
    path.write_bytes(bytes(4))
    rig = await Rig.open(tmp_path)
    rig.publish()
    await rig.settle()

    assert await rig.turns() == ["record_start_succeeded", "record_paused", "record_resumed"]
    await rig.close()


async def test_a_start_that_was_entered_late_is_not_told_again_when_the_publisher_is_back(tmp_path):
    await killed_before_its_start_was_entered(tmp_path, resume_s=60)
    rig = await Rig.open(tmp_path, resume_s=60)
    assert await rig.turns() == ["record_start_succeeded", "record_paused"]
    await rig.database.submit(deliver_everything)
    await record(rig)
    await rig.stop_recording(next(iter(rig.registry)).publication)

    assert [file.state for file in await rig.files()] == ["closed", "closed"]
    assert "record_start_succeeded" not in await rig.turns()
    await rig.close()


async def kinds_of_events(rig):
    """What is owed, in its order; of recordings' turns, which."""
    rows = await rig.select("SELECT event_type, body FROM outbox ORDER BY number")
    return [json.loads(row["body"]).get("record_event", row["event_type"]) for row in rows]


async def test_the_end_of_a_recording_that_went_on_is_told_after_the_files_of_the_killed_server(tmp_path):
    await killed(tmp_path, resume_s=60)
    rig = await Rig.open(tmp_path, resume_s=60, gate=False)
    await record(rig)
    await rig.stop_recording(next(iter(rig.registry)).publication)
    assert (await kinds_of_events(rig))[-2:] == ["record_paused", 100]

    rig.workshop.gate.set()
    await rig.settle()
    assert (await kinds_of_events(rig))[-2:] == [100, "record_ended"]
    assert list((await rig.recordings()).values()) == ["ended"]
    await rig.close()


async def test_the_end_of_a_recording_whose_publisher_stays_away_is_told_after_the_files_of_the_killed_server(tmp_path):
    await killed(tmp_path, resume_s=60)
    rig = await Rig.open(tmp_path, resume_s=60, gate=False)
    await rig.pass_time(60)
    assert await kinds_of_events(rig) == ["record_start_succeeded", "record_paused"]

    rig.workshop.gate.set()
    await rig.settle()
    assert await kinds_of_events(rig) == ["record_start_succeeded", "record_paused", 100, "record_ended"]
    await rig.close()


async def test_a_server_that_stops_before_the_files_are_repaired_leaves_the_end_to_the_next(tmp_path):
    rig = await Rig.open(tmp_path, resume_s=0, gate=False)
    await record(rig)
    rig.supervisor.die(rig.worker)
    await rig.settle()
    await rig.stop()
    assert "record_ended" not in [
        json.loads(row["body"]).get("record_event") for row in rows_of(rig.database.path)["outbox"]
    ]
    rig = await Rig.open(tmp_path, resume_s=0)

    assert (await kinds_of_events(rig))[-2:] == [100, "record_ended"]
    assert list((await rig.recordings()).values()) == ["ended"]
    await rig.close()


async def test_a_recording_that_was_killed_before_it_had_a_file_starts_when_its_publisher_is_back(tmp_path):
    rig = await Rig.open(tmp_path, resume_s=60)
    rig.publish()
    await rig.settle()
    await rig.kill()
    for path in (tmp_path / "recordings").rglob("*.flv"):
        path.unlink()
    rig = await Rig.open(tmp_path, resume_s=60)
    await record(rig)
    await rig.stop_recording(next(iter(rig.registry)).publication)

    assert await rig.turns() == ["record_start_succeeded", "record_paused", "record_ended"]
    await rig.close()


async def test_files_without_frames_vanish_with_their_rows(tmp_path):
    rig = await Rig.open(tmp_path, resume_s=0)
    await record(rig, kinds="")
    assert len(rig.on_disk()) == 1
    await rig.kill()
    rig = await Rig.open(tmp_path, resume_s=0)

    assert rig.on_disk() == []
    assert await rig.files() == []
    assert await rig.owed(100) == []
    await rig.close()


async def test_a_file_that_somebody_removed_is_no_row_and_no_callback(tmp_path):
    await killed(tmp_path, resume_s=0)
    (path,) = (tmp_path / "recordings").rglob("*.flv")
    path.unlink()
    rig = await Rig.open(tmp_path, resume_s=0)

    assert await rig.files() == []
    assert rig.workshop.jobs == []
    assert await rig.owed(100) == []
    await rig.close()


async def test_nothing_is_forgotten_while_the_disk_is_not_mounted(tmp_path):
    numbers = await killed(tmp_path, resume_s=0)
    (tmp_path / "recordings").rename(tmp_path / "elsewhere")
    rig = await Rig.open(tmp_path, resume_s=0)
    assert [file.state for file in await rig.files()] == ["open", "reserved"]
    assert len(rig.said("interrupted recordings not taken up")) == 1
    await rig.close()

    (tmp_path / "recordings").rmdir()
    (tmp_path / "elsewhere").rename(tmp_path / "recordings")
    rig = await Rig.open(tmp_path, resume_s=0)
    assert [rig.frames(file.path) for file in await rig.files()] == [numbers]
    await rig.close()


async def test_hls_of_a_killed_server_goes_on_when_the_publisher_comes_in_time(tmp_path):
    numbers = await killed(tmp_path, **BOTH)
    rig = await Rig.open(tmp_path, **BOTH)
    await rig.pass_time(50)
    assert [(file.file_format, file.state) for file in await rig.files()] == [("flv", "closed"), ("hls", "open")]
    numbers += await record(rig)
    await rig.stop_recording(next(iter(rig.registry)).publication)

    assert rig.frames(path_of(rig, ".m3u8")) == numbers
    assert [(file.file_format, file.sequence, file.state) for file in await rig.files()] == [
        ("flv", 1, "closed"),
        ("hls", 1, "closed"),
        ("flv", 2, "closed"),
    ]
    assert list((await rig.recordings()).values()) == ["ended"]
    assert len(await rig.owed(100)) == 3
    await rig.close()


async def test_hls_of_a_killed_server_is_finished_when_the_publisher_stays_away(tmp_path):
    await killed(tmp_path, **BOTH)
    rig = await Rig.open(tmp_path, **BOTH)
    assert list((await rig.recordings()).values()) == ["waiting"]
    await rig.pass_time(60)

    assert [file.state for file in await rig.files()] == ["closed", "closed"]
    assert list((await rig.recordings()).values()) == ["ended"]
    assert len(await rig.owed(100)) == 2
    assert await rig.turns() == ["record_start_succeeded", "record_paused", "record_ended"]

    await record(rig)
    assert len(await rig.recordings()) == 2
    await rig.close()


async def test_a_clock_that_was_set_back_makes_no_recording_wait_for_longer(tmp_path):
    rig = await Rig.open(tmp_path, **BOTH)
    await record(rig)
    await rig.select("UPDATE recordings SET state = 'waiting', waiting_since = ?", time.time() + 1e6)
    await rig.kill()
    rig = await Rig.open(tmp_path, **BOTH)
    await rig.pass_time(61)

    assert list((await rig.recordings()).values()) == ["ended"]
    await rig.close()


async def test_hls_of_a_stopped_server_goes_on_and_is_told_again_with_its_new_size(tmp_path):
    rig = await Rig.open(tmp_path, **BOTH)
    numbers = await record(rig)
    await rig.stop()
    rig = await Rig.open(tmp_path, **BOTH)
    numbers += await record(rig)
    await rig.stop_recording(next(iter(rig.registry)).publication)

    assert rig.frames(path_of(rig, ".m3u8")) == numbers
    told = [json.loads(body) for body in await rig.owed(100)]
    assert [body["file_size"] for body in told if body["file_format"] == "hls"] == [12, 24]
    await rig.close()


async def test_hls_that_was_to_go_on_and_got_no_frame_is_finished_not_forgotten(tmp_path):
    numbers = await killed(tmp_path, **BOTH)
    rig = await Rig.open(tmp_path, **BOTH)
    publication = rig.publish()
    await rig.settle()
    rig.end(publication)
    for each in rig.recorder.recordings:
        each.finish()
    await rig.settle()
    rig.worker.receive()
    rig.worker.end()
    await rig.settle()

    assert rig.frames(path_of(rig, ".m3u8")) == numbers
    assert [(file.file_format, file.state) for file in await rig.files()] == [("flv", "closed"), ("hls", "closed")]
    assert list((await rig.recordings()).values()) == ["ended"]
    await rig.close()


async def test_hls_that_cannot_go_on_as_somebody_writes_it_is_repaired_when_it_is_free(tmp_path):
    await killed(tmp_path, **BOTH)
    rig = await Rig.open(tmp_path, **BOTH)
    path = path_of(rig, ".m3u8")
    rig.workshop.answers[path] = [("busy", "somebody writes the file")] * 2
    publication = rig.publish()
    rig.send(publication)
    await rig.settle()
    rig.worker.open("hls", BlockingIOError(11, "Resource temporarily unavailable"))
    rig.worker.write()
    await rig.pass_time(FIRST_PAUSE_S * 3)

    rows = {file.path: file.state for file in await rig.files(state="closed")}
    assert str(path.relative_to(rig.directory)) in rows
    await rig.stop_recording(publication)
    assert sorted(file.path for file in await rig.files()) == rig.on_disk()
    await rig.close()


async def test_hls_that_the_configuration_asks_for_no_more_is_finished(tmp_path):
    await killed(tmp_path, **BOTH)
    rig = await Rig.open(tmp_path, record_formats="flv")
    await record(rig)

    assert [(file.file_format, file.state) for file in await rig.files()][:2] == [("flv", "closed"), ("hls", "closed")]
    assert [grant.path for output in rig.worker.feed.request.outputs for grant in output.grants if grant.resume] == []
    await rig.close()


async def test_of_two_recordings_of_a_stream_the_older_one_ends(tmp_path):
    rig = await Rig.open(tmp_path, **BOTH)
    await record(rig)
    for each in rig.recorder.recordings:
        each.finish()
    rig.lose(next(iter(rig.registry)).publication)
    await record(rig)
    await rig.kill()
    rig = await Rig.open(tmp_path, **BOTH)

    assert sorted((await rig.recordings()).values()) == ["ended", "waiting"]
    await rig.pass_time(100)
    assert sorted((await rig.recordings()).values()) == ["ended", "ended"]
    assert {file.state for file in await rig.files()} == {"closed"}
    await rig.close()


async def test_a_file_that_somebody_writes_is_asked_for_again_at_growing_pauses(tmp_path):
    await killed(tmp_path, resume_s=0)
    rig = await Rig.open(tmp_path, resume_s=0, answers={"repair": [("busy", "")] * 8})
    times = []
    while len(rig.workshop.jobs) < 9:
        times.append(rig.clock.next_s - rig.clock.time())
        await rig.pass_time(times[-1])

    assert times == [FIRST_PAUSE_S, 2.0, 4.0, 8.0, 16.0, LONGEST_PAUSE_S, LONGEST_PAUSE_S, LONGEST_PAUSE_S]
    assert [file.state for file in await rig.files()] == ["closed"]
    await rig.close()


async def test_no_process_to_be_had_is_asked_for_again(tmp_path):
    await killed(tmp_path, resume_s=0)
    rig = await Rig.open(tmp_path, resume_s=0, answers={"repair": [OSError(11, "no process")]})
    assert [file.state for file in await rig.files()] == ["open"]
    await rig.pass_time(FIRST_PAUSE_S)

    assert [file.state for file in await rig.files()] == ["closed"]
    await rig.close()


@pytest.mark.parametrize("deaths", [DEATHS - 1, DEATHS])
async def test_a_file_whose_repair_kills_its_workers_is_left_with_a_fault_after_the_third(tmp_path, deaths):
    await killed(tmp_path, resume_s=0)
    rig = await Rig.open(tmp_path, resume_s=0, answers={"repair": [(DIED, "killed by signal 11")] * deaths})

    (file,) = await rig.files()
    assert len(rig.workshop.jobs) == 3
    assert (file.state, file.size_bytes) == ("closed", 12)
    assert file.fault == (None if deaths < DEATHS else "not repaired: killed by signal 11")
    assert rig.on_disk() == [file.path]
    assert len(await rig.owed(100)) == (deaths < DEATHS)
    assert list((await rig.recordings()).values()) == ["ended"]
    await rig.close()


async def test_a_file_that_kills_workers_does_not_keep_others_waiting(tmp_path):
    rig = await Rig.open(tmp_path, resume_s=0)
    await record(rig)
    await record(rig, name="t")
    bad, good = (next((rig.directory / "live" / name).iterdir()) for name in "st")
    await rig.kill()
    rig = await Rig.open(tmp_path, resume_s=0, answers={bad: [(DIED, "killed by signal 11")] * DEATHS})

    assert [path for _, path in rig.workshop.jobs] == [bad, good, bad, bad]
    await rig.close()


async def test_a_file_that_cannot_be_repaired_is_kept_and_told(tmp_path):
    await killed(tmp_path, resume_s=0)
    rig = await Rig.open(tmp_path, resume_s=0, answers={"repair": [("failed", "no FLV file")]})

    (file,) = await rig.files()
    assert (file.state, file.fault, file.size_bytes) == ("closed", "not repaired: no FLV file", 12)
    assert await rig.turns() == ["record_start_succeeded", "record_error", "record_ended"]
    (body,) = map(json.loads, await rig.owed(341))
    assert [(each["type"], each["desc"]) for each in body["exception"]] == [(-104, "not repaired: no FLV file")]
    await rig.close()


async def test_what_a_failed_file_lacked_is_kept_from_its_worker(tmp_path):
    rig = await Rig.open(tmp_path)
    await record(rig)
    lacks = {"start_ms": 7, "gaps": 1, "gap_ms": 40, "jumps": 2, "left_out": 3}
    repaired = file_facts(size_bytes=12, video_frames=3)
    rig.workshop.answers["repair"] = [("done", "", repaired)]
    grant = rig.worker.open_grants["flv"]
    rig.worker._complete = lambda _grant, _format: file_facts(**lacks)
    rig.worker.fail()
    await rig.settle()

    (file,) = [file for file in await rig.files() if file.file_id == grant.file_id]
    assert {name: getattr(file, name) for name in lacks} == lacks
    assert (file.size_bytes, file.video_frames) == (12, 3)
    (body,) = map(json.loads, await rig.owed(341))
    assert {each["type"]: each["occurs"] for each in body["exception"]} == {-16: 1, -9: 2, -130: 3, -104: 1}
    assert (body["exception_level"], body["file_id"]) == ("error", grant.file_id)
    await rig.close()


async def test_an_index_that_cannot_be_moved_leaves_the_file_as_it_was(tmp_path):
    rig = await Rig.open(tmp_path, record_formats="mp4", record_faststart=True)
    rig.workshop.answers["faststart"] = [("failed", "no room")]
    await record(rig)
    rig.worker.close("mp4")
    await rig.settle()

    assert rig.said("index not moved")[0]["reason"] == "no room"
    assert [(file.state, file.size_bytes) for file in await rig.files(state="closed")] == [("closed", 12)]
    await rig.close()


async def test_the_process_is_let_go_after_the_last_file_and_not_between_them(tmp_path):
    rig = await Rig.open(tmp_path, resume_s=0)
    for name in "abc":
        await record(rig, name=name)
    await rig.kill()
    rig = await Rig.open(tmp_path, resume_s=0)

    assert len(rig.workshop.jobs) == 3
    assert rig.workshop.rested == 1
    await rig.close()


async def test_nothing_is_begun_after_the_stop_by_who_was_looking_at_the_disk(tmp_path, monkeypatch):
    rig = await Rig.open(tmp_path)
    await record(rig)
    looking, looked = threading.Event(), threading.Event()

    def look(directory, files):
        looking.set()
        assert looked.wait(20)
        return {file.file_id: 1.0 for file in files}

    monkeypatch.setattr(mending_module, "_last_changes", look)
    rig.supervisor.die(rig.worker)
    await until(looking.is_set)
    rig.mending.stop()
    looked.set()
    await rig.settle()

    assert rig.workshop.jobs == []
    await rig.close()


async def test_nothing_is_mended_after_the_stop(tmp_path):
    await killed(tmp_path, resume_s=0)
    rig = await Rig.open(tmp_path, resume_s=0, gate=False)
    await rig.recorder.close(5.0)
    rig.workshop.gate.set()
    await rig.settle()

    assert [file.state for file in await rig.files()] == ["open"]
    assert len(rig.workshop.jobs) == 1
    await rig.close()
