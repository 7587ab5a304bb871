"""The control API of a real server, on both of its surfaces: asked twice, asked wrongly, and asked by those who may not."""

from __future__ import annotations

import contextlib
import json
import stat

import pytest

from tests.helpers.api import Api, refused
from tests.helpers.rtmp_client import Connection, LivePublisher
from tests.helpers.server import Server

pytestmark = pytest.mark.e2e

CONFIG = '[apps.live]\n[apps.private]\npush = "manual"\n[rooms]\nbizid = "8888"\napp = "private"\n'
TOKEN = "a-token-for-the-api"
LIVE = "live/me"
PRIVATE = "private/me"
BODY_BYTES = 10_000_000
BODIES = 4
GROWN_BYTES = 8 << 20
"""Less than one of those bodies."""

# 200 characters at most, no slash, no control character, no dot or space at the ends.
NO_FILE_NAMES = [
    "../x",
    "..",
    ".",
    "/etc/x",
    "a/b",
    "a/../../x",
    "..\\x",
    "a\\..\\x",
    ".hidden",
    "x.",
    " x",
    "x ",
    "x\n",
    "x\ny",
    "x\x00y",
    "\x1b[31mx",
    "x" * 201,
]
ODD_FILE_NAMES = ["%2e%2e%2fx", "~root", "$(touch x)", "x..y", "-rf", "{app}", "ä"]
"""They name files, which are where all others are."""


@pytest.fixture(scope="module")
def server(tmp_path_factory, sources):
    tags = sources.tags("h264+aac")
    with (
        Server(tmp_path_factory.mktemp("server"), CONFIG) as server,
        LivePublisher(server.address, "me", tags),
        LivePublisher(server.address, "me", tags, app="private"),
    ):
        for stream in (LIVE, PRIVATE):
            server.api.wait_for_stream(stream)
        yield server


@pytest.fixture(scope="module")
def guarded(tmp_path_factory, sources):
    """A server whose API needs a token over HTTP."""
    with (
        Server(tmp_path_factory.mktemp("guarded"), f'{CONFIG}[http]\ntoken = "{TOKEN}"\n') as server,
        LivePublisher(server.address, "me", sources.tags("h264+aac")),
    ):
        yield server


@pytest.fixture(params=["socket", "http"])
def api(request, server):
    return server.api if request.param == "socket" else Api(server.http_address)


# Twice


def test_a_second_start_or_stop_of_a_push_succeeds_and_says_so(api, server):
    first, second = (api.start_push(PRIVATE, targets=["rtmp://127.0.0.1:9/app/key"]) for _ in range(2))

    assert (first["already"], second["already"]) == (False, True)
    assert first["channel_id"] == second["channel_id"]
    assert [each["url"] for each in second["targets"]] == ["rtmp://127.0.0.1:9/app/***"]
    assert server.api.stream(PRIVATE)["public"]

    stopped, again = (api.stop_push(first["channel_id"]) for _ in range(2))
    assert [(each["state"], each["already"]) for each in (stopped, again)] == [("stopped", False), ("stopped", True)]
    assert not server.api.stream(PRIVATE)["public"]


def test_a_second_start_or_stop_of_a_recording_succeeds_and_says_so(api):
    first, second = (api.start_record(LIVE, file_name="twice", formats=["flv", "mp4"]) for _ in range(2))

    assert (first["already"], second["already"]) == (False, True)
    assert first["task_id"] == second["task_id"]

    stopped, again = (api.stop_record(first["task_id"]) for _ in range(2))
    assert (stopped["state"], stopped["already"], again["already"]) == ("closed", False, True)
    assert sorted(each["format"] for each in stopped["files"]) == ["flv", "mp4"]
    assert stopped["files"] == again["files"]


def test_a_second_target_of_the_same_url_or_its_second_end_succeeds_and_says_so(api):
    channel = api.start_push(PRIVATE)["channel_id"]
    first, second = (api.post(f"pushes/{channel}/targets", {"url": "rtmp://a.example/b/c"}) for _ in range(2))
    target = first.body["target"]["target_id"]
    gone, gone_again = (api.delete(f"pushes/{channel}/targets/{target}") for _ in range(2))
    api.stop_push(channel)

    assert [each.body["already"] for each in (first, second, gone, gone_again)] == [False, True, False, True]


