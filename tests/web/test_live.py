"""Live streams over HTTP, WebSocket and HTTPS: what is asked, refused, handed over and let go."""

from __future__ import annotations

import asyncio
import json
import socket

import aiohttp
import pytest

from rtmpd.errors import Refused
from rtmpd.live.fragments import FRAGMENT_FORM, Init
from rtmpd.live.log import Log, Retention
from rtmpd.media.tags import KEY_FRAME
from rtmpd.net.http_outlet import PIECE_BYTES
from rtmpd.web import connections, live
from rtmpd.wire.flv import TagReader
from rtmpd.wire.messages import VIDEO
from tests.helpers.live import inter_frame, key_frame, metadata, video_header
from tests.helpers.live_site import LiveSite
from tests.helpers.site import config_of

SENT = [metadata(width=320), video_header(), key_frame(0), inter_frame(40, size=100_000)]
GOING = Refused("NetConnection.Connect.AppShutdown", "the server is stopping; try again in a moment")


def spelt(messages):
    return [(each.type_id, each.timestamp_ms, each.body) for each in messages]


async def publish(site, *messages):
    publisher = await site.rig.publisher()
    await publisher.send(*(messages or SENT))
    await publisher.ping()
    return publisher


async def finish(publisher):
    await publisher.command("deleteStream", 4, None, 1.0)


async def read_tags(response, count):
    """Read so many tags of an answer without end."""
    data, tags = b"", []
    async with asyncio.timeout(10):
        while len(tags) < count:
            data += await response.content.readany()
            tags = TagReader().feed(data)
    return tags


async def read_socket(websocket, count):
    data, tags = b"", []
    while len(tags) < count:
        data += await websocket.receive_bytes(timeout=10)
        tags = TagReader().feed(data)
    return tags


def detail(answer):
    """What a problem document says; it can be read by the page that asked."""
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    return json.loads(answer._body)["detail"]


# An answer without end


@pytest.mark.parametrize("secure", [False, True])
async def test_a_stream_is_an_answer_that_ends_with_it(tmp_path, secure):
    async with LiveSite(tmp_path) as site:
        publisher = await publish(site)
        async with site.session.get(site.url("/live/s.flv", secure=secure)) as response:
            tags = await read_tags(response, 4)
            (player,) = site.players
            await finish(publisher)
            assert await asyncio.wait_for(response.content.read(), 10) == b""
        await site.rig.until(player.over.done)

        assert spelt(tags) == spelt(SENT)
        assert (response.status, response.headers["Content-Type"]) == (200, "video/x-flv")
        assert response.headers["Connection"] == "close"
        assert response.headers["Cache-Control"] == "no-store"
        assert response.headers["Access-Control-Allow-Origin"] == "*"
        assert "Transfer-Encoding" not in response.headers
        assert (player.kind, player.address, player.has_all) == ("http-flv", "127.0.0.1", True)
        await site.rig.until(lambda: not site.held)
        assert not site.rig.failures


async def test_a_plain_connection_is_taken_over_whole(tmp_path, caplog):
    async with LiveSite(tmp_path) as site:
        await publish(site)
        before = len(asyncio.all_tasks())
        async with site.session.get(site.url("/live/s.flv")) as response:
            await read_tags(response, 4)
            await site.rig.until(lambda: not site.held)
            await site.rig.until(lambda: len(asyncio.all_tasks()) == before)
            assert len(site.players) == 1
            assert site.site.connections.players == 0
        await site.rig.until(lambda: not site.players)

        assert [line["reason"] for line in site.rig.closed()] == ["peer closed"]
    assert not caplog.records


@pytest.mark.parametrize("version", [b"HTTP/1.0", b"HTTP/1.1"])
async def test_clients_of_both_versions_are_answered_the_same(tmp_path, version):
    async with LiveSite(tmp_path) as site:
        await publish(site)
        reader, writer = await asyncio.open_connection(*site.address)
        writer.write(b"GET /live/s.flv " + version + b"\r\nHost: localhost\r\n\r\n")
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        assert await asyncio.wait_for(reader.readexactly(3), 10) == b"FLV"
        writer.close()


