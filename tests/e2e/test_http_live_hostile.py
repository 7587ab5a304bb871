"""Hostile viewers on the ports of HTTP and HTTPS: nobody's media are late for them, and nothing of them is kept."""

from __future__ import annotations

import contextlib
import resource
import socket
import ssl
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from rtmpd.wire.messages import VIDEO
from tests.helpers.attack import Arena
from tests.helpers.http_viewer import HttpViewer
from tests.helpers.processes import PATIENCE_S, wait_until
from tests.helpers.rtmp_client import Connection
from tests.helpers.witness import WITNESS

pytestmark = pytest.mark.e2e

CONFIG = """
[limits]
handshaking = 600
handshaking_per_address = 200
[players]
lag_limit_s = 1
wait_s = 5
[apps.live]
grace_s = 0
"""
PATH = f"/live/{WITNESS}.flv"
ROUNDS = 10
DEAF = 50
FLOODS = 4
FLOOD_S = 1.5
GROWN_BYTES = 96 << 20
"""The allocator keeps up to 60 MB of what connections had in their buffers."""
SILENT = 700
"""More than may shake hands at once."""
SPARE_FILES = 200
UPGRADE = (
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
WAYS = {"http": {}, "https": {"secure": True}, "websocket": {"headers": UPGRADE}}
HEADER = bytes.fromhex("170000000001640014ffe10000010000")
LARGE_KEY = bytes.fromhex("1701000000") + bytes(4 << 20)
"""More than the kernel takes for who does not read: from a witness it takes seconds of media, and gives up such a peer itself."""
DEAF_FROM = {"http": "127.0.1.1", "https": "127.0.1.2", "websocket": "127.0.1.3"}


@pytest.fixture(scope="module")
def arena(tmp_path_factory, certificate):
    with Arena(tmp_path_factory.mktemp("arena"), CONFIG + certificate.config()) as arena:
        yield arena


@pytest.fixture(scope="module")
def files(arena):
    """How many descriptors the server has without attackers."""
    return arena.server.open_files()


@pytest.fixture(autouse=True)
def nobody_else_is_harmed(arena, files):
    yield
    arena.check()
    wait_until(lambda: arena.server.open_files() <= files, "all descriptors to be back")
    wait_until(lambda: players(arena.server) == 1, "all players but the witness to be gone")


def players(server):
    return sum(each["role"] == "play" for each in server.api.get("clients").body["clients"])


@pytest.fixture
def trust(certificate):
    return certificate.context()


def viewer(arena, trust, path=PATH, *, secure=False, **options):
    server = arena.server
    address, tls = (server.https_address, trust) if secure else (server.http_address, None)
    return HttpViewer(address, path, tls=tls, **options)


def receive(viewer):
    """Read anything."""
    return viewer._socket.recv(65536)


@pytest.mark.parametrize("way", WAYS)
def test_who_resets_in_any_phase_leaves_nothing_behind(arena, trust, way):
    for _ in range(ROUNDS):
        with viewer(arena, trust, "/live/nobody.flv", **WAYS[way]) as waiting:
            wait_until(lambda: players(arena.server) == 2, "its request")
            waiting.reset()
        with viewer(arena, trust, **WAYS[way]) as asking:
            asking.reset()
        with viewer(arena, trust, **WAYS[way]) as begun:
            assert receive(begun)
            begun.reset()
        with viewer(arena, trust, **WAYS[way]) as playing:
            for _ in range(5):
                assert receive(playing)
            playing.reset()


@pytest.mark.parametrize("way", WAYS)
def test_who_closes_its_own_direction_is_let_go(arena, trust, way):
    with viewer(arena, trust, **WAYS[way]) as half:
        assert receive(half)
        half._socket.shutdown(socket.SHUT_WR)
        with contextlib.suppress(OSError):
            while receive(half):
                pass


@pytest.mark.parametrize("way", WAYS)
def test_who_never_reads_is_given_up(arena, trust, way):
    source = DEAF_FROM[way]
    options = {"source": source, "receive_buffer_bytes": 2048, **WAYS[way]}
    with contextlib.ExitStack() as stack:
        publisher = stack.enter_context(Connection(arena.server.address).connect().publish("large"))
        publisher.send_media(VIDEO, 0, HEADER)
        publisher.send_media(VIDEO, 0, LARGE_KEY)
        for _ in range(DEAF):
            stack.enter_context(viewer(arena, trust, "/live/large.flv", **options))
        arena.server.wait_for("closed", count=DEAF, address=source)
    assert {line["reason"] for line in arena.server.found("closed", address=source)} == {
        "too slow: nothing taken for 1 s"
    }


def test_who_asks_by_half_is_let_go(arena):
    with socket.create_connection(arena.server.http_address, PATIENCE_S) as half:
        half.sendall(f"GET {PATH} HTTP/1.1\r\nHost: local".encode())
        half.settimeout(PATIENCE_S)
        assert half.recv(100) == b""


def flood(connect, data):
    """Send as fast as it is taken, on as many connections as it takes."""
    end_s = time.monotonic() + FLOOD_S
    while time.monotonic() < end_s:
        with contextlib.suppress(OSError), connect() as attacker:
            attacker.settimeout(FLOOD_S)
            while time.monotonic() < end_s:
                attacker.sendall(data)


REQUEST = f"GET {PATH} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
PLAIN = {
    "behind a request": REQUEST + bytes(1 << 16),
    "requests and no answers read": REQUEST * 100,
    "what nobody publishes": REQUEST.replace(PATH.encode(), b"/live/x.flv"),
    "frames of a WebSocket": REQUEST[:-2] + UPGRADE.encode() + b"\r\n" + b"\x82\x84\0\0\0\0abcd" * 2000,
    "pings": REQUEST[:-2] + UPGRADE.encode() + b"\r\n" + b"\x89\x84\0\0\0\0abcd" * 2000,
    "tokens": (
        b"POST /session HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 14\r\n\r\n"
        b'{"token": "x"}'
    ),
}


@pytest.mark.parametrize("sort", PLAIN)
def test_a_flood_of_requests_leaves_nothing_behind(arena, sort):
    server, before = arena.server, arena.server.resident_bytes()

    def connect():
        return socket.create_connection(server.http_address, PATIENCE_S)

    with ThreadPoolExecutor(FLOODS) as pool:
        for each in [pool.submit(flood, connect, PLAIN[sort]) for _ in range(FLOODS)]:
            each.result()

    assert server.resident_bytes() - before < GROWN_BYTES


SECURE = {
    "no tls": b"GARBAGE" * 1000,
    "half a handshake": bytes.fromhex("1603010200010001fc0303"),
    "a handshake and no more": None,
    "no http": b"GARBAGE" * 1000,
    "requests and no answers read": REQUEST * 100,
}
_OVER_TLS = {"a handshake and no more", "no http", "requests and no answers read"}


@pytest.mark.parametrize("sort", SECURE)
def test_a_flood_over_tls_leaves_nothing_behind(arena, trust, sort):
    server, before = arena.server, arena.server.resident_bytes()

    def connect():
        plain = socket.create_connection(server.https_address, PATIENCE_S)
        if sort not in _OVER_TLS:
            return plain
        try:
            return trust.wrap_socket(plain, server_hostname="127.0.0.1")
        except BaseException:
            plain.close()
            raise

    def shake_hands(connect, _):
        end_s = time.monotonic() + FLOOD_S
        while time.monotonic() < end_s:
            with contextlib.suppress(OSError):
                connect().close()

    work = flood if SECURE[sort] is not None else shake_hands
    with ThreadPoolExecutor(FLOODS) as pool:
        for each in [pool.submit(work, connect, SECURE[sort]) for _ in range(FLOODS)]:
            each.result()

    assert server.resident_bytes() - before < GROWN_BYTES


def test_hundreds_that_shake_no_hands_are_bounded_and_let_go(arena, trust, files, many_files):
    server = arena.server
    with contextlib.ExitStack() as stack:
        for number in range(SILENT):
            attacker = stack.enter_context(socket.socket())
            attacker.bind((f"127.0.0.{2 + number % 100}", 0))
            attacker.settimeout(PATIENCE_S)
            attacker.connect(server.https_address)
        wait_until(lambda: files + 600 <= server.open_files() <= files + 620, "as many as may be")
        assert server.api.get("streams").status == 200
        wait_until(lambda: server.open_files() <= files + 20, "their end", 30)
    with viewer(arena, trust, secure=True) as served:
        assert served.read_tags(3)


@pytest.fixture
def many_files():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < SILENT + SPARE_FILES:
        pytest.skip(f"a process may have {hard} files here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, SILENT + SPARE_FILES), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_certificate_that_is_not_trusted_is_the_client_s_affair(arena):
    with pytest.raises(ssl.SSLError), viewer(arena, ssl.create_default_context(), secure=True):
        pass