# What is not there


@pytest.mark.parametrize(
    ("method", "path", "body", "told"),
    [
        ("POST", "records/no-such/stop", None, "there is no recording of task no-such"),
        ("POST", "pushes/no-such/targets", {"url": "rtmp://a/b/c"}, "there is no push no-such"),
        ("DELETE", "pushes/no-such/targets/x", None, "there is no push no-such"),
        ("DELETE", "recordings/no-such", None, "there is no file no-such"),
        ("GET", "recordings/..%2F..%2Fetc%2Fpasswd", None, "there is no file ../../etc/passwd"),
        ("DELETE", "clients/4711", None, "there is no client 4711"),
        ("POST", "callbacks/no-such/retry", None, "no receiver is owed callback no-such"),
        ("GET", "streams/live/nobody", None, "nobody publishes live/nobody"),
        ("DELETE", "streams/live/nobody", None, "nobody publishes live/nobody"),
        ("POST", "pushes", {"stream": "live/nobody", "channel_name": "x"}, "nobody publishes live/nobody"),
        ("POST", "records", {"stream": "live/nobody"}, "nobody publishes live/nobody"),
        (
            "POST",
            "pushes",
            {"stream": "lives/me", "channel_name": "x"},
            "there is no application 'lives' on this server",
        ),
        ("POST", "records", {"stream": "lives/me"}, "there is no application 'lives' on this server"),
        ("POST", "streams", {"stream": "live/me"}, "POST is not possible here; possible: GET, HEAD"),
        (
            "GET",
            "relay",
            None,
            (
                "there is no such path; streams are at /APP/STREAM.m3u8, .mp4, .flv and .jpg, "
                "and /api/v1/openapi.json has the rest"
            ),
        ),
    ],
)
def test_what_is_not_there_is_told_so(api, server, method, path, body, told):
    with server.api.nothing_is_done():
        answer = api.request(method, path, body, {})

    assert refused(answer, 405 if "possible:" in told else 404) == [told]


def test_a_push_that_is_unknown_is_told_beside_the_others(api):
    channel = api.start_push(PRIVATE)["channel_id"]

    answer = api.post("pushes/stop", {"channel_ids": ["no-such", channel]})

    assert [each["state"] for each in answer.body["results"]] == ["unknown", "stopped"]


# What makes no sense


@pytest.mark.parametrize("name", NO_FILE_NAMES)
def test_a_name_that_could_lead_elsewhere_is_refused(api, server, name):
    with server.api.nothing_is_done():
        (fault,) = refused(api.post("records", {"stream": LIVE, "file_name": name}), 422)

    expected = "no slash, no control character, no dot or space at its ends) is expected"
    assert fault.endswith("at most 200 characters is expected" if len(name) > 200 else expected)
    assert fault.startswith("file_name: text")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("CON", "'CON' is the name of a device on Windows, and no file can be called so there"),
        ("x\u202e", r"a file name has no control characters such as '\u202e': 'x\u202e'"),
    ],
)
def test_a_name_that_deceives_is_refused(api, server, name, told):
    with server.api.nothing_is_done():
        assert refused(api.post("records", {"stream": LIVE, "file_name": name}), 422) == [told]


def test_a_name_that_is_only_odd_names_a_file_inside_the_data_directory(server):
    outside = sorted(path for path in server.data.parent.rglob("*") if not path.is_relative_to(server.data))
    for name in ODD_FILE_NAMES:
        stopped = server.api.stop_record(server.api.start_record(LIVE, file_name=name)["task_id"])
        (file,) = stopped["files"]
        path = server.data / "recordings" / file["path"]
        assert path.is_file()
        assert path.resolve().parent == (server.data / "recordings" / LIVE).resolve()

    assert outside == sorted(path for path in server.data.parent.rglob("*") if not path.is_relative_to(server.data))