async def test_earlier_answers_of_a_connection_come_first_whole(tmp_path):
    async with LiveSite(tmp_path) as site:
        await publish(site)
        reader, writer = await asyncio.open_connection(*site.address)
        ask = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
        writer.write(ask * 20 + b"GET /live/s.flv HTTP/1.1\r\nHost: localhost\r\n\r\n")
        data = b""
        while b"FLV\x01" not in data:
            data += await asyncio.wait_for(reader.read(65536), 10)
        writer.close()

    assert data.count(b'{"status":"ok"}') == 20
    assert data.index(b"video/x-flv") > data.rindex(b'{"status":"ok"}')


async def test_who_waits_is_answered_when_somebody_publishes(tmp_path):
    async with LiveSite(tmp_path) as site:
        asking = asyncio.ensure_future(site.session.get(site.url("/live/s.flv")))
        await site.rig.until(lambda: site.players)
        assert site.site.connections.players == 1
        await publish(site)
        async with await asyncio.wait_for(asking, 10) as response:
            assert spelt(await read_tags(response, 4)) == spelt(SENT)


async def test_who_wants_the_newest_waits_for_a_key_frame(tmp_path):
    async with LiveSite(tmp_path) as site:
        publisher = await publish(site)
        async with site.session.get(site.url("/live/s.flv?gop=0")) as response:
            await publisher.send(inter_frame(80), key_frame(120))
            tags = await read_tags(response, 3)

    assert [(tag.timestamp_ms, tag.body[:2]) for tag in tags[1:]] == [(120, b"\x17\0"), (120, b"\x17\1")]


async def test_a_path_may_be_percent_encoded_and_its_application_have_slashes(tmp_path):
    async with LiveSite(tmp_path, wait_s=0) as site:
        answer = await site.ask("GET", "/a/b%2Fc/%C3%A9%20x.flv")

    assert (answer.status, detail(answer)) == (404, "nobody publishes a/b/c/é x")


# Refusals


@pytest.mark.parametrize(
    ("method", "path", "status", "why"),
    [
        ("GET", "/live/s.flv", 404, "nobody publishes live/s"),
        ("HEAD", "/live/s.flv", 404, None),
        ("GET", "/live/s.flv?gop=2", 422, "gop: 0 or 1 is expected"),
        ("GET", "/live/%0A.flv", 404, "nothing can be published under this name"),
        ("GET", "/live//..%2F.flv", 404, "nothing can be published under this name"),
        ("GET", "/live/%E2%80%AE.flv", 404, "nothing can be published under this name"),
        ("GET", "/live/" + "x" * 1100 + ".flv", 404, "nothing can be published under this name"),
    ],
)
async def test_what_cannot_be_shown_is_refused_with_a_problem(tmp_path, method, path, status, why):
    async with LiveSite(tmp_path, wait_s=0) as site:
        answer = await site.ask(method, path)

        assert answer.status == status
        assert why is None or detail(answer) == why
        assert not site.rig.services.connections
        await site.rig.until(lambda: all(each._watcher is None for each in site.held))


async def test_who_may_not_play_is_told_why(tmp_path):
    async with LiveSite(tmp_path) as site:
        await publish(site)
        site.rig.policy.refuse = ("NetStream.Play.Failed", "not for you")
        answer = await site.ask("GET", "/live/s.flv")

        assert (answer.status, detail(answer)) == (403, "not for you")
        (line,) = [line for line in site.rig.lines if line["event"] == "play refused"]
        assert (line["kind"], line["stream"], line["status"], line["why"]) == ("http-flv", "live/s", 403, "not for you")


async def test_nobody_is_admitted_beyond_the_limit_on_connections(tmp_path):
    async with LiveSite(tmp_path, most_clients=2) as site:
        await publish(site)
        async with site.session.get(site.url("/live/s.flv")):
            answer = await site.ask("GET", "/live/s.flv")
            assert (answer.status, detail(answer)) == (503, "there is no room for another client")
        await site.rig.until(lambda: not site.players)
        async with site.session.get(site.url("/live/s.flv")) as response:
            assert response.status == 200


