from __future__ import annotations

import socket

import pytest
import structlog

from tests.helpers.site import RunningSite

LONG_LINE = b"GET /" + b"x" * 10_000 + b" HTTP/1.1\r\n\r\n"
"""It comes in one piece: of several, those behind the first may come to a connection that is closed, and be answered by a reset."""


class Log:
    def __init__(self):
        self.lines = []

    def exception(self, event, **values):
        self.lines.append((event, values))


@pytest.fixture
def site(tmp_path):
    with RunningSite(tmp_path, log=Log()) as site:
        yield site


@pytest.mark.parametrize("surface", ["tcp", "unix"])
@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("GET", "/api/v1", 404),
        ("GET", "/api/v1/streams/", 404),
        ("GET", "/api/v1/streams/live", 404),
        ("GET", "/api/v1/zork", 404),
        ("GET", "/api/v2/streams", 404),
        ("GET", "/../../etc/passwd", 404),
        ("GET", "/api/v1/recordings/..%2f..%2fetc%2fpasswd", 404),
        ("GET", "/api/v1/recordings/%2e%2e", 404),
        ("GET", "/api/v1/recordings/%ff", 404),
        ("POST", "/api/v1/records/../stop", 404),
        ("POST", "/api/v1/streams", 405),
        ("PUT", "/api/v1/pushes", 405),
        ("OPTIONS", "/api/v1/pushes", 405),
        ("TRACE", "/healthz", 405),
        ("GET", "/api/v1/reload", 405),
    ],
)
def test_what_is_not_there_is_a_problem_document_too(site, surface, method, path, status):
    answer = site.ask(method, path, surface=surface)

    assert (answer.status, answer.headers["Content-Type"]) == (status, "application/problem+json")
    assert answer.json["status"] == status
    assert answer.json.keys() == {"type", "title", "status", "detail", "errors"}
    assert site.log.lines == []


def test_a_wrong_method_is_told_the_right_ones(site):
    answer = site.ask("PUT", "/api/v1/pushes")

    assert answer.headers["Allow"] == "GET, HEAD, POST"
    assert answer.json["detail"] == "PUT is not possible here; possible: GET, HEAD, POST"


def test_a_bug_of_ours_is_loud_in_the_log_and_says_nothing_to_the_client(site):
    site.operations.refuse = RuntimeError("secret")

    answer = site.ask("GET", "/api/v1/streams")

    assert answer.status == 500
    assert b"secret" not in answer.body
    assert b"Traceback" not in answer.body
    assert site.log.lines == [("internal error", {"method": "GET", "path": "/api/v1/streams"})]
    site.operations.refuse = None
    assert site.ask("GET", "/api/v1/streams").status == 200


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100),
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: \0\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        LONG_LINE,
        b"\x03" + bytes(1536),
    ],
    ids=["TLS", "NUL", "version", "long line", "RTMP"],
)
def test_what_is_no_http_ends_its_connection_without_a_line_in_the_log(site, sent, caplog):
    with socket.create_connection(("127.0.0.1", site.port), timeout=20) as client:
        client.sendall(sent)
        client.shutdown(socket.SHUT_WR)
        while client.recv(65_536):
            pass

    assert site.ask("GET", "/healthz").status == 200
    assert caplog.records == []


def test_the_log_of_a_bug_has_its_traceback(tmp_path):
    with structlog.testing.capture_logs() as lines, RunningSite(tmp_path) as site:
        site.operations.refuse = RuntimeError("why")
        site.ask("GET", "/api/v1/streams")

    assert [(line["event"], line["log_level"], line["exc_info"]) for line in lines] == [
        ("internal error", "error", True)
    ]
