"""Live FLV over HTTP, HTTPS and WebSocket, with real players and a real server."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import signal
import socket
import ssl
import subprocess

import pytest

from rtmpd.wire.flv import TagReader
from rtmpd.wire.messages import VIDEO
from tests.helpers.api import Api, refused
from tests.helpers.client_session import client_session
from tests.helpers.clients import ffmpeg_player, pyav_look, pyav_player, pyav_publisher
from tests.helpers.http_viewer import HttpViewer
from tests.helpers.media import HEIGHT, WIDTH, frames_of, from_start, is_frame, is_key_frame, packets_of
from tests.helpers.processes import PATIENCE_S, wait_until
from tests.helpers.rtmp_client import Connection, LivePublisher
from tests.helpers.server import Server

pytestmark = pytest.mark.e2e

CONFIG = """
[players]
wait_s = 60
lag_limit_s = 120
[http]
token = "a-token"
[log]
gop_bytes = 2_000_000
[apps.live]
[apps.closed]
play_key = "letmein"
"""
CODECS = ["h264+aac", "hevc+aac", "av1+opus", "audio only", "video only"]
COMERS = 200
KEY = bytes.fromhex("1701000000") + bytes(20_000)
INTER = bytes.fromhex("2701000000") + bytes(20_000)
HEADER = bytes.fromhex("170000000001640014ffe10000010000")
GROUP = 25


@pytest.fixture(scope="module")
def server(tmp_path_factory, certificate):
    with Server(tmp_path_factory.mktemp("server"), CONFIG, certificate=certificate) as server:
        yield server


@pytest.fixture(scope="module")
def publisher(server, sources):
    """A stream that is in the middle of its second group of pictures."""
    with LivePublisher(server.address, "running", sources.tags("long")) as publisher:
        publisher.wait_until_sent(1_500)
        yield publisher


def players(server, stream):
    """Who plays or waits for a stream."""
    clients = server.api.get("clients").body["clients"]
    return [each for each in clients if each["stream"] == stream and each["role"] == "play"]


def url(server, path, *, secure=False):
    host, port = server.https_address if secure else server.http_address
    return f"http{'s' if secure else ''}://{host}:{port}/{path}"


def finish(player):
    """The packets of a player whose stream ends: to FFmpeg the end of an answer without a length is an error, though a late one."""
    player.wait()
    return player.packets()


def assert_plays(player, server, stream, source):
    """Publish a file once a player waits for the stream: it gets every packet."""
    wait_until(lambda: players(server, stream), "the player's request")
    with pyav_publisher(source, server.url(stream)) as publishing:
        assert publishing.wait(60) == 0
        packets = finish(player)

    assert from_start(packets) == from_start(packets_of(source))


# Real players


@pytest.mark.parametrize("name", CODECS)
def test_pyav_plays_packet_for_packet_what_was_published(server, sources, name):
    stream = f"live/{name.replace('+', '-').replace(' ', '-')}"
    with pyav_player(url(server, f"{stream}.flv")) as player:
        assert_plays(player, server, stream, sources.flv(name))


def test_pyav_plays_over_tls_packet_for_packet(server, sources):
    with pyav_player(url(server, "live/tls.flv", secure=True)) as player:
        assert_plays(player, server, "live/tls", sources.flv("short"))


@pytest.mark.peer("ffmpeg")
def test_ffmpeg_plays_packet_for_packet(server, sources):
    with ffmpeg_player(url(server, "live/ff.flv")) as player:
        assert_plays(player, server, "live/ff", sources.flv("short"))


@pytest.mark.peer("curl")
@pytest.mark.parametrize("version", ["--http1.0", "--http1.1"])
def test_curl_downloads_it_in_both_versions_of_http(server, publisher, version):
    reader, frames = TagReader(), []
    command = ["curl", "-s", version, "--max-time", f"{PATIENCE_S:g}", url(server, "live/running.flv")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, bufsize=0) as curl:
        while not frames and (data := curl.stdout.read(65536)):
            frames += filter(is_frame, reader.feed(data))
        curl.kill()

    assert is_key_frame(frames[0])


@pytest.mark.parametrize("secure", [False, True])
def test_a_late_player_sees_a_picture_at_once(server, publisher, secure):
    assert pyav_look(url(server, "live/running.flv", secure=secure)) == (WIDTH, HEIGHT, True)


def test_a_late_player_gets_headers_and_then_every_tag_from_a_key_frame_on(server, publisher):
    with HttpViewer(server.http_address, "/live/running.flv") as viewer:
        got = viewer.read_tags(60)[:60]

    first = next(index for index, tag in enumerate(got) if is_frame(tag))
    assert is_key_frame(got[first])
    sent = [tag for tag in list(publisher.sent) if is_frame(tag)]
    start = sent.index(got[first])
    assert got[first:] == sent[start:][: len(got[first:])]


def test_who_wants_the_newest_gets_a_key_frame_that_was_not_there_before(server, publisher):
    with HttpViewer(server.http_address, "/live/running.flv") as another:
        before_ms = max(tag.timestamp_ms for tag in another.read_tags(30))  # of what the server has
    with HttpViewer(server.http_address, "/live/running.flv?gop=0") as viewer:
        viewer.read_head()
        while not any(map(is_frame, viewer.tags)):
            assert viewer.read()
        first = next(tag for tag in viewer.tags if is_frame(tag))

    assert is_key_frame(first)
    assert first.timestamp_ms > before_ms


# The end


def test_the_answer_ends_with_the_stream_and_a_player_that_waits_in_vain_is_told_so(server, sources):
    with LivePublisher(server.address, "ends", sources.tags("short")) as publisher:
        publisher.wait_until_sent(500)
        with HttpViewer(server.http_address, "/live/ends.flv") as viewer:
            viewer.read_tags(10)
            publisher.finish()
            frames = frames_of(viewer.read_to_end())
            sent = frames_of(publisher.sent)

    assert frames == sent[len(sent) - len(frames) :]
    line = server.wait_for("closed", stream="live/ends", role="play")
    assert (line["kind"], line["bytes_out"] > 0) == ("http-flv", True)


def test_a_publisher_that_returns_goes_on_in_the_same_answer(server, sources):
    with LivePublisher(server.address, "returns", sources.tags("long")) as publisher:
        publisher.wait_until_sent(500)
        with HttpViewer(server.http_address, "/live/returns.flv") as viewer:
            viewer.read_tags(10)
            publisher.drop()
            with LivePublisher(server.address, "returns", sources.tags("long")) as second:
                second.wait_until_sent(500)
                before = len(viewer.tags)
                viewer.read_tags(before + 60)
            times = [tag.timestamp_ms for tag in viewer.tags if is_frame(tag) and tag.type_id == VIDEO]

    assert times == sorted(times)


# Who may


def test_a_stream_that_needs_a_key_is_for_who_has_it_or_the_token(server, sources):
    api = Api(server.http_address)
    with LivePublisher(server.address, "s", sources.tags("short"), app="closed") as publisher:
        publisher.wait_until_sent(300)
        for query in ("", "?key=wrong", "?key="):
            (why,) = refused(api.get(f"/closed/s.flv{query}"), 403)
            assert "key" in why
        with HttpViewer(server.http_address, "/closed/s.flv?key=letmein") as viewer:
            assert viewer.read_tags(3)
        with HttpViewer(server.http_address, "/closed/s.flv", headers="Authorization: Bearer a-token\r\n") as viewer:
            assert viewer.read_tags(3)
        opened = api.post("/session", {"token": "a-token"})
        cookie = opened.headers["set-cookie"].partition(";")[0]
        with HttpViewer(server.http_address, "/closed/s.flv", headers=f"Cookie: {cookie}\r\n") as viewer:
            assert viewer.read_tags(3)
        foreign = f"Cookie: {cookie}\r\nOrigin: https://evil.example\r\n"
        with HttpViewer(server.http_address, "/closed/s.flv", headers=foreign) as viewer:
            assert viewer.read_head().startswith("HTTP/1.1 403 ")


def test_a_head_and_a_preflight_play_nothing(server, publisher):
    api = Api(server.http_address)

    for path, status in (("/live/running.flv", 200), ("/live/nobody.flv", 404)):
        with contextlib.closing(api.connection()) as connection:
            connection.request("HEAD", path)
            assert connection.getresponse().status == status
    assert api.request("OPTIONS", "/live/running.flv", None, {}).status == 204
    assert not server.found("closed", stream="live/nobody")


# WebSocket


@pytest.mark.parametrize("secure", [False, True])
def test_messages_of_a_websocket_joined_are_the_stream(server, publisher, certificate, secure):
    async def watch():
        options = {"ssl": certificate.context()} if secure else {}
        target = url(server, "live/running.flv", secure=secure)
        async with client_session(**options) as session, session.ws_connect(target) as websocket:
            data, tags = b"", []
            while len(tags) < 60:
                data += await websocket.receive_bytes(timeout=PATIENCE_S)
                tags = TagReader().feed(data)
            return tags[:60]

    got = asyncio.run(watch())

    first = next(index for index, tag in enumerate(got) if is_frame(tag))
    sent = [tag for tag in list(publisher.sent) if is_frame(tag)]
    assert got[first:] == sent[sent.index(got[first]) :][: len(got[first:])]


# Slow, gone, many


class Pictures:
    """An encoder of made-up pictures that carry their number in their time."""

    def __init__(self, server, stream):
        self.connection = Connection(server.address).connect().publish(stream)
        self.connection.send_media(VIDEO, 0, HEADER)
        self.sent = 0

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        self.connection.close()

    def send_group(self):
        for _ in range(GROUP):
            self.connection.send_media(VIDEO, self.sent * 40, INTER if self.sent % GROUP else KEY)
            self.sent += 1


def numbers(viewer):
    return [tag.timestamp_ms // 40 for tag in viewer.tags if is_frame(tag)]


@pytest.mark.parametrize("secure", [False, True])
def test_a_slow_reader_jumps_to_a_key_frame_and_others_see_no_gap(server, certificate, secure):
    stream = f"slow{secure:d}"
    address, tls = (server.https_address, certificate.context()) if secure else (server.http_address, None)
    with Pictures(server, stream) as encoder, contextlib.ExitStack() as stack:
        encoder.send_group()
        slow = stack.enter_context(HttpViewer(address, f"/live/{stream}.flv", tls=tls, receive_buffer_bytes=64 * 1024))
        good = stack.enter_context(HttpViewer(address, f"/live/{stream}.flv", tls=tls))
        slow.read_tags(2)
        for _ in range(40):
            encoder.send_group()
            while not numbers(good) or numbers(good)[-1] < encoder.sent - 1:
                assert good.read()
        while numbers(slow)[-1] < encoder.sent - 1:
            assert slow.read()
        skipped = [each["skipped_ms"] for each in players(server, f"live/{stream}")]

    assert numbers(good) == list(range(numbers(good)[0], encoder.sent))
    jumps = [after for before, after in itertools.pairwise(numbers(slow)) if after != before + 1]
    assert jumps
    assert all(number % GROUP == 0 for number in jumps)
    assert min(skipped) == 0 < max(skipped)


def test_hundreds_come_and_go_and_leave_nothing_behind(server, publisher):
    wait_until(lambda: not players(server, "live/running"), "those of other tests to be gone")
    before = server.open_files()
    for leave in (HttpViewer.close, HttpViewer.reset):
        with contextlib.ExitStack() as stack:
            viewers = [stack.enter_context(HttpViewer(server.http_address, "/live/running.flv")) for _ in range(COMERS)]
            for viewer in viewers:
                viewer.read_tags(5)
            assert len(players(server, "live/running")) == COMERS
            for viewer in viewers:
                leave(viewer)
        wait_until(lambda: not players(server, "live/running"), "all to be gone")
        wait_until(lambda: server.open_files() <= before, "all descriptors to be back")
    assert not server.noise


# HTTPS


def test_a_renewed_certificate_is_used_after_sighup_and_who_watches_stays(directory, issue, tmp_path, sources):
    certificate = issue(tmp_path)
    with (
        Server(directory, certificate=certificate) as server,
        LivePublisher(server.address, "s", sources.tags("long")) as publisher,
    ):
        publisher.wait_until_sent(300)
        before = shown(server, certificate)
        with HttpViewer(server.https_address, "/live/s.flv", tls=certificate.context()) as viewer:
            viewer.read_tags(3)
            issue(tmp_path)
            server.signal(signal.SIGHUP)
            server.wait_for("configuration reloaded")
            after = shown(server, certificate)
            viewer.read_tags(len(viewer.tags) + 30)

    assert before != after


def shown(server, certificate):
    with (
        socket.create_connection(server.https_address, timeout=PATIENCE_S) as plain,
        certificate.context().wrap_socket(plain, server_hostname="127.0.0.1") as secure,
    ):
        return secure.getpeercert()["serialNumber"]


def test_who_speaks_no_tls_is_let_go_and_the_api_answers_over_it(server, certificate):
    with socket.create_connection(server.https_address, timeout=PATIENCE_S) as plain:
        plain.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        while plain.recv(4096):
            pass
    with HttpViewer(server.https_address, "/healthz", tls=certificate.context()) as viewer:
        assert viewer.read_head().startswith("HTTP/1.1 200 ")
    with pytest.raises(ssl.SSLError), HttpViewer(server.https_address, "/healthz", tls=ssl.create_default_context()):
        pass


# The end of the server


@pytest.mark.parametrize("secure", [False, True])
def test_who_watches_and_who_waits_is_let_go_when_the_server_stops(directory, certificate, sources, secure):
    with (
        Server(directory, certificate=certificate) as server,
        LivePublisher(server.address, "s", sources.tags("long")) as publisher,
    ):
        address, tls = (server.https_address, certificate.context()) if secure else (server.http_address, None)
        publisher.wait_until_sent(300)
        with (
            HttpViewer(address, "/live/s.flv", tls=tls) as watching,
            HttpViewer(address, "/live/nobody.flv", tls=tls) as waiting,
        ):
            watching.read_tags(3)
            wait_until(lambda: players(server, "live/nobody"), "its request")
            server.signal(signal.SIGTERM)
            watching.read_to_end()
            assert waiting.read_head().startswith("HTTP/1.1 503 ")
            assert server.wait(PATIENCE_S) == 0
        server.check_log()
