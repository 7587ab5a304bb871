"""What callers ask of pushes, and what they are answered: the four modes, numbers and names, notes."""

from __future__ import annotations

import json

import pytest

from rtmpd.config import RoomsConfig
from rtmpd.control import models
from rtmpd.control.push_desk import PushDesk
from rtmpd.control.reach import Reach
from rtmpd.control.rooms import stream_code
from rtmpd.control.targets import TargetState
from rtmpd.control.urls import Bases
from rtmpd.errors import NotPossible
from tests.helpers.pushes import PushRig

URLS = [
    {"type": kind, "play_url": url, "rate_type": 0}
    for kind, url in (
        (1, "http://live.example.com/live/s.m3u8"),
        (2, "http://live.example.com/live/s.flv"),
        (5, "rtmp://live.example.com/live/s"),
        (7, "http://live.example.com/live/s.mp4"),
    )
]


class NoStates:
    """Relays that all wait."""

    def state_of(self, target):
        return TargetState("backing_off", "Connection refused")


@pytest.fixture
async def rig(tmp_path):
    rig = await PushRig.open(tmp_path)
    rig.reach = Reach(
        RoomsConfig(bizid="8888", app="live"), Bases("rtmp://live.example.com", "http://live.example.com")
    )
    rig.desk = PushDesk(rig.pushes, rig.reach, NoStates())
    yield rig
    await rig.close()


def request(**fields):
    return models.PushStart.model_validate_json(json.dumps({"stream": "live/s", "channelName": "n"} | fields))


def stop(*channel_ids):
    return models.PushStop(channel_ids=list(channel_ids))


@pytest.mark.parametrize("mode", ["auto", "manual"])
async def test_a_push_from_its_start_to_its_stop(rig, mode):
    rig.publish(public=mode == "auto")

    started = await rig.desk.start(request())
    channel_id = started.channel_id
    assert started.model_dump() == {
        "channel_id": channel_id,
        "state": "on",
        "already": False,
        "urls": URLS,
        "record_task_id": None,
        "targets": [],
        "notes": [],
    }
    assert rig.desk.list().model_dump()["pushes"] == [
        {
            "channel_id": channel_id,
            "stream": "live/s",
            "channel_name": "n",
            "channel_desc": "",
            "state": "on",
            "mode": mode,
            "started_at": rig.now,
            "waiting_since": None,
            "record_id": None,
            "record_task_id": None,
            "urls": URLS,
            "targets": [],
        }
    ]

    stopped = (await rig.desk.stop(stop(channel_id, "never"))).results
    assert [(each.channel_id, each.state) for each in stopped] == [
        (channel_id, "on" if mode == "auto" else "stopped"),
        ("never", "unknown"),
    ]
    assert len(rig.desk.list().pushes) == (mode == "auto")


async def test_a_stop_says_what_it_did_not_end(rig):
    rig.publish(public=True)
    started = await rig.desk.start(request(recrodFileType=4, targets=["rtmp://a/b/c"]))
    (first,) = (await rig.desk.stop(stop(started.channel_id))).results
    (second,) = (await rig.desk.stop(stop(started.channel_id))).results

    assert (first.state, first.already) == ("on", False)
    assert first.notes == [
        "its application pushes every stream: it can be watched as before; its recording and its targets have ended"
    ]
    assert (second.state, second.already) == ("on", True)
    assert second.notes == ["its application pushes every stream: it can be watched as before"]


@pytest.mark.parametrize(
    ("encode_type", "types", "notes"),
    [
        (None, [1, 2, 5, 7], []),
        ("rtmp", [5], []),
        (5, [5], []),
        ("HLS_AND_RTMP", [1, 5], []),
        (4, [], ["RAW is not served by this server"]),
    ],
)
async def test_urls_are_those_that_are_wanted_and_served(rig, encode_type, types, notes):
    rig.publish()
    started = await rig.desk.start(request(encodeType=encode_type))

    assert ([each.type for each in started.urls], started.notes) == (types, notes)
    assert [[url.type for url in each.urls] for each in rig.desk.list().pushes] == [types]


async def test_a_recording_and_targets_are_answered(rig):
    rig.publish()
    rig.recorder.notes = ("MP3 is recorded as M4A, as nothing is transcoded",)
    started = await rig.desk.start(request(record_file_type=16, record_id=7, targets=["rtmp://a/live/SECRET"]))

    assert started.record_task_id == rig.recorder.requests[0].task_id
    assert started.notes == ["MP3 is recorded as M4A, as nothing is transcoded"]
    (push,) = rig.desk.list().pushes
    assert (push.record_id, push.record_task_id) == (7, started.record_task_id)
    assert started.targets == push.targets
    assert [(each.url, each.state) for each in push.targets] == [("rtmp://a/live/***", "backing_off")]


async def test_a_recording_that_the_index_has_not_taken_is_a_note(rig):
    rig.publish()
    rig.recorder.not_entered = "the index has not taken the recording for 10 s"
    started = await rig.desk.start(request(record_file_type=2))

    assert started.notes == ["the index has not taken the recording for 10 s"]
    assert rig.is_watchable()


async def test_a_stream_can_be_named_by_its_room(rig):
    code = stream_code("8888", "1", "2", "main")
    rig.publish(code)
    room = {"room": "1", "user": "2"}
    started = await rig.desk.start(request(stream=room))

    assert f"rtmp://live.example.com/live/{code}" in [url.play_url for url in started.urls]
    with pytest.raises(NotPossible, match="nobody publishes live/8888_"):
        await rig.desk.start(request(stream=room | {"kind": "aux"}))


async def test_a_push_that_waits_says_so(rig):
    publication = rig.publish()
    await rig.desk.start(request())
    rig.lose(publication)
    again = await rig.desk.start(request())

    assert (again.state, again.already) == ("waiting", True)
    (push,) = rig.desk.list().pushes
    assert (push.state, push.waiting_since) == ("waiting", rig.now)


async def test_targets_are_added_once_and_taken_once(rig):
    rig.publish()
    channel_id = (await rig.desk.start(request())).channel_id
    add = models.TargetAdd(url="rtmp://a/live/SECRET")
    added = await rig.desk.add_target(channel_id, add)
    again = await rig.desk.add_target(channel_id, add)

    assert (added.already, again.already, added.target) == (False, True, again.target)
    assert "SECRET" not in str(rig.desk.list())
    assert not (await rig.desk.remove_target(channel_id, added.target.target_id)).already
    assert (await rig.desk.remove_target(channel_id, added.target.target_id)).already


async def test_what_is_reloaded_shows_in_urls(rig):
    rig.publish()
    await rig.desk.start(request())
    rig.reach.bases = Bases("rtmps://other.example.com", "https://other.example.com")

    assert [each.urls[2].play_url for each in rig.desk.list().pushes] == ["rtmps://other.example.com/live/s"]
