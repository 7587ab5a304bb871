"""Dialling: every address gets its chance, a dead one costs little, and nothing is left open."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import ssl
import threading
from pathlib import Path

import pytest
import trustme

from rtmpd.errors import Unreachable
from rtmpd.net import dial as dialling
from rtmpd.net.dial import MAX_ADDRESSES, Place, dial, interleave, look_up

V4 = socket.AF_INET
V6 = socket.AF_INET6


def open_files():
    gc.collect()
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.fixture
def server():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


@pytest.fixture
def silent():
    """An address that neither takes nor refuses a connection: its queue is full."""
    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(socket.create_server(("127.0.0.2", 0), backlog=0))
        for _ in range(3):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listening.getsockname())
        yield Place(V4, listening.getsockname())


def place_of(listening):
    return Place(V4, listening.getsockname())


REFUSING = Place(V4, ("127.0.0.3", 1))
# Refused, or no such network: a machine need not have IPv6.
DEAD_V6 = Place(V6, ("::1", 1, 0, 0))


def resolver(*places):
    async def resolve(host, port):
        return places

    return resolve


async def reach(*places, tls=None, host="name", timeout_s=10.0):
    return await dial(host, 1, tls=tls, timeout_s=timeout_s, patience_s=30.0, resolve=resolver(*places))


async def test_a_dead_ipv6_address_does_not_keep_us_from_a_live_ipv4_one(server):
    dialled = await reach(DEAD_V6, place_of(server))

    assert dialled.address == "127.0.0.1"
    accepted, _ = server.accept()
    accepted.sendall(b"x")
    await dialling._readable(dialled.transport.fileno())
    buffer = memoryview(bytearray(10))
    assert dialled.transport.recv_into(buffer) == 1
    dialled.transport.close()
    accepted.close()


async def test_an_address_that_says_nothing_costs_a_moment_and_leaves_no_socket(server, silent, monkeypatch):
    monkeypatch.setattr(dialling, "STAGGER_S", 0.01)
    before = open_files()

    dialled = await reach(silent, silent._replace(family=V4), place_of(server))

    assert dialled.address == "127.0.0.1"
    dialled.transport.close()
    assert open_files() == before


async def test_where_nobody_answers_each_address_says_why():
    with pytest.raises(Unreachable, match=r"^name:1: 127\.0\.0\.3: Connection refused; ::1: ") as caught:
        await reach(REFUSING, DEAD_V6)

    assert "\n" not in str(caught.value)


async def test_an_address_that_refuses_is_named_once():
    with pytest.raises(Unreachable, match=r"^127\.0\.0\.3:1: Connection refused$"):
        await reach(REFUSING, host="127.0.0.3")


async def test_a_name_without_an_address_is_unreachable():
    with pytest.raises(Unreachable, match="name:1: the name has no address"):
        await reach()


async def test_the_whole_attempt_has_a_limit_and_leaves_no_socket(silent):
    before = open_files()

    with pytest.raises(Unreachable, match=r"\[::2\]:1: no connection within 0\.05 s"):
        await reach(silent, host="::2", timeout_s=0.05)

    assert open_files() == before


async def test_a_look_up_that_hangs_is_given_up():
    async def resolve(host, port):
        await asyncio.Event().wait()

    with pytest.raises(Unreachable, match=r"no connection within 0\.05 s"):
        await dial("name", 1, tls=None, timeout_s=0.05, patience_s=30.0, resolve=resolve)


@pytest.mark.parametrize("error", [OSError(5, "Name server is ill"), UnicodeError("label too long")])
async def test_a_look_up_that_fails_is_told(error):
    async def resolve(host, port):
        raise error

    with pytest.raises(Unreachable, match=r"name:1: (Name server is ill|label too long)"):
        await dial("name", 1, tls=None, timeout_s=5, patience_s=30.0, resolve=resolve)


async def test_a_dial_that_is_cancelled_leaves_no_socket(silent):
    before = open_files()
    task = asyncio.ensure_future(reach(silent))
    async with asyncio.timeout(10):
        while open_files() == before:
            await asyncio.sleep(0.001)

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert open_files() == before


async def test_only_so_many_addresses_are_tried(server):
    with pytest.raises(Unreachable):
        await reach(*[Place(V4, (f"127.0.0.{4 + index}", 1)) for index in range(MAX_ADDRESSES)], place_of(server))


def test_families_take_turns_and_no_address_comes_twice():
    a, b, c = (Place(V6, (name, 1)) for name in "abc")
    x, y = (Place(V4, (name, 1)) for name in "xy")

    assert interleave([a, b, c, a, x, y]) == [a, x, b, y, c]
    assert interleave([x, a]) == [x, a]
    assert interleave([]) == []


async def test_the_system_is_asked_off_the_loop(monkeypatch):
    asked_by = []

    def getaddrinfo(host, port, **options):
        asked_by.append(threading.current_thread())
        return [(V4, 1, 6, "", ("192.0.2.1", port))]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)

    assert await look_up("name", 5) == [Place(V4, ("192.0.2.1", 5))]
    assert asked_by != [threading.main_thread()]


async def test_what_a_look_up_raises_is_handed_over(monkeypatch):
    def getaddrinfo(*_args, **_options):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)

    with pytest.raises(Unreachable, match="name:1: Name or service not known"):
        await dial("name", 1, tls=None, timeout_s=5, patience_s=30.0)


async def test_a_machine_without_another_thread_cannot_look_up(monkeypatch):
    def start(_thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)

    with pytest.raises(Unreachable, match="name:1: no thread to look the name up in"):
        await dial("name", 1, tls=None, timeout_s=5, patience_s=30.0)


async def test_an_address_needs_no_name_server(server):
    dialled = await dial("127.0.0.1", server.getsockname()[1], tls=None, timeout_s=5, patience_s=30.0)

    assert dialled.address == "127.0.0.1"
    assert not dialled.transport.getblocking()
    dialled.transport.close()


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture
def tls_server(authority, server):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("relay.example", "127.0.0.1").configure_cert(context)

    def serve():
        connection, _ = server.accept()
        connection.settimeout(10)
        with contextlib.suppress(OSError), context.wrap_socket(connection, server_side=True) as secure:
            secure.sendall(secure.recv(100))

    thread = threading.Thread(target=serve)
    thread.start()
    yield server
    thread.join(10)


def trusting(authority=None):
    context = ssl.create_default_context()
    if authority is not None:
        authority.configure_trust(context)
    return context


@pytest.mark.parametrize("host", ["relay.example", "127.0.0.1"])
async def test_tls_is_spoken_with_whom_we_trust_under_the_name_that_was_dialled(authority, tls_server, host):
    dialled = await reach(place_of(tls_server), tls=trusting(authority), host=host)

    assert dialled.transport.send(memoryview(b"hello")) == 5
    buffer = memoryview(bytearray(100))
    size = 0
    async with asyncio.timeout(10):
        while not size:
            await dialling._readable(dialled.transport.fileno())
            with contextlib.suppress(BlockingIOError):
                size = dialled.transport.recv_into(buffer)
    assert bytes(buffer[:size]) == b"hello"
    dialled.transport.close()


@pytest.mark.parametrize(("trusted", "host"), [(False, "relay.example"), (True, "other.example")])
async def test_a_certificate_of_somebody_else_ends_the_attempt(authority, tls_server, trusted, host):
    before = open_files()

    with pytest.raises(Unreachable, match="its certificate is not trusted: "):
        await reach(place_of(tls_server), tls=trusting(authority if trusted else None), host=host)

    async with asyncio.timeout(10):
        while open_files() > before:  # the server's end is closed by its thread
            await asyncio.sleep(0.001)


async def test_a_server_that_speaks_no_tls_ends_the_attempt(server):
    def serve():
        connection, _ = server.accept()
        with connection:
            connection.sendall(b"\x03" + bytes(1536))
            connection.settimeout(10)
            with contextlib.suppress(OSError):
                while connection.recv(1000):
                    pass

    thread = threading.Thread(target=serve)
    thread.start()
    with pytest.raises(Unreachable, match="name:1: no TLS: wrong version number"):
        await reach(place_of(server), tls=trusting())
    thread.join(10)


async def test_a_server_that_never_answers_the_tls_handshake_is_given_up(server):
    before = open_files()

    with pytest.raises(Unreachable, match=r"no connection within 0\.1 s"):
        await reach(place_of(server), tls=trusting(), timeout_s=0.1)

    assert open_files() == before
