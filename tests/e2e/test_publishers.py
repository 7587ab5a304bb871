"""Publishers that drop, come back, or want a name that is taken."""

from __future__ import annotations

import signal
import time

import pytest

from rtmpd.wire.messages import VIDEO
from tests.helpers.clients import pyav_player, pyav_publisher
from tests.helpers.media import frames_of, is_frame, is_key_frame, packets_of, read_tags
from tests.helpers.rtmp_client import Connection, LivePublisher, Player
from tests.helpers.server import Server

pytestmark = pytest.mark.e2e

CONFIG = """
[apps.live]
grace_s = 60
record = "auto"
resume_s = 0
[apps.soon]
grace_s = 1
[apps.never]
takeover = "never"
[apps.always]
takeover = "always"
[apps.keyed]
publish_key = ["one", "two"]
[limits]
linger_s = 0.1
"""
OTHER_ADDRESS = "127.0.0.2"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Server(tmp_path_factory.mktemp("server"), CONFIG) as server:
        yield server


def assert_never_back(messages):
    """See that the time of each kind of frame only grows."""
    latest = {}
    for message in messages:
        if is_frame(message):
            assert message.timestamp_ms > latest.get(message.type_id, -1)
            latest[message.type_id] = message.timestamp_ms


def test_players_stay_when_a_killed_publisher_comes_back(server, sources):
    url = server.url("live/comes-back")
    source = frames_of(sources.tags("short"))
    with Player(server.address, "comes-back") as player, pyav_player(url) as other:
        server.wait_for_players("live/comes-back", 2)
        with pyav_publisher(sources.flv("short"), url) as publisher:
            player.wait_for_media(60)
            publisher.signal(signal.SIGKILL)
            server.wait_for("closed", role="publish", stream="live/comes-back")
        with pyav_publisher(sources.flv("short"), url) as publisher:
            assert publisher.wait() == 0
        player.wait_for_end()
        packets = other.finish()

    frames = frames_of(player.media)
    seam = len(frames) - len(source)
    assert seam > 20
    assert frames == source[:seam] + source
    assert_never_back(player.media)
    assert [packet.size for packet in packets if packet.kind == "video"]
    assert len(packets) == len(frames)
    server.wait_for("recording closed", stream="live/comes-back")
    (recorded,) = server.recordings("live/comes-back")
    assert frames_of(read_tags(recorded)) == frames
    assert_never_back(read_tags(recorded))
    assert len(packets_of(recorded)) == len(frames)


def test_a_returned_publisher_goes_on_where_the_wall_clock_says(server, sources):
    tags = sources.tags("h264+aac")
    first_key = frames_of(filter(is_key_frame, tags))[0]

    def seams(player):
        """Where a publisher begins: each sends its tags once."""
        return [index for index, frame in enumerate(frames_of(player.media)) if frame == first_key]

    with Player(server.address, "clock") as player:
        began_s = time.monotonic()
        with LivePublisher(server.address, "clock", tags, repeat=False) as first:
            first.wait_until_sent(500)
            first.drop()
        server.wait_for("closed", role="publish", stream="live/clock")
        with LivePublisher(server.address, "clock", tags, repeat=False) as second:
            player.wait_until(lambda: len(seams(player)) == 2, "the second publisher's first picture")
            second.finish()
        passed_ms = (time.monotonic() - began_s) * 1000

    frames = list(filter(is_frame, player.media))
    _, seam = seams(player)
    last_ms = max(frame.timestamp_ms for frame in frames[:seam])
    assert is_key_frame(frames[seam])
    assert last_ms < frames[seam].timestamp_ms < passed_ms + 200


