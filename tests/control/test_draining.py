"""Draining, with real connections: who is asked to go, who is waited for, and when it is over."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager

import pytest

from rtmpd.control import draining as draining_module
from rtmpd.control.draining import Drainer
from rtmpd.control.models import Drain
from rtmpd.live.stream import StreamState
from rtmpd.session.limits import Limits
from tests.helpers.live import inter_frame, key_frame, video_header
from tests.helpers.rig import Rig

RECONNECT = {"capsEx": 1.0}
CODE = "NetConnection.Connect.ReconnectRequest"


@asynccontextmanager
async def draining():
    """A rig whose refused clients are closed soon, and what drains it; `stops` counts how often admission was stopped."""
    async with Rig(limits=Limits(linger_s=0.05)) as rig:
        rig.stops = 0

        def stop():
            rig.stops += 1

        rig.drainer = Drainer(rig.services, stop, clock=lambda: 1_000_000.0 + rig.loop.time())
        yield rig


async def test_who_can_reconnect_is_asked_and_everybody_is_waited_for():
    async with draining() as rig:
        publisher = await rig.publisher(properties=RECONNECT)
        player = await rig.player(properties=RECONNECT)
        old_publisher, old_player = await rig.publisher("t"), await rig.player()
        now = rig.loop.time()
        answer = rig.drainer.drain(Drain(timeout=5, url="rtmp://b.example"))

        assert (answer.already, answer.asked, answer.waited_for) == (False, 2, 4)
        assert (answer.publishers, answer.players) == (2, 2)
        assert answer.deadline == pytest.approx(1_000_000.0 + now + 5, abs=1)
        for client in (publisher, player):
            (info,) = (await client.status(CODE)).arguments
            assert (info["level"], info["tcUrl"]) == ("status", "rtmp://b.example/live")
            assert "stopping" in info["description"]
        for client in (old_publisher, old_player):
            await client.ping()
            assert not client.has_status(CODE)


async def test_media_go_on_after_the_request_message_for_message():
    async with draining() as rig:
        publisher = await rig.publisher(properties=RECONNECT)
        await publisher.send(video_header(), key_frame(0))
        player = await rig.player(properties=RECONNECT)
        await player.media(2)
        rig.drainer.drain(Drain())
        await publisher.send(inter_frame(40), inter_frame(80))
        received = await player.media(4)

        await player.status(CODE)
        assert [message.timestamp_ms for message in received] == [0, 0, 40, 80]


async def test_who_connects_while_it_drains_is_told_so_and_is_not_waited_for():
    async with draining() as rig:
        player = await rig.player_that_waits()
        shaking = rig.connect()
        await shaking.shake_hands()
        rig.drainer.drain(Drain())
        late = rig.connect()
        await late.shake_hands()
        assert rig.drainer.waited_for == {player.connection, shaking.connection}
        for client in (shaking, late):
            await client.command("connect", 1, {"app": "live", **RECONNECT})
            (info,) = (await client.response("_error")).arguments
            assert (info["level"], info["code"]) == ("error", "NetConnection.Connect.AppShutdown")
            assert info["description"]
            await client.end()

        assert rig.drainer.waited_for == {player.connection}
        assert not player.ended
        assert rig.stops == 1


async def test_it_is_over_when_those_who_were_there_have_gone():
    async with draining() as rig:
        assert not rig.drainer.is_over(rig.loop.time())
        publisher = await rig.publisher()
        rig.drainer.drain(Drain(timeout=3600))
        late = rig.connect()
        assert not rig.drainer.is_over(rig.loop.time())

        publisher.close()
        await rig.until(lambda: rig.drainer.is_over(rig.loop.time()))
        assert not late.ended
        assert rig.drainer.waited_for == frozenset()


async def test_players_whose_publisher_was_away_when_draining_began_are_told_that_it_is_over():
    async with draining() as rig:
        publisher = await rig.publisher()
        await publisher.send(video_header(), key_frame(0))
        player = await rig.player()
        await player.media(2)
        publisher.close()
        stream = rig.services.registry.find("live", "s")
        await rig.until(lambda: stream.state is StreamState.GRACE)
        rig.drainer.drain(Drain(timeout=3600))

        await player.status("NetStream.Play.UnpublishNotify")
        await player.end()
        assert rig.drainer.is_over(rig.loop.time())


async def test_it_is_over_at_once_where_nobody_is():
    async with draining() as rig:
        answer = rig.drainer.drain(Drain(timeout=3600))
        assert (answer.asked, answer.waited_for) == (0, 0)
        assert rig.drainer.is_over(rig.loop.time())


async def test_it_is_over_at_the_deadline_whoever_is_left():
    async with draining() as rig:
        publisher = await rig.publisher()
        before = rig.loop.time()
        rig.drainer.drain(Drain(timeout=3600))

        assert not rig.drainer.is_over(before + 3599)
        assert rig.drainer.is_over(rig.loop.time() + 3600)
        assert rig.drainer.waited_for == {publisher.connection}


@pytest.mark.parametrize(("second_s", "over_s"), [(60, 60), (7200, 3600)])
async def test_draining_twice_says_so_and_the_earlier_deadline_counts(second_s, over_s):
    async with draining() as rig:
        player = await rig.player_that_waits(properties=RECONNECT)
        before = rig.loop.time()
        first = rig.drainer.drain(Drain(timeout=3600))
        await player.status(CODE)
        second = rig.drainer.drain(Drain(timeout=second_s))
        after = rig.loop.time()

        assert (first.already, second.already) == (False, True)
        assert (first.asked, second.asked, second.waited_for) == (1, 0, 1)
        assert first.deadline - 3600 + over_s == pytest.approx(second.deadline, abs=after - before + 0.001)
        assert not rig.drainer.is_over(before + over_s - 0.001)
        assert rig.drainer.is_over(after + over_s)
        await player.ping()
        assert not player.has_status(CODE)


async def test_draining_again_to_another_url_asks_again():
    async with draining() as rig:
        player = await rig.player_that_waits(properties=RECONNECT)
        asked = ["rtmp://wrong.example", "rtmp://right.example", None, "rtmp://right.example"]
        assert [rig.drainer.drain(Drain(url=url)).asked for url in asked] == [1, 1, 0, 0]
        urls = [(await player.status(CODE)).arguments[0]["tcUrl"] for _ in range(2)]
        assert urls == ["rtmp://wrong.example/live", "rtmp://right.example/live"]


async def test_a_client_that_was_reset_does_not_keep_others_from_being_asked():
    async with draining() as rig:
        clients = [await rig.player_that_waits(properties=RECONNECT) for _ in range(6)]
        for client in clients[::2]:
            client.reset()
        answer = rig.drainer.drain(Drain())

        # Before the loop has turned, so that each of them was found out by writing to it.
        assert (answer.asked, answer.waited_for) == (3, 3)
        for client in clients[1::2]:
            await client.status(CODE)


async def test_a_key_in_the_url_is_not_logged():
    async with draining() as rig:
        await rig.player_that_waits()
        rig.drainer.drain(Drain(timeout=5, url="rtmp://b.example/live?key=secret"))

        (line,) = (line for line in rig.lines if line["event"] == "draining")
        assert line["url"] == "rtmp://b.example/live"
        assert (line["already"], line["asked"], line["waited_for"], line["players"]) == (False, 0, 1, 1)


async def test_a_server_that_stops_admits_nobody_either():
    async with draining() as rig:
        assert not rig.drainer.is_draining
        rig.drainer.admit_nobody()
        assert rig.drainer.is_draining
        assert not rig.drainer.is_over(rig.loop.time())
        assert rig.stops == 1


async def test_at_the_end_players_are_waited_for_until_they_have_gone(monkeypatch):
    monkeypatch.setattr(draining_module, "PLAYERS_LEAVE_S", 1000.0)
    monkeypatch.setattr(draining_module, "_LOOK_S", 0.001)
    async with draining() as rig:
        await rig.publisher()
        player = await rig.player()
        leaving = asyncio.ensure_future(rig.drainer.players_leave())
        await player.ping()
        assert not leaving.done()
        player.close()

        await asyncio.wait_for(leaving, 10)


async def test_at_the_end_players_are_waited_for_though_the_server_itself_was_stopped_for_longer(monkeypatch):
    monkeypatch.setattr(draining_module, "PLAYERS_LEAVE_S", 0.1)
    monkeypatch.setattr(draining_module, "_LOOK_S", 0.01)
    async with draining() as rig:
        await rig.player_that_waits()
        leaving = asyncio.ensure_future(rig.drainer.players_leave())
        await asyncio.sleep(0)
        time.sleep(0.2)  # noqa: ASYNC251 - as a process does that is not given a processor
        for _ in range(5):
            await asyncio.sleep(0)
        assert not leaving.done()

        await asyncio.wait_for(leaving, 10)


async def test_at_the_end_players_that_stay_are_not_waited_for(monkeypatch):
    monkeypatch.setattr(draining_module, "PLAYERS_LEAVE_S", 0.1)
    async with draining() as rig:
        await rig.player_that_waits()

        await asyncio.wait_for(rig.drainer.players_leave(), 10)
