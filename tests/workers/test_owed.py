"""Callbacks of recordings: their fields, and ids that owe no fact twice."""

from __future__ import annotations

import json

from rtmpd.workers import owed
from rtmpd.workers.abnormal import Circumstances
from tests.helpers.store import contents_of, file_row, recording_row

ROW = recording_row("r", stream_param="key=x")
FILE = file_row("f", start_at=1_000.25)
CONTENTS = contents_of(FILE, end_at=1_010.25, start_ms=77)


def test_a_complete_file_is_told_with_what_it_holds():
    told = owed.new_file(ROW, FILE, CONTENTS, 5.0)

    assert (told.event_type, told.stream, told.created_at) == (100, "live/demo", 5.0)
    assert told.body == {
        "event_type": 100,
        "stream_id": "demo",
        "channel_id": "demo",
        "appname": "live",
        "file_id": "f",
        "record_file_id": "f",
        "file_format": "flv",
        "file_size": 100,
        "start_time": 1000,
        "end_time": 1011,
        "duration": 10,
        "media_start_time": 77,
        "video_id": "r",
        "path": "live/demo/f.flv",
        "stream_param": "key=x",
    }


def test_the_beginning_of_a_file_that_nobody_saw_opened_is_reckoned_from_its_end():
    told = owed.new_file(ROW, file_row("f"), CONTENTS, 5.0)

    assert (told.body["start_time"], told.body["end_time"]) == (1000, 1011)


def test_the_same_file_is_owed_once_and_again_only_when_it_has_grown():
    again = owed.new_file(ROW, FILE, CONTENTS, 6.0)
    grown = owed.new_file(ROW, FILE, contents_of(FILE, size_bytes=101), 6.0)

    assert again.event_id == owed.new_file(ROW, FILE, CONTENTS, 5.0).event_id
    assert grown.event_id != again.event_id


def test_a_turn_is_told_with_its_reason():
    told = owed.status(ROW, "record_error", "flv: no room", 7.9)

    assert (told.event_type, told.stream) == (332, "live/demo")
    assert told.body == {
        "event_type": 332,
        "stream_id": "demo",
        "channel_id": "demo",
        "appname": "live",
        "event_time": 7,
        "record_event": "record_error",
        "record_detail": {
            "file_format": 1,
            "file_formats": ["flv"],
            "start_model": 1,
            "record_content": 1,
            "source_type": 1,
            "reason": "flv: no room",
        },
        "session_id": "r",
    }


def test_a_turn_names_how_the_recording_began_and_the_format_that_it_is_about():
    row = recording_row("r", origin="manual", formats=("mp4", "hls"))
    whole, part = (owed.status(row, "record_error", "", 1.0, name).body["record_detail"] for name in ("", "hls"))

    assert (whole["start_model"], whole["file_format"], part["file_format"]) == (5, 3, 2)
    assert whole["file_formats"] == part["file_formats"] == ["mp4", "hls"]


def test_what_is_wrong_with_a_file_is_one_callback_with_a_count_for_each_kind():
    contents = contents_of(FILE, gaps=2, gap_ms=1500, jumps=3, video_frames=5)
    (told,) = owed.abnormal(ROW, FILE, contents, Circumstances(), 7.9)

    assert told.body == {
        "event_type": 341,
        "stream_id": "demo",
        "channel_id": "demo",
        "appname": "live",
        "session_id": "r",
        "file_id": "f",
        "file_format": "flv",
        "timestamp": 7,
        "exception_level": "error",
        "exception": [
            {"type": -16, "occurs": 2, "desc": "1.500 s of media are missing: the recording could not keep up"},
            {"type": -9, "occurs": 3, "desc": "the publisher's timestamps leap; the file goes on without a gap"},
        ],
    }
    assert (told.event_type, told.stream) == (341, "live/demo")


def test_the_same_fault_of_a_file_is_owed_once():
    contents = contents_of(FILE, gaps=1)
    (one,), (again,) = (owed.abnormal(ROW, FILE, contents, Circumstances(), now) for now in (1.0, 2.0))

    assert one.event_id == again.event_id


def test_nothing_is_owed_where_nothing_is_wrong():
    assert owed.abnormal(ROW, FILE, CONTENTS, Circumstances(), 1.0) == ()


def test_a_recording_starts_and_ends_once_and_may_fail_often():
    starts = {owed.status(ROW, "record_start_succeeded", "", now).event_id for now in (1.0, 2.0)}
    assert len(starts) == 1
    ends = {owed.status(ROW, "record_ended", "", now).event_id for now in (1.0, 2.0)}
    errors = {owed.status(ROW, "record_error", "", 1.0).event_id for _ in range(2)}

    assert len(ends) == 1
    assert len(errors) == 2


def test_what_was_asked_for_names_its_task_and_the_callers_number():
    row = recording_row("r", task_id="t", origin="manual", record_id=0)
    (wrong,) = owed.abnormal(row, FILE, contents_of(FILE, gaps=1), Circumstances(), 1.0)

    for told in (owed.new_file(row, FILE, CONTENTS, 1.0), owed.status(row, "record_ended", "", 1.0), wrong):
        assert (told.body["task_id"], told.body["record_id"]) == ("t", 0)
        assert json.loads(json.dumps(told.body)) == told.body