async def test_nobody_is_admitted_by_a_server_that_drains(tmp_path):
    async with LiveSite(tmp_path, http={"token": "secret"}) as site:
        await publish(site)
        site.rig.services.connect_refusal = GOING
        answer = await site.ask("GET", "/live/s.flv", Authorization="Bearer secret")

    assert (answer.status, detail(answer)) == (503, GOING.description)


async def test_who_is_evicted_while_he_waits_is_answered(tmp_path):
    async with LiveSite(tmp_path) as site:
        asking = asyncio.ensure_future(site.ask("GET", "/live/s.flv"))
        await site.rig.until(lambda: site.players)
        site.players[0].evict("server stops")
        answer = await asking

    assert (answer.status, detail(answer)) == (503, "server stops")


async def test_who_leaves_while_he_waits_is_forgotten(tmp_path, caplog):
    async with LiveSite(tmp_path) as site:
        _, writer = await asyncio.open_connection(*site.address)
        writer.write(b"GET /live/s.flv HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await site.rig.until(lambda: site.players)
        writer.close()
        await site.rig.until(lambda: not site.players)
        await site.rig.until(lambda: not site.held)

        assert [line["reason"] for line in site.rig.closed()] == ["peer closed"]
        assert site.rig.services.registry.find("live", "s") is None
        assert site.site.connections.players == 0
    assert not caplog.records


async def test_a_connection_that_cannot_be_taken_over_is_refused(tmp_path, monkeypatch):
    def no_descriptor(_):
        raise OSError(24, "Too many open files")

    async with LiveSite(tmp_path) as site:
        await publish(site)
        monkeypatch.setattr(connections.Protocol, "hand_over", no_descriptor)
        answer = await site.ask("GET", "/live/s.flv")

        assert (answer.status, detail(answer)) == (503, "no room for another client: Too many open files")
        assert not site.players


async def test_who_reads_no_earlier_answers_is_given_up(tmp_path, monkeypatch):
    async def never(_):
        await asyncio.Event().wait()

    async with LiveSite(tmp_path, lag_limit_s=0.05) as site:
        await publish(site)
        monkeypatch.setattr(connections.Protocol, "hand_over", never)
        with pytest.raises(aiohttp.ClientError):
            await site.ask("GET", "/live/s.flv")
        await site.rig.until(lambda: not site.players)


# Asking without playing


async def test_a_head_says_what_there_is_and_plays_nothing(tmp_path):
    async with LiveSite(tmp_path) as site:
        await publish(site)
        answer = await site.ask("HEAD", "/live/s.flv")

        assert (answer.status, answer.headers["Content-Type"]) == (200, "video/x-flv")
        assert "Content-Length" not in answer.headers
        assert not site.players


async def test_a_browser_is_told_what_pages_may_ask(tmp_path):
    async with LiveSite(tmp_path) as site:
        answer = await site.ask("OPTIONS", "/live/s.flv", Origin="https://a.example")

    assert answer.status == 204
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert answer.headers["Access-Control-Allow-Methods"] == "GET, HEAD, OPTIONS"


# Connections that stay with aiohttp


async def test_players_do_not_count_as_connections_of_the_api(tmp_path):
    async with LiveSite(tmp_path) as site:
        site.site.connections.most = 2
        await publish(site)
        url = site.url("/live/s.flv")
        sockets = [await site.session.ws_connect(url) for _ in range(4)]
        await site.rig.until(lambda: site.site.connections.players == 4)

        assert (await site.ask("GET", "/healthz")).status == 200
        for each in sockets:
            await each.close()
        await site.rig.until(lambda: site.site.connections.players == 0)


@pytest.mark.parametrize("secure", [False, True])
async def test_over_a_websocket_its_messages_joined_are_the_stream(tmp_path, secure):
    async with LiveSite(tmp_path) as site:
        publisher = await publish(site)
        websocket = await site.session.ws_connect(site.url("/live/s.flv", secure=secure))
        assert spelt(await read_socket(websocket, 4)) == spelt(SENT)
        (player,) = site.players
        await websocket.ping()
        await websocket.send_str("hello")
        await site.rig.until(lambda: player.bytes_in == 5)
        await finish(publisher)
        message = await websocket.receive(timeout=10)
        await site.rig.until(lambda: not site.held)

        assert (message.type, websocket.close_code) == (aiohttp.WSMsgType.CLOSE, 1000)
        assert (player.kind, player.has_all) == ("ws-flv", True)
        assert not site.rig.failures


async def test_who_closes_a_websocket_has_left(tmp_path, caplog):
    async with LiveSite(tmp_path) as site:
        await publish(site)
        before = len(asyncio.all_tasks())
        websocket = await site.session.ws_connect(site.url("/live/s.flv"))
        await read_socket(websocket, 4)
        await websocket.close()
        await site.rig.until(lambda: not site.held)
        await site.rig.until(lambda: len(asyncio.all_tasks()) == before)

        assert [line["reason"] for line in site.rig.closed()] == ["peer closed"]
    assert not caplog.records


async def test_who_is_evicted_from_a_websocket_is_told_so(tmp_path):
    async with LiveSite(tmp_path) as site:
        await publish(site)
        websocket = await site.session.ws_connect(site.url("/live/s.flv"))
        await read_socket(websocket, 4)
        site.players[0].evict("by somebody")
        message = await websocket.receive(timeout=10)

    assert (message.type, message.data, message.extra) == (aiohttp.WSMsgType.CLOSE, 1001, "by somebody")


async def test_a_long_message_ends_a_websocket(tmp_path):
    async with LiveSite(tmp_path) as site:
        await publish(site)
        websocket = await site.session.ws_connect(site.url("/live/s.flv"))
        await read_socket(websocket, 4)
        await websocket.send_bytes(bytes(live.MESSAGE_BYTES + 1))
        message = await websocket.receive(timeout=10)
        await site.rig.until(lambda: not site.held)

        assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, 1009)
        assert not [line for line in site.rig.lines if line["event"] == "internal error"]
        assert [line["reason"] for line in site.rig.closed()] == ["peer closed"]


