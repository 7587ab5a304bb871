"""Our client's session and the push relay against servers that nobody here wrote, and over TLS against our own."""

from __future__ import annotations

import asyncio
import os
import ssl
from pathlib import Path

import pytest

from rtmpd.net.dial import dial
from rtmpd.net.push_relay import RelayState
from rtmpd.session.client import ClientSession
from rtmpd.session.events import Ended, Playing, Publishing, RefusedByServer, Terminated
from rtmpd.session.limits import ClientLimits
from rtmpd.session.urls import RtmpUrl
from rtmpd.wire.chunk_writer import OUT_CHUNK_SIZE, encode_message
from rtmpd.wire.handshake import RANDOM_BYTES
from rtmpd.wire.messages import AUDIO, DATA_AMF0, VIDEO, Message
from tests.helpers.footage import tags_of
from tests.helpers.live import inter_frame, key_frame
from tests.helpers.nginx import Nginx
from tests.helpers.ports import free_port, wait_until_listening
from tests.helpers.processes import PATIENCE_S, Program
from tests.helpers.relays import Relaying
from tests.helpers.rig import Rig
from tests.helpers.rtmp_client import Player
from tests.helpers.server import Server

pytestmark = pytest.mark.e2e

CHUNK_STREAMS = {AUDIO: 4, VIDEO: 6, DATA_AMF0: 5}


def media_of(name):
    corpus = Path(__file__).parents[1] / "corpus" / "media" / f"{name}.flv"
    return [
        Message(tag.type_id, tag.timestamp_ms, 1, tag.body, CHUNK_STREAMS[tag.type_id])
        for tag in tags_of(corpus.read_bytes())
    ]


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


@pytest.mark.peer("nginx")
async def test_nginx_passes_on_what_we_publish_and_we_play_it(nginx):
    long = Message(VIDEO, 5000, 1, b"\x17\x01\0\0\0" + os.urandom(3 * OUT_CHUNK_SIZE), 6)
    sent = media_of("h264-baseline-320x180")
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


@pytest.mark.peer("nginx")
async def test_nginx_that_has_a_publisher_already_refuses_us_for_now(nginx):
    async with Visitor(nginx.url("s"), "publish") as first, Visitor(nginx.url("s"), "publish") as second:
        await first.until(Publishing)

        refused = await second.until(RefusedByServer)

    assert (refused.code, refused.may_retry) == ("NetStream.Publish.BadName", True)


class Source:
    """A rig with a publisher, and a relay of its stream."""

    def __init__(self, url, tls=None):
        self._url = url
        self._tls = tls

    async def __aenter__(self):
        self.rig = Rig()
        self.publisher = await self.rig.publisher()
        await self.publisher.send(*FIRST)
        await self.rig.until(lambda: self.rig.services.registry.find("live", "s").has_frames)
        self.relaying = Relaying(self.rig, self, url=self._url)
        return self

    async def dial(self, url):
        return await dial(
            url.host, url.port, tls=self._tls if url.secure else None, timeout_s=PATIENCE_S, patience_s=PATIENCE_S
        )

    async def __aexit__(self, *_):
        await self.relaying.relay.close()
        await self.rig.__aexit__()


FIRST = media_of("h264-baseline-320x180")


def later(first_ms, count=20, size=20_000):
    """A key frame, for which nginx makes a player wait, and what follows it."""
    return [key_frame(first_ms), *(inter_frame(first_ms + 40 * number, size=size) for number in range(1, count))]


def told(messages):
    return [(m.type_id, m.timestamp_ms, m.body) for m in messages]


@pytest.mark.peer("nginx")
async def test_a_relay_to_nginx_is_played_there_and_back_when_nginx_is_back(tmp_path):
    with Nginx(tmp_path / "a") as server:
        async with Source(server.url("s")) as source:
            await source.relaying.live()
            async with Visitor(server.url("s"), "play") as player:
                await player.until(Playing)
                await source.publisher.send(*later(40))
                await player.until_true(lambda: told(player.media)[-20:] == told(later(40)))
            server.kill()
            with Nginx(tmp_path / "b", port=server.port) as second:
                await source.relaying.live(2)
                async with Visitor(second.url("s"), "play") as again:
                    await again.until(Playing)
                    await source.publisher.send(*later(2000))
                    await again.until_true(lambda: told(again.media)[-20:] == told(later(2000)))
                source.relaying.relay.finish("over")
                await source.relaying.until(RelayState.ENDED)

    # At its own key frame: the headers of the first publisher, who has gone, are of no use.
    assert FIRST[0].body in [message.body for message in again.media]


@pytest.mark.peer("ffmpeg")
async def test_ffmpeg_that_listens_is_a_target(tmp_path):
    port = free_port()
    url = f"rtmp://127.0.0.1:{port}/live/s"
    output = tmp_path / "out.flv"
    listening = ["ffmpeg", "-nostdin", "-loglevel", "error", "-listen", "1", "-i", url, "-c", "copy", output]
    with Program(listening) as ffmpeg:
        wait_until_listening(port)
        async with Source(url) as source:
            await source.relaying.live()
            source.relaying.relay.finish("over")
            await source.relaying.until(RelayState.ENDED)
            await asyncio.to_thread(ffmpeg.wait)

    written = [tag for tag in tags_of(output.read_bytes()) if tag.type_id == VIDEO]
    assert [tag.body for tag in written[:2]] == [message.body for message in FIRST]


async def test_a_relay_over_tls_ends_at_another_rtmpd(directory, certificate):
    with Server(directory, "open = true\n[apps.live]", certificate=certificate) as server:
        async with Source(server.tls_url("live/far"), tls=certificate.context()) as source:
            await source.relaying.live()
            await asyncio.to_thread(server.wait_for, "publish started", stream="live/far")
            await source.publisher.send(*later(40))
            with Player(server.address, "far") as player:
                await asyncio.to_thread(
                    player.wait_until, lambda: told(player.media)[-20:] == told(later(40)), "what was published"
                )
            source.relaying.relay.finish("over")
            await source.relaying.until(RelayState.ENDED)
            line = await asyncio.to_thread(server.wait_for, "closed", role="publish")

    assert line["reason"] == "peer closed"


async def test_a_certificate_that_is_not_trusted_is_the_reason_that_is_shown(directory, certificate):
    with Server(directory, "open = true\n[apps.live]", certificate=certificate) as server:
        async with Source(server.tls_url("live/far"), tls=ssl.create_default_context()) as source:
            status = await source.relaying.until(RelayState.BACKING_OFF)

    assert "its certificate is not trusted: " in status.reason
