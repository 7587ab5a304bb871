"""Recordings that go wrong, or whose streams do: the live stream goes on, and files are where they belong."""

from __future__ import annotations

import resource

import pytest

from tests.helpers.media import frames_of, packets_of, read_tags
from tests.helpers.rtmp_client import Connection, LivePublisher, Player
from tests.helpers.server import Server

pytestmark = pytest.mark.e2e

CONFIG = '[apps.live]\nrecord = "auto"\nresume_s = 0\n[limits]\nlinger_s = 0.1\n'
FILE_BYTES = 60_000


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Server(tmp_path_factory.mktemp("server"), CONFIG) as server:
        yield server


def test_a_disk_that_takes_no_more_ends_the_recording_and_nothing_else(directory, sources):
    with Server(directory, CONFIG) as server, Player(server.address, "s") as player:
        server.allowed_errors.add("recording failed")
        _, hard = resource.prlimit(server.media_worker(), resource.RLIMIT_FSIZE)
        resource.prlimit(server.media_worker(), resource.RLIMIT_FSIZE, (FILE_BYTES, hard))
        with LivePublisher(server.address, "s", sources.tags("long")) as publisher:
            failed = server.wait_for("recording failed", stream="live/s")
            publisher.wait_until_sent(publisher.sent_ms + 300)
            publisher.finish()
        player.wait_for_end()
        server.wait_for("recording repaired", stream="live/s")
        # It goes on in the next file, as far as that comes.
        (path,) = (path for path in server.recordings("live/s") if path.name.endswith("-001.flv"))

    assert "File too large" in failed["reason"]
    assert frames_of(player.media) == frames_of(publisher.sent)
    recorded = frames_of(read_tags(path))
    assert len(recorded) > 20
    assert recorded == frames_of(publisher.sent)[: len(recorded)]
    assert packets_of(path)


def test_a_stream_without_a_frame_leaves_no_file(server, sources):
    with Connection(server.address).connect().publish("empty") as publisher:
        publisher.send_tag(sources.tags("short")[0])
        publisher.unpublish()

    assert server.wait_for("recording closed", stream="live/empty")["empty"]
    assert not server.recordings("live/empty")


@pytest.mark.parametrize("name", ["..", ".", "../../escaped", "a/../../../escaped", "nul\0", "tab\t", "\u202eback"])
def test_a_name_that_leads_elsewhere_is_refused(name, server):
    with Connection(server.address).connect() as publisher:
        assert publisher.refused("publish", name)["code"] == "NetStream.Publish.BadName"


@pytest.mark.parametrize("name", ["%2e%2e%2fescaped", "two words", "Ünï", "-rf", "a" * 250, "CON", "~", "{app}", "a%b"])
def test_whatever_a_stream_is_called_its_file_is_in_its_place(name, server, sources):
    before = set(server.recordings())
    with Connection(server.address).connect().publish(name) as publisher:
        for tag in sources.tags("short")[:20]:
            publisher.send_tag(tag)
        publisher.unpublish()
    server.wait_for("recording closed", stream=f"live/{name}")

    (path,) = set(server.recordings()) - before
    assert path.parent.parent == server.data / "recordings" / "live"
    assert path.name.isascii()
    assert packets_of(path)


def test_two_streams_are_recorded_side_by_side(server, sources):
    tags = sources.tags("short")
    with (
        Connection(server.address).connect().publish("left") as left,
        Connection(server.address).connect().publish("right") as right,
    ):
        for tag in tags:
            left.send_tag(tag)
            right.send_tag(tag)
        left.unpublish()
        right.unpublish()

    for stream in ("live/left", "live/right"):
        server.wait_for("recording closed", stream=stream)
        (path,) = server.recordings(stream)
        assert frames_of(read_tags(path)) == frames_of(tags)
