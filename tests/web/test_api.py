"""Every operation by both surfaces: what it is asked, what it answers, and what is refused before it."""

from __future__ import annotations

import json
import socket
import threading

import pytest

from rtmpd.control.models import (
    CallbacksQuery,
    Drain,
    PushStart,
    PushStop,
    RecordingsQuery,
    RecordStart,
    Room,
    TargetAdd,
)
from rtmpd.errors import NotPossible
from rtmpd.web.routes import ROUTES
from tests.helpers.operations import CHANNEL, CLIENT, EVENT, FILE, IN_A_FOLDER, NOW_S, PUBLISHED, TASK
from tests.helpers.processes import wait_until
from tests.helpers.site import RunningSite

SURFACES = ("tcp", "unix")
V1 = "/api/v1"
PUSH = {"stream": PUBLISHED, "channel_name": "Me"}
RECORD = {"stream": PUBLISHED, "file_name": "one"}

CALLS = [
    ("GET", "/streams", None, ("streams",), "streams"),
    ("GET", "/streams/live/me", None, ("stream", PUBLISHED), "stream"),
    ("DELETE", "/streams/live/me", None, ("disconnect_publisher", PUBLISHED), "already"),
    ("GET", "/clients", None, ("clients",), "clients"),
    ("DELETE", f"/clients/{CLIENT}", None, ("kick", CLIENT), "already"),
    ("GET", "/pushes", None, ("pushes",), "pushes"),
    ("GET", "/relays", None, ("relays",), "relays"),
    ("POST", "/pushes", PUSH, ("start_push", PushStart(**PUSH)), "channel_id"),
    ("POST", "/pushes/stop", {"channel_ids": [CHANNEL]}, ("stop_pushes", PushStop(channel_ids=[CHANNEL])), "results"),
    (
        "POST",
        f"/pushes/{CHANNEL}/targets",
        {"url": "rtmp://a.example/b/c"},
        ("add_target", CHANNEL, TargetAdd(url="rtmp://a.example/b/c")),
        "target",
    ),
    ("DELETE", f"/pushes/{CHANNEL}/targets/1", None, ("remove_target", CHANNEL, "1"), "already"),
    ("GET", "/records", None, ("records",), "records"),
    ("POST", "/records", RECORD, ("start_record", RecordStart(**RECORD)), "task_id"),
    ("POST", f"/records/{TASK}/stop", None, ("stop_record", TASK), "files"),
    ("POST", f"/records/{TASK}/stop", {}, ("stop_record", TASK), "files"),
    ("GET", "/recordings", None, ("recordings", RecordingsQuery()), "recordings"),
    (
        "GET",
        "/recordings?stream=live/me&state=closed&since=1.5&limit=7&offset=3",
        None,
        ("recordings", RecordingsQuery(stream=PUBLISHED, state="closed", since=1.5, limit=7, offset=3)),
        "recordings",
    ),
    ("GET", f"/recordings/{FILE}", None, ("recording", FILE), "file_id"),
    ("DELETE", f"/recordings/{FILE}", None, ("delete_recording", FILE), "already"),
    ("GET", "/callbacks?state=dead", None, ("callbacks", CallbacksQuery(state="dead")), "callbacks"),
    ("POST", f"/callbacks/{EVENT}/retry", None, ("retry_callback", EVENT), "already"),
    ("GET", "/server", None, ("server",), "started_at"),
    ("POST", "/drain", None, ("drain", Drain()), "deadline"),
    ("POST", "/drain", {"timeout": 5}, ("drain", Drain(timeout=5)), "deadline"),
    ("POST", "/drain", {"url": "rtmp://b.example"}, ("drain", Drain(url="rtmp://b.example")), "asked"),
    ("POST", "/reload", None, ("reload",), "needs_restart"),
]


DRAIN_URL = 'url: text like "rtmp://b.example" is expected'


