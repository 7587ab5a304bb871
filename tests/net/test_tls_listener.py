"""Accepting TLS: limits on handshakes, and what becomes of those that fail."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import ssl
from asyncio.sslproto import SSLProtocol

import pytest
import trustme

from rtmpd.net import tls_listener
from rtmpd.net.tls_listener import TlsListener
from tests.helpers.listening import Listening, refused
from tests.helpers.rig import Rig
from tests.helpers.transports import close_transports

AUTHORITY = trustme.CA()


class Echo(asyncio.Protocol):
    """Sends back what comes."""

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)


class Door(Listening):
    """A listener of TLS."""

    def __init__(self, rig, **admission):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        AUTHORITY.issue_cert("127.0.0.1").configure_cert(context)
        super().__init__(
            lambda listening, limits: TlsListener(rig.services, listening, limits, context, Echo), **admission
        )

    async def talk(self):
        """Shake hands and see that the protocol answers."""
        context = ssl.create_default_context()
        AUTHORITY.configure_trust(context)
        reader, writer = await asyncio.open_connection(*self.address, ssl=context)
        writer.write(b"hello")
        said = await asyncio.wait_for(reader.readexactly(5), 10)
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        await close_transports()
        return said

    def __exit__(self, *error):
        self.listener.close()
        super().__exit__(*error)


def ended(client):
    """Whether the server has closed, whatever it said before."""
    try:
        while client.recv(99):
            pass
    except BlockingIOError:
        return False
    except ConnectionResetError:
        pass
    return True


async def test_a_protocol_gets_its_connection_after_the_handshake():
    async with Rig() as rig:
        with Door(rig) as door:
            assert await door.talk() == b"hello"
            await rig.until(lambda: not door.listener._handshaking)

    assert not rig.failures


@pytest.mark.parametrize("limit", ["handshaking", "handshaking_per_address"])
async def test_handshakes_are_bounded_and_make_room_when_they_go(limit):
    async with Rig() as rig:
        with Door(rig, **{limit: 2}) as door:
            clients = [door.knock() for _ in range(3)]
            await rig.until(lambda: sum(map(refused, clients)) == 1)
            assert rig.lines[0]["event"].startswith("connections refused")
            for client in clients:
                client.close()
            await rig.until(lambda: not door.listener._handshaking)
            assert await door.talk() == b"hello"

    assert not rig.failures


@pytest.mark.parametrize("said", [b"", b"GET / HTTP/1.1\r\n\r\n", bytes.fromhex("16030102000100")])
async def test_what_is_no_handshake_is_let_go_without_a_word_in_the_log(said, monkeypatch, caplog):
    monkeypatch.setattr(tls_listener, "HANDSHAKE_S", 0.1)
    async with Rig() as rig:
        with Door(rig) as door:
            client = door.knock()
            client.send(said)
            await rig.until(lambda: ended(client))
            await rig.until(lambda: not door.listener._handshaking)

    assert not rig.failures
    assert not rig.lines
    assert not caplog.records


async def test_without_descriptors_the_backlog_waits_and_is_served_later():
    async with Rig() as rig:
        with Door(rig) as door:
            with door.without_descriptors():
                door.knock()
                await rig.until(lambda: rig.lines)
                assert rig.lines[0]["event"] == "cannot accept"
            assert await door.talk() == b"hello"


@pytest.mark.parametrize("said", [b"", b"GET / HTTP/1.1\r\n\r\n", bytes.fromhex("16030102000100")])
async def test_nothing_is_kept_of_handshakes_that_failed(said, monkeypatch):
    monkeypatch.setattr(tls_listener, "HANDSHAKE_S", 0.1)
    async with Rig() as rig:
        with Door(rig) as door:
            gc.collect()
            gc.disable()
            try:
                for _ in range(5):
                    client = door.knock()
                    client.send(said)
                    await rig.until(lambda client=client: ended(client))
                monkeypatch.undo()  # this one is not to be let go before it goes by itself
                client = door.knock()
                await rig.until(lambda: door.listener._handshaking)
                client.close()
                await rig.until(lambda: not door.listener._handshaking)
                await rig.until(lambda: not [each for each in gc.get_objects() if isinstance(each, SSLProtocol)])
            finally:
                gc.enable()