def test_a_recording_of_a_stream_with_a_name_like_a_path_stays_inside_the_data_directory(server, sources):
    with LivePublisher(server.address, "%2e%2e%2f..%2fme", sources.tags("h264+aac")):
        server.api.wait_for_stream("live/%2e%2e%2f..%2fme")
        task = server.api.start_record("live/%2e%2e%2f..%2fme")["task_id"]
        (file,) = server.api.stop_record(task)["files"]
    server.wait_for("closed", role="publish", stream="live/%2e%2e%2f..%2fme")

    path = server.data / "recordings" / file["path"]
    assert path.is_file()
    assert path.resolve().parent.parent == (server.data / "recordings" / "live").resolve()


PUSH = {"stream": LIVE, "channel_name": "x"}
RECORD = {"stream": LIVE}
ONE_OF = "one of stream, channel_name, channel_desc, encode_type, record_file_type, record_id, targets"
URL = 'text like "rtmp://a.example/app/key" is expected'


@pytest.mark.parametrize(
    ("path", "body", "told"),
    [
        ("pushes", [], ["body: an object is expected"]),
        ("pushes", {}, ["stream: a value is expected", "channel_name: a value is expected"]),
        ("pushes", {**PUSH, "stream": 5}, ["stream: text or an object is expected"]),
        ("pushes", {**PUSH, "stream": "me"}, ["stream: text of 3 or more characters or an object is expected"]),
        ("pushes", {**PUSH, "stream": "/me/"}, ['stream: text like "live/me" or an object is expected']),
        (
            "pushes",
            {**PUSH, "stream": {"room": 1}},
            ["stream.room: text is expected", "stream.user: a value is expected"],
        ),
        ("pushes", {**PUSH, "targets": ["http://a/b"]}, [f"targets[0]: {URL}"]),
        ("pushes", {**PUSH, "targets": ["rtmp://a/b"] * 17}, ["targets: a list of at most 16 is expected"]),
        ("pushes", {**PUSH, "record_id": True}, ["record_id: a whole number is expected"]),
        ("pushes", {**PUSH, "record_id": 2**32}, ["record_id: a number <= 4294967295 is expected"]),
        ("pushes", {**PUSH, "record_id": 10**300}, ["record_id: a number <= 4294967295 is expected"]),
        ("pushes", {**PUSH, "zork": 1}, [f'"zork": no such field; {ONE_OF} is expected']),
        ("pushes/stop", {"channel_ids": []}, ["channel_ids: a list of 1 or more is expected"]),
        ("pushes/stop", {"channel_ids": [5]}, ["channel_ids[0]: text is expected"]),
        ("records", {**RECORD, "formats": ["avi"]}, ["formats[0]: 'flv', 'mp4', 'hls', 'm4a' or 'mp3' is expected"]),
        ("records", {**RECORD, "max_duration": -1}, ["max_duration: a number > 0 is expected"]),
        ("records", {**RECORD, "max_duration": "5"}, ["max_duration: a number is expected"]),
        ("records", {**RECORD, "tags": "evening"}, ["tags: a list is expected"]),
        ("drain", {"timeout": 1e9}, ["timeout: a number <= 86400 is expected"]),
    ],
)
def test_values_that_make_no_sense_are_told_one_by_one(api, server, path, body, told):
    with server.api.nothing_is_done():
        assert refused(api.post(path, body), 422) == told


