"""A server's connections without a server: real sockets, one event loop, clients that speak RTMP by hand."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
import struct

import structlog

from rtmpd.errors import Refused
from rtmpd.live.log import Retention
from rtmpd.live.registry import Registry, Takeover
from rtmpd.live.terms import Terms
from rtmpd.net.connection import Connection
from rtmpd.net.fanout import FanOut, Pace
from rtmpd.net.policy import PlayGrant, PublishGrant
from rtmpd.net.poller import Poller
from rtmpd.net.services import Services
from rtmpd.net.tasks import Tasks
from rtmpd.net.transport import tune
from rtmpd.session.limits import Limits
from rtmpd.wire.chunk_reader import ChunkReader
from rtmpd.wire.chunk_writer import encode_message
from rtmpd.wire.commands import decode_command, encode_command
from rtmpd.wire.handshake import RANDOM_BYTES, ClientHandshake
from rtmpd.wire.messages import COMMAND_AMF0, PING_REQUEST, PING_RESPONSE, Message, encode_user_control
from tests.helpers.transports import close_transports

PATIENCE_S = 10.0


class OpenPolicy:
    """Admits everyone, after `gate` is set, unless told what to refuse with."""

    def __init__(self):
        self.refuse = None
        self.grace_s = 10.0
        self.takeover = Takeover.SAME
        self.terms = Terms()
        self.gate = asyncio.Event()
        self.gate.set()

    async def admit_publisher(self, request, address, client):
        await self.gate.wait()
        if self.refuse:
            raise Refused(*self.refuse)
        return PublishGrant(request.app, request.stream, address, self.takeover, self.grace_s, self.terms)

    async def admit_player(self, request, address, client):
        await self.gate.wait()
        if self.refuse:
            raise Refused(*self.refuse)
        return PlayGrant(request.app, request.stream)


class Rig:
    """Everything that connections need, and a way to connect to it."""

    def __init__(self, *, wait_s=30.0, may_jump=True, lag_limit_s=30.0, limits=None, **retention):
        self.loop = asyncio.get_running_loop()
        self.lines = []
        self.failures = []
        poller = Poller(self.loop, 0.005)
        self.policy = OpenPolicy()
        self.services = Services(
            loop=self.loop,
            poller=poller,
            fanout=FanOut(self.loop, poller, Pace()),
            registry=Registry(Retention(**retention)),
            policy=self.policy,
            limits=limits or Limits(),
            wait_s=wait_s,
            lag_limit_s=lag_limit_s,
            may_jump=may_jump,
            tasks=Tasks(self.failures.append),
            log=structlog.wrap_logger(
                None, processors=[self._keep], wrapper_class=structlog.make_filtering_bound_logger(0)
            ),
        )
        self.clients = []

    def _keep(self, _logger, _method, event):
        self.lines.append(event)
        raise structlog.DropEvent

    async def __aenter__(self):
        return self

    async def __aexit__(self, _kind=None, error=None, _traceback=None):
        if error is not None:
            error.add_note(f"log: {self.lines}, failures: {self.failures}")
        for client in self.clients:
            client.close()
        for connection in list(self.services.connections):
            connection.evict("test ends")
        await self.services.tasks.cancel()
        self.services.poller.close()
        await close_transports()

    def connect(self, address="192.0.2.1"):
        """A client on one end of a real TCP connection, our Connection on the other."""
        ours, theirs = tcp_pair()
        connection = Connection(self.services, ours, address, lambda: None)
        client = Client(theirs, connection)
        self.clients.append(client)
        return client

    async def until(self, condition):
        """Let the loop run until something is true."""
        async with asyncio.timeout(PATIENCE_S):
            while not condition():
                await asyncio.sleep(0.001)

    def closed(self):
        """The line of each connection that has ended."""
        return [line for line in self.lines if line["event"] == "closed"]

    async def publisher(self, name="s", properties=None, **options):
        client = self.connect(**options)
        await client.open(**properties or {})
        await client.publish(name)
        return client

    async def player(self, name="s", properties=None, **options):
        client = self.connect(**options)
        await client.open(**properties or {})
        await client.play(name)
        return client

    async def player_that_waits(self, name="s", properties=None):
        """A player of a stream that nobody publishes."""
        client = self.connect()
        await client.open(**properties or {})
        await client.command("play", 3, None, name, message_stream_id=1)
        await client.ping()
        await self.until(lambda: client.connection.role == "play")
        return client


class Later:
    """A loop whose clock has gone on while the process stood still."""

    def __init__(self, loop, seconds):
        self._loop = loop
        self._seconds = seconds

    def time(self):
        return self._loop.time() + self._seconds

    def call_at(self, when, callback):
        return self._loop.call_at(when - self._seconds, callback)


def tcp_pair():
    """Two connected TCP sockets, the first tuned like a server's."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        theirs = socket.create_connection(listening.getsockname())
        ours, _ = listening.accept()
    tune(ours, 30.0)
    theirs.setblocking(False)
    return ours, theirs


