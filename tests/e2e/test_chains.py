"""Relays to, from and through servers that nobody here wrote: every packet comes out at the far end as it was published."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest

from rtmpd.wire.flv import FlvTag
from tests.helpers import node_media_server
from tests.helpers.clients import HELD_BACK_MS, ffmpeg_writer
from tests.helpers.compare import assert_same_packets, read_packets
from tests.helpers.media import wait_until_written
from tests.helpers.nginx import Nginx
from tests.helpers.node_media_server import NodeMediaServer
from tests.helpers.pace import in_step
from tests.helpers.ports import free_port, wait_until_listening
from tests.helpers.rtmp_client import LivePublisher
from tests.helpers.server import Server

pytestmark = pytest.mark.e2e

LIVE = "[apps.live]\n"
FAR = '[apps.live]\nrecord = "auto"\nresume_s = 0\ngrace_s = 0\n'
SENT_S = 60
"""Within which all has been sent, also in real time."""


class Footage(NamedTuple):
    """What goes through the chains."""

    path: Path
    tags: list[FlvTag]
    speed: float
    """Times real time."""
    least_ms: int
    """That have to arrive: all, without what the last packets last and what ffmpeg holds back."""


@pytest.fixture
def footage(sources, prove):
    name, speed, least_ms = ("relayed", 1.0, 35_400) if prove else ("evening", 3.0, 8_400)
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


def publish(address, footage, tags, *, arrived=lambda: None):
    """Publish all, and end properly when all has arrived."""
    with LivePublisher(address, "s", tags, speed=footage.speed, repeat=False) as publisher:
        publisher.wait_until_all_sent(SENT_S)
        arrived()
        publisher.finish()


def once_ready(ready, tags):
    """Give tags when all is ready; to a server whose queues take all of them."""
    ready()
    yield from tags


def recording(server):
    server.wait_for("recording started", stream="live/s")
    (path,) = server.recordings("live/s")
    return path


@pytest.mark.peer("nginx")
def test_what_nginx_is_given_and_asked_for_is_what_was_published(tmp_path, footage, arrived):
    with (
        Nginx(tmp_path / "nginx") as nginx,
        Server(tmp_path / "far", f'{FAR}[pulls."live/s"]\nsources = ["{nginx.url("s")}"]\n') as far,
        Server(tmp_path / "near", LIVE) as near,
    ):
        nginx.wait_for_players("s")

        def push():
            near.api.start_push("live/s", targets=[nginx.url("s")])
            near.wait_for("relay connected")

        publish(near.address, footage, in_step(near, footage.tags, ready=push))
        near.wait_for("relay stopped")
        path = recording(far)
        wait_until_written(path, footage.tags)
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

        def has_arrived():
            # When its publisher ends, nginx drops what it has not sent.
            wait_until_written(recording(far), footage.tags)

        tags = once_ready(lambda: far.wait_for("publish started", stream="live/s"), footage.tags)
        publish(("127.0.0.1", nginx.port), footage, tags, arrived=has_arrived)
        far.wait_for("recording closed", stream="live/s")
        path = recording(far)
    arrived(path, to_end=True)


@pytest.mark.peer("nginx", "ffmpeg")
def test_what_nginx_pulls_from_us_is_what_was_published_here(tmp_path, footage, arrived):
    path = tmp_path / "played.flv"
    with (
        Server(tmp_path / "near", LIVE) as near,
        Nginx(tmp_path / "nginx", f"pull {near.url('live')};") as nginx,
        ffmpeg_writer(path, "-i", nginx.url("s")) as player,
    ):
        near.wait_for_players("live/s")
        publish(near.address, footage, in_step(near, footage.tags))
        wait_until_written(path, footage.tags, held_back_ms=HELD_BACK_MS)
        nginx.kill()
        player.wait()
    arrived(path, to_end=False)


@pytest.mark.peer("node", "npm", "ffmpeg")
def test_what_node_media_server_pulls_from_us_is_what_was_published_here(tmp_path, node_program, footage, arrived):
    path = tmp_path / "played.flv"
    with (
        Server(tmp_path / "near", LIVE) as near,
        NodeMediaServer(tmp_path / "node", node_program) as node,
        ffmpeg_writer(path, "-i", node.url("s")) as player,
    ):
        node.wait_for_player("s")
        node.start_relay("pull", "s", near.url("live/s"))
        near.wait_for_players("live/s")
        publish(near.address, footage, in_step(near, footage.tags, ready=node.wait_for_pull))
        wait_until_written(path, footage.tags, held_back_ms=HELD_BACK_MS)
        node.kill()
        player.wait()
    arrived(path, to_end=False)


@pytest.mark.peer("node", "npm")
def test_what_node_media_server_pushes_to_us_is_what_was_published_there(tmp_path, node_program, footage, arrived):
    with (
        Server(tmp_path / "far", FAR) as far,
        NodeMediaServer(tmp_path / "node", node_program) as node,
    ):

        def push():
            node.start_relay("push", "s", far.url("live/s"))  # the stream has to be there
            node.wait_for_push()

        publish(node.address, footage, once_ready(push, footage.tags))
        path = recording(far)
        wait_until_written(path, footage.tags)
        node.stop_relay("push", "s", far.url("live/s"))
        far.wait_for("recording closed", stream="live/s")
    arrived(path, to_end=True)


@pytest.mark.peer("ffmpeg")
def test_what_an_ffmpeg_that_listens_is_pushed_is_what_was_published(tmp_path, footage, arrived):
    port, path = free_port(), tmp_path / "listened.flv"
    url = f"rtmp://127.0.0.1:{port}/live/s"
    with ffmpeg_writer(path, "-listen", "1", "-i", url) as ffmpeg, Server(tmp_path / "near", LIVE) as near:
        wait_until_listening(port)

        def push():
            near.api.start_push("live/s", targets=[url])
            near.wait_for("relay connected")

        publish(near.address, footage, in_step(near, footage.tags, ready=push))
        assert ffmpeg.wait() == 0
    arrived(path, to_end=True)
