"""One target of a stream: what is told of it, and how it is seen off."""

from __future__ import annotations

import pytest

from rtmpd.control import relayed
from rtmpd.live.terms import Terms
from tests.helpers.live import inter_frame, key_frame, metadata, video_header
from tests.helpers.relay_rig import relay_rig
from tests.helpers.relays import HandServer, RigTarget
from tests.helpers.rig import Rig

FIRST = [metadata(width=2), video_header(), key_frame(0), inter_frame(40)]
A = "rtmp://a/app/SECRET-a?k=SECRET"
SHOWN_A = "rtmp://a/app/***"


@pytest.fixture
async def a():
    async with Rig() as other:
        yield RigTarget(other)


@pytest.fixture
def hands():
    target = HandServer()
    yield target
    target.close()


async def publish(made):
    source = await made.rig.publisher()
    await source.send(*FIRST)
    return source


async def test_a_url_that_cannot_be_used_is_given_up_and_says_why(tmp_path, a):
    async with relay_rig(tmp_path) as made:
        made.targets["a"] = a
        made.rig.policy.terms = Terms(targets=("rtmp://SECRET", A))
        await publish(made)
        await made.rig.until(lambda: len(made.views()) == 2)

        view = made.views()["rtmp://SECRET/***"]
        assert (view.state, view.attempts) == ("stopped", 0)
        assert "the URL names no stream" in view.reason
        (push,) = made.pushes
        assert made.relays.state_of(push.targets[0]) == ("stopped", view.reason)
        await made.rig.until(lambda: made.views()[SHOWN_A].state == "live")
    (line,) = made.said("relay given up")
    assert line["reason"] == view.reason


async def test_a_password_in_a_url_is_given_when_it_is_asked_for(tmp_path, hands):
    async with relay_rig(tmp_path, push_targets="rtmp://bob:SECRET@a/app/key") as made:
        made.targets["a"] = hands
        await publish(made)
        hand = await hands.hand(0)
        await hand.open()

        assert (hands.dialled[0].user, hands.dialled[0].password) == ("bob", "SECRET")
        assert list(made.views()) == ["rtmp://***@a/app/***"]
    assert "SECRET" not in str(made.rig.lines)


async def test_what_is_told_in_the_grace_time_is_told_of_the_last_publisher(tmp_path, a):
    async with relay_rig(tmp_path, push_targets=A) as made:
        made.targets["a"] = a
        source = await publish(made)
        await made.until_states(a="live")
        source.close()
        await made.rig.until(made.rig.closed)
        a.down = True
        a.drop()
        await made.until_states(a="backing_off")

        (began,) = await made.owed(1)
        live, lost = await made.owed()
        assert (live["sequence"], lost["sequence"], lost["relay_event"]) == (*[began["sequence"]] * 2, "relay_lost")


async def test_the_end_of_a_relay_is_not_told_of_the_publisher_that_comes_next(tmp_path, hands):
    async with relay_rig(tmp_path, push_targets=A) as made:
        made.targets["a"] = hands
        player = made.rig.connect()  # keeps the stream's object, as it waits for the next publisher
        await player.open()
        source = await publish(made)
        made.rig.policy.grace_s = 0
        await (await hands.hand(0)).grant()
        await made.until_states(a="live")
        for number in range(2, 50):
            await source.send(inter_frame(40 * number, size=100_000))
        await made.rig.until(lambda: made.rig.services.fanout._blocked)
        await source.command("deleteStream", 4, None, 1)
        await made.rig.until(lambda: made.relays._leaving)
        await publish(made)
        await made.rig.until(lambda: made.relays._running.get(("live", "s")))
        await hands.hands[0].end()
        await made.rig.until(lambda: made.said("relay stopped"))

        first, _ = await made.owed(1)
        (stopped,) = [body for body in await made.owed() if body["relay_event"] == "relay_stopped"]
        assert stopped["sequence"] == first["sequence"]


async def test_a_target_that_takes_nothing_is_seen_off_all_the_same(tmp_path, hands, monkeypatch):
    monkeypatch.setattr(relayed, "LEAVE_S", 0.05)
    async with relay_rig(tmp_path, push_targets=A) as made:
        made.targets["a"] = hands
        source = await publish(made)
        await (await hands.hand(0)).grant()
        await made.until_states(a="live")
        for number in range(2, 100):
            await source.send(inter_frame(40 * number, size=100_000))
        await made.rig.until(lambda: made.rig.services.fanout._blocked)

        made.relays.reload({})
        await made.rig.until(lambda: made.said("relay stopped"))
        await made.rig.until(lambda: not made.relays._leaving)
        assert not made.rig.services.registry.find("live", "s").log.cursors


async def test_a_reason_does_not_name_the_stream_that_is_refused(tmp_path, a):
    a.rig.policy.refuse = ("NetStream.Publish.BadName", "app/SECRET-a is already being published with SECRET")
    async with relay_rig(tmp_path, push_targets=A) as made:
        made.targets["a"] = a
        await publish(made)
        await made.rig.until(lambda: made.said("relay lost"))
        reason = made.views()[SHOWN_A].reason
        told = await made.owed()

    assert reason == "refused: NetStream.Publish.BadName: app/*** is already being published with ***"
    assert told[0]["reason"] == reason
    assert "SECRET" not in str(made.rig.lines)