class Client:
    """A client that sends what it is told and keeps every message that it gets."""

    def __init__(self, sock, connection):
        self.socket = sock
        self.connection = connection
        self.messages = []
        self.ended = False
        self._handshake = ClientHandshake(bytes(RANDOM_BYTES), 0)
        self._reader = ChunkReader(body_limits=[1 << 24] * 256)
        self._loop = asyncio.get_running_loop()
        self._reading = None
        self._pings = itertools.count(77)

    async def open(self, **properties):
        """Shake hands and connect, with more properties in connect if there are any."""
        await self.shake_hands()
        await self.command("connect", 1, {"app": "live", "tcUrl": "rtmp://h/live", **properties})
        await self.response("_result")
        await self.command("createStream", 2, None)
        await self.response("_result")

    async def shake_hands(self):
        """Come as far as the handshake, and read from there on."""
        await self.send_bytes(self._handshake.first_bytes())
        while not self._handshake.done:
            await self.send_bytes(self._handshake.feed(await self._loop.sock_recv(self.socket, 65536)))
        self._reading = asyncio.ensure_future(self._read(self._handshake.remainder))

    async def publish(self, name):
        await self.command("publish", 3, None, name, "live", message_stream_id=1)
        await self.status("NetStream.Publish.Start")

    async def play(self, name):
        await self.command("play", 3, None, name, message_stream_id=1)
        await self.status("NetStream.Play.Start")

    async def send_bytes(self, data):
        await self._loop.sock_sendall(self.socket, data)

    async def send(self, *messages):
        for message in messages:
            chunk_stream_id = message.chunk_stream_id or 6
            await self.send_bytes(encode_message(message._replace(chunk_stream_id=chunk_stream_id), 128))

    async def command(self, name, transaction_id, *values, message_stream_id=0):
        body = encode_command(name, transaction_id, *values)
        await self.send(Message(COMMAND_AMF0, 0, message_stream_id, body, 3))

    async def ping(self):
        """Wait until the server has acted on everything that was sent before; it takes 50 of these a second."""
        number = next(self._pings)  # or the answer to an earlier one would do
        await self.send(encode_user_control(PING_REQUEST, number))
        pong = encode_user_control(PING_RESPONSE, number).body
        await self._until(lambda: any(message.body == pong for message in self.messages))

    async def response(self, name):
        """The next command of a name that was not looked at yet."""
        return await self._next(lambda command: command.name == name)

    async def status(self, code):
        return await self._next(
            lambda command: any(isinstance(a, dict) and a.get("code") == code for a in command.arguments)
        )

    def has_status(self, code):
        """Whether an onStatus with a code has come that was not looked at yet."""
        commands = (decode_command(message) for message in self.messages if message.type_id == COMMAND_AMF0)
        return any(command.name == "onStatus" and command.arguments[0]["code"] == code for command in commands)

    async def media(self, count):
        """The first so many media messages, once they are there."""
        found = []

        def enough():
            found[:] = [message for message in self.messages if message.type_id in {8, 9, 18}]
            return len(found) >= count

        await self._until(enough)
        return found[:count]

    async def end(self):
        """Wait until the server has closed."""
        await self._until(lambda: self.ended)

    def pause_reading(self):
        self._reading.cancel()

    def resume_reading(self):
        self._reading = asyncio.ensure_future(self._read(b""))

    def reset(self):
        """Leave as a killed process with unread data does."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self):
        if self._reading is not None:
            self._reading.cancel()
        self.socket.close()

    async def _next(self, matches):
        result = []

        def look():
            for message in self.messages:
                if message.type_id == COMMAND_AMF0 and matches(command := decode_command(message)):
                    self.messages.remove(message)
                    result.append(command)
                    return True
            return False

        await self._until(look)
        return result[0]

    async def _until(self, condition):
        async with asyncio.timeout(PATIENCE_S):
            while not condition():
                await asyncio.sleep(0.001)

    async def _read(self, data):
        with contextlib.suppress(ConnectionError):
            while True:
                self._reader.feed(data, self.messages)
                data = await self._loop.sock_recv(self.socket, 1 << 20)
                if not data:
                    break
        self.ended = True
