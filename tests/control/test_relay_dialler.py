"""Relays connect with the system's trust, and within a limit of time."""

from __future__ import annotations

import socket
import ssl

import pytest

from rtmpd.control import relay_dialler
from rtmpd.control.relay_dialler import RelayDialler
from rtmpd.errors import Unreachable
from rtmpd.session.urls import RtmpUrl


@pytest.fixture
def listening():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def url(listening, scheme="rtmp"):
    return RtmpUrl.parse(f"{scheme}://127.0.0.1:{listening.getsockname()[1]}/app/key")


async def test_it_connects(listening):
    dialled = await RelayDialler(5.0).dial(url(listening))
    dialled.transport.close()

    assert dialled.address == "127.0.0.1"


async def test_who_never_shakes_hands_is_given_up_in_time(listening, monkeypatch):
    monkeypatch.setattr(relay_dialler, "CONNECT_S", 0.05)

    with pytest.raises(Unreachable, match=r"no connection within 0\.05 s"):
        await RelayDialler(5.0).dial(url(listening, "rtmps"))


async def test_trust_is_read_once_and_checks_certificates(listening, monkeypatch):
    made = []
    create = ssl.create_default_context
    monkeypatch.setattr(ssl, "create_default_context", lambda: made.append(create()) or made[-1])
    monkeypatch.setattr(relay_dialler, "CONNECT_S", 0.05)
    dialler = RelayDialler(5.0)
    for _ in range(2):
        with pytest.raises(Unreachable):
            await dialler.dial(url(listening, "rtmps"))

    (context,) = made
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
