"""Writing through transports of the loop, and the frames of WebSockets."""

from __future__ import annotations

import asyncio
import socket

import pytest

from rtmpd.net.http_outlet import PIECE_BYTES, SocketOutlet, TransportOutlet, websocket_frame
from rtmpd.net.sink import NO_DESCRIPTOR


class Keeper(asyncio.Protocol):
    """Notes what its transport asks for."""

    def __init__(self):
        self.resumed = 0

    def resume_writing(self):
        self.resumed += 1


class Pipe:
    """A transport, and the socket at its other end, whose kernel buffers are small."""

    async def __aenter__(self):
        ours, self.socket = socket.socketpair()
        for each in (ours, self.socket):
            each.setblocking(False)
            each.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
        self.loop = asyncio.get_running_loop()
        self.transport, self.keeper = await self.loop.connect_accepted_socket(Keeper, ours)
        self.outlet = TransportOutlet(self.transport)
        return self

    async def __aexit__(self, *_):
        self.transport.abort()
        await asyncio.sleep(0)
        self.socket.close()

    async def read(self, size):
        data = b""
        async with asyncio.timeout(10):
            while len(data) < size:
                data += await self.loop.sock_recv(self.socket, size - len(data))
        return data


async def test_what_the_socket_takes_is_sent_whole():
    async with Pipe() as pipe:
        assert pipe.outlet.send(memoryview(b"abc")) == 3
        assert pipe.outlet.settle()
        assert await pipe.read(3) == b"abc"

    assert pipe.outlet.descriptor == NO_DESCRIPTOR


async def test_a_full_transport_keeps_one_piece_takes_no_more_and_says_when_there_is_room():
    async with Pipe() as pipe:
        data = bytes(range(256)) * 4096
        sent = pipe.outlet.send(memoryview(data))
        assert 0 < sent < len(data)
        assert 0 < pipe.transport.get_write_buffer_size() <= PIECE_BYTES
        assert not pipe.outlet.settle()
        with pytest.raises(BlockingIOError):
            pipe.outlet.send(memoryview(data)[sent:])

        assert await pipe.read(sent) == data[:sent]
        async with asyncio.timeout(10):
            while not pipe.keeper.resumed:
                await asyncio.sleep(0.001)
        assert pipe.outlet.settle()


async def test_what_a_transport_keeps_is_no_view_of_the_log():
    async with Pipe() as pipe:
        log = bytearray(b"x" * 100_000)
        sent = pipe.outlet.send(memoryview(log))
        log[:] = b"y" * len(log)

        assert await pipe.read(sent) == b"x" * sent


async def test_a_transport_that_is_closing_has_lost_its_peer():
    async with Pipe() as pipe:
        pipe.transport.abort()
        with pytest.raises(ConnectionResetError) as caught:
            pipe.outlet.send(memoryview(b"abc"))

    assert caught.value.strerror == "connection lost"


async def test_each_piece_is_a_message_of_its_own_where_it_is_framed():
    async with Pipe() as pipe:
        outlet = TransportOutlet(pipe.transport, websocket_frame)
        assert outlet.send(memoryview(b"abc")) == 3
        assert outlet.send(memoryview(b"de")) == 2

        assert await pipe.read(9) == b"\x82\x03abc\x82\x02de"


@pytest.mark.parametrize(
    ("size", "head"),
    [
        (0, "8200"),
        (125, "827d"),
        (126, "827e007e"),
        (65535, "827effff"),
        (65536, "827f0000000000010000"),
    ],
)
def test_a_frame_says_how_long_it_is(size, head):
    payload = bytes(size)

    assert websocket_frame(memoryview(payload)) == bytes.fromhex(head) + payload


def test_a_socket_is_written_to_as_it_is():
    ours, theirs = socket.socketpair()
    outlet = SocketOutlet(ours)

    assert outlet.send(memoryview(b"abc")) == 3
    assert theirs.recv(10) == b"abc"
    theirs.send(b"de")
    buffer = bytearray(10)
    assert outlet.recv_into(memoryview(buffer)) == 2
    assert outlet.settle is None
    assert outlet.descriptor == ours.fileno()
    outlet.close()
    assert theirs.recv(1) == b""
    theirs.close()


async def test_a_peer_that_was_lost_by_writing_leaves_no_view_behind():
    async with Pipe() as pipe:
        pipe.socket.close()
        data = bytearray(b"abc")
        pipe.outlet.send(data)
        lost = pipe.transport._sock

        del data[:]
        assert lost is not None
        assert pipe.transport.is_closing()
