from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from rtmpd.control.models import PushStart, RecordStart
from rtmpd.web.faults import MOST_FAULTS, faults_of

PUSH = {"stream": "live/me", "channel_name": "Me"}
RECORD = {"stream": "live/me"}


def faults(model, value):
    try:
        model.model_validate(value)
    except ValidationError as error:
        return faults_of(error, model)
    return []


@pytest.mark.parametrize(
    ("model", "value", "expected"),
    [
        (PushStart, PUSH, []),
        (PushStart, {**PUSH, "stream": 5}, ["stream: text or an object is expected"]),
        (PushStart, {**PUSH, "stream": "me"}, ["stream: text of 3 or more characters or an object is expected"]),
        (PushStart, {**PUSH, "stream": "/me/"}, ['stream: text like "live/me" or an object is expected']),
        (PushStart, {**PUSH, "stream": {"room": "1"}}, ["stream.user: a value is expected"]),
        (
            PushStart,
            {**PUSH, "stream": {"room": "1", "user": "u", "kind": "x"}},
            ["stream.kind: 'main' or 'aux' is expected"],
        ),
        (PushStart, {**PUSH, "targets": 5}, ["targets: a list is expected"]),
        (
            PushStart,
            {**PUSH, "targets": ["http://a/b"]},
            ['targets[0]: text like "rtmp://a.example/app/key" is expected'],
        ),
        (PushStart, {**PUSH, "targets": ["rtmp://a/b"] * 17}, ["targets: a list of at most 16 is expected"]),
        (PushStart, {**PUSH, "record_id": 2**32}, ["record_id: a number <= 4294967295 is expected"]),
        (PushStart, {**PUSH, "recordId": -1}, ["recordId: a number >= 0 is expected"]),
        (PushStart, {**PUSH, "record_file_type": True}, ["record_file_type: a number or a name is expected"]),
        (
            PushStart,
            {**PUSH, "encodeType": "zork"},
            ["encodeType: 1, 2, 4, 5, 6 or 7 or 'hls', 'flv', 'raw', 'rtmp', 'hls_and_rtmp' or 'fmp4' is expected"],
        ),
        (
            RecordStart,
            {**RECORD, "file_name": "../x"},
            [
                f"file_name: text ({RecordStart.model_json_schema()['properties']['file_name']['description']}) is expected"
            ],
        ),
        (RecordStart, {**RECORD, "max_duration": 0}, ["max_duration: a number > 0 is expected"]),
        (RecordStart, {**RECORD, "formats": ["avi"]}, ["formats[0]: 'flv', 'mp4', 'hls', 'm4a' or 'mp3' is expected"]),
    ],
)
def test_a_fault_names_the_field_as_it_was_sent_and_what_is_expected(model, value, expected):
    assert faults(model, value) == expected


def test_all_faults_are_told_at_once():
    assert len(faults(PushStart, {"stream": 5, "channel_desc": 5, "zork": 1})) == 4


def test_thousands_of_unknown_fields_are_counted_not_told():
    told = faults(PushStart, PUSH | {f"zork{number}": 1 for number in range(1000)})

    assert len(told) == MOST_FAULTS + 1
    assert told[-1] == "and 980 more"


def test_an_unknown_fields_name_is_cut_and_cannot_break_a_line():
    (told,) = faults(PushStart, {**PUSH, "\x1b[2J\n" + "x" * 1000: 1})

    assert told.isprintable()
    assert len(told) < 300


@given(st.dictionaries(st.sampled_from([*PushStart.model_fields, "x"]), st.text(min_size=20) | st.integers(10**20)))
def test_what_was_sent_is_never_repeated(value):
    told = "".join(faults(PushStart, value))

    assert not any(str(each) in told for each in value.values())
