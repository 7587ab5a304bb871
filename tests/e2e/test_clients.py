"""The programs that people use: they publish, play, hear of the end, and say why they were refused."""

from __future__ import annotations

import itertools

import pytest

from rtmpd.wire.messages import AUDIO, STREAM_EOF, VIDEO
from tests.helpers import clients
from tests.helpers.media import is_frame, packets_of, read_tags
from tests.helpers.processes import wait_until
from tests.helpers.rtmp_client import LivePublisher, Player
from tests.helpers.server import Server

pytestmark = pytest.mark.e2e

CONFIG = """
[apps.live]
[apps.never]
takeover = "never"
[apps.keyed]
publish_key = "right"
"""
PICTURES = 30
ENOUGH = 20


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Server(tmp_path_factory.mktemp("server"), CONFIG) as server:
        yield server


def wait_until_enough(path):
    """Wait until a player has written so much that it is in the middle of the stream."""
    wait_until(
        lambda: path.exists() and sum(map(is_frame, read_tags(path))) > ENOUGH, f"{ENOUGH} frames in {path.name}"
    )


def assert_contiguous_part(path, sent):
    """See that a file holds frames of a publisher, from a key frame on to the end, and that it opens."""
    recorded = [tag.body for tag in read_tags(path) if is_frame(tag)]
    assert len(recorded) > ENOUGH
    assert recorded == [tag.body for tag in sent if is_frame(tag)][-len(recorded) :]
    assert packets_of(path)


@pytest.mark.peer("rtmpdump")
def test_rtmpdump_plays_to_the_end(server, sources, tmp_path):
    path = tmp_path / "dump.flv"
    with (
        LivePublisher(server.address, "dump", sources.tags("long")) as publisher,
        clients.rtmpdump_player(server.url("live/dump"), path) as player,
    ):
        publisher.wait_until_sent(500)
        wait_until_enough(path)
        publisher.finish()
        assert player.wait() == 0

    assert_contiguous_part(path, publisher.sent)


@pytest.mark.peer("gst-launch-1.0")
def test_gstreamer_plays_to_the_end(server, sources, tmp_path):
    path = tmp_path / "gst.flv"
    with (
        LivePublisher(server.address, "gst-play", sources.tags("long")) as publisher,
        clients.gstreamer_player(server.url("live/gst-play"), path) as player,
    ):
        wait_until_enough(path)
        publisher.finish()
        assert player.wait() == 0

    assert_contiguous_part(path, publisher.sent)


@pytest.mark.peer("gst-launch-1.0")
def test_gstreamer_publishes_every_picture(server):
    with Player(server.address, "gst-push") as player:
        with clients.gstreamer_publisher(server.url("live/gst-push"), PICTURES) as publisher:
            assert publisher.wait() == 0
        player.wait_for_end()

    pictures = [message.timestamp_ms for message in player.video if is_frame(message)]
    assert len(pictures) == PICTURES
    assert all(35 <= after - before <= 45 for before, after in itertools.pairwise(pictures))


def test_a_player_hears_of_the_end_in_the_words_of_every_client(server, sources):
    tags = sources.tags("h264+aac")
    with Player(server.address, "words") as player, LivePublisher(server.address, "words", tags) as publisher:
        publisher.wait_until_sent(200)
        publisher.finish()
        player.wait_for_end()

    assert player.codes[-1] == "NetStream.Play.UnpublishNotify"
    assert (player.user_controls[-1].event, player.user_controls[-1].arguments) == (STREAM_EOF, (1,))
    assert {message.type_id for message in player.media} >= {AUDIO, VIDEO}


@pytest.mark.peer("ffmpeg")
@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("nowhere/s", "there is no application 'nowhere' on this server"),
        ("keyed/s", "a valid ?key= is needed to publish"),
        ("keyed/s?key=wrong", "wrong publish key"),
        ("never/taken", "never/taken is already being published"),
    ],
)
def test_a_refused_ffmpeg_says_why_and_exits(path, reason, server, sources):
    taken = LivePublisher(server.address, "taken", sources.tags("h264+aac"), app="never")
    with taken, clients.ffmpeg_publisher(sources.flv("h264+aac"), server.url(path)) as publisher:
        assert publisher.wait() != 0
        taken.finish()

    assert any(reason in line for line in publisher.stderr)
    server.wait_for("publish refused", why=reason)


@pytest.mark.parametrize("path", ["nowhere/s", "keyed/s?key=wrong"])
def test_a_refused_pyav_fails_at_once(path, server, sources):
    with clients.pyav_publisher(sources.flv("h264+aac"), server.url(path)) as publisher:
        assert publisher.wait() != 0

    assert not publisher.stdout
    assert any("Error" in line for line in publisher.stderr)


def test_a_refused_pyav_player_fails(server):
    with clients.pyav_player(server.url("nowhere/s")) as player:
        assert player.wait() != 0

    assert not player.packets()


def test_a_publisher_with_the_right_key_is_admitted(server, sources):
    with Player(server.address, "s", app="keyed") as player:
        with clients.pyav_publisher(sources.flv("video only"), server.url("keyed/s?key=right")) as publisher:
            player.wait_for_media(20)
        assert publisher.stdout