@pytest.fixture
def site(tmp_path):
    with RunningSite(tmp_path) as site:
        yield site


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize(
    ("method", "path", "body", "asked", "key"), CALLS, ids=[f"{call[0]} {call[1]} {call[2]}" for call in CALLS]
)
def test_an_operation_is_asked_what_was_sent_and_its_answer_comes_back(site, surface, method, path, body, asked, key):
    answer = site.ask(method, f"{V1}{path}", body, surface=surface)

    assert site.operations.asked == [asked]
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert key in answer.json


def test_every_operation_of_the_table_is_among_the_calls():
    assert {call[3][0] for call in CALLS} == {route.name for route in ROUTES if route.call is not None}


@pytest.mark.parametrize(
    ("sent", "meant"),
    [
        ("live/me", "live/me"),
        ("events/2026/me", IN_A_FOLDER),
        ("events%2F2026/me", IN_A_FOLDER),
        ("events%2f2026%2fme/x", "events/2026/me/x"),
        ("live/%C3%A4%20%25", "live/ä %"),
        ("a/..%2f..%2fetc", "a/../../etc"),
        ("a/%00", "a/\0"),
    ],
)
def test_a_path_names_the_stream_whichever_slashes_are_escaped(site, sent, meant):
    answer = site.ask("GET", f"{V1}/streams/{sent}")

    assert site.operations.asked == [("stream", meant)]
    assert answer.status == (200 if meant in site.operations.paths else 404)


@pytest.mark.parametrize(
    ("body", "meant"),
    [
        (
            {
                "stream": PUBLISHED,
                "channelName": "Me",
                "channelDesc": "d",
                "encodeType": 5,
                "recrodFileType": "HLS_FLV",
            },
            PushStart(stream=PUBLISHED, channel_name="Me", channel_desc="d", encode_type=5, record_file_type="hls_flv"),
        ),
        (
            {
                "stream": {"room": "1", "user": "u"},
                "channelName": "Me",
                "recordFileType": "4",
                "recordId": 9,
                "sdkType": 1,
            },
            PushStart(stream=Room(room="1", user="u"), channel_name="Me", record_file_type=4, record_id=9),
        ),
        (
            {"stream": PUBLISHED, "channel_name": "Me", "record_id": 754.0},
            PushStart(stream=PUBLISHED, channel_name="Me", record_id=754),
        ),
    ],
)
def test_the_hosted_services_spellings_and_every_way_to_write_a_number_are_taken(site, body, meant):
    assert site.ask("POST", f"{V1}/pushes", body).status == 200
    assert site.operations.asked == [("start_push", meant)]


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize(
    ("method", "path", "body", "fault"),
    [
        ("POST", "/pushes", {"stream": PUBLISHED}, "channel_name: a value is expected"),
        ("POST", "/pushes", {**PUSH, "channel_name": 5}, "channel_name: text is expected"),
        ("POST", "/pushes", {**PUSH, "record_id": "5"}, "record_id: a whole number is expected"),
        (
            "POST",
            "/pushes",
            {**PUSH, "zork": 5},
            f'"zork": no such field; one of {", ".join(PushStart.model_fields)} is expected',
        ),
        ("POST", "/pushes", [], "body: an object is expected"),
        ("POST", "/records", {**RECORD, "file_name": "../x"}, None),
        ("POST", "/records", {**RECORD, "max_duration": 1e300}, "max_duration: a number <= 604800 is expected"),
        ("POST", "/drain", {"url": "http://b.example"}, DRAIN_URL),
        ("POST", "/drain", {"url": "rtmp://user:password@b.example/live"}, DRAIN_URL),
        ("POST", "/drain", {"url": "rtmp://b.example/li ve"}, DRAIN_URL),
        ("POST", "/drain", {"url": ""}, DRAIN_URL),
        ("POST", "/reload", {"zork": 1}, '"zork": no such field; none is expected'),
        ("GET", "/recordings?limit=1001", None, "limit: a number <= 1000 is expected"),
        ("GET", "/recordings?limit=many", None, "limit: a whole number is expected"),
        ("GET", "/recordings?since=nan", None, "since: a finite number is expected"),
        ("GET", "/recordings?limit=1&limit=2", None, "query: each parameter once is expected"),
        ("GET", "/streams?zork=1", None, '"zork": no such field; none is expected'),
        ("DELETE", "/clients/seven", None, "client_id: a whole number is expected"),
        ("DELETE", f"/clients/{'9' * 5000}", None, "client_id: a smaller whole number is expected"),
        ("GET", f"/recordings/{'x' * 65}", None, "file_id: text of at most 64 characters is expected"),
    ],
)
def test_what_no_model_takes_is_told_field_by_field_and_reaches_no_operation(site, surface, method, path, body, fault):
    answer = site.ask(method, f"{V1}{path}", body, surface=surface)

    assert (answer.status, answer.headers["Content-Type"]) == (422, "application/problem+json")
    assert len(answer.json["errors"]) == 1
    assert fault is None or answer.json["errors"] == [fault]
    assert site.operations.asked == []


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize(
    ("kind", "status"), [("unknown", 404), ("conflict", 409), ("invalid", 422), ("unavailable", 503)]
)
def test_what_is_not_possible_has_the_status_of_its_kind(site, surface, kind, status):
    site.operations.refuse = NotPossible(kind, "why not", ["one", "two"])

    answer = site.ask("POST", f"{V1}/reload", surface=surface)

    assert answer.status == status
    assert (answer.json["detail"], answer.json["errors"]) == ("why not", ["one", "two"])


