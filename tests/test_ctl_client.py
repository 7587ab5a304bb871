from __future__ import annotations

import contextlib
import re
import socket
import threading

import pytest

from rtmpd.ctl_client import Client, NoServer, ServerSaidNo


def read_request(connection):
    """All of it, so that closing does not reset the connection."""
    request = b""
    while b"\r\n\r\n" not in request:
        request += connection.recv(65_536)
    head, _, body = request.partition(b"\r\n\r\n")
    length = re.search(rb"Content-Length: (\d+)", head)
    while length and len(body) < int(length[1]):
        body += connection.recv(65_536)
    return head + b"\r\n\r\n" + body


@contextlib.contextmanager
def answering(path, answer):
    """A server of one request: notes it, sends these bytes and closes."""
    requests = []
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listening.bind(str(path))
    listening.listen()

    def serve():
        connection, _ = listening.accept()
        with connection:
            requests.append(read_request(connection))
            connection.sendall(answer)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield requests
    finally:
        thread.join(20)
        listening.close()


def http(status, body=b"", content_type="application/json"):
    head = f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


@pytest.fixture
def path(tmp_path):
    return tmp_path / "s"


def test_what_is_asked_is_escaped_and_the_answer_comes_back(path):
    with answering(path, http("200 OK", b"{}")) as requests:
        body = Client(str(path)).ask("GET", "streams", "a/b c", "d?", query={"limit": 5, "none": None})

    assert body == b"{}"
    assert requests[0].startswith(b"GET /api/v1/streams/a%2Fb%20c/d%3F?limit=5 HTTP/1.1\r\n")


def test_a_body_is_sent_as_json(path):
    with answering(path, http("200 OK")) as requests:
        Client(str(path)).ask("POST", "drain", body={"timeout": 5})

    assert b"\r\nContent-Type: application/json\r\n" in requests[0]
    assert requests[0].endswith(b'\r\n\r\n{"timeout": 5}')


@pytest.mark.parametrize(
    ("answer", "lines"),
    [
        (http("409 Conflict", b'{"detail": "why", "errors": []}'), ["why"]),
        (http("422 x", b'{"detail": "several", "errors": ["one", "two"]}'), ["one", "two"]),
        (http("502 Bad Gateway", b"<html>"), ["the server answered 502 Bad Gateway"]),
        (http("500 x", b"[]"), ["the server answered 500 x"]),
        (http("500 x", b'{"detail": 5}'), ["the server answered 500 x"]),
    ],
)
def test_what_is_refused_is_told_by_its_lines(path, answer, lines):
    with answering(path, answer), pytest.raises(ServerSaidNo) as caught:
        Client(str(path)).ask("GET", "streams")

    assert caught.value.lines == lines


@pytest.mark.parametrize("answer", [b"", b"zork\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{"])
def test_a_server_that_goes_away_is_no_server(path, answer):
    with answering(path, answer), pytest.raises(NoServer, match="went away"):
        Client(str(path)).ask("GET", "streams")


def test_nobody_there_is_told_with_what_to_do(path):
    with pytest.raises(NoServer, match=r"no server answers at .*--socket PATH says where"):
        Client(str(path)).ask("GET", "streams")

    left = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    left.bind(str(path))
    left.close()
    with pytest.raises(NoServer, match="no server answers at "):
        Client(str(path)).ask("GET", "streams")


def test_a_path_that_is_too_long_is_told(path):
    with pytest.raises(NoServer, match="AF_UNIX path too long"):
        Client("x" * 200).ask("GET", "streams")


def test_a_server_that_hangs_is_given_up(path):
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listening.bind(str(path))
    listening.listen()

    with pytest.raises(NoServer, match=r"does not answer within 0\.05 s"):
        Client(str(path), timeout_s=0.05).ask("GET", "streams")
    listening.close()


def test_events_are_their_data_and_the_end_is_told(path):
    body = b': hello\n\nid: 1\nevent: a\ndata: {"x": 1}\n\n:\n\nevent: lost\ndata: {"count": 5}\n\n'
    with answering(path, http("200 OK", body, "text/event-stream")):
        following = Client(str(path)).events({"stream": None, "event": "a"})

        assert [next(following), next(following)] == [b'{"x": 1}', b'{"count": 5}']
        with pytest.raises(NoServer, match="has ended"):
            next(following)