@pytest.mark.parametrize(
    ("origins", "origin", "status"),
    [
        (["*"], "https://a.example", 101),
        (["https://a.example"], "https://a.example", 101),
        (["https://a.example"], "https://b.example", 403),
        (["https://a.example"], "own", 101),
        (["https://a.example"], None, 101),
    ],
)
async def test_only_pages_of_the_sites_that_are_named_may_open_a_websocket(tmp_path, origins, origin, status):
    async with LiveSite(tmp_path, http={"media_origins": origins}) as site:
        await publish(site)
        own = f"http://127.0.0.1:{site.address[1]}"
        headers = {} if origin is None else {"Origin": own if origin == "own" else origin}

        async def opened():
            await (await site.session.ws_connect(site.url("/live/s.flv"), headers=headers)).close()

        if status == 101:
            await opened()
            return
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await opened()
        assert caught.value.status == status


async def test_a_websocket_of_another_version_is_refused(tmp_path):
    async with LiveSite(tmp_path) as site:
        answer = await site.ask("GET", "/live/s.flv", Upgrade="websocket", Connection="Upgrade")

    assert (answer.status, detail(answer)) == (400, "a WebSocket of version 13 is expected")


@pytest.mark.parametrize("way", ["websocket", "tls"])
async def test_a_peer_that_reads_nothing_costs_little_and_jumps(tmp_path, way):
    async with LiveSite(tmp_path, bytes_=1_000_000) as site:
        publisher = await publish(site)
        plain = socket.create_connection(site.secure_address if way == "tls" else site.address)
        # Not less than a segment of the loopback: TCP would send parts of one, with pauses that grow to seconds.
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        options = {"ssl": site.trust, "server_hostname": "127.0.0.1"} if way == "tls" else {}
        reader, writer = await asyncio.open_connection(sock=plain, limit=1024, **options)
        upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        more = upgrade + key if way == "websocket" else ""
        writer.write(f"GET /live/s.flv HTTP/1.1\r\nHost: localhost\r\n{more}\r\n".encode())
        await site.rig.until(lambda: site.players and site.players[0]._sink is not None)
        (player,) = site.players
        stream = site.rig.services.registry.find("live", "s")
        for number in range(2, 500):
            make = key_frame if number % 10 == 0 else inter_frame
            await publisher.send(make(40 * number, size=100_000))
            # Not a ping each time: more than 50 of them a second would end the publisher.
            await site.rig.until(lambda at_ms=40 * number: stream.last_timestamp_ms == at_ms)
            if player.skipped_ms or player._sink.fell_out:
                break
        else:
            pytest.fail("everything was taken")
        (held,) = site.held
        assert held.transport.get_write_buffer_size() <= PIECE_BYTES + 1024  # what TLS adds to each record
        total = 0
        async with asyncio.timeout(10):
            # At least once: it may have jumped already, into room that TLS or the kernel had made.
            while not total or not player.skipped_ms:
                total += len(await reader.read(1 << 20))
        writer.close()
        await site.rig.until(lambda: not site.players)


