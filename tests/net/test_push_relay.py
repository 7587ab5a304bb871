"""A push relay comes back by itself, and what its target does touches nothing else."""

from __future__ import annotations

import asyncio
import gc

import pytest

from rtmpd.net import backoff, push_relay
from rtmpd.net.client_connection import Parting
from rtmpd.net.push_relay import RelayState
from rtmpd.net.relay_connection import RelayConnection
from rtmpd.session.replies import error
from rtmpd.wire.messages import DATA_AMF0
from tests.helpers.live import audio_frame, inter_frame, key_frame, metadata, video_header
from tests.helpers.relays import HandServer, Relaying, RigTarget
from tests.helpers.rig import Rig
from tests.helpers.transcript import command

FIRST = [metadata(width=2), video_header(), key_frame(0), inter_frame(40)]


@pytest.fixture
def hasty(monkeypatch):
    """Pauses of a millisecond."""
    monkeypatch.setattr(backoff, "FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(backoff, "LONGEST_PAUSE_S", 0.001)


@pytest.fixture
async def rig():
    async with Rig() as source:
        source.source = await source.publisher()
        await source.source.send(*FIRST)
        await source.until(lambda: source.services.registry.find("live", "s").last_timestamp_ms == 40)
        yield source


@pytest.fixture
async def target():
    async with Rig() as other:
        yield RigTarget(other)


@pytest.fixture
def hands():
    target = HandServer()
    yield target
    target.close()


def stream_of(target):
    return target.rig.services.registry.find("app", "key")


async def test_a_stream_goes_to_the_target_from_its_key_frame_on(rig, target):
    async with Relaying(rig, target) as relaying:
        await relaying.live()
        viewer = target.rig.connect()
        await viewer.open()
        await viewer.command("play", 3, None, "../app/key", message_stream_id=1)
        await rig.source.send(audio_frame(50), inter_frame(80, size=100_000))
        await rig.until(lambda: stream_of(target).last_timestamp_ms == 80)
        log = stream_of(target).log
        arrived = [(entry.type_id, entry.timestamp_ms, body) for entry, body in log.messages(log.start)]

    assert arrived == [
        (m.type_id, m.timestamp_ms, m.body) for m in [*FIRST, audio_frame(50), inter_frame(80, size=100_000)]
    ]
    assert relaying.states == [RelayState.CONNECTING, RelayState.LIVE, RelayState.ENDED]


async def test_the_end_of_the_stream_ends_the_target_properly_and_with_everything(rig, target):
    async with Relaying(rig, target) as relaying:
        await relaying.live()
        await rig.source.send(*(inter_frame(40 * number, size=50_000) for number in range(2, 20)))
        await rig.until(lambda: rig.services.registry.find("live", "s").last_timestamp_ms == 760)
        log = stream_of(target).log

        relaying.relay.finish("the stream has ended")
        status = await relaying.until(RelayState.ENDED)

        await rig.until(target.rig.closed)
        assert log.timestamp_at(log.end) == 760
    assert status.reason == "the stream has ended"
    (line,) = [line for line in rig.lines if line["event"] == "push relay ended"]
    assert (line["stream"], line["target"], line["connects"]) == ("live/s", "rtmp://target.example/app", 1)
    assert line["bytes_out"] > 17 * 50_000
    assert stream_of(target) is None


async def test_a_target_that_is_killed_twenty_times_has_the_stream_back_each_time(rig, target, hasty):
    player = await rig.player()
    async with Relaying(rig, target) as relaying:
        for round_ in range(1, 21):
            await relaying.live(round_)
            await rig.source.send(key_frame(1000 * round_), inter_frame(1000 * round_ + 40))
            await rig.until(
                lambda time_ms=1000 * round_ + 40: stream_of(target) and stream_of(target).last_timestamp_ms >= time_ms
            )
            target.drop()
        status = relaying.relay.status
        seen = await player.media(4 + 40)

    assert status.connects >= 20
    times = [m.timestamp_ms for m in seen if m.type_id != DATA_AMF0]
    assert times == sorted(times)
    assert times[-1] == 20_040
    assert {line["reason"] for line in rig.lines if line["event"] == "push relay failed"} <= {
        "peer closed",
        "Connection reset by peer",
        "Broken pipe",
    }


async def test_a_target_that_is_down_is_tried_again_with_a_reason(rig, target, hasty):
    target.down = True
    async with Relaying(rig, target) as relaying:
        status = await relaying.until(RelayState.BACKING_OFF, 3)
        target.down = False
        await relaying.live()

    assert (status.reason, status.failures) == ("target.example: Connection refused", 3)
    assert status.target == "rtmp://target.example/app"
    assert relaying.states[:3] == [RelayState.CONNECTING, RelayState.BACKING_OFF, RelayState.CONNECTING]


async def test_what_lasted_begins_with_a_short_pause_again_and_what_did_not_does_not(rig, target, hasty, monkeypatch):
    target.down = True
    async with Relaying(rig, target) as relaying:
        await relaying.until(RelayState.BACKING_OFF, 2)
        target.down = False
        await relaying.live()
        target.drop()
        assert (await relaying.until(RelayState.BACKING_OFF, 3)).failures >= 3

        await relaying.live(2)
        monkeypatch.setattr(push_relay, "STABLE_S", 0.0)
        target.drop()
        await rig.until(lambda: relaying.said[-1].failures == 1)


async def test_a_refusal_for_good_is_tried_again_rarely(rig, target):
    target.rig.policy.refuse = ("NetStream.Publish.Denied", "wrong token")
    async with Relaying(rig, target) as relaying:
        status = await relaying.until(RelayState.BACKING_OFF)

    assert status.reason == "refused: NetStream.Publish.Denied: wrong token"
    (line,) = [line for line in rig.lines if line["event"] == "push relay failed"]
    assert line["next_try_s"] == backoff.LONGEST_PAUSE_S


async def test_a_target_that_takes_nothing_is_connected_to_anew_and_nobody_else_notices(rig, hands, hasty):
    player = await rig.player()
    async with Relaying(rig, hands) as relaying:
        await (await hands.hand(0)).grant()
        await relaying.live()
        for time_ms in range(80, 4000, 40):
            await rig.source.send(inter_frame(time_ms, size=100_000))
        await rig.until(lambda: rig.services.fanout._blocked)
        await player.media(4 + 98)
        cut_off = rig.services.fanout.cut_off_stalled
        await rig.until(lambda: cut_off(rig.loop.time() + 31) or RelayState.BACKING_OFF in relaying.states)
        status = await relaying.until(RelayState.BACKING_OFF)
        await (await hands.hand(1)).grant()
        await relaying.live(2)

    assert status.reason == "too slow: nothing taken for 30 s"


async def test_a_target_that_is_too_slow_jumps_to_the_newest_key_frame():
    async with Rig(bytes_=1 << 20) as rig:
        source = await rig.publisher()
        await source.send(*FIRST)
        await rig.until(lambda: rig.services.registry.find("live", "s").has_frames)
        hands = HandServer()
        async with Relaying(rig, hands) as relaying:
            hand = await hands.hand(0)
            await hand.grant()
            await relaying.live()
            for time_ms in range(80, 12_000, 40):
                await source.send(inter_frame(time_ms, size=100_000))
            await source.send(key_frame(12_000), inter_frame(12_040))
            await rig.until(lambda: rig.services.registry.find("live", "s").last_timestamp_ms == 12_040)
            media = []
            while not media or media[-1].timestamp_ms != 12_040:
                media += await hand.media(1)
            skipped_ms = relaying.relay.status.skipped_ms
        hands.close()

    assert [(m.timestamp_ms, m.body[:2]) for m in media[-3:]] == [
        (12_000, b"\x17\0"),
        (12_000, b"\x17\1"),
        (12_040, b"\x27\1"),
    ]
    assert skipped_ms > 0


async def test_a_password_is_asked_for_and_given_without_a_pause(rig, hands):
    reject = "[ AccessManager.Reject ] : [ authmod=adobe ] : "
    async with Relaying(rig, hands, url="rtmp://bob:secret@target.example/app/key") as relaying:
        for number, question in enumerate((reject, f"{reject}?reason=needauth&user=bob&salt=S&challenge=C")):
            hand = await hands.hand(number)
            await hand.open()
            await hand.command("connect")
            await hand.say(error(1, "NetConnection.Connect.Rejected", question))
        hand = await hands.hand(2)
        await hand.open()
        app = (await hand.command("connect")).command_object["app"]
        assert RelayState.BACKING_OFF not in relaying.states

    assert app.startswith("app?authmod=adobe&user=bob&challenge=")
    again = [line["reason"] for line in rig.lines if line["event"] == "push relay connects again"]
    assert again == ["the target asks for user and password"] * 2
    assert not any("response=" in str(line) for line in rig.lines)


async def test_a_target_that_asks_for_a_password_again_and_again_is_left_alone_for_long(rig, hands):
    async with Relaying(rig, hands, url="rtmp://bob:secret@target.example/app/key") as relaying:
        for number in range(2):
            hand = await hands.hand(number)
            await hand.open()
            await hand.say(error(1, "NetConnection.Connect.Rejected", "authmod=adobe ] ?reason=needauth&salt=S"))
        await relaying.until(RelayState.BACKING_OFF)

    assert len(hands.hands) == 2
    assert "secret" not in str(rig.lines)


@pytest.mark.parametrize(("stable_s", "pauses"), [(0.0, 0), (10.0, 1)])
async def test_a_target_may_send_us_elsewhere_but_not_round_in_circles(
    rig, hands, hasty, monkeypatch, stable_s, pauses
):
    monkeypatch.setattr(push_relay, "STABLE_S", stable_s)
    info = {"level": "status", "code": "NetConnection.Connect.ReconnectRequest", "tcUrl": "rtmp://b.example/x"}
    async with Relaying(rig, hands) as relaying:
        hand = await hands.hand(0)
        await hand.grant()
        await relaying.live()
        await hand.say(command("onStatus", 0, None, info))
        await hand.command("deleteStream")
        await hands.hand(1)

    assert relaying.states.count(RelayState.BACKING_OFF) == pauses
    assert hands.dialled[1].label == ("rtmp://target.example/app" if pauses else "rtmp://b.example/x")


@pytest.mark.parametrize("moment", ["before the first step", RelayState.CONNECTING, RelayState.BACKING_OFF])
async def test_a_stream_that_ends_before_its_relay_is_live_ends_it_at_once(rig, target, moment):
    gate = asyncio.Event()
    target.down = moment is RelayState.BACKING_OFF
    dial = target.dial

    async def slow(url):
        await gate.wait()
        return await dial(url)

    if moment is not RelayState.BACKING_OFF:
        target.dial = slow
    async with Relaying(rig, target) as relaying:
        if isinstance(moment, RelayState):
            await relaying.until(moment)
        relaying.relay.finish("over")
        relaying.relay.finish("again")
        status = await relaying.until(RelayState.ENDED)

    assert status.reason == "over"
    assert relaying.states.count(RelayState.ENDED) == 1


async def test_a_stream_may_end_in_the_moment_in_which_its_target_does(rig, target):
    async with Relaying(rig, target) as relaying:
        await relaying.live()
        relaying.relay._connection.close(Parting("gone"))
        relaying.relay.finish("over")
        status = await relaying.until(RelayState.ENDED)

    assert status.reason == "over"
    assert RelayState.BACKING_OFF not in relaying.states


async def test_closing_leaves_nothing_behind(rig, hands):
    async with Relaying(rig, hands) as relaying:
        hand = await hands.hand(0)
        await hand.grant()
        await relaying.live()
        await relaying.relay.close()
        await hand.end()

    assert relaying.states[-1] is RelayState.ENDED
    assert not rig.services.tasks._tasks
    assert not rig.services.registry.find("live", "s").log.cursors
    assert not rig.failures


async def test_a_try_that_has_ended_is_freed_without_the_collector(rig, target, hasty):
    async with Relaying(rig, target) as relaying:
        await relaying.live()
        gc.collect()
        gc.disable()
        try:
            target.drop()
            await relaying.live(2)
            tries = [each for each in gc.get_objects() if type(each) is RelayConnection]
        finally:
            gc.enable()

    assert len(tries) == 1


async def test_a_fault_of_ours_ends_the_relay_and_says_so(rig, hands):
    def dial(_url):
        raise ZeroDivisionError

    hands.dial = dial
    async with Relaying(rig, hands) as relaying:
        status = await relaying.until(RelayState.ENDED)

    assert status.reason == "internal error"
    (failure,) = rig.failures
    assert isinstance(failure, ZeroDivisionError)


async def test_figures_go_on_over_all_tries(rig, target, hasty):
    async with Relaying(rig, target) as relaying:
        await relaying.live()
        await rig.until(lambda: relaying.relay.status.bytes_out)
        first = relaying.relay.status
        target.drop()
        await relaying.live(2)
        await rig.until(lambda: relaying.relay.status.bytes_out > first.bytes_out)

    assert first.lag_ms == 0