def test_head_asks_for_no_body_and_is_refused_where_an_answer_has_no_end(site):
    assert site.ask("HEAD", f"{V1}/streams").status == 200
    assert site.ask("HEAD", f"{V1}/events").status == 405


def test_a_connection_is_used_for_many_requests_also_after_a_refusal(site):
    connection = site.connection()
    for path, status in (("/streams", 200), ("/zork", 404), ("/streams", 200)):
        connection.request("GET", f"{V1}{path}")
        response = connection.getresponse()
        response.read()
        assert response.status == status
    connection.close()


def test_what_was_begun_is_ended_though_its_client_has_gone(site):
    site.loop.call_soon_threadsafe(site.operations.gate.clear)
    client = socket.create_connection(("127.0.0.1", site.port))
    client.sendall(f"POST {V1}/records/{TASK}/stop HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    wait_until(site.operations.stopping.is_set, "the operation to begin")

    client.close()
    assert site.ask("GET", f"{V1}/streams").status == 200  # the loop has had a turn to notice
    site.loop.call_soon_threadsafe(site.operations.gate.set)

    wait_until(lambda: site.operations.finished == [TASK], "the operation to end")


def test_one_slow_operation_holds_up_no_other(site):
    site.loop.call_soon_threadsafe(site.operations.gate.clear)
    answers = []
    waiting = threading.Thread(target=lambda: answers.append(site.ask("POST", f"{V1}/records/{TASK}/stop")))
    waiting.start()
    wait_until(site.operations.stopping.is_set, "the operation to begin")

    assert site.ask("GET", f"{V1}/streams").status == 200
    assert answers == []

    site.loop.call_soon_threadsafe(site.operations.gate.set)
    waiting.join()
    assert answers[0].status == 200


def test_health_is_told(site):
    answer = site.ask("GET", "/healthz")
    assert (answer.status, answer.json) == (200, {"status": "ok"})


def test_nobody_is_sent_to_a_server_that_is_draining(site):
    site.operations.is_draining = True

    answer = site.ask("GET", "/healthz")
    assert (answer.status, answer.json) == (503, {"status": "draining"})
    assert site.ask("GET", f"{V1}/streams").status == 200


def test_an_answer_says_times_as_numbers_and_is_kept_by_nobody(site):
    answer = site.ask("GET", f"{V1}/records")

    assert json.loads(answer.body)["records"][0]["started_at"] == NOW_S
    assert answer.headers["Cache-Control"] == "no-store"
