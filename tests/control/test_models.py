"""Requests in every spelling, and what is none."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from rtmpd.control.models import CallbacksQuery, PushStart, PushStop, RecordingsQuery, RecordStart, Room


def push(**fields):
    return PushStart.model_validate_json(json.dumps({"stream": "live/a", "channel_name": "n", **fields}))


def record(**fields):
    return RecordStart.model_validate_json(json.dumps({"stream": "live/a", **fields}))


def test_the_hosted_services_spellings_and_numbers_are_understood():
    asked = PushStart.model_validate_json(
        '{"stream": "live/a", "channelName": "n", "channelDesc": "d", "encodeType": 6, "recrodFileType": 5,'
        ' "recordId": 7, "classId": 0, "pushSvrType": 1}'
    )

    assert (asked.channel_name, asked.channel_desc, asked.record_id) == ("n", "d", 7)
    assert asked.outputs == {1, 5}
    assert asked.record_formats == ("hls", "mp4")
    assert PushStop.model_validate_json('{"channelIds": ["1"]}').channel_ids == ["1"]
    assert record(fileName="f", recordType=1).wants_audio_only


@pytest.mark.parametrize("kind", [5, "5", "rtmp", "RTMP"])
def test_numbers_and_names_mean_the_same(kind):
    assert push(encode_type=kind).outputs == {5}


@pytest.mark.parametrize("kind", [6, "flv_mp4", "FLV_MP4"])
def test_a_record_file_type_is_a_number_or_a_name(kind):
    assert push(record_file_type=kind).record_formats == ("flv", "mp4")


def test_nothing_said_means_every_url_and_no_recording():
    assert push().outputs is None
    assert push().record_formats == ()


@pytest.mark.parametrize(
    "fields",
    [
        {"encode_type": True},
        {"encode_type": 3},
        {"encode_type": "mpeg"},
        {"record_file_type": 8},
        {"record_file_type": -1},
        {"channel_name": ""},
        {"channel_name": 5},
        {"stream": "live"},
        {"stream": "live/"},
        {"stream": "live/a?b"},
        {"stream": "live/a\nb"},
        {"stream": {"room": "1"}},
        {"stream": {"room": "1", "user": "2", "kind": "other"}},
        {"targets": ["http://a/b"]},
        {"targets": ["rtmp://a/b/c d"]},
        {"targets": ["rtmp://a/b/c"] * 17},
        {"targets": ["rtmp://me:p?ss@a/b/c"]},
        {"record_id": -1},
        {"chanel_name": "typo"},
    ],
)
def test_what_makes_no_sense_is_refused(fields):
    with pytest.raises(ValidationError):
        push(**fields)


@pytest.mark.parametrize("url", ["rtmp://me:p+ss!w0rd@a.example/app/key", "rtmps://[::1]:1936/app/key?k=v&w=%20"])
def test_a_target_may_have_a_password_and_a_query(url):
    assert push(targets=[url]).targets == [url]


@pytest.mark.parametrize("name", ["../x", "a/b", "a\\b", ".hidden", "a.", " a", "a ", "a\0b", "a\nb", "x" * 201, ".."])
def test_a_file_name_that_could_leave_its_directory_is_refused(name):
    with pytest.raises(ValidationError):
        record(file_name=name)


@pytest.mark.parametrize("name", ["", "a", "my evening", "a.b", "会议", "x" * 200, "a-b_c~(1)"])
def test_any_other_file_name_will_do(name):
    assert record(file_name=name).file_name == name


def test_a_room_is_a_stream_too():
    assert push(stream={"room": "293710", "user": "14y2l2c"}).stream == Room(room="293710", user="14y2l2c")


@pytest.mark.parametrize("query", [RecordingsQuery, CallbacksQuery])
def test_a_query_asks_for_a_page_of_a_bounded_size(query):
    assert (query().limit, query().offset) == (100, 0)
    assert query(limit=1000, offset=5).limit == 1000
    for fields in (
        {"limit": 0},
        {"limit": 1001},
        {"offset": -1},
        {"offset": 2**64},
        {"state": "removing"},
        {"other": 1},
    ):
        with pytest.raises(ValidationError):
            query(**fields)
