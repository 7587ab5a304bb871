from __future__ import annotations

import contextlib
import json
import math
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtmpd.web import bodies, connections
from rtmpd.web.bodies import NotJson, parse_json
from tests.helpers.processes import PATIENCE_S
from tests.helpers.site import RunningSite

PUSHES = "/api/v1/pushes"
LIMIT_BYTES = 64 * 1024


@pytest.fixture
def site(tmp_path):
    with RunningSite(tmp_path) as site:
        yield site


def talk(site, head, *pieces):
    """Send a request by hand; the answer until the server closes, or until its body is whole."""
    with socket.create_connection(("127.0.0.1", site.port), timeout=20) as client:
        client.sendall(f"POST {PUSHES} HTTP/1.1\r\nHost: localhost\r\n{head}\r\n\r\n".encode())
        with contextlib.suppress(OSError):  # it may close before it has all
            for piece in pieces:
                client.sendall(piece)
        received = b""
        while not received.endswith(b"}"):
            data = client.recv(65_536)
            if not data:
                break
            received += data
    return received.decode()


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"{", "Expecting property name enclosed in double quotes at line 1, column 2"),
        (b"", "Expecting value at line 1, column 1"),
        (b"zork", "Expecting value at line 1, column 1"),
        (b"\xff{}", "not UTF-8"),
        ('{"a": 1}'.encode("utf-16"), "not UTF-8"),
        (b'{"a": NaN}', "NaN is no number of JSON"),
        (b"[-Infinity]", "-Infinity is no number of JSON"),
        (b"[1e999]", "a number is too large"),
        (b"[" + b"9" * 5000 + b"]", "a number is too large"),
        (b'{"a": 1, "a": 2}', "a key is there twice"),
        (b'{"b": {"a": 1, "a": 1}}', "a key is there twice"),
        (rb'{"a": "\ud800"}', "half of a surrogate pair in a text"),
        (rb'{"\udc00": 1}', "half of a surrogate pair in a text"),
        (b"[" * 60_000, "nested too deeply"),
        (b"[" * 30_000 + b"]" * 30_000, "nested too deeply"),
        (b'{"a":' * 10_000, "nested too deeply"),
        (b"{} {}", "Extra data at line 1, column 4"),
        (b"\xef\xbb\xbf{}", None),
    ],
)
def test_what_is_no_json_is_refused_with_the_reason(body, reason):
    with pytest.raises(NotJson) as caught:
        parse_json(body)

    assert reason is None or str(caught.value) == reason


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=10,
    )
)
def test_what_is_json_is_read_as_what_it_says(value):
    assert parse_json(json.dumps(value).encode()) == value


@given(st.binary())
def test_any_bytes_are_read_or_refused(body):
    with contextlib.suppress(NotJson):
        parse_json(body)


@pytest.mark.parametrize(("text", "kind"), [("5.0", int), ("1e3", int), ("5.5", float), ("1e300", float)])
def test_a_whole_number_is_one_however_it_is_written(text, kind):
    value = parse_json(text.encode())

    assert type(value) is kind
    assert math.isclose(value, float(text))


@pytest.mark.parametrize("surface", ["tcp", "unix"])
@pytest.mark.parametrize("body", [b"zork", b'{"a": NaN}', b"\xff", b"[" * 60_000, b'{"a":1,"a":1}'])
def test_a_client_is_told_that_its_body_is_no_json(site, surface, body):
    answer = site.ask("POST", PUSHES, body, surface=surface)

    assert (answer.status, answer.headers["Content-Type"]) == (400, "application/problem+json")
    assert answer.json["detail"].startswith("the body is no JSON: ")
    assert site.operations.asked == []


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "multipart/form-data; boundary=x"},
        {"Content-Type": "application/json; charset=utf-16"},
        {"Content-Type": ""},
        {"Content-Encoding": "gzip"},
    ],
)
@pytest.mark.parametrize("path", [PUSHES, "/api/v1/reload", "/api/v1/drain"])
def test_a_body_of_another_type_is_refused_on_every_operation(site, headers, path):
    answer = site.ask("POST", path, b"{}", headers=headers)

    assert answer.status == 415
    assert answer.headers["Accept"] == "application/json"
    assert site.operations.asked == []


@pytest.mark.parametrize("content_type", ["application/json; charset=UTF-8", "Application/JSON"])
def test_the_type_may_be_written_in_any_case_and_with_its_charset(site, content_type):
    assert site.ask("POST", "/api/v1/drain", b"{}", headers={"Content-Type": content_type}).status == 200


def test_a_body_of_10_mb_is_refused_before_it_is_sent(site):
    answer = talk(site, f"Content-Type: application/json\r\nContent-Length: {10 * 1024 * 1024}")

    assert answer.startswith("HTTP/1.1 413 ")
    assert "(http.body_bytes)" in answer


def test_who_sends_it_all_the_same_reads_the_answer(site, monkeypatch):
    monkeypatch.setattr(connections, "_LINGER_S", PATIENCE_S)
    answer = site.ask("POST", PUSHES, b"[" + b" " * 10 * 1024 * 1024 + b"]")

    assert answer.status == 413
    assert site.ask("GET", "/healthz").status == 200


def test_a_body_of_unknown_length_is_read_to_the_limit_only(site):
    piece = b"10000\r\n" + b" " * 0x10000 + b"\r\n"

    answer = talk(site, "Content-Type: application/json\r\nTransfer-Encoding: chunked", *[piece] * 3)

    assert answer.startswith("HTTP/1.1 413 ")


def test_a_body_of_the_limits_size_is_read(site):
    body = b'{"timeout": 5}'

    assert site.ask("POST", "/api/v1/drain", body + b" " * (LIMIT_BYTES - len(body))).status == 200


def test_the_limit_is_that_of_the_configuration(tmp_path):
    with RunningSite(tmp_path, http={"body_bytes": 10}) as site:
        assert site.ask("POST", "/api/v1/drain", b'{"timeout": 5}').status == 413
        assert site.ask("POST", "/api/v1/drain", b"{}").status == 200


def test_pieces_that_are_none_are_refused(site, monkeypatch):
    """By aiohttp's parser if they come with the headers; it swallows those that come later."""
    monkeypatch.setattr(bodies, "ARRIVES_S", 0.2)

    answer = talk(site, "Content-Type: application/json\r\nTransfer-Encoding: chunked", b"zork\r\n")

    assert answer.split()[1] in {"400", "408"}


def test_a_body_that_does_not_come_is_not_waited_for(site, monkeypatch):
    monkeypatch.setattr(bodies, "ARRIVES_S", 0.05)

    answer = talk(site, "Content-Type: application/json\r\nContent-Length: 10", b"{")

    assert answer.startswith("HTTP/1.1 408 ")
