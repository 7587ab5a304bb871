"""
Too much, too slow and no HTTP at all on the port of the API, and deaf followers of events, against a real server.

Nobody's media are late for it (the witness), nothing of it is kept, the control socket answers, and the log stays whole.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import resource
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.helpers.api import Api, refused
from tests.helpers.attack import Arena
from tests.helpers.listening import refused as is_let_go
from tests.helpers.processes import PATIENCE_S, wait_until
from tests.helpers.rtmp_client import Connection
from tests.helpers.witness import WITNESS

pytestmark = pytest.mark.e2e

FLOODS = 4
FLOOD_S = 1.5
"""Longer than a frame of the witness may take."""
GROWN_BYTES = 96 << 20
"""The allocator keeps up to 60 MB of what connections had in their buffers; what is kept for ever grows by 250 MB a second."""
CONNECTIONS = 1024
"""That the server may have."""
CONFIG = f"""
[http]
connections = {CONNECTIONS}
[apps.live]
grace_s = 0
"""
SILENT = 2000
OWN_FILES = 200
"""Of the tests themselves."""
LOOK_EVERY = 50
SPARE_FILES = 100
"""Of those that are being turned away, some turns of the loop: 64; and of anything else."""
FOLLOWERS = 64
EVENTS = 400
"""More than a follower's queue and its socket's buffers hold."""
HEAD = "POST /api/v1/pushes HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
INJECTOR = "127.0.1.1"
INJECTED = 'x\n{"event": "forged"}\r\n\x1b[2J\u202e\x00"'


def request(body: bytes) -> bytes:
    return f"{HEAD}Content-Length: {len(body)}\r\n\r\n".encode() + body


FLOOD_OF = {
    "no http": b"GARBAGE" * 1000,
    "an endless header": b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 7000,
    "rtmp": b"\x03" + bytes(1536),
    "requests whose answers are not read": b"GET /api/v1/streams HTTP/1.1\r\nHost: localhost\r\n\r\n" * 100,
    "faults": request(json.dumps({"stream": "live/a", "channel_name": "x", "targets": [1] * 15_000}).encode()),
    "unknown fields": request(json.dumps(dict.fromkeys(map(str, range(5000)))).encode()),
    "nesting": request(b"[" * 30_000),
    "no chunks": f"{HEAD}Transfer-Encoding: chunked\r\n\r\nF4240\r\n".encode() + b"x" * 1_000_000,
}


@pytest.fixture(scope="module")
def arena(tmp_path_factory):
    with Arena(tmp_path_factory.mktemp("arena"), CONFIG) as arena:
        yield arena


@pytest.fixture(autouse=True)
def nobody_else_is_harmed(arena):
    yield
    arena.check()


def connect(address):
    return socket.create_connection(address, PATIENCE_S)


def flood(address, data):
    """Send as fast as it is taken, on as many connections as it takes, and read nothing."""
    end_s = time.monotonic() + FLOOD_S
    while time.monotonic() < end_s:
        with contextlib.suppress(OSError), connect(address) as attacker:
            attacker.settimeout(FLOOD_S)
            while time.monotonic() < end_s:
                attacker.sendall(data)


@pytest.mark.parametrize("sort", FLOOD_OF)
def test_a_flood_leaves_nothing_behind(arena, sort):
    server = arena.server
    files, before = server.open_files(), server.resident_bytes()

    with ThreadPoolExecutor(FLOODS) as pool:
        for each in [pool.submit(flood, server.http_address, FLOOD_OF[sort]) for _ in range(FLOODS)]:
            each.result()

    assert server.api.stream(f"live/{WITNESS}")["publisher"]
    wait_until(lambda: server.open_files() <= files, "all connections to be closed")
    assert server.resident_bytes() - before < GROWN_BYTES


@pytest.fixture
def many_files():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = SILENT + OWN_FILES
    if hard != resource.RLIM_INFINITY and hard < needed:
        pytest.skip(f"a process may have {hard} files here, and {needed} are needed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, needed), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("sent", [b"", b"GET /healthz HTTP/1.1\r\nHost: local"])
def test_thousands_that_ask_for_nothing_are_bounded_and_do_not_reach_the_control_socket(arena, many_files, sent):
    server = arena.server
    files, before = server.open_files(), server.resident_bytes()
    seen, attackers = [files], []

    def rest_is_turned_away():
        let_go = sum(map(is_let_go, attackers))
        seen.append(server.open_files())  # after that: those that there is room for are all there by then
        return let_go >= SILENT - CONNECTIONS

    with contextlib.ExitStack() as stack:
        for number in range(1, SILENT + 1):
            attacker = stack.enter_context(connect(server.http_address))
            with contextlib.suppress(OSError):  # those that there is no room for
                attacker.sendall(sent)
            attacker.setblocking(False)
            attackers.append(attacker)
            # Not only when all are open: on a busy machine the first have been silent for too long by then.
            if not number % LOOK_EVERY:
                seen.append(server.open_files())
        wait_until(rest_is_turned_away, "the rest to be turned away")
        assert server.api.get("streams").status == 200
    assert abs(max(seen) - files - CONNECTIONS) < SPARE_FILES
    wait_until(lambda: server.open_files() <= files, "all connections to be closed")
    assert Api(server.http_address).get("streams").status == 200
    assert server.resident_bytes() - before < GROWN_BYTES


def test_followers_that_do_not_read_are_bounded_and_hold_up_nobody(arena):
    server = arena.server
    files, before = server.open_files(), server.resident_bytes()
    with contextlib.ExitStack() as stack:
        for _ in range(FOLLOWERS):
            follower = stack.enter_context(contextlib.closing(Api(server.http_address).connection()))
            follower.connect()
            follower.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            follower.request("GET", "/api/v1/events")
            assert follower.getresponse().readline() == b": hello\n"
        (told,) = refused(Api(server.http_address).get("events"), 503)
        for _ in range(EVENTS):
            assert server.api.post("reload").status == 200

        assert told == f"{FOLLOWERS} clients follow events already (http.event_streams)"
        assert server.resident_bytes() - before < GROWN_BYTES
    wait_until(lambda: server.open_files() <= files, "all connections to be closed")
    wait_until(lambda: follows(Api(server.http_address)), "room for another follower")


def follows(api):
    with contextlib.closing(api.connection()) as connection:
        connection.request("GET", "/api/v1/events")
        return connection.getresponse().status == 200


def test_what_callers_and_clients_write_stays_in_its_line_of_the_log(arena):
    server, api = arena.server, arena.server.api
    with contextlib.closing(api.connection()) as connection:
        connection.request("GET", "/api/v1/events")
        events = connection.getresponse()
        assert events.status == 200
        for app, stream in (("live", INJECTED), (INJECTED, "x")):
            with contextlib.suppress(Exception), Connection(server.address, source=INJECTOR).connect(app) as client:
                client.publish(stream)
        push = api.start_push(f"live/{WITNESS}", channel_name=INJECTED, channel_desc=INJECTED)
        task = api.start_record(f"live/{WITNESS}", tags=[INJECTED])["task_id"]
        api.stop_record(task)
        api.stop_push(push["channel_id"])
        api.get("streams/live/%0Ax%1B")
        api.request("DELETE", "recordings/%0d%0aX-Injected:%201", None, {})
        server.wait_for("closed", count=2, address=INJECTOR)
        assert api.post("reload").status == 200
        lines = iter(lambda: events.readline().decode(), "")
        text = "".join(itertools.takewhile(lambda line: line != "event: configuration-reloaded\n", lines))
    assert not server.noise
    assert not server.found("forged")
    assert all(line.partition(":")[0] in {"", "id", "event", "data"} for line in text.splitlines())
    assert text.isascii()
    assert "\x1b" not in text
