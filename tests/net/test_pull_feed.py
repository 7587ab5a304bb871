"""Media of a source become a stream like that of any publisher, from the first of them on."""

from __future__ import annotations

import pytest

from rtmpd.live.registry import Takeover
from rtmpd.live.stream import StreamState
from rtmpd.net.client_connection import Parting
from rtmpd.net.pull_feed import PullFeed
from rtmpd.net.pull_target import PullTarget
from tests.helpers.live import inter_frame, key_frame, metadata, video_header
from tests.helpers.pulls import TARGET, in_log, told
from tests.helpers.rig import Rig


class Journal:
    def __init__(self):
        self.heard = []

    async def began(self, publication):
        self.heard.append("began")

    def over(self, publication, reason, *, clean):
        self.heard.append((publication.stream.path, reason, clean))


@pytest.fixture
async def rig():
    async with Rig() as rig:
        rig.services.journal = Journal()
        rig.lives = 0
        yield rig


def feed_of(rig, target=TARGET):
    def count():
        rig.lives += 1

    return PullFeed(rig.services, target, count)


def stream_of(rig):
    return rig.services.registry.find("live", "s")


MEDIA = [metadata(width=2), video_header(), key_frame(0), inter_frame(40)]


async def test_nothing_is_published_before_media_come_and_all_of_them_are_in_the_log(rig):
    feed = feed_of(rig)
    assert stream_of(rig) is None
    assert not feed.is_live

    feed.take(MEDIA[:1], "192.0.2.7")
    feed.take(MEDIA[1:], "192.0.2.7")

    assert in_log(stream_of(rig)) == told(*MEDIA)
    assert feed.is_live
    assert rig.lives == 1
    publication = await feed.taken
    assert (publication.terms.address, publication.terms.query, publication.terms.client) == ("192.0.2.7", "", 0)


async def test_players_that_wait_begin_to_play(rig):
    player = rig.connect()
    await player.open()
    await player.command("play", 3, None, "s", message_stream_id=1)
    await player.ping()

    feed_of(rig).take(MEDIA, "192.0.2.7")

    assert told(*await player.media(4)) == told(*MEDIA)


@pytest.mark.parametrize(("clean", "state"), [(False, StreamState.GRACE), (True, StreamState.IDLE)])
async def test_a_stream_that_is_given_back_waits_for_the_next_source_unless_it_is_over(rig, clean, state):
    feed = feed_of(rig)
    feed.take(MEDIA, "a")
    stream = stream_of(rig)

    feed.release("why", clean=clean)

    assert stream.state is state
    assert rig.services.journal.heard == [("live/s", "why", clean)]


async def test_without_grace_it_ends_in_any_case(rig):
    feed = feed_of(rig, PullTarget("live", "s", grace_s=0, is_public=True))
    feed.take(MEDIA, "a")

    feed.release("why", clean=False)

    assert stream_of(rig) is None


async def test_what_never_had_media_has_nothing_to_give_back(rig):
    feed_of(rig).release("why", clean=False)

    assert rig.services.journal.heard == []


async def test_the_next_source_goes_on_in_time(rig):
    first, second = feed_of(rig), feed_of(rig)
    first.take([video_header(), key_frame(5000), inter_frame(5040)], "a")
    first.release("reset", clean=False)
    second.take([video_header(), key_frame(17), inter_frame(57)], "b")

    times = [time_ms for type_id, time_ms, _ in in_log(stream_of(rig))]

    assert times == sorted(times)
    assert times[-1] - times[-2] == 40


async def test_a_name_that_somebody_publishes_is_left_alone(rig):
    await rig.publisher()
    feed = feed_of(rig)

    feed.take(MEDIA, "a")

    assert await feed.revoked == Parting("live/s is already being published")
    assert not feed.is_live


@pytest.mark.parametrize("identity", ["pull", "192.0.2.7", ""])
async def test_nobody_takes_it_over_by_accident(rig, identity):
    feed_of(rig).take(MEDIA, "192.0.2.7")

    rig.policy.takeover = Takeover.SAME
    publisher = rig.connect(address=identity)
    await publisher.open()
    await publisher.command("publish", 3, None, "s", "live", message_stream_id=1)

    await publisher.status("NetStream.Publish.BadName")


async def test_a_publisher_that_may_take_over_always_does_and_later_media_are_dropped(rig):
    feed = feed_of(rig)
    feed.take(MEDIA, "a")
    rig.policy.takeover = Takeover.ALWAYS
    await rig.publisher()

    assert (await feed.revoked).reason == "replaced by another publisher of the same stream"
    size = stream_of(rig).log.end
    feed.take([inter_frame(80)], "a")
    feed.release("replaced", clean=False)
    assert stream_of(rig).log.end == size
    assert stream_of(rig).state is StreamState.LIVE


async def test_after_the_try_nothing_is_taken(rig):
    feed = feed_of(rig)
    feed.stop()

    feed.take(MEDIA, "a")

    assert stream_of(rig) is None


async def test_a_private_stream_stays_private(rig):
    feed = feed_of(rig, PullTarget("live", "s", grace_s=0, is_public=False))
    feed.take(MEDIA, "a")

    assert not stream_of(rig).is_watchable


async def test_a_jump_of_the_times_is_told(rig):
    feed = feed_of(rig)
    feed.take([video_header(), key_frame(0)], "a")
    feed.take([key_frame(3_600_000)], "a")

    (line,) = [line for line in rig.lines if line["event"] == "timestamps jump"]
    assert (line["stream"], line["from_ms"], line["to_ms"]) == ("live/s", 0, 3_600_000)
