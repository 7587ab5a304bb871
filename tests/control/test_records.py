"""Recordings on request: what is asked of the recorder, and what callers are answered."""

from __future__ import annotations

import json

import pytest

from rtmpd.config import RoomsConfig
from rtmpd.control import models
from rtmpd.control.reach import Reach
from rtmpd.control.records import Records
from rtmpd.control.urls import Bases
from rtmpd.errors import NotPossible
from tests.helpers.pushes import PlayedRow, PlayedStatus, PushRig
from tests.helpers.store import file_row


@pytest.fixture
async def rig(tmp_path):
    rig = await PushRig.open(tmp_path)
    reach = Reach(RoomsConfig(), Bases("rtmp://live.example.com", "https://live.example.com"))
    rig.brought = []
    """Streams that are there when they are asked for."""

    async def bring(app, name):
        if f"{app}/{name}" in rig.brought:
            rig.publish(name)

    rig.records = Records(rig.recorder, rig.registry, rig.pushes, reach, bring, rig.log)
    yield rig
    await rig.close()


def request(**fields):
    return models.RecordStart.model_validate_json(json.dumps({"stream": "live/s"} | fields))


async def refused(operation):
    with pytest.raises(NotPossible) as raised:
        await operation
    return raised.value.kind, raised.value.detail


async def test_everything_that_is_asked_reaches_the_recorder(rig):
    rig.publish()
    rig.recorder.notes = ("recorded as M4A",)
    started = await rig.records.start(request(fileName="f", recordType=1, formats=["mp3"], tags=["a"], max_duration=60))

    (asked,) = rig.recorder.requests
    assert (asked.file_name, asked.record_type, asked.formats, asked.tags) == ("f", "audio", ("mp3",), ("a",))
    assert (asked.max_duration_s, asked.push) == (60.0, False)
    assert started.model_dump() == {
        "task_id": asked.task_id,
        "state": "running",
        "already": False,
        "formats": ["mp3"],
        "notes": ["recorded as M4A"],
    }


async def test_nothing_that_is_not_asked_does(rig):
    rig.publish()
    await rig.records.start(request())

    (asked,) = rig.recorder.requests
    assert (asked.file_name, asked.record_type, asked.formats, asked.tags) == ("", "video", (), ())
    assert asked.max_duration_s == 0.0


async def test_a_second_start_finds_the_recording(rig):
    rig.publish()
    first = await rig.records.start(request(file_name="f"))
    second = await rig.records.start(request(file_name="f"))

    assert (first.already, second.already, second.task_id) == (False, True, first.task_id)


async def test_what_cannot_be_recorded_is_refused(rig):
    assert await refused(rig.records.start(request())) == ("unknown", "nobody publishes live/s")
    publication = rig.publish()
    rig.recorder.refuse = "MP4 cannot carry vp08"
    assert await refused(rig.records.start(request())) == ("invalid", "MP4 cannot carry vp08")
    rig.recorder.refuse, rig.recorder.not_entered = "", "the index has not taken the recording"
    assert await refused(rig.records.start(request())) == ("unavailable", "the index has not taken the recording")
    rig.lose(publication, 1e12)
    assert await refused(rig.records.start(request())) == ("unknown", "nobody publishes live/s")


async def test_a_stream_that_is_pulled_on_demand_is_brought_to_be_recorded(rig):
    rig.brought.append("live/s")

    assert (await rig.records.start(request())).state == "running"


async def test_a_stop_answers_all_files(rig):
    rig.publish()
    task_id = (await rig.records.start(request(tags=["a"]))).task_id
    file = file_row(path="live/s/a b.flv", state="closed", start_at=5.0, end_at=9.0, size_bytes=7, duration_ms=3_500)
    rig.recorder.files = (file,)
    stopped = await rig.records.stop(task_id)

    assert (stopped.state, stopped.already) == ("closed", False)
    assert [each.model_dump() for each in stopped.files] == [
        {
            "file_id": "f",
            "format": "flv",
            "state": "closed",
            "path": "live/s/a b.flv",
            "url": "https://live.example.com/recordings/live/s/a%20b.flv",
            "size": 7,
            "duration": 3.5,
            "start_time": 5.0,
            "end_time": 9.0,
            "stream": "live/s",
            "task_id": task_id,
            "recording_id": "r0",
            "record_type": "video",
            "tags": ["a"],
            "tracks": [],
            "fault": None,
        }
    ]
    assert [line["task_id"] for line in rig.said("record stopped")] == [task_id]


async def test_a_stop_that_cannot_be_answered_says_why(rig):
    assert await refused(rig.records.stop("never")) == ("unknown", "there is no recording of task never")
    rig.recorder.not_entered = "the index did not answer"
    assert await refused(rig.records.stop("t")) == ("unavailable", "the index did not answer")


async def test_a_push_goes_on_without_a_recording_that_was_stopped(rig):
    publication = rig.publish()
    task_id = (await rig.start(formats=("flv",))).recorded.task_id
    await rig.records.stop(task_id)
    rig.lose(publication)
    rig.publish()

    assert rig.recorder.running == []


async def test_every_recording_that_has_not_ended_is_listed(rig):
    manual = PlayedRow("2", "t", "live", "s", started_at=2.0, ends_at=9.0, file_name="f", tags=("a",))
    auto = PlayedRow("1", None, "live", "s", origin="auto", started_at=1.0)
    rig.recorder.statuses = [PlayedStatus(manual, "waiting"), PlayedStatus(auto)]

    listed = [each.model_dump() for each in rig.records.list().records]
    assert [each["recording_id"] for each in listed] == ["1", "2"]
    assert listed[1] == {
        "task_id": "t",
        "recording_id": "2",
        "stream": "live/s",
        "origin": "manual",
        "state": "waiting",
        "file_name": "f",
        "record_type": "video",
        "formats": ["flv"],
        "tags": ["a"],
        "started_at": 2.0,
        "ends_at": 9.0,
    }
