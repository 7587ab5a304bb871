"""Targets of push relays: servers of our own, and ones that are played by hand."""

from __future__ import annotations

import asyncio

from rtmpd.errors import Unreachable
from rtmpd.net.connection import Connection
from rtmpd.net.dial import Dialled
from rtmpd.net.push_relay import PushRelay, RelayState
from rtmpd.session import requests
from rtmpd.session.limits import ClientLimits
from rtmpd.session.replies import on_status, result
from rtmpd.session.urls import RtmpUrl
from rtmpd.wire.chunk_reader import ChunkReader
from rtmpd.wire.chunk_writer import encode_message
from rtmpd.wire.commands import decode_command
from rtmpd.wire.handshake import RANDOM_BYTES, ServerHandshake
from rtmpd.wire.messages import COMMAND_AMF0
from tests.helpers.client_transcript import CONNECT_RESULT
from tests.helpers.rig import PATIENCE_S, tcp_pair

ADDRESS = "192.0.2.9"


class RigTarget:
    """A rig as a target: `dial` connects to it, unless it is down."""

    def __init__(self, rig) -> None:
        self.rig = rig
        self.down = False
        self.dialled: list[RtmpUrl] = []

    async def dial(self, url):
        self.dialled.append(url)
        if self.down:
            raise Unreachable(f"{url.host}: Connection refused")
        ours, theirs = tcp_pair()
        Connection(self.rig.services, ours, ADDRESS, lambda: None)
        return Dialled(theirs, ADDRESS)

    def drop(self):
        """End every connection, as a server that is killed does."""
        for connection in list(self.rig.services.connections):
            connection.evict("killed")


class Hand:
    """The server's end of one connection."""

    def __init__(self, sock) -> None:
        self.socket = sock
        self.messages = []
        self.ended = False
        self._handshake = ServerHandshake(bytes(RANDOM_BYTES), 0)
        self._reader = ChunkReader(body_limits=[0xFFFFFF] * 256)
        self._loop = asyncio.get_running_loop()

    async def open(self):
        """Shake hands."""
        while not self._handshake.done:
            await self._loop.sock_sendall(self.socket, self._handshake.feed(await self._receive()))
        self._reader.feed(self._handshake.remainder, self.messages)

    async def grant(self, message_stream_id=1):
        """Play everything up to the grant of a publish."""
        await self.open()
        await self.command("connect")
        await self.say(CONNECT_RESULT)
        await self.command("createStream")
        await self.say(result(requests.CREATE_STREAM, message_stream_id))
        await self.command("publish")
        await self.say(on_status(message_stream_id, "NetStream.Publish.Start"))

    async def say(self, *messages):
        await self._loop.sock_sendall(self.socket, b"".join(encode_message(message, 128) for message in messages))

    async def command(self, name):
        """The next command of a name; what came before it is passed over."""
        while True:
            message = await self.message()
            if message.type_id == COMMAND_AMF0 and (command := decode_command(message)).name == name:
                return command

    async def message(self):
        async with asyncio.timeout(PATIENCE_S):
            while not self.messages:
                self._reader.feed(await self._receive(), self.messages)
        return self.messages.pop(0)

    async def media(self, count):
        """The next so many messages that are no commands."""
        found = []
        while len(found) < count:
            message = await self.message()
            if message.type_id in {8, 9, 18}:
                found.append(message)
        return found

    async def end(self):
        """Read on until the relay closes."""
        async with asyncio.timeout(PATIENCE_S):
            while data := await self._loop.sock_recv(self.socket, 1 << 20):
                self._reader.feed(data, self.messages)

    async def _receive(self):
        data = await self._loop.sock_recv(self.socket, 1 << 20)
        if not data:  # which comes at once each time: who went on waiting would keep the loop from everything else
            raise ConnectionResetError("the relay has left")
        return data


class HandServer:
    """A server that is played by hand: each dial is a `Hand`, or what a subclass has instead."""

    hand_type = Hand

    def __init__(self) -> None:
        self.hands = []
        self.dialled: list[RtmpUrl] = []

    async def dial(self, url):
        ours, theirs = tcp_pair()
        self.dialled.append(url)
        self.hands.append(self.hand_type(ours))
        return Dialled(theirs, ADDRESS)

    async def hand(self, number):
        """The so-manieth connection, once it is there."""
        async with asyncio.timeout(PATIENCE_S):
            while len(self.hands) <= number:
                await asyncio.sleep(0.001)
        return self.hands[number]

    def close(self):
        for hand in self.hands:
            hand.socket.close()


class Relaying:
    """A relay of a rig's stream, and what it has said of itself."""

    def __init__(self, rig, target, *, stream="s", url="rtmp://target.example/app/key?k=v", **limits) -> None:
        self.rig = rig
        self.said = []
        self.relay = PushRelay(
            rig.services,
            rig.services.registry.find("live", stream),
            RtmpUrl.parse(url),
            target.dial,
            ClientLimits(**limits),
            self.said.append,
        )

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        await self.relay.close()

    @property
    def states(self):
        return [status.state for status in self.said]

    async def until(self, state, count=1):
        """Wait until it has come to a state so many times; its status at that moment."""
        await self.rig.until(lambda: self.states.count(state) >= count)
        return [status for status in self.said if status.state is state][count - 1]

    async def live(self, count=1):
        return await self.until(RelayState.LIVE, count)
