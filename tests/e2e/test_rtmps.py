"""RTMPS: the same over TLS."""

from __future__ import annotations

import signal
import socket

import pytest

from tests.helpers.clients import pyav_player, pyav_publisher
from tests.helpers.media import from_start, packets_of
from tests.helpers.processes import wait_until
from tests.helpers.rtmp_client import Player
from tests.helpers.server import Server

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def server(tmp_path_factory, certificate):
    with Server(tmp_path_factory.mktemp("server"), certificate=certificate) as server:
        yield server


def test_pyav_publishes_and_plays_over_tls_packet_for_packet(server, sources):
    source = sources.flv("short")
    with pyav_player(server.tls_url("live/s")) as secure, pyav_player(server.url("live/s")) as plain:
        server.wait_for_players("live/s", 2)
        with pyav_publisher(source, server.tls_url("live/s")) as publisher:
            assert publisher.wait() == 0
            played = [secure.finish(), plain.finish()]

    assert [from_start(packets) for packets in played] == [from_start(packets_of(source))] * 2


def say(address, data):
    """Send bytes and read to the end, which must come at once."""
    with socket.create_connection(address, timeout=10) as connection:
        connection.sendall(data)
        while connection.recv(4096):
            pass


def wait_until_closed(server, why):
    """Wait for the line that says so; those of other tests' clients may come at any time."""
    wait_until(lambda: any(why in line["reason"] for line in server.found("closed", role="-")), f"who is closed: {why}")


def test_a_client_that_speaks_no_tls_is_let_go(server):
    say(server.tls_address, b"\x03" + bytes(1536))

    wait_until_closed(server, "SSL")


@pytest.mark.parametrize(
    ("data", "named"),
    [
        (bytes.fromhex("16030102000100"), "TLS on the plain RTMP port at byte 0"),
        (b"GET / HTTP/1.1\r\n\r\n", "HTTP on the RTMP port"),
    ],
)
def test_another_protocol_on_the_plain_port_is_named(data, named, server):
    say(server.address, data)

    wait_until_closed(server, named)


def test_a_renewed_certificate_is_used_after_sighup(directory, issue, tmp_path):
    certificate = issue(tmp_path)
    with Server(directory, certificate=certificate) as server:
        before = shown(server, certificate)
        with Player(server.tls_address, "waits", tls=certificate.context()) as player:
            issue(tmp_path)
            server.signal(signal.SIGHUP)
            server.wait_for("configuration reloaded")
            after = shown(server, certificate)
            assert not player.ended

    assert before != after


def shown(server, certificate):
    with (
        socket.create_connection(server.tls_address, timeout=10) as plain,
        certificate.context().wrap_socket(plain, server_hostname="127.0.0.1") as secure,
    ):
        return secure.getpeercert()["serialNumber"]