def test_a_player_that_comes_while_the_publisher_is_away_goes_on_with_it(server, sources):
    tags = sources.tags("short")
    with LivePublisher(server.address, "meanwhile", tags) as first:
        first.wait_until_sent(1_200)
        first.drop()
    server.wait_for("closed", role="publish", stream="live/meanwhile")
    with Player(server.address, "meanwhile") as player:
        player.wait_until(lambda: any(map(is_frame, list(player.media))), "what the first has left")
        with LivePublisher(server.address, "meanwhile", tags) as second:
            second.wait_until_sent(300)
            second.finish()
        player.wait_for_end()

    frames = frames_of(player.media)
    assert is_key_frame(next(message for message in player.media if is_frame(message)))
    assert frames[-len(frames_of(second.sent)) :] == frames_of(second.sent)
    assert_never_back(player.media)


def test_players_leave_when_a_dropped_publisher_stays_away(server, sources):
    with Player(server.address, "away", app="soon") as player:
        with LivePublisher(server.address, "away", sources.tags("h264+aac"), app="soon") as publisher:
            publisher.wait_until_sent(200)
            dropped_s = time.monotonic()
            publisher.drop()
        player.wait_for_status("NetStream.Play.UnpublishNotify")
        waited_s = time.monotonic() - dropped_s
        player.wait_for_end()

    assert waited_s > 0.9


def test_a_second_publisher_from_the_same_address_takes_over(server, sources):
    tags = sources.tags("h264+aac")
    with Player(server.address, "over") as player, LivePublisher(server.address, "over", tags) as first:
        first.wait_until_sent(500)
        with LivePublisher(server.address, "over", tags) as second:
            server.wait_for("closed", stream="live/over", reason="replaced by another publisher of the same stream")
            second.wait_until_sent(500)
            second.finish()
        player.wait_for_end()
    server.wait_for("recording closed", stream="live/over")

    frames = frames_of(player.media)
    assert player.codes.count("NetStream.Play.Start") == 1
    assert frames[-len(frames_of(second.sent)) :] == frames_of(second.sent)
    assert_never_back(player.media)
    (recorded,) = server.recordings("live/over")
    assert frames_of(read_tags(recorded)) == frames


@pytest.mark.parametrize(
    ("app", "query", "source"),
    [("never", "", "127.0.0.1"), ("live", "", OTHER_ADDRESS), ("keyed", "?key=two", "127.0.0.1")],
    ids=["never", "from another address", "with another key"],
)
def test_a_second_publisher_is_refused(app, query, source, server, sources):
    tags = sources.tags("h264+aac")
    key = "?key=one" if app == "keyed" else ""
    with LivePublisher(server.address, f"held{key}", tags, app=app) as holder:
        with Connection(server.address, source=source).connect(app) as second:
            answer = second.refused("publish", f"held{query}")
        holder.wait_until_sent(holder.sent_ms + 100)
        holder.finish()

    assert (answer["level"], answer["code"]) == ("error", "NetStream.Publish.BadName")
    assert answer["description"] == f"{app}/held is already being published"


@pytest.mark.parametrize(("app", "query"), [("always", ""), ("keyed", "?key=one")], ids=["always", "with the same key"])
def test_a_second_publisher_from_another_address_takes_over(app, query, server, sources):
    with (
        Connection(server.address).connect(app).publish(f"moved{query}") as first,
        Connection(server.address, source=OTHER_ADDRESS).connect(app).publish(f"moved{query}") as second,
        Player(server.address, "moved", app=app) as player,
    ):
        first.wait_for_end()
        for tag in sources.tags("h264+aac")[:20]:
            second.send_tag(tag)
        player.wait_until(lambda: VIDEO in {each.type_id for each in list(player.media)}, "the picture")
        second.unpublish()


@pytest.mark.parametrize(("verb", "code"), [("publish", "NetStream.Publish.Denied"), ("play", "NetStream.Play.Failed")])
def test_an_unknown_application_is_refused_and_the_connection_closed(verb, code, server):
    with Connection(server.address).connect("nowhere") as connection:
        answer = connection.refused(verb, "s")

    assert (answer["level"], answer["code"]) == ("error", code)
    assert answer["description"] == "there is no application 'nowhere' on this server"
    assert "nowhere" in server.wait_for("closed", stream="nowhere/s", role=verb)["reason"]
