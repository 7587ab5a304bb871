"""What a hook's answer means."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtmpd.control.hook_answers import HookFailed, HookRefused, PlayAnswer, PublishAnswer, Reply, read_answer

KEY_BYTES = 64


def read(status, body=b"", model=PublishAnswer):
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    return read_answer(Reply(status, body), model, KEY_BYTES)


@pytest.mark.parametrize("status", [200, 201, 204])
@pytest.mark.parametrize("body", [b"", b" \r\n", b"{}", b'{"code": 0, "stream": null, "targets": null}'])
def test_success_admits_and_settles_nothing_by_itself(status, body):
    assert read(status, body) == PublishAnswer()
    assert read(status, body, PlayAnswer) == PlayAnswer()


def test_a_publish_answer_may_settle_everything():
    settled = {
        "stream": "ünlike the key.flv",
        "push": "manual",
        "record": "auto",
        "record_formats": ["flv", "hls"],
        "targets": ["rtmp://a.example/app/key?k=v", "rtmps://[::1]:1936/app/key"],
    }

    answer = read(200, settled | {"unknown": [1]})

    assert answer.model_dump() == {
        name: tuple(value) if isinstance(value, list) else value for name, value in settled.items()
    }


def test_a_play_answer_only_names_a_stream():
    assert read(200, {"stream": "other", "push": 7}, PlayAnswer).stream == "other"


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (b"OK", "body: Invalid JSON"),
        (b'{"stream": "s"', "body: Invalid JSON"),
        (b"\xff{}", "body: Invalid JSON"),
        (b'{"a":' * 20_000, "body: Invalid JSON"),
        (b"[]", "body: Input should be an object"),
        (b"0", "body: Input should be an object"),
        ({"stream": 7}, "stream: Input should be a valid string"),
        ({"push": "on"}, "push: Input should be 'auto' or 'manual'"),
        ({"push": True}, "push: Input should be 'auto' or 'manual'"),
        ({"record": "AUTO"}, "record: Input should be 'auto' or 'manual'"),
        ({"record_formats": "flv"}, "record_formats: Input should be a valid"),
        ({"record_formats": ["flv", "avi"]}, "record_formats.1: Input should be 'flv'"),
        ({"record_formats": ["flv"] * 6}, "record_formats: Tuple should have at most 5 items"),
        ({"targets": ["rtmp://a.example/app/k", "http://a.example/"]}, "targets.1: String should match"),
        ({"targets": ["rtmp://a.example/app/k\n"]}, "targets.0: String should match"),
        (
            {"targets": [f"rtmp://a.example/app/{number}" for number in range(17)]},
            "targets: Tuple should have at most 16",
        ),
        ({"push": 1, "record": 2}, "push: Input should be 'auto' or 'manual'; record: Input"),
    ],
)
def test_a_wrong_field_is_named_and_its_value_is_not(body, fault):
    with pytest.raises(HookFailed) as caught:
        read(200, body)

    assert fault in str(caught.value)
    assert caught.value.told == "failed"
    assert "a.example" not in str(caught.value)


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "..", "a/b", "/a", "a/", "../a", "a?b=c", "?", "mp4:a", "flv:a"),
        *("a\0b", "a\nb", "a\u202eb", "a\ufffdb", "x" * (KEY_BYTES + 1), "ü" * (KEY_BYTES // 2 + 1)),
    ],
)
@pytest.mark.parametrize("model", [PublishAnswer, PlayAnswer])
def test_a_name_that_no_client_could_ask_for_is_a_failure_of_the_hook(name, model):
    with pytest.raises(HookFailed, match=r"^stream: "):
        read(200, {"stream": name}, model)


@pytest.mark.parametrize("name", ["a", "a.b", "...", "a b", "%2e%2e", "Ünïcödé", "x" * KEY_BYTES])
def test_any_other_name_may_be_given(name):
    assert read(200, {"stream": name}).stream == name


@pytest.mark.parametrize("status", [202, 206, 226, 301, 302, 307, 308, 304, 500, 502, 503, 599])
def test_any_other_status_is_a_failure_whatever_it_says(status):
    with pytest.raises(HookFailed, match=f"^status {status}$"):
        read(status, {"stream": "s"})


@pytest.mark.parametrize("status", [400, 401, 403, 404, 418, 429, 499])
@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"reason": "your plan has ended"}, "your plan has ended"),
        ({"reason": " 日本 ", "stream": 7}, "日本"),
        (b"go away\r\n", "go away"),
        (b"", ""),
        ({}, ""),
        ({"reason": None}, ""),
        ({"reason": 7}, ""),
        (b'{"reason": "x"', ""),
        ({"reason": "two\nlines"}, ""),
        ({"reason": "\x1b[31mred"}, ""),
        (b"two\nlines", ""),
        (b"\xff\xfe", ""),
        (b"x" * 256, "x" * 256),
        (b"x" * 257, ""),
        ({"reason": "x" * 257}, ""),
    ],
)
def test_a_refusal_has_its_reason_where_a_client_can_be_shown_it(status, body, reason):
    with pytest.raises(HookRefused) as caught:
        read(status, body)

    assert str(caught.value) == reason


@given(
    st.integers(100, 599),
    st.binary()
    | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(
        lambda value: json.dumps({"stream": value, "reason": value}).encode()
    ),
)
def test_any_answer_is_understood_or_refused_in_one_of_two_ways(status, body):
    answer = None
    with contextlib.suppress(HookRefused, HookFailed):
        answer = read(status, body)

    if answer is not None:
        assert status in {200, 201, 204}
        assert answer.stream is None or answer.stream.isprintable()