@pytest.mark.parametrize(
    ("body", "content_type", "status", "told"),
    [
        (b"stream=live%2Fme", "application/x-www-form-urlencoded", 415, "a body is application/json in UTF-8"),
        (b'{"stream": "live/me"}', "text/plain", 415, "a body is application/json in UTF-8"),
        (b"", "application/json", 400, "the body is no JSON: Expecting value at line 1, column 1"),
        (b"{", "application/json", 400, "the body is no JSON: Expecting property name"),
        (b"\xff", "application/json", 400, "the body is no JSON: not UTF-8"),
        (
            b'{"stream": "live/me", "stream": "live/you"}',
            "application/json",
            400,
            "the body is no JSON: a key is there twice",
        ),
        (b'{"max_duration": NaN}', "application/json", 400, "the body is no JSON: NaN is no number of JSON"),
        (b'{"max_duration": 1e999}', "application/json", 400, "the body is no JSON: a number is too large"),
        (
            b'{"max_duration": %s}' % (b"9" * 5000),
            "application/json",
            400,
            "the body is no JSON: a number is too large",
        ),
        (b"[" * 30_000, "application/json", 400, "the body is no JSON: nested too deeply"),
    ],
)
def test_what_is_no_json_is_told_so(api, server, body, content_type, status, told):
    with server.api.nothing_is_done():
        (text,) = refused(api.post("records", body, Content_Type=content_type), status)

    assert text.startswith(told)


