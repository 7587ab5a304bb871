"""Streams go where they are wanted, for as long as they are, and what becomes of their relays is told."""

from __future__ import annotations

import asyncio
import socket
import time

import pytest

from rtmpd.config_file import validate
from rtmpd.control.rooms import Named
from rtmpd.live.terms import Terms
from rtmpd.net import backoff
from rtmpd.wire.messages import DATA_AMF0
from tests.helpers.live import inter_frame, key_frame, metadata, video_header
from tests.helpers.passing_time import pass_time
from tests.helpers.relay_rig import relay_rig
from tests.helpers.relays import HandServer, RigTarget
from tests.helpers.rig import PATIENCE_S, Rig

FIRST = [metadata(width=2), video_header(), key_frame(0), inter_frame(40)]
A, B = "rtmp://a/app/SECRET-a?k=SECRET", "rtmp://b/app/SECRET-b"
SHOWN_A, SHOWN_B = "rtmp://a/app/***", "rtmp://b/app/***"


@pytest.fixture
def hasty(monkeypatch):
    """Pauses of a millisecond."""
    monkeypatch.setattr(backoff, "FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(backoff, "LONGEST_PAUSE_S", 0.001)


@pytest.fixture
async def a():
    async with Rig() as other:
        yield RigTarget(other)


@pytest.fixture
async def b():
    async with Rig() as other:
        yield RigTarget(other)


@pytest.fixture
def hands():
    target = HandServer()
    yield target
    target.close()


@pytest.fixture
async def manual(tmp_path, a, b):
    """Private streams, and two targets."""
    async with relay_rig(tmp_path, push="manual", grace_s=0) as made:
        made.targets = {"a": a, "b": b}
        made.rig.policy.grace_s = 0
        yield made


async def publish(made, name="s", *messages):
    source = await made.rig.publisher(name)
    await source.send(*(messages or FIRST))
    return source


def stream_of(target, key="SECRET-a"):
    return target.rig.services.registry.find("app", key)


# What is wanted


async def test_a_public_stream_goes_to_the_targets_of_its_application(tmp_path, a):
    async with relay_rig(tmp_path, push_targets=["rtmp://a/{app}-far/{stream}?from={stream}"]) as made:
        made.targets["a"] = a
        await publish(made)
        await made.until_states(a="live")
        await made.rig.until(lambda: (far := a.rig.services.registry.find("live-far", "s")) and far.has_frames)

    (url,) = a.dialled
    assert url.key == "s?from=s"


async def test_a_private_stream_goes_nowhere_until_it_is_pushed_and_nowhere_afterwards(tmp_path, a, b):
    async with relay_rig(tmp_path, push="manual", push_targets=B) as made:
        made.targets = {"a": a, "b": b}
        await publish(made)
        await made.rig.until(lambda: not made.relays._unsettled)
        assert made.states() == {}

        push, _ = await made.push(targets=(A,))
        await made.until_states(a="live", b="live")
        await made.pushes.stop([push.channel_id])

        await made.until_states()
        await made.rig.until(lambda: len(a.rig.closed()) == len(b.rig.closed()) == 1)
        assert made.rig.services.registry.find("live", "s").publication is not None
    assert {line["reason"] for line in made.said("relay stopped")} == {"it is no target of the stream any more"}


async def test_targets_come_to_a_running_stream_and_go_and_touch_no_other(manual, a, b):
    source = await publish(manual)
    push, _ = await manual.push(targets=(A,))
    await manual.until_states(a="live")

    target, _ = await manual.pushes.add_target(push.channel_id, B)
    await manual.until_states(a="live", b="live")
    await manual.rig.until(lambda: stream_of(b, "SECRET-b").last_timestamp_ms == 40)
    assert not await manual.pushes.remove_target(push.channel_id, target.target_id)
    await manual.until_states(a="live")
    await manual.rig.until(b.rig.closed)
    await source.send(inter_frame(80))
    await manual.rig.until(lambda: stream_of(a).last_timestamp_ms == 80)

    assert (len(a.dialled), len(b.dialled)) == (1, 1)
    assert manual.views()[SHOWN_A].attempts == 1


async def test_what_a_hook_names_is_relayed_to_and_changes_with_its_publisher(tmp_path, a, b):
    async with relay_rig(tmp_path) as made:
        made.targets = {"a": a, "b": b}
        made.rig.policy.terms = Terms(targets=(A,))
        source = await publish(made)
        await made.until_states(a="live")

        made.rig.policy.terms = Terms(targets=(B,))
        source.close()
        await made.rig.until(made.rig.closed)
        await publish(made, "s", *FIRST)
        await made.until_states(b="live")
        await made.rig.until(a.rig.closed)


async def test_a_publisher_that_drops_and_comes_back_finds_its_relays_as_they_were(tmp_path, a):
    async with relay_rig(tmp_path, push_targets=A) as made:
        made.targets["a"] = a
        source = await publish(made)
        await made.until_states(a="live")
        source.close()
        await made.rig.until(made.rig.closed)
        assert made.rig.services.registry.find("live", "s").publication is None

        again = await publish(made)
        await made.rig.until(lambda: stream_of(a).last_timestamp_ms > 40)
        assert again.connection.path == "live/s"
        assert made.states() == {"a": "live"}
    assert len(a.dialled) == 1


async def test_the_end_of_a_stream_ends_its_relays_and_its_next_life_has_new_ones(tmp_path, a):
    a.rig.policy.grace_s = 0
    async with relay_rig(tmp_path, push_targets=A) as made:
        made.targets["a"] = a
        made.rig.policy.grace_s = 0
        source = await publish(made)
        await made.until_states(a="live")
        source.close()
        await made.until_states()
        await made.rig.until(a.rig.closed)

        await publish(made)
        await made.until_states(a="live")
    assert len(a.dialled) == 2
    assert made.said("relay stopped")[0]["reason"] == "peer closed"


async def test_a_stream_that_is_replaced_in_one_breath_is_relayed_from_its_new_life(tmp_path, a):
    async with relay_rig(tmp_path, push_targets=A) as made:
        made.targets["a"] = a
        await publish(made)
        await made.until_states(a="live")
        registry = made.rig.services.registry
        first = made.relays._running["live", "s"][A]

        registry.end_all("over")
        registry.publish("live", "s", "me", "always", lambda _: None)

        await made.rig.until(lambda: made.relays._running.get(("live", "s"), {}).get(A, first) is not first)
        assert first.is_over or first in made.relays._leaving


async def test_a_place_that_is_named_twice_has_one_relay(tmp_path, a):
    async with relay_rig(tmp_path, push_targets=A) as made:
        made.targets["a"] = a
        await publish(made)
        await made.until_states(a="live")
        assert made.views()[SHOWN_A].target_id is None

        push, (target,) = await made.push(targets=(A,))
        await made.rig.until(lambda: made.views()[SHOWN_A].target_id == target.target_id)
        assert made.relays.state_of(target).state == "live"
        await made.pushes.remove_target(push.channel_id, target.target_id)
        await made.rig.until(lambda: made.views()[SHOWN_A].target_id is None)
        assert made.states() == {"a": "live"}
    assert len(a.dialled) == 1


async def test_a_configuration_that_is_reloaded_holds_for_streams_that_are_published(tmp_path, a, b):
    async with relay_rig(tmp_path, push_targets=A) as made:
        made.targets = {"a": a, "b": b}
        await publish(made)
        await made.until_states(a="live")

        made.relays.reload(validate({"apps": {"live": {"push_targets": B}}}).apps)
        await made.until_states(b="live")
        made.relays.reload({})
        await made.until_states()


# How it is shown


async def test_a_target_is_shown_as_what_its_relay_does(manual, a):
    await publish(manual)
    a.down = True
    push, (target,) = await manual.push(targets=(A,))
    await manual.until_states(a="backing_off")
    assert manual.relays.state_of(target) == ("backing_off", "a: Connection refused")

    view = manual.views()[SHOWN_A]
    assert (view.kind, view.stream, view.target_id) == ("push", "live/s", target.target_id)
    assert (view.attempts, view.bytes, view.reason) == (1, 0, "a: Connection refused")
    assert view.since == pytest.approx(time.time(), abs=60)
    assert "SECRET" not in str(manual.rig.lines) + str(view)

    a.down = False
    await manual.until_states(a="live")
    assert manual.relays.state_of(target) == ("live", "")
    await manual.rig.until(lambda: manual.views()[SHOWN_A].bytes)
    assert manual.views()[SHOWN_A].attempts == 2
    manual.rig.services.registry.end_all("over")
    assert manual.relays.state_of(target) == ("stopped", "nobody publishes the stream")
    await manual.pushes.stop([push.channel_id])
    assert manual.relays.state_of(target) == ("stopped", "nobody publishes the stream")


# What is told


async def test_changes_are_told_once_and_in_the_order_of_everything_else(manual, a, hasty):
    a.down = True
    source = await publish(manual)
    _, (target,) = await manual.push(targets=(A,))
    await manual.rig.until(lambda: manual.views()[SHOWN_A].attempts > 3)
    a.down = False
    await manual.until_states(a="live")
    a.drop()
    await manual.rig.until(lambda: len(manual.said("relay connected")) == 2)
    source.close()
    await manual.rig.until(lambda: manual.said("relay stopped"))

    bodies = await manual.owed()
    assert [body["relay_event"] for body in bodies] == [
        "relay_lost",
        "relay_live",
        "relay_lost",
        "relay_live",
        "relay_stopped",
    ]
    (began,) = await manual.owed(1)
    assert {body["sequence"] for body in bodies} == {began["sequence"]}
    assert {(body["target_id"], body["url"]) for body in bodies} == {(target.target_id, SHOWN_A)}
    assert [body["reason"] for body in bodies[:2]] == ["a: Connection refused", ""]
    assert [line["reason"] for line in manual.said("relay lost")] == [body["reason"] for body in bodies[::2][:2]]
    assert "SECRET" not in str(bodies) + str(manual.rig.lines)


# What a target does touches nothing else


@pytest.mark.parametrize(
    ("target_does", "states"),
    [
        ("hangs", {"connecting"}),
        ("refuses", {"connecting", "backing_off"}),
        ("resets", {"connecting", "backing_off"}),
        ("never reads", {"live"}),
    ],
)
async def test_whatever_a_target_does_a_hundred_players_see_every_frame(tmp_path, hands, a, b, target_does, states):
    async with relay_rig(tmp_path, rig=Rig(bytes_=1 << 20), push_targets=[A, B]) as made:
        made.targets = {"a": a, "b": hands}
        source = await publish(made)
        if target_does == "refuses":
            made.targets["b"] = b
            b.down = True
        if target_does == "never reads":
            hand = await hands.hand(0)
            hand.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            await hand.grant()
            await made.until_states(a="live", b="live")
        players = [await made.rig.player() for _ in range(100)]

        for first in range(1, 41, 10):
            for number in range(first, first + 10):
                kind = key_frame if number == first else inter_frame
                await source.send(kind(40 + 40 * number, size=40_000))
            if target_does == "resets":
                for hand in hands.hands:
                    hand.socket.close()
            seen = [await player.media(4 + first + 9) for player in players]

        for messages in seen:
            times = [message.timestamp_ms for message in messages if message.type_id != DATA_AMF0]
            assert times == [0, 0, *range(40, 40 + 40 * 41, 40)]
        assert made.states()["a"] == "live"
        assert made.states()["b"] in states
        assert made.rig.services.fanout._blocked or target_does != "never reads"
        log = made.rig.services.registry.find("live", "s").log
        assert log.end - log.start <= 2 << 20
        assert source.connection in made.rig.services.connections


async def test_a_server_that_stops_waits_for_the_goodbyes_but_not_for_ever(tmp_path, hands, a):
    async with relay_rig(tmp_path, push_targets=[A, B]) as made:
        made.targets = {"a": a, "b": hands}
        source = await publish(made)
        await (await hands.hand(0)).grant()
        await made.until_states(a="live", b="live")
        for number in range(2, 100):
            await source.send(inter_frame(40 * number, size=100_000))
        far = stream_of(a).log
        await made.rig.until(lambda: made.rig.services.registry.find("live", "s").last_timestamp_ms == 99 * 40)

        made.rig.services.registry.end_all("server stops")
        closing = asyncio.ensure_future(made.relays.close(PATIENCE_S))
        await made.rig.until(lambda: far.timestamp_at(far.end) == 99 * 40)
        assert not closing.done()
        pass_time(PATIENCE_S)
        await closing

        assert [line["reason"] for line in made.said("relay stopped")] == ["server stops"] * 2
    assert not made.rig.failures


async def test_relays_that_run_when_the_server_closes_them_are_ended(tmp_path, a):
    async with relay_rig(tmp_path, push_targets=A) as made:
        made.targets["a"] = a
        await publish(made)
        await made.until_states(a="live")
        await made.relays.close(5.0)

        assert made.states() == {}
        made.relays.look_at(Named("live", "s"))
        await made.rig.until(lambda: not made.relays._unsettled)
        assert made.states() == {}
