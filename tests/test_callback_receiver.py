"""`rtmpd callbacks listen`: what it says of callbacks, what it answers, and how it begins and ends."""

from __future__ import annotations

import json
import re
import signal
import sys
import urllib.error
import urllib.request

import pytest

from rtmpd import callback_receiver
from rtmpd.callback_receiver import Answer, CallbackReceiver, line_of, listen
from rtmpd.control.callback_body import Sender, make_request
from rtmpd.errors import StartError
from tests.helpers.processes import Program

NOW = 1_000.0
OWED = {"event_type": 1, "appname": "live", "stream_id": "demo", "user_ip": "10.0.0.9", "sequence": "7"}


class Heard:
    """A receiver with what it says."""

    def __init__(self, **options):
        self.lines = []
        self.remarks = []
        self.receiver = CallbackReceiver(self.lines.append, self.remarks.append, clock=lambda: NOW, **options)

    def take(self, event_id="e", key="k", now=NOW, change=None, body=OWED):
        request = make_request(event_id, body, Sender(key=key, host="h"), now)
        data = request.body if change is None else request.body.replace(*change)
        return self.receiver.take(request.headers, data)

    @property
    def found(self):
        """What the last line says in brackets."""
        return re.findall(r"\[(.+?)\]", self.lines[-1])


def test_a_good_callback_is_a_line_with_its_important_fields():
    heard = Heard(key="k")

    assert heard.take() == Answer(200, {"code": 0})
    (line,) = heard.lines
    assert re.fullmatch(r"\d\d:\d\d:\d\d  push started  live/demo  user_ip=10\.0\.0\.9  sequence=7", line)


@pytest.mark.parametrize(
    ("call", "found"),
    [
        ({"key": "other"}, ["sign is wrong", "X-Rtmpd-Signature is wrong"]),
        ({"key": ""}, ["sign is missing", "X-Rtmpd-Signature is missing"]),
        ({"change": (b"10.0.0.9", b"10.0.0.8")}, ["X-Rtmpd-Signature is wrong"]),
        ({"change": (b'"t": 1600', b'"t": 9999')}, ["sign is wrong", "X-Rtmpd-Signature is wrong"]),
        ({"now": NOW - 601}, ["t is 999: expired"]),
    ],
)
def test_what_is_wrong_with_a_callback_is_said_and_it_is_taken_all_the_same(call, found):
    heard = Heard(key="k")

    assert heard.take(**call).status == 200
    assert [each.partition(":")[0] if "wrong" in each else each for each in heard.found] == found


def test_a_time_that_is_no_number_is_said():
    heard = Heard(key="k")
    heard.receiver.take({}, b'{"t": "\\u001b[2J"}')

    assert "t is \\x1b[2J: expired" in heard.lines[-1]


def test_without_a_key_nothing_is_checked():
    heard = Heard()
    heard.take(key="any", now=0.0)

    assert heard.found == []


def test_names_of_headers_are_the_same_in_any_case():
    heard = Heard(key="k")
    request = make_request("e", OWED, Sender(key="k"), NOW)
    heard.receiver.take({name.lower(): value for name, value in request.headers.items()}, request.body)

    assert heard.found == []


def test_failing_on_purpose_shows_repetitions_which_are_no_duplicates():
    heard = Heard(fail=2)

    assert [heard.take().status for _ in range(4)] == [500, 500, 200, 200]
    assert [re.findall(r"\[(.+?)\]", line) for line in heard.lines] == [
        ["answered 500, as asked by --fail"],
        ["sent again", "answered 500, as asked by --fail"],
        ["sent again"],
        ["a duplicate: this event_id was taken before"],
    ]


def test_the_memory_for_event_ids_is_bounded(monkeypatch):
    monkeypatch.setattr(callback_receiver, "KNOWN_EVENTS", 2)
    heard = Heard()
    for event_id in ("a", "b", "a", "c"):
        heard.take(event_id)
    heard.take("b")
    assert heard.found == []
    heard.take("c")
    assert heard.found == ["a duplicate: this event_id was taken before"]


@pytest.mark.parametrize("data", [b"", b"[1]", b"\xff", b"[" * 100_000, b'"text"'])
def test_what_is_no_callback_is_refused_and_said(data):
    heard = Heard()

    assert heard.receiver.take({}, data).status == 400
    assert heard.remarks == ["not a callback: the body is not a JSON object"]


def test_for_programs_lines_are_bodies_and_remarks_are_apart():
    heard = Heard(key="other", as_json=True)
    heard.take()

    (line,) = heard.lines
    assert OWED.items() <= json.loads(line).items()
    assert [remark.partition(":")[0] for remark in heard.remarks] == ["e", "e"]


@pytest.mark.parametrize(
    ("body", "line"),
    [
        ({"event_type": 0, "push_duration": "12", "errmsg": "recv rtmp deleteStream", "errcode": 1},
         'push ended  ?/?  push_duration=12  errcode=1  errmsg="recv rtmp deleteStream"'),
        ({"event_type": 100, "file_format": "mp4", "path": "live/a.mp4", "video_url": ""},
         "new file  ?/?  file_format=mp4  path=live/a.mp4"),
        ({"event_type": 332, "record_event": "record_ended", "task_id": None}, "recording  ?/?  record_event=record_ended"),
        (
            {"event_type": 1001, "relay_event": "relay_lost", "target_id": "t", "url": "rtmp://a/b/***", "reason": "no"},
            "relay  ?/?  relay_event=relay_lost  target_id=t  url=rtmp://a/b/***  reason=no",
        ),
        ({"event_type": 321, "abnormal_event": [{"type": 1}]}, 'push abnormal  ?/?  abnormal_event="[{\\"type\\": 1}]"'),
        ({"event_type": [1], "appname": "a\n", "stream_id": "\x1b"}, "event [1]  a\\n/\\x1b"),
        ({}, "event None  ?/?"),
    ],
)  # fmt: skip
def test_a_line_says_what_is_worth_it_and_can_be_printed(body, line):
    assert line_of(body) == line


def program(*arguments):
    return Program([sys.executable, "-m", "rtmpd", "callbacks", "listen", "--listen", "127.0.0.1:0", *arguments])


def url_of(running):
    return re.search(r'urls = \["(http://127\.0\.0\.1:\d+/)"\]', running.wait_for_line("urls = "))[1]


def post(url, data):
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data)) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, None


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_program_says_what_to_configure_receives_and_ends_cleanly(number):
    with program("--key", 'k"', "--fail", "1") as running:
        url = url_of(running)
        data = make_request("e", OWED, Sender(key='k"'), 4e9).body
        assert [post(url, data)[0], post(f"{url}any/path", data)] == [500, (200, {"code": 0})]
        running.wait_for_line("sent again")
        running.signal(number)
        assert running.wait() == 0

    assert '    key = "k\\""' in running.stderr
    assert len(running.stdout) == 2


def test_the_program_prints_json_for_programs():
    with program("--json") as running:
        post(url_of(running), json.dumps(OWED).encode())
        assert json.loads(running.wait_for_line("event_type")) == OWED


def test_a_body_that_is_too_long_is_refused():
    with program() as running:
        assert post(url_of(running), bytes(callback_receiver.BODY_BYTES + 1))[0] == 413


def test_an_address_that_is_taken_is_said():
    with program() as running:
        port = int(url_of(running).rstrip("/").rpartition(":")[2])
        with pytest.raises(StartError, match=rf"cannot listen on 127\.0\.0\.1:{port}: "):
            listen("127.0.0.1", port)