@pytest.mark.parametrize("coding", ["", "chunked"])
def test_a_body_of_10_megabytes_is_refused_and_not_kept(api, server, coding):
    def post():
        body = iter([b" " * BODY_BYTES]) if coding else b" " * BODY_BYTES
        connection = api.connection()
        connection.request("POST", "/api/v1/pushes", body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        problem = json.loads(response.read())
        connection.close()
        return response.status, problem["detail"]

    post()
    before = server.resident_bytes()

    assert {post() for _ in range(BODIES)} == {(413, "a body has at most 65536 bytes (http.body_bytes)")}
    assert server.resident_bytes() - before < GROWN_BYTES


# Who may not


@pytest.mark.parametrize(
    ("headers", "status", "told"),
    [
        ({"Host": "evil.example"}, 421, "Host is not a name of this server"),
        ({"Host": "127.0.0.1.evil.example"}, 421, "Host is not a name of this server"),
        # DNS rebinding: the page's own name leads here by now, so that to a browser this is its own site.
        (
            {"Host": "evil.example:8080", "Origin": "http://evil.example:8080", "Sec-Fetch-Site": "same-origin"},
            421,
            "Host is not a name of this server",
        ),
        ({"Origin": "http://evil.example"}, 403, "Origin is not this server"),
        ({"Origin": "http://localhost:1"}, 403, "Origin is not this server"),
        ({"Origin": "null"}, 403, "Origin is not this server"),
        ({"Sec-Fetch-Site": "cross-site"}, 403, "pages of other sites may not use this server"),
    ],
)
def test_pages_of_other_sites_can_do_nothing(server, headers, status, told):
    with server.api.nothing_is_done():
        for method, path, body in (
            ("DELETE", f"streams/{LIVE}", None),
            ("POST", "pushes", PUSH),
            ("GET", "streams", None),
        ):
            (text,) = refused(Api(server.http_address).request(method, path, body, headers), status)
            assert text.startswith(told)


@pytest.mark.parametrize(
    ("authorization", "told"),
    [
        (None, "Authorization: Bearer TOKEN is expected, with a token of http.token"),
        ("Bearer wrong", "the token is not one of http.token"),
        (f"Bearer {TOKEN}x", "the token is not one of http.token"),
        ("Bearer ", "the token is not one of http.token"),
        (f"Basic {TOKEN}", "Authorization: Bearer TOKEN is expected, with a token of http.token"),
    ],
)
def test_who_has_no_token_can_do_nothing(guarded, authorization, told):
    headers = {} if authorization is None else {"Authorization": authorization}
    api = Api(guarded.http_address)
    with guarded.api.nothing_is_done():
        for method, path, body in (
            ("DELETE", f"streams/{LIVE}", None),
            ("POST", "pushes", PUSH),
            ("GET", "no-such", None),
        ):
            answer = api.request(method, path, body, headers)
            assert refused(answer, 401) == [told]
            assert answer.headers["www-authenticate"].startswith('Bearer realm="rtmpd"')
            assert TOKEN not in json.dumps(answer.body)


def test_the_token_opens_everything_under_any_name_and_the_control_socket_needs_none(guarded):
    assert Api(guarded.http_address, TOKEN).get("streams", Host="live.example").status == 200
    assert guarded.api.get("streams").status == 200
    assert Api(guarded.http_address).get("/healthz").body == {"status": "ok"}
    assert stat.S_IMODE(guarded.control.stat().st_mode) == 0o600


# As the hosted service has it


def test_a_room_is_the_stream_of_its_code(api, server):
    with Connection(server.address).connect("private").publish("8888_81265058829fd2e50c8ec2ac78d55127"):
        pushed = api.start_push({"room": "293710", "user": "14y2l2c", "kind": "main"})
        (told,) = refused(api.post("records", {"stream": {"room": "293710", "user": "14y2l2c", "kind": "aux"}}), 404)
        api.stop_push(pushed["channel_id"])

    assert [each["play_url"] for each in pushed["urls"] if each["type"] == 5] == [
        server.url("private/8888_81265058829fd2e50c8ec2ac78d55127")
    ]
    assert told.startswith("nobody publishes private/8888_")


def test_the_spellings_and_numbers_of_the_hosted_service_are_understood(api):
    asked = {"channelName": "x", "channelDesc": "y", "encodeType": 5, "recrodFileType": "2", "recordId": 7}
    pushed = api.post("pushes", {"stream": PRIVATE, **asked, "classId": 0, "isWaterMark": False}).body
    (push,) = api.get("pushes").body["pushes"]
    api.stop_push(pushed["channel_id"])
    recorded = api.post("records", {"stream": LIVE, "fileName": "x", "recordType": 1, "maxDuration": 60}).body
    (record,) = (each for each in api.get("records").body["records"] if each["task_id"] == recorded["task_id"])
    api.stop_record(recorded["task_id"])

    assert [each["type"] for each in pushed["urls"]] == [5]
    assert (push["channel_name"], push["channel_desc"], push["record_id"]) == ("x", "y", 7)
    assert push["record_task_id"] == pushed["record_task_id"]
    assert (record["file_name"], record["record_type"], record["formats"]) == ("x", "audio", ["m4a"])


# What is told


def test_every_operation_is_told_to_who_follows_events(api, server):
    with contextlib.closing(api.connection()) as connection:
        connection.request("GET", "/api/v1/events")
        events = connection.getresponse()
        assert events.readline() == b": hello\n"
        channel = api.start_push(PRIVATE)["channel_id"]
        target = api.post(f"pushes/{channel}/targets", {"url": "rtmp://a.example/b/secret"}).body["target"]["target_id"]
        api.delete(f"pushes/{channel}/targets/{target}")
        api.stop_push(channel)
        (file,) = api.stop_record(api.start_record(LIVE)["task_id"])["files"]
        api.delete(f"recordings/{file['file_id']}")
        with Connection(server.address).connect().publish("brief"):
            api.delete("streams/live/brief")
        with Connection(server.address).connect().publish("kicked"):
            api.delete(f"clients/{api.stream('live/kicked')['publisher']['client_id']}")
        api.post("reload")
        lines = []
        while not lines or '"configuration reloaded"' not in lines[-1]:
            lines.append(events.readline().decode())
        events.close()

    told = [json.loads(line.partition(" ")[2]) for line in lines if line.startswith("data: ")]
    wanted = {
        "push started": {"channel_id": channel, "stream": PRIVATE},
        "push target added": {"channel_id": channel, "target_id": target},
        "push target removed": {"channel_id": channel, "target_id": target},
        "push stopped": {"channel_id": channel},
        "record requested": {"stream": LIVE},
        "record stopped": {"stream": LIVE},
        "recording deleted": {"file_id": file["file_id"], "path": file["path"]},
        "publisher disconnected": {"stream": "live/brief"},
        "client kicked": {"stream": "live/kicked"},
        "configuration reloaded": {"level": "info"},
    }
    for event, values in wanted.items():
        # Others may be told of in between: what tests before this one asked for goes on.
        matching = [each for each in told if each["event"] == event and values.items() <= each.items()]
        assert len(matching) == 1, (event, values, told)
    assert "secret" not in "".join(lines)
