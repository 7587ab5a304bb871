from __future__ import annotations

import asyncio
import contextlib
import gc
import http.client
import json
import socket
import threading
import warnings

import pytest
import structlog.testing
from aiohttp import web

from rtmpd.web import connections
from tests.helpers.processes import PATIENCE_S, wait_until
from tests.helpers.site import RunningSite
from tests.helpers.transports import close_transports

CROWD = 400
"""More than the loop would let wait in the kernel by itself, and than it would accept at a time."""


@pytest.fixture
def site(tmp_path):
    with RunningSite(tmp_path) as site:
        yield site


def connect(site):
    return socket.create_connection(("127.0.0.1", site.port), timeout=PATIENCE_S)


@contextlib.contextmanager
def held(site):
    """Keep the server from looking at anything that is done in the block, before all of it is."""
    over = threading.Event()
    site.loop.call_soon_threadsafe(over.wait, PATIENCE_S)
    try:
        yield
    finally:
        over.set()


def test_more_than_the_limit_are_closed_and_the_control_socket_is_not_touched(site):
    site.site.connections.most = 2
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(connect(site)) for _ in range(2)]
        wait_until(lambda: len(site.site._runner.server.connections) == 2, "both to be accepted")

        assert stack.enter_context(connect(site)).recv(1) == b""
        assert site.ask("GET", "/healthz", surface="unix").status == 200
        held[0].close()
        wait_until(lambda: len(site.site._runner.server.connections) == 1, "one to go")
        assert site.ask("GET", "/healthz").status == 200


def test_a_crowd_waits_in_the_kernel_and_is_turned_away_a_few_at_a_time(tmp_path, monkeypatch):
    there, most_there = set(), 0

    class Watched(connections._TurnedAway):
        def __init__(self):
            nonlocal most_there
            there.add(self)
            most_there = max(most_there, len(there))

        def connection_lost(self, _error):
            there.remove(self)

    monkeypatch.setattr(connections, "_TurnedAway", Watched)
    with structlog.testing.capture_logs() as lines, RunningSite(tmp_path) as site, contextlib.ExitStack() as stack:
        site.site.connections.most = 0
        with held(site):
            crowd = [stack.enter_context(connect(site)) for _ in range(CROWD)]
        assert {each.recv(1) for each in crowd} == {b""}

    assert 0 < most_there <= CROWD // 4
    assert lines[0] == {
        "event": "connections refused: http.connections is reached",
        "limit": 0,
        "log_level": "warning",
        "times": 1,
    }
    assert len(lines) < CROWD // 4


