"""Sources of pull relays: servers of our own, ones that are played by hand, and HTTP servers that say what they are told."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from rtmpd.net.client_connection import Parting
from rtmpd.net.pull_relay import PullRelay
from rtmpd.net.pull_sources import RtmpSource
from rtmpd.net.pull_target import PullTarget
from rtmpd.session import requests
from rtmpd.session.limits import ClientLimits
from rtmpd.session.replies import on_status, result
from rtmpd.session.urls import RtmpUrl
from rtmpd.web.connections import close_servers
from rtmpd.wire.flv import encode_file_header, encode_tag
from rtmpd.wire.messages import DATA_AMF0
from tests.helpers.client_transcript import CONNECT_RESULT
from tests.helpers.relays import ADDRESS, Hand, HandServer
from tests.helpers.rig import PATIENCE_S
from tests.helpers.transports import close_transports

TARGET = PullTarget("live", "s", grace_s=10.0, is_public=True)


class PlayedSource:
    """A source that is played by hand: what each try is, and how it ends, is told by the test."""

    def __init__(self, label="rtmp://played/app") -> None:
        self.label = label
        self.bytes_in = 0
        self.tries = []

    async def receive(self, feed):
        end = asyncio.get_running_loop().create_future()
        self.tries.append((feed, end))
        return await end

    async def feed(self, number, *messages, address=ADDRESS):
        """Send media in the so-manieth try, once it is there."""
        feed, _ = await self.tried(number)
        self.bytes_in += sum(len(message.body) for message in messages)
        feed.take(messages, address)

    async def end(self, number, reason="peer closed", **parting):
        _, end = await self.tried(number)
        end.set_result(Parting(reason, **parting))

    async def tried(self, number):
        async with asyncio.timeout(PATIENCE_S):
            while len(self.tries) <= number:
                await asyncio.sleep(0.001)
        return self.tries[number]


class Pulling:
    """A relay into a rig's stream live/s; `clock`, if there is one, is its time and that of nothing else."""

    def __init__(self, rig, *sources, silence_s=20.0, goes_on=lambda: True, target=TARGET, clock=None) -> None:
        self.rig = rig
        services = rig.services if clock is None else replace(rig.services, loop=clock)
        self.relay = PullRelay(services, target, sources, silence_s, goes_on)

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        if not self.relay.task.done():
            self.relay.cancel("test ends")
        await asyncio.wait([self.relay.task])

    @property
    def stream(self):
        return self.rig.services.registry.find("live", "s")

    async def until(self, state):
        await self.rig.until(lambda: self.relay.status.state is state)
        return self.relay.status

    def lines(self, event):
        return [line for line in self.rig.lines if line["event"] == event]


class PullHand(Hand):
    """The server's end of a connection that plays."""

    async def grant_play(self):
        """Play everything up to the grant."""
        await self.open()
        await self.command("connect")
        await self.say(CONNECT_RESULT)
        await self.command("createStream")
        await self.say(result(requests.CREATE_STREAM, 1))
        played = await self.command("play")
        await self.say(on_status(1, "NetStream.Play.Start"))
        return played

    async def tell_end(self):
        await self.say(on_status(1, "NetStream.Play.UnpublishNotify"))


class Hands(HandServer):
    """A source that is played by hand: each dial is a `PullHand`."""

    hand_type = PullHand

    def source(self, rig, url="rtmp://source.example/app/key", **limits):
        return RtmpSource(rig.services, RtmpUrl.parse(url), self.dial, ClientLimits(**limits))


class FlvServer:
    """An HTTP server on loopback; each request is answered by the test's coroutine, given its path and a writer."""

    def __init__(self, answer) -> None:
        self._answer = answer
        self.requests = []

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        return self

    async def __aexit__(self, *_):
        await close_servers(self._server)
        await self._server.wait_closed()
        await close_transports()

    async def _serve(self, reader, writer):
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.requests.append(head)
            await self._answer(head.split()[1], writer)
        except ConnectionError:
            pass
        finally:
            writer.close()


def head(status="200 OK", *headers):
    return "\r\n".join([f"HTTP/1.1 {status}", *headers, "", ""]).encode()


def flv(*messages):
    """A file header and tags; what a server sends."""
    return encode_file_header(audio=True, video=True) + tags(*messages)


def tags(*messages):
    return b"".join(encode_tag(m.type_id, m.timestamp_ms, m.body) for m in messages)


def chunk(data):
    """One chunk of a chunked body."""
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


def in_log(stream):
    """What the log of a stream holds: types, times, bodies."""
    return [(entry.type_id, entry.timestamp_ms, body) for entry, body in stream.log.messages(stream.log.start)]


def told(*messages):
    """The same of messages; metadata are at 0 whatever they say."""
    return [(m.type_id, 0 if m.type_id == DATA_AMF0 else m.timestamp_ms, m.body) for m in messages]