@pytest.mark.parametrize("way", ["websocket", "tls"])
async def test_a_peer_that_takes_nothing_is_given_up_and_its_connection_closed(tmp_path, way):
    async with LiveSite(tmp_path, lag_limit_s=0.05) as site:
        publisher = await publish(site)
        if way == "websocket":
            opened = await site.session.ws_connect(site.url("/live/s.flv"))
            opened._response.connection.transport.pause_reading()
        else:
            opened = await site.session.get(site.url("/live/s.flv", secure=True))
            opened.connection.transport.pause_reading()
        for number in range(1, 100):
            await publisher.send(inter_frame(40 * number, size=100_000))
        cut_off = site.rig.services.fanout.cut_off_stalled
        await site.rig.until(lambda: cut_off(site.rig.loop.time()) or site.rig.closed())
        await site.rig.until(lambda: not site.held)

        assert site.rig.closed()[0]["reason"] == "too slow: nothing taken for 0.05 s"
        (opened if way == "tls" else opened._response).close()


async def test_the_control_socket_plays_too(tmp_path):
    async with LiveSite(tmp_path) as site:
        await publish(site)
        reader, writer = await asyncio.open_unix_connection(tmp_path / "rtmpd.sock")
        writer.write(b"GET /live/s.flv HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await asyncio.wait_for(reader.readuntil(b"FLV\x01"), 10)
        writer.close()
        await site.rig.until(lambda: not site.players)


# Fragmented MP4


class OnePart:
    """A stream as MP4 that has one part."""

    refusal = None

    def __init__(self, rig, stream):
        self.log = Log(FRAGMENT_FORM, Retention())
        init = Init(b"ftypmoov", "avc1.64001f", has_video=True)
        self.log.append(VIDEO, 0, b"part", KEY_FRAME, init, rig.loop.time())

    def attach(self, viewer):
        viewer.fragments_started(self.log)

    def detach(self, viewer):
        pass


async def test_mp4_is_shown_where_it_is_made(tmp_path):
    async with LiveSite(tmp_path, want=OnePart) as site:
        await publish(site)
        async with site.session.get(site.url("/live/s.mp4")) as response:
            assert await asyncio.wait_for(response.content.readexactly(12), 10) == b"ftypmoovpart"
            (player,) = site.players
        assert response.headers["Content-Type"] == "video/mp4"
        assert player.kind == "mp4"
        websocket = await site.session.ws_connect(site.url("/live/s.mp4"))
        assert await websocket.receive_bytes(timeout=10) == b"ftypmoov"
        await websocket.close()


async def test_mp4_is_not_shown_where_it_is_not_made(tmp_path):
    async with LiveSite(tmp_path) as site:
        await publish(site)
        assert (await site.ask("GET", "/live/s.mp4")).status == 404


async def test_media_origins_can_be_changed_without_a_restart(tmp_path):
    async with LiveSite(tmp_path) as site:
        site.media.reload(config_of(tmp_path, http={"media_origins": []}))
        answer = await site.ask("OPTIONS", "/live/s.flv", Origin="https://a.example")

    assert "Access-Control-Allow-Origin" not in answer.headers
