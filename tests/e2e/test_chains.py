"""Relays to, from and through servers that nobody here wrote: every packet comes out at the far end as it was published."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path
from typing import NamedTuple

import pytest

from rtmpd.wire.flv import FlvTag
from tests.helpers import node_media_server
from tests.helpers.compare import assert_same_packets, read_packets
from tests.helpers.media import is_frame
from tests.helpers.nginx import Nginx
from tests.helpers.node_media_server import NodeMediaServer
from tests.helpers.processes import Program, wait_until
from tests.helpers.rtmp_client import LivePublisher
from tests.helpers.server import Server

pytestmark = pytest.mark.e2e

LIVE = "[apps.live]\n"
FAR = '[apps.live]\nrecord = "auto"\nresume_s = 0\ngrace_s = 0\n'
SENT_S = 60
"""Within which all has been sent, also in real time."""
HELD_BACK_MS = 500
"""What ffmpeg may keep until its input ends: it sorts the packets of all tracks, so it waits for each of them to go on."""


class Footage(NamedTuple):
    """What goes through the chains."""

    path: Path
    tags: list[FlvTag]
    speed: float
    """Times real time."""
    least_ms: int
    """That have to arrive: what a server that joins late has missed is not there."""


@pytest.fixture
def footage(sources, prove):
    name, speed, least_ms = ("relayed", 1.0, 30_000) if prove else ("evening", 3.0, 6_000)
    return Footage(sources.flv(name), sources.tags(name), speed, least_ms)


@pytest.fixture(scope="session")
def node_program(tmp_path_factory):
    return node_media_server.install(tmp_path_factory.mktemp("node"))


@pytest.fixture
def arrived(footage, record_property):
    """Sees that a file holds what was published, and notes how much that was."""

    def arrived(path, *, to_end):
        assert_same_packets(footage.path, path, to_end=to_end)
        for kind, units in read_packets(path).items():
            lasted_ms = units[-1].dts_ms - units[0].dts_ms
            record_property(f"{kind}: packets, ms", (len(units), lasted_ms))
            assert lasted_ms >= footage.least_ms

    return arrived


@contextlib.contextmanager
def publishing(address, footage, *, ready=lambda: None):
    """Publish all, from the beginning of the block on but not before all is ready, and end properly with its end."""

    def tags():
        ready()
        yield from footage.tags

    with LivePublisher(address, "s", tags(), speed=footage.speed, repeat=False) as publisher:
        yield
        publisher.wait_until_all_sent(SENT_S)
        publisher.finish()


def wait_until_written(path, footage, *, held_back_ms=0):
    """Wait until a file has the last picture and the last sound, or those that are so much earlier."""
    frames = [tag for tag in footage.tags if is_frame(tag)]
    latest_ms = max(tag.timestamp_ms for tag in frames) - held_back_ms
    last = {tag.type_id: tag.body for tag in frames if tag.timestamp_ms <= latest_ms}

    def is_written():
        written = path.read_bytes() if path.exists() else b""
        return all(body in written for body in last.values())

    wait_until(is_written, f"the end of what was published in {path.name}")


def recording(server):
    server.wait_for("recording started", stream="live/s")
    (path,) = server.recordings("live/s")
    return path


def wait_for_player(server):
    """Wait until somebody has asked to play."""
    wait_until(
        lambda: [client["role"] for client in server.api.get("clients").body["clients"]] == ["play"], "who plays"
    )


def ffmpeg_to(path, *options):
    """A player, or who listens, that writes what comes as it comes."""
    return Program(
        ["ffmpeg", "-nostdin", "-loglevel", "error", *options, "-c", "copy", "-flush_packets", "1", "-f", "flv", path]
    )


@pytest.mark.peer("nginx")
def test_what_nginx_is_given_and_asked_for_is_what_was_published(tmp_path, footage, arrived):
    with (
        Nginx(tmp_path / "nginx") as nginx,
        Server(tmp_path / "far", f'{FAR}[pulls."live/s"]\nsources = ["{nginx.url("s")}"]\n') as far,
        Server(tmp_path / "near", LIVE) as near,
    ):
        with publishing(near.address, footage):
            near.api.start_push("live/s", targets=[nginx.url("s")])
        path = recording(far)
        wait_until_written(path, footage)
        nginx.kill()  # it keeps those who play for the next publisher
        far.wait_for("recording closed", stream="live/s")
        assert near.found("relay lost") == []
    arrived(path, to_end=True)


@pytest.mark.peer("nginx")
def test_what_nginx_pushes_to_us_is_what_was_published_there(tmp_path, footage, arrived):
    with (
        Server(tmp_path / "far", FAR) as far,
        Nginx(tmp_path / "nginx", f"push {far.url('live')};") as nginx,
    ):
        with publishing(("127.0.0.1", nginx.port), footage):
            far.wait_for("publish started", stream="live/s")
        far.wait_for("recording closed", stream="live/s")
        path = recording(far)
    arrived(path, to_end=True)


@pytest.mark.peer("nginx", "ffmpeg")
def test_what_nginx_pulls_from_us_is_what_was_published_here(tmp_path, footage, arrived):
    path = tmp_path / "played.flv"
    with (
        Server(tmp_path / "near", LIVE) as near,
        Nginx(tmp_path / "nginx", f"pull {near.url('live')};") as nginx,
        ffmpeg_to(path, "-i", nginx.url("s")) as player,
    ):
        wait_for_player(near)
        with publishing(near.address, footage):
            pass
        wait_until_written(path, footage, held_back_ms=HELD_BACK_MS)
        nginx.kill()
        player.wait()
    arrived(path, to_end=False)


@pytest.mark.peer("node", "npm", "ffmpeg")
def test_what_node_media_server_pulls_from_us_is_what_was_published_here(tmp_path, node_program, footage, arrived):
    path = tmp_path / "played.flv"
    with (
        Server(tmp_path / "near", LIVE) as near,
        NodeMediaServer(tmp_path / "node", node_program) as node,
        ffmpeg_to(path, "-i", node.url("s")) as player,
    ):
        node.wait_for_player("s")
        node.start_relay("pull", "s", near.url("live/s"))
        wait_for_player(near)
        with publishing(near.address, footage, ready=node.wait_for_pull):
            pass
        wait_until_written(path, footage, held_back_ms=HELD_BACK_MS)
        node.kill()
        player.wait()
    arrived(path, to_end=False)


@pytest.mark.peer("node", "npm")
def test_what_node_media_server_pushes_to_us_is_what_was_published_there(tmp_path, node_program, footage, arrived):
    with (
        Server(tmp_path / "far", FAR) as far,
        NodeMediaServer(tmp_path / "node", node_program) as node,
    ):
        with publishing(node.address, footage):
            node.start_relay("push", "s", far.url("live/s"))  # the stream has to be there
        path = recording(far)
        wait_until_written(path, footage)
        node.stop_relay("push", "s", far.url("live/s"))
        far.wait_for("recording closed", stream="live/s")
    arrived(path, to_end=True)


@pytest.mark.peer("ffmpeg")
def test_what_an_ffmpeg_that_listens_is_pushed_is_what_was_published(tmp_path, footage, arrived):
    path = tmp_path / "listened.flv"
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"rtmp://127.0.0.1:{free.getsockname()[1]}/live/s"
    with ffmpeg_to(path, "-listen", "1", "-i", url) as ffmpeg, Server(tmp_path / "near", LIVE) as near:
        with publishing(near.address, footage):
            near.api.start_push("live/s", targets=[url])
        assert ffmpeg.wait() == 0
    arrived(path, to_end=True)
