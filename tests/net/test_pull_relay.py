"""A pull relay goes from source to source, and its players notice nothing but time."""

from __future__ import annotations

import asyncio

import pytest

from rtmpd.live.stream import StreamState
from rtmpd.net import backoff, pull_relay
from rtmpd.net.pull_relay import PullState
from rtmpd.net.pull_target import PullTarget
from rtmpd.wire.messages import PING_REQUEST, PING_RESPONSE, encode_user_control
from tests.helpers.live import audio_header, inter_frame, key_frame, video_header
from tests.helpers.pulls import Hands, PlayedSource, Pulling
from tests.helpers.rig import Rig
from tests.helpers.studio import Clock

FIRST = [video_header(), key_frame(0), inter_frame(40)]


@pytest.fixture
def hasty(monkeypatch):
    """Pauses of a millisecond."""
    monkeypatch.setattr(backoff, "FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(backoff, "LONGEST_PAUSE_S", 0.001)


@pytest.fixture
def endless(monkeypatch):
    """Pauses that never end."""
    monkeypatch.setattr(backoff, "FIRST_PAUSE_S", 3600.0)
    monkeypatch.setattr(backoff, "LONGEST_PAUSE_S", 3600.0)


class WatchedClock(Clock):
    """Knows how often the time was asked for: a relay asks each time that it wakes up."""

    def __init__(self):
        super().__init__()
        self.asked = 0

    def time(self):
        self.asked += 1
        return super().time()


class Journal:
    def __init__(self):
        self.heard = []

    async def began(self, publication):
        self.heard.append(("began", publication.terms.address))

    def over(self, publication, reason, *, clean):
        self.heard.append(("over", reason, clean))


@pytest.fixture
async def rig():
    async with Rig() as rig:
        rig.services.journal = Journal()
        yield rig


async def test_a_stream_is_published_connected_is_logged_and_the_journal_is_kept(rig):
    source = PlayedSource()
    async with Pulling(rig, source) as pulling:
        assert pulling.relay.status.state is PullState.CONNECTING
        await source.feed(0, *FIRST)
        status = await pulling.until(PullState.LIVE)
        await rig.until(lambda: rig.services.journal.heard)
        assert pulling.stream.state is StreamState.LIVE

    assert (status.source, status.attempts, status.reason) == ("rtmp://played/app", 1, "")
    assert status.bytes_in > 0
    assert rig.services.journal.heard == [("began", "192.0.2.9"), ("over", "test ends", True)]
    (line,) = pulling.lines("pull connected")
    assert (line["stream"], line["source"]) == ("live/s", "rtmp://played/app")


async def test_players_go_on_with_the_next_source_at_once_and_in_time(rig, endless):
    first, second = PlayedSource("a"), PlayedSource("b")
    async with Pulling(rig, first, second) as pulling:
        await first.feed(0, video_header(), key_frame(90_000), inter_frame(90_040))
        player = await rig.player()
        await first.end(0, "Connection reset by peer")
        await second.feed(0, video_header(), key_frame(5), inter_frame(45))
        times = [m.timestamp_ms for m in await player.media(6)]
        status = pulling.relay.status

    assert times == sorted(times)
    assert (status.source, status.reason) == ("b", "Connection reset by peer")
    (line,) = pulling.lines("pull lost")
    assert (line["source"], line["reason"], line["was_live"]) == ("a", "Connection reset by peer", True)


async def test_after_all_sources_there_is_a_pause_and_then_the_first_again(rig, endless, monkeypatch):
    first, second = PlayedSource("a"), PlayedSource("b")
    async with Pulling(rig, first, second) as pulling:
        await first.end(0, "refused")
        await second.end(0, "refused, too")
        status = await pulling.until(PullState.BACKING_OFF)
        assert (status.reason, status.attempts, len(first.tries)) == ("refused, too", 2, 1)


async def test_a_pause_ends(rig, hasty):
    first, second = PlayedSource("a"), PlayedSource("b")
    async with Pulling(rig, first, second) as pulling:
        for number in range(3):
            await first.end(number)
            await second.end(number)
        await first.feed(3, *FIRST)
        assert (await pulling.until(PullState.LIVE)).attempts == 7


@pytest.mark.parametrize(
    ("second_may_retry", "longest"),
    [(False, True), (True, False)],
)
async def test_only_where_every_source_refuses_for_good_the_pause_is_the_longest(
    rig, monkeypatch, second_may_retry, longest
):
    monkeypatch.setattr(pull_relay, "LONGEST_PAUSE_S", 3600.0)
    monkeypatch.setattr(backoff, "FIRST_PAUSE_S", 0.001)
    first, second = PlayedSource("a"), PlayedSource("b")
    async with Pulling(rig, first, second) as pulling:
        await first.end(0, may_retry=False)
        await second.end(0, may_retry=second_may_retry)
        if longest:
            await pulling.until(PullState.BACKING_OFF)
        else:
            await first.tried(1)


async def test_what_lasted_begins_with_a_short_pause_again(rig, monkeypatch):
    pauses = []
    monkeypatch.setattr(pull_relay, "pause_s", lambda failures, _: pauses.append(failures) or 0.0)
    source = PlayedSource()
    async with Pulling(rig, source):
        for number in range(2):
            await source.end(number)
        monkeypatch.setattr(pull_relay, "STABLE_S", 0.0)
        await source.feed(2, *FIRST)
        await source.end(2)
        await source.tried(3)

    assert pauses == [1, 2, 1]


async def test_a_source_that_sends_us_elsewhere_is_tried_again_at_once_if_it_lasted(rig, endless, monkeypatch):
    monkeypatch.setattr(pull_relay, "STABLE_S", 0.0)
    source = PlayedSource()
    async with Pulling(rig, source):
        await source.feed(0, *FIRST)
        await source.end(0, url="elsewhere")
        await source.tried(1)


async def test_a_source_that_falls_silent_is_left_for_the_next(rig):
    first, second, clock = PlayedSource("a"), PlayedSource("b"), Clock()
    async with Pulling(rig, first, second, silence_s=0.05, clock=clock) as pulling:
        await first.feed(0, *FIRST)
        clock.go_on(0.06)
        await second.feed(0, video_header())
        assert pulling.relay.status.state is PullState.LIVE
        lost = pulling.lines("pull lost")
        _, receiving = await first.tried(0)
        assert receiving.cancelled()

    assert lost[0]["reason"] == "no media for 0.05 s"


async def test_bytes_that_are_no_media_do_not_keep_a_source(rig):
    hands, second, clock = Hands(), PlayedSource("b"), Clock()
    pong = encode_user_control(PING_RESPONSE, 1).body
    async with Pulling(rig, hands.source(rig), second, silence_s=0.05, clock=clock) as pulling:
        hand = await hands.hand(0)
        await hand.grant_play()
        for _ in range(2):
            await hand.say(encode_user_control(PING_REQUEST, 1))
            while (await hand.message()).body != pong:
                pass
            clock.go_on(0.03)
        await second.tried(0)
        hands.close()

    assert pulling.lines("pull lost")[0]["reason"] == "no media for 0.05 s"


async def test_media_keep_a_source_alive(rig):
    source, clock = PlayedSource(), WatchedClock()
    async with Pulling(rig, source, silence_s=0.05, clock=clock) as pulling:
        for number in range(4):
            await source.feed(0, audio_header() if number else video_header())
            clock.go_on(0.03)
            asked = clock.asked
            await rig.until(lambda asked=asked: clock.asked > asked)
        assert pulling.relay.status.attempts == 1


async def test_the_first_media_are_waited_for_less_long_where_there_is_another_source(rig, monkeypatch):
    monkeypatch.setattr(pull_relay, "FIRST_MEDIA_S", 0.05)
    first, second = PlayedSource("a"), PlayedSource("b")
    async with Pulling(rig, first, second) as pulling:
        await second.tried(0)
        assert pulling.lines("pull lost")[0]["reason"] == "no media for 0.05 s"
        assert not pulling.lines("pull lost")[0]["was_live"]


async def test_a_sole_source_is_waited_for_as_long_as_it_may_be_silent(rig, monkeypatch):
    monkeypatch.setattr(pull_relay, "FIRST_MEDIA_S", 0.0)
    source = PlayedSource()
    async with Pulling(rig, source) as pulling:
        await source.feed(0, *FIRST)
        assert (await pulling.until(PullState.LIVE)).attempts == 1


async def test_the_end_at_a_sole_source_is_the_end_of_the_stream(rig, endless):
    source = PlayedSource()
    async with Pulling(rig, source) as pulling:
        await source.feed(0, *FIRST)
        player = await rig.player()
        await source.end(0, "ended", is_end=True)
        await player.status("NetStream.Play.UnpublishNotify")
        await pulling.until(PullState.BACKING_OFF)

    assert ("over", "ended", True) in rig.services.journal.heard


async def test_the_end_at_one_of_several_sources_keeps_the_players_for_the_next(rig, endless):
    first, second = PlayedSource("a"), PlayedSource("b")
    async with Pulling(rig, first, second) as pulling:
        await first.feed(0, *FIRST)
        await first.end(0, "ended", is_end=True)
        await second.tried(0)
        assert pulling.stream.state is StreamState.GRACE


async def test_a_pull_that_nobody_wants_any_more_ends_with_its_stream(rig):
    source = PlayedSource()
    async with Pulling(rig, source, goes_on=lambda: False) as pulling:
        await source.feed(0, *FIRST)
        await source.end(0, "ended", is_end=True)
        await asyncio.wait_for(asyncio.shield(pulling.relay.task), 10)

    assert pulling.stream is None


async def test_a_cancelled_pull_ends_its_stream_and_says_why(rig):
    source = PlayedSource()
    async with Pulling(rig, source) as pulling:
        await source.feed(0, *FIRST)
        player = await rig.player()
        pulling.relay.cancel("not wanted")
        status = await player.status("NetStream.Play.UnpublishNotify")
        _, receiving = await source.tried(0)
        await rig.until(receiving.cancelled)

    assert "not wanted" in str(status.arguments)


@pytest.mark.parametrize("state", [PullState.CONNECTING, PullState.BACKING_OFF])
async def test_a_pull_is_cancelled_in_any_state(rig, endless, state):
    source = PlayedSource()
    async with Pulling(rig, source) as pulling:
        if state is PullState.BACKING_OFF:
            await source.end(0)
        await pulling.until(state)
        pulling.relay.cancel("x")
        await asyncio.wait([pulling.relay.task], timeout=10)
        assert pulling.relay.task.cancelled()


async def test_a_publisher_that_holds_the_name_is_left_alone_until_it_goes(rig, hasty):
    publisher = await rig.publisher()
    source = PlayedSource()
    async with Pulling(rig, source) as pulling:
        await source.feed(0, *FIRST)
        await source.tried(1)
        assert pulling.relay.status.reason == "live/s is already being published"
        publisher.close()
        await rig.until(rig.closed)
        await source.feed(len(source.tries) - 1, *FIRST)
        await pulling.until(PullState.LIVE)


async def test_a_publication_that_is_disconnected_comes_back(rig, hasty):
    source = PlayedSource()
    async with Pulling(rig, source) as pulling:
        await source.feed(0, *FIRST)
        pulling.stream.publication.evict("disconnected by an operator")
        await source.feed(1, *FIRST)
        status = await pulling.until(PullState.LIVE)

    assert status.reason == "disconnected by an operator"


async def test_a_source_that_fails_again_and_again_is_told_once_for_each_reason_until_it_was_live(rig, hasty):
    source = PlayedSource()
    async with Pulling(rig, source) as pulling:
        for number, reason in enumerate(["refused", "refused", "reset"]):
            await source.end(number, reason)
        await source.feed(3, *FIRST)
        await source.end(3, "reset")
        await source.tried(4)
        lost = [line["reason"] for line in pulling.lines("pull lost")]

    assert lost == ["refused", "reset", "reset"]


async def test_each_source_is_a_publication_of_its_own_in_the_journal(rig, endless):
    first, second = PlayedSource("a"), PlayedSource("b")
    async with Pulling(rig, first, second):
        await first.feed(0, *FIRST, address="192.0.2.1")
        await rig.until(lambda: rig.services.journal.heard)
        await first.end(0, "reset")
        await second.feed(0, *FIRST, address="192.0.2.2")
        await rig.until(lambda: len(rig.services.journal.heard) == 3)
        heard = list(rig.services.journal.heard)

    assert heard == [("began", "192.0.2.1"), ("over", "reset", False), ("began", "192.0.2.2")]


async def test_a_fault_of_ours_is_loud_and_gives_the_stream_back(rig):
    class Faulty(PlayedSource):
        async def receive(self, feed):
            feed.take(FIRST, "a")
            raise ZeroDivisionError

    async with Pulling(rig, Faulty(), target=PullTarget("live", "s", grace_s=0, is_public=True)) as pulling:
        await asyncio.wait([pulling.relay.task])

    assert len(rig.failures) == 1
    assert pulling.stream is None