def test_those_that_were_let_in_together_are_counted_when_they_have_come(site, monkeypatch):
    monkeypatch.setattr(connections.Connections, "is_full", False)
    site.site.connections.most = 1
    with connect(site) as first, connect(site) as second:
        assert second.recv(1) == b""
        first.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert first.recv(10_000).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("sent", [b"", b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Slow: "])
def test_who_asks_for_nothing_is_disconnected(site, monkeypatch, sent):
    monkeypatch.setattr(connections, "FIRST_REQUEST_S", 0.1)
    with contextlib.ExitStack() as stack:
        with held(site):  # or what is sent may come to a connection that is closed, and be answered by a reset
            client = stack.enter_context(connect(site))
            client.sendall(sent)

        assert client.recv(1) == b""


def head_of(count, size=8000):
    lines = b"".join(b"X-%d: %s\r\n" % (number, b"x" * size) for number in range(count))
    return b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n" + lines


@pytest.mark.parametrize("before", [b"", b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"])
def test_a_head_without_end_is_not_kept(site, before):
    with connect(site) as client:
        client.sendall(before)
        if before:
            assert client.recv(10_000).startswith(b"HTTP/1.1 200")
        with contextlib.suppress(ConnectionError):
            client.sendall(head_of(10))
            assert client.recv(1) == b""
    wait_until(lambda: not site.site._runner.server.connections, "it to be gone")


def test_a_head_that_is_large_and_comes_in_pieces_is_read_again_and_again(site):
    with connect(site) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(3):
            head = head_of(7) + b"\r\n"
            for start in range(0, len(head), 5000):
                client.sendall(head[start : start + 5000])
            assert client.recv(10_000).startswith(b"HTTP/1.1 200")


def test_too_many_headers_are_refused(site):
    with connect(site) as client:
        client.sendall(head_of(100, 8) + b"\r\n")
        assert client.recv(10_000).partition(b" ")[2].startswith(b"400")


def test_a_body_is_no_head(site):
    """It is as long as a body may be, and comes in pieces behind its head."""
    with connect(site) as client:
        head = b"POST /api/v1/pushes HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        client.sendall(head + b"Content-Length: 65536\r\n\r\n")
        for _ in range(16):
            client.sendall(b" " * 4096)
        assert client.recv(10_000).startswith(b"HTTP/1.1 400")
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert client.recv(10_000).startswith(b"HTTP/1.1 200")


def test_who_has_asked_may_stay(site, monkeypatch):
    monkeypatch.setattr(connections, "FIRST_REQUEST_S", 0.1)
    followed = site.connection()
    with held(site):
        followed.request("GET", "/api/v1/events")
    response = followed.getresponse()

    with connect(site) as silent:
        assert silent.recv(1) == b""  # it came later, so the time of the first has passed

    assert response.readline() == b": hello\n"
    wait_until(lambda: site.site._events.followers == 1, "the follower to be there still")
    followed.close()
    response.close()


def test_who_asked_in_time_is_answered_by_a_server_that_was_held_up(site, monkeypatch):
    monkeypatch.setattr(connections, "FIRST_REQUEST_S", 0.0)  # it has passed when the server looks at what was sent
    with contextlib.ExitStack() as stack:
        with held(site):
            client = stack.enter_context(connect(site))
            client.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")

        assert client.recv(10_000).startswith(b"HTTP/1.1 200")


def protocols():
    return sum(isinstance(each, connections.Protocol) for each in gc.get_objects())


@pytest.mark.parametrize("sent", [b"", b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: ", b"G" * 1_000_000])
def test_nothing_is_kept_of_connections_that_have_gone(site, sent, monkeypatch):
    monkeypatch.setattr(connections, "FIRST_REQUEST_S", 2 * PATIENCE_S)  # its timer would let go of it in the end
    gc.collect()  # what other tests left
    before = protocols()
    with contextlib.suppress(ConnectionError), connect(site) as client:
        wait_until(lambda: protocols() > before, "it to be accepted")
        client.sendall(sent)

    wait_until(lambda: protocols() == before, "it to be forgotten")


@pytest.mark.parametrize(
    ("sent", "detail"),
    [
        (b"GARBAGE\r\n\r\n", "this is no HTTP: Invalid method encountered"),
        (b"GET /healthz HTTP/1.1\r\n\r\n", "this is no HTTP: Missing 'Host' header in request"),
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n\r\n", "this is no HTTP: Got more than 8190 bytes when reading"),
    ],
)
def test_what_is_no_http_is_told_so_without_a_word_of_it_or_of_what_serves_it(site, sent, detail):
    with connect(site) as client:
        client.sendall(sent)
        answer = http.client.HTTPResponse(client)
        answer.begin()
        problem = json.loads(answer.read())
        assert client.recv(1) == b""

    assert (answer.status, answer.getheader("Content-Type")) == (400, "application/problem+json")
    assert problem["detail"] == detail
    assert answer.getheader("Server") == "rtmpd"


@pytest.mark.parametrize("sent", [b"GARBAGE\r\n\r\n", b"\x16\x03\x01\x02\x00\x01", b"HALF A BODY"])
def test_nothing_is_logged_of_what_strangers_send(site, sent, caplog):
    if sent == b"HALF A BODY":
        sent = b"POST /api/v1/pushes HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{"
    with connect(site) as client:
        client.sendall(sent)
        wait_until(lambda: site.site._runner.server.requests_count, "it to be read")
    wait_until(lambda: not site.site._runner.server.connections, "its end")

    assert site.ask("GET", "/healthz").status == 200
    assert not caplog.records


async def test_a_connection_that_is_lost_cannot_be_watched_or_handed_over():
    async def answer(_):
        raise AssertionError

    protocol = connections.Protocol(web.Server(answer))

    with pytest.raises(ConnectionResetError):
        protocol.watch(None)
    with pytest.raises(ConnectionResetError):
        await protocol.hand_over()
    protocol.unwatch()
    protocol.abort()


@pytest.mark.parametrize("turns", range(5))
async def test_who_comes_while_servers_are_closed_is_not_left_waiting(turns):
    server = await asyncio.get_running_loop().create_server(asyncio.Protocol, "127.0.0.1", 0)
    with (
        warnings.catch_warnings(record=True, action="always") as warned,
        socket.create_connection(server.sockets[0].getsockname(), timeout=PATIENCE_S) as client,
    ):
        for _ in range(turns):  # it is in the kernel, accepted, half made, made
            await asyncio.sleep(0)

        await connections.close_servers(server)
        await close_transports()
        gc.collect()

        with contextlib.suppress(ConnectionResetError):
            assert client.recv(1) == b""
    assert warned == []
