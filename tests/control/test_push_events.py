"""Events 1, 0, 321 and ours, 1001: the hosted service's fields and numbers, the same at each attempt."""

from __future__ import annotations

import errno
import json
import os

import pytest

from rtmpd.control.push_events import (
    REASON_CHARACTERS,
    SERVER_DIED,
    TYPES,
    VIDEO_BACK,
    VIDEO_JUMP,
    End,
    Finding,
    RelayChange,
    abnormal,
    cause_of,
    ended,
    relay_status,
    started,
)
from tests.helpers.push import NODE, publication_row

ROW = publication_row(
    "42", app="live/a", stream="room", started_at=1_000.9, address="2001:db8::1", stream_param="groupid=7"
)
COMMON = {
    "stream_id": "room",
    "channel_id": "room",
    "appname": "live/a",
    "sequence": "42",
    "node": NODE,
    "user_ip": "2001:db8::1",
    "stream_param": "groupid=7",
}


def test_beginning_has_the_fields_of_the_hosted_service():
    event = started(ROW, NODE)

    assert event.body == COMMON | {
        "event_type": 1,
        "event_time": 1_000,
        "errcode": 0,
        "errmsg": "",
        "width": 0,
        "height": 0,
    }
    assert (event.event_id, event.event_type, event.stream, event.created_at) == (
        "push-1-42",
        1,
        "live/a/room",
        1_000.9,
    )


def test_end_has_the_same_sequence_and_its_duration_as_text():
    row = publication_row(
        "42", app="live/a", stream="room", stream_param="groupid=7", address="2001:db8::1", ended_at=1_010.5
    )
    event = ended(row, NODE, End(cause_of("deleteStream"), 9_600, 1280, 720))

    assert event.body == COMMON | {
        "event_type": 0,
        "event_time": 1_010,
        "errcode": 1,
        "errmsg": "recv rtmp deleteStream",
        "push_duration": "9600",
        "width": 1280,
        "height": 720,
    }
    assert (event.event_id, event.created_at) == ("push-0-42", 1_010.5)


def test_abnormal_event_merges_by_type():
    findings = [Finding(VIDEO_BACK, 3, (("back", 5.9), ("again", 7.0))), Finding(VIDEO_JUMP, 1, (("leap", 8.0),))]
    event = abnormal(ROW, NODE, 2, findings, 60.0, 9.5)

    assert event.body["abnormal_event"] == [
        {
            "type": 1,
            "type_desc_en": "video timestamps went back",
            "count": 3,
            "detail": [{"desc": "back", "occur_time": 5}, {"desc": "again", "occur_time": 7}],
        },
        {
            "type": 3,
            "type_desc_en": "video timestamps jumped forward",
            "count": 1,
            "detail": [{"desc": "leap", "occur_time": 8}],
        },
    ]
    assert event.body["report_interval"] == 60_000
    assert event.body.items() >= (COMMON | {"event_type": 321, "event_time": 9}).items()
    assert event.event_id == "push-321-42-2"


@pytest.mark.parametrize(
    ("reason", "errcode", "errmsg"),
    [
        ("deleteStream", 1, "recv rtmp deleteStream"),
        ("closeStream", 2, "recv rtmp closeStream"),
        ("peer closed", 3, "recv() return 0"),
        (os.strerror(errno.ECONNRESET), 4, "recv() return error: Connection reset by peer"),
        (os.strerror(errno.ETIMEDOUT), 4, "recv() return error: Connection timed out"),
        (
            "limit: message of type 9 with 20000000 bytes; the limit is 16777216",
            7,
            "rtmp message too large: limit: message of type 9 with 20000000 bytes; the limit is 16777216",
        ),
        ("timeout: nothing from the publisher for 20 s", 101, "timeout: nothing from the publisher for 20 s"),
        (
            "replaced by another publisher of the same stream",
            102,
            "replaced by another publisher of the same stream",
        ),
        ("server stops", 103, "server stops"),
        ("kicked", 105, "kicked"),
        ("limit: more than 64 chunk streams", 106, "limit: more than 64 chunk streams"),
        ("chunk: chunk size 0", 106, "chunk: chunk size 0"),
        ("", 105, ""),
    ],
)
def test_reasons_become_numbers(reason, errcode, errmsg):
    assert cause_of(reason) == (errcode, errmsg)


def test_a_long_reason_is_cut():
    cause = cause_of("x" * 100_000)

    assert len(cause.errmsg) == REASON_CHARACTERS
    assert cause.errmsg.endswith("…")


def test_what_is_owed_is_json_whatever_the_reason_says():
    row = publication_row(ended_at=1.0)
    body = ended(row, NODE, End(cause_of("chunk: \ud800\x00\n"), 0, 0, 0)).body

    assert json.loads(json.dumps(body)) == body


def test_a_server_that_died_is_a_cause_of_its_own():
    assert SERVER_DIED.errcode == 104
    assert "server" in SERVER_DIED.errmsg


def test_every_type_has_words():
    assert all(words and words.isascii() for words in TYPES.values())
    assert len(set(TYPES.values())) == len(TYPES)


@pytest.mark.parametrize("target_id", ["t1", None])
def test_what_becomes_of_a_relay_is_told_with_the_fields_of_its_stream(target_id):
    change = RelayChange("relay_lost", target_id, "rtmp://a.example/app/***", "Connection refused")

    event = relay_status(ROW, NODE, 3, change, 2_000.9)

    assert event.body == COMMON | {
        "event_type": 1001,
        "event_time": 2_000,
        "relay_event": "relay_lost",
        "target_id": target_id or "",
        "url": "rtmp://a.example/app/***",
        "reason": "Connection refused",
    }
    assert (event.event_id, event.event_type, event.stream) == ("push-1001-42-3", 1001, "live/a/room")
