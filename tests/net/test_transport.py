"""TLS behaves like a socket; sockets are tuned for live streaming."""

from __future__ import annotations

import select
import socket
import ssl
import threading

import pytest
import trustme

from rtmpd.net.transport import MAX_RECORD_BATCH_BYTES, NOTSENT_LOWAT_BYTES, TlsTransport
from tests.helpers.rig import tcp_pair


@pytest.fixture(scope="module")
def contexts():
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return server, client


class Pair:
    def __init__(self, contexts):
        server, client = contexts
        # Not TCP, which finds more room by itself when a late acknowledgement comes.
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        self.ours = ours
        self.transport = TlsTransport(ours, server)
        self.buffer = memoryview(bytearray(256 * 1024))
        theirs.setblocking(True)
        theirs.settimeout(10)
        result = []
        thread = threading.Thread(target=lambda: result.append(client.wrap_socket(theirs, server_hostname="localhost")))
        thread.start()
        while thread.is_alive() or not self.transport._shaken:
            self.receive()
            thread.join(0.001)
        self.client = result[0]

    def receive(self):
        try:
            return bytes(self.buffer[: self.transport.recv_into(self.buffer)])
        except BlockingIOError:
            return None

    def receive_exactly(self, size):
        data = b""
        while len(data) < size:
            data += self.receive() or b""
        return data

    def close(self):
        self.transport.close()
        self.client.close()


@pytest.fixture
def pair(contexts):
    pair = Pair(contexts)
    yield pair
    pair.close()


def test_plaintext_arrives_whole_in_both_directions(pair):
    pair.client.sendall(b"x" * 50_000)
    assert pair.receive_exactly(50_000) == b"x" * 50_000

    assert pair.transport.send(memoryview(b"hello")) == 5
    assert pair.client.recv(100) == b"hello"


def test_nothing_to_read_is_said_like_a_socket_says_it(pair):
    while pair.receive():
        pass
    with pytest.raises(BlockingIOError):
        pair.transport.recv_into(pair.buffer)


def test_send_takes_a_bounded_batch_and_refuses_more_while_the_socket_is_full(pair):
    block = memoryview(bytes(1 << 20))
    assert pair.transport.send(block) == MAX_RECORD_BATCH_BYTES
    sent = MAX_RECORD_BATCH_BYTES
    while pair.transport.settle():
        sent += pair.transport.send(block)
    with pytest.raises(BlockingIOError):
        pair.transport.send(block)
    assert not pair.transport.settle()

    received = 0
    while received < sent:
        received += len(pair.client.recv(1 << 20))
        pair.transport.settle()
    assert pair.transport.settle()


def test_end_of_the_peer_is_read_as_zero_bytes(pair):
    while pair.receive() is not None:
        pass
    pair.client.shutdown(socket.SHUT_WR)
    got = None
    while got is None:
        got = pair.receive()
    assert got == b""


def test_garbage_instead_of_tls_is_an_os_error(contexts):
    ours, theirs = tcp_pair()
    transport = TlsTransport(ours, contexts[0])
    theirs.send(b"\x03" + bytes(1536))
    buffer = memoryview(bytearray(1000))
    select.select([ours], [], [], 10)
    with pytest.raises(OSError, match="SSL"):
        transport.recv_into(buffer)
    transport.close()
    theirs.close()


def test_sockets_do_not_wait_for_more_to_send_and_do_not_hide_what_is_unsent():
    ours, theirs = tcp_pair()
    with ours, theirs:
        assert ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT) == NOTSENT_LOWAT_BYTES
        assert not ours.getblocking()
