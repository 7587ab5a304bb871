"""Our client's session against a server that nobody here wrote."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from rtmpd.net.dial import dial
from rtmpd.session.client import ClientSession
from rtmpd.session.events import Ended, Playing, Publishing, RefusedByServer, Terminated
from rtmpd.session.limits import ClientLimits
from rtmpd.session.urls import RtmpUrl
from rtmpd.wire.chunk_writer import OUT_CHUNK_SIZE, encode_message
from rtmpd.wire.handshake import RANDOM_BYTES
from rtmpd.wire.messages import AUDIO, DATA_AMF0, VIDEO, Message
from tests.helpers.footage import tags_of
from tests.helpers.nginx import Nginx
from tests.helpers.processes import PATIENCE_S

pytestmark = [pytest.mark.e2e, pytest.mark.peer("nginx")]

CHUNK_STREAMS = {AUDIO: 4, VIDEO: 6, DATA_AMF0: 5}


@pytest.fixture
def nginx(tmp_path):
    with Nginx(tmp_path / "nginx") as server:
        yield server


class Visitor:
    """A session with a socket."""

    def __init__(self, url, role):
        self.events = []
        self._url = RtmpUrl.parse(url)
        self._loop = asyncio.get_running_loop()
        self.session = ClientSession(self._url, role, ClientLimits(), os.urandom(RANDOM_BYTES), self._loop.time())

    async def __aenter__(self):
        dialled = await dial(self._url.host, self._url.port, tls=None, timeout_s=PATIENCE_S, patience_s=PATIENCE_S)
        self._socket = dialled.transport
        return self

    async def __aexit__(self, *_):
        self._socket.close()

    async def until(self, kind):
        """Talk until an event of a kind has come."""
        await self.until_true(lambda: any(isinstance(event, kind) for event in self.events))
        return next(event for event in self.events if isinstance(event, kind))

    async def until_true(self, reached):
        async with asyncio.timeout(PATIENCE_S):
            while not reached():
                await self.flush()
                received = await self._loop.sock_recv(self._socket, 65536)
                now = self._loop.time()
                self.events += self.session.receive_data(received, now) if received else self.session.receive_eof(now)
            await self.flush()

    async def flush(self):
        await self._loop.sock_sendall(self._socket, self.session.data_to_send())

    async def send(self, *messages):
        await self._loop.sock_sendall(self._socket, b"".join(encode_message(m, OUT_CHUNK_SIZE) for m in messages))

    async def finish(self):
        self.events += self.session.finish(self._loop.time())
        await self.flush()

    @property
    def media(self):
        return [event for event in self.events if isinstance(event, Message)]


async def test_nginx_passes_on_what_we_publish_and_we_play_it(nginx):
    corpus = Path(__file__).parents[1] / "corpus" / "media" / "h264-baseline-320x180.flv"
    long = Message(VIDEO, 5000, 1, b"\x17\x01\0\0\0" + os.urandom(3 * OUT_CHUNK_SIZE), 6)
    tags = [tag for tag in tags_of(corpus.read_bytes()) if tag.type_id == VIDEO]
    sent = [Message(tag.type_id, tag.timestamp_ms, 1, tag.body, CHUNK_STREAMS[tag.type_id]) for tag in tags]
    sent.append(long)
    async with Visitor(nginx.url("s"), "publish") as publisher, Visitor(nginx.url("s"), "play") as player:
        assert (await publisher.until(Publishing)).message_stream_id == 1
        await player.until(Playing)

        await publisher.send(*sent)
        await player.until_true(lambda: len(player.media) >= len(sent))
        await publisher.finish()
        await player.until(Ended)

    assert [(m.type_id, m.body) for m in player.media] == [(m.type_id, m.body) for m in sent]
    assert publisher.events[-1] == Terminated("finished")


async def test_nginx_that_has_a_publisher_already_refuses_us_for_now(nginx):
    async with Visitor(nginx.url("s"), "publish") as first, Visitor(nginx.url("s"), "publish") as second:
        await first.until(Publishing)

        refused = await second.until(RefusedByServer)

    assert (refused.code, refused.may_retry) == ("NetStream.Publish.BadName", True)
