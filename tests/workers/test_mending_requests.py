"""Recordings that an earlier server began: each goes on as it was asked for, and ends if its publisher stays away."""

from __future__ import annotations

import json

import pytest

from rtmpd.workers import recorder as recorder_module
from tests.helpers.studio import Rig

BOTH = {"record_formats": ["flv", "hls"], "resume_s": 60}


async def test_a_recording_by_request_goes_on_over_a_kill_as_it_was_asked_for_with_hls_in_its_playlist(tmp_path):
    rig = await Rig.open(tmp_path, record="manual")
    publication = rig.publish(query="room=5")
    wish = {"file_name": "n", "record_type": "audio", "tags": ("a",), "push": True, "max_duration_s": 500.0}
    before = rig.request(publication, task_id="t", formats=("hls", "flv"), **wish).row
    numbers = rig.send(publication, "k.")
    await rig.settle()
    rig.worker.write()
    await rig.settle()
    await rig.kill()

    rig = await Rig.open(tmp_path, record="manual")
    waiting = rig.recorder.find("t")
    assert (waiting.phase, waiting.row.file_name, waiting.row.ends_at) == ("waiting", "n", before.ends_at)
    publication = rig.publish()
    numbers += rig.send(publication, "k.")
    await rig.settle()
    rig.worker.write()
    (recorder,) = rig.recorder.recordings
    plan = recorder.plan
    assert (recorder.row.recording_id, recorder.row.stream_param) == (before.recording_id, "room=5")
    assert (plan.task_id, plan.file_name, plan.tags, plan.push) == ("t", "n", ("a",), True)
    assert [(output.file_format, output.sound_only) for output in rig.worker.feed.request.outputs] == [
        ("hls", True),
        ("flv", True),
    ]
    await rig.stop_recording(publication)

    (playlist,) = [path for path in rig.on_disk() if path.endswith(".m3u8")]
    assert rig.frames(playlist) == numbers
    assert all(path.startswith("live/s/n-") for path in rig.on_disk())
    assert await rig.turns() == [
        "record_start_succeeded",
        "record_paused",
        "record_resumed",
        "record_paused",
        "record_ended",
    ]
    await rig.close()


async def test_everything_that_recorded_a_stream_goes_on_after_a_restart_each_for_itself(tmp_path):
    rig = await Rig.open(tmp_path, **BOTH)
    publication = rig.publish()
    for name in "ab":
        rig.request(publication, task_id=name, file_name=name, formats=("hls",))
    rig.send(publication, "k.")
    await rig.settle()
    for worker in rig.supervisor.workers:
        worker.write()
    await rig.settle()
    playlists = {path for path in rig.on_disk() if path.endswith("m3u8")}
    assert len(playlists) == 3
    await rig.kill()
    rig = await Rig.open(tmp_path, **BOTH)
    rig.publish()
    await rig.settle()
    for worker in rig.supervisor.workers:
        worker.write()
    await rig.settle()

    assert [each.row.task_id for each in rig.recorder.recordings] == [None, "a", "b"]
    assert {file.path for file in await rig.files(state="open") if file.file_format == "hls"} == playlists
    assert list((await rig.recordings()).values()) == ["running"] * 3
    await rig.close()


async def killed_with_request(tmp_path, **request):
    rig = await Rig.open(tmp_path, record="manual")
    publication = rig.publish()
    await rig.request(publication, task_id="t", **request).entered()
    numbers = rig.send(publication, "k.")
    await rig.settle()
    rig.worker.write()
    await rig.settle()
    return rig, numbers


async def test_a_recording_by_request_that_had_no_file_yet_goes_on_after_a_kill_too(tmp_path):
    rig = await Rig.open(tmp_path, record="manual")
    started = rig.request(rig.publish(), task_id="t")
    await started.entered()
    await rig.kill()
    rig = await Rig.open(tmp_path, record="manual")
    publication = rig.publish()
    numbers = rig.send(publication, "k.")
    await rig.settle()
    await rig.stop_recording(publication)

    assert [rig.frames(file.path) for file in await rig.files(task_id="t")] == [numbers]
    assert list(await rig.recordings()) == [started.row.recording_id]
    await rig.close()


async def test_a_recording_by_request_whose_publisher_stays_away_ends_by_itself(tmp_path):
    rig, numbers = await killed_with_request(tmp_path)
    await rig.kill()
    rig = await Rig.open(tmp_path, record="manual")
    assert list((await rig.recordings()).values()) == ["waiting"]
    await rig.pass_time(61)

    assert rig.recorder.find("t") is None
    assert list((await rig.recordings()).values()) == ["ended"]
    assert [rig.frames(file.path) for file in await rig.files()] == [numbers]
    assert json.loads((await rig.owed(332))[-1])["record_detail"]["reason"] == "its publisher did not come back"
    await rig.close()


async def test_what_was_told_to_end_before_a_kill_does_not_go_on(tmp_path):
    rig, numbers = await killed_with_request(tmp_path)
    (recorder,) = rig.recorder.recordings
    recorder.end("stopped")
    await rig.settle()
    await rig.kill()
    rig = await Rig.open(tmp_path, record="manual")
    assert rig.recorder.find("t") is None
    rig.publish()
    await rig.settle()

    assert rig.recorder.recordings == ()
    assert [rig.frames(file.path) for file in await rig.files()] == [numbers]
    stopped = await rig.recorder.stop("t")
    assert (stopped.state, stopped.already, len(stopped.files)) == ("closed", True, 1)
    await rig.close()


@pytest.mark.parametrize("file_format", ["flv", "hls"])
async def test_what_waits_for_its_publisher_after_a_kill_can_be_stopped(tmp_path, file_format):
    rig, numbers = await killed_with_request(tmp_path, formats=(file_format,))
    await rig.kill()
    rig = await Rig.open(tmp_path, record="manual")
    stopped = await rig.recorder.stop("t")

    assert (stopped.state, stopped.already) == ("closed", False)
    assert [rig.frames(file.path) for file in stopped.files] == [numbers]
    assert (await rig.recorder.stop("t")).already
    rig.publish()
    assert rig.recorder.recordings == ()
    await rig.close()


async def test_a_stop_while_files_are_still_repaired_says_which(tmp_path, monkeypatch):
    rig, _ = await killed_with_request(tmp_path)
    await rig.kill()
    rig = await Rig.open(tmp_path, record="manual", gate=False)
    monkeypatch.setattr(recorder_module, "FILES_S", 0.01)
    stopped = await rig.recorder.stop("t")
    again = await rig.recorder.stop("t")

    assert [(each.state, each.already, len(each.files)) for each in (stopped, again)] == [
        ("closing", False, 1),
        ("closing", True, 1),
    ]
    await rig.close()


async def test_the_longest_duration_of_a_recording_counts_over_a_restart(tmp_path):
    rig, _ = await killed_with_request(tmp_path, max_duration_s=50.0)
    await rig.kill()
    rig = await Rig.open(tmp_path, record="manual")
    publication = rig.publish()
    rig.send(publication, "k")
    await rig.pass_time(45)
    assert rig.recorder.find("t").phase == "running"
    await rig.pass_time(6)

    assert rig.recorder.find("t").phase == "ending"
    await rig.close()


async def test_a_recording_whose_time_is_over_does_not_wait_for_its_publisher(tmp_path):
    rig, _ = await killed_with_request(tmp_path, max_duration_s=0.001)
    await rig.kill()
    rig = await Rig.open(tmp_path, record="manual")

    assert rig.recorder.find("t") is None
    assert list((await rig.recordings()).values()) == ["ended"]
    await rig.close()


async def test_what_waits_and_is_not_to_be_recorded_any_more_is_finished(tmp_path):
    rig = await Rig.open(tmp_path, **BOTH)
    rig.send(rig.publish(), "k.")
    await rig.settle()
    rig.worker.write()
    await rig.settle()
    await rig.kill()
    rig = await Rig.open(tmp_path, **BOTH)
    rig.publish(record=False)
    await rig.settle()

    assert rig.recorder.recordings == ()
    assert list((await rig.recordings()).values()) == ["ended"]
    assert [file.state for file in await rig.files()] == ["closed", "closed"]
    await rig.close()
