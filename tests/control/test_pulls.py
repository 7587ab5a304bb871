"""Pulls begin and end with those who want their streams, and with the configuration."""

from __future__ import annotations

import contextlib
import tomllib

import pytest

from rtmpd.config_file import validate
from rtmpd.control import pulls as pulls_module
from rtmpd.control.pulls import Pulls
from rtmpd.control.relay_views import RelayView
from rtmpd.live.stream import StreamState
from rtmpd.net import backoff
from rtmpd.net.client_connection import Parting
from rtmpd.net.sink import Sink
from rtmpd.workers.packaging_feed import PackagingSink
from tests.helpers.live import inter_frame, key_frame, video_header
from tests.helpers.passing_time import pass_time
from tests.helpers.pulls import PlayedSource
from tests.helpers.rig import Rig

FIRST = [video_header(), key_frame(0), inter_frame(40)]
STATIC = '[apps.live]\n[pulls."live/s"]\nsources = "rtmp://a.example/x/y"\n'
ON_DEMAND = f"{STATIC}on_demand = true\nidle_s = 0.05\n"
EDGE = '[apps.live]\norigin = "rtmp://a.example/x"\n'


def config(text):
    return validate(tomllib.loads(text))


class PlayedSources:
    """Makes sources that are played by hand."""

    silence_s = 20.0

    def __init__(self):
        self.made = []

    def make(self, url):
        source = PlayedSource(url.label)
        source.url = url
        self.made.append(source)
        return source


class Desk:
    """Pulls over a rig."""

    def __init__(self, text, **options):
        self.rig = Rig(**options)
        self.sources = PlayedSources()
        self.pulls = Pulls(config(text), self.rig.services, self.sources, unix_now=lambda: 1000.0)

    async def __aenter__(self):
        self.pulls.open()
        return self

    async def __aexit__(self, *_):
        await self.pulls.close("test ends")
        await self.rig.__aexit__()

    async def asking(self, name="s"):
        """A player that waits."""
        player = self.rig.connect()
        await player.open()
        await player.command("play", 3, None, name, message_stream_id=1)
        await player.ping()
        return player

    async def playing(self, name="s"):
        """A player that plays what is pulled for it."""
        player = await self.asking(name)
        await self.source.feed(0, *FIRST)
        await player.media(3)
        return player

    async def source_number(self, number):
        await self.rig.until(lambda: len(self.sources.made) > number)
        return self.sources.made[number]

    @property
    def source(self):
        return self.sources.made[-1]

    @property
    def states(self):
        return {view.stream: view.state for view in self.pulls.states()}

    def lines(self, event):
        return [line for line in self.rig.lines if line["event"] == event]


async def test_what_is_always_on_begins_with_the_server_and_ends_with_it():
    async with Desk(STATIC) as desk:
        await desk.source.feed(0, *FIRST)
        assert desk.pulls.states() == (
            RelayView("pull", "live/s", "rtmp://a.example/x", "live", "", pytest.approx(1000.0, abs=5), 1, 92, None),
        )
        player = await desk.rig.player()
        await desk.pulls.close("server stops")
        status = await player.status("NetStream.Play.UnpublishNotify")

    assert "server stops" in str(status.arguments)


async def test_what_is_on_demand_begins_with_the_first_player_and_once_for_all():
    async with Desk(ON_DEMAND) as desk:
        assert desk.states == {"live/s": "idle"}
        assert not desk.sources.made
        first, second = await desk.asking(), await desk.asking()
        assert desk.states == {"live/s": "connecting"}
        await desk.source.feed(0, *FIRST)
        await first.media(3)
        await second.media(3)
        assert desk.states == {"live/s": "live"}

        assert len(desk.sources.made) == 1


async def test_it_is_closed_some_time_after_the_last_player_has_left():
    async with Desk(ON_DEMAND) as desk:
        first = await desk.playing()
        second = await desk.rig.player()
        first.close()
        await desk.rig.until(lambda: len(desk.rig.closed()) == 1)
        assert not desk.lines("pull idle")
        second.close()
        await desk.rig.until(lambda: desk.lines("pull idle"))
        await desk.rig.until(lambda: desk.states == {"live/s": "idle"})
        assert desk.rig.services.registry.find("live", "s") is None


async def test_a_player_that_comes_in_time_finds_it_open():
    async with Desk(ON_DEMAND.replace("0.05", "3600")) as desk:
        (await desk.playing()).close()
        await desk.rig.until(desk.rig.closed)
        running = desk.pulls._running["live/s"]
        assert running.idle is not None
        await desk.rig.player()
        assert running.idle is None

        assert len(desk.sources.made) == 1


async def test_whoever_else_reads_the_stream_keeps_it_open():
    async with Desk(ON_DEMAND) as desk:
        player = await desk.playing()
        stream = desk.rig.services.registry.find("live", "s")
        reader = Sink(-1, len, None, patience_s=1.0)
        reader.join(stream.flv_log())
        player.close()
        await desk.rig.until(desk.rig.closed)
        looked = desk.pulls._running["live/s"].idle
        await desk.rig.until(lambda: desk.pulls._running["live/s"].idle is not looked)
        assert not desk.lines("pull idle")
        reader.detach()
        await desk.rig.until(lambda: desk.lines("pull idle"))


async def test_packaging_keeps_nothing_open():
    async with Desk(ON_DEMAND) as desk:
        player = await desk.playing()
        stream = desk.rig.services.registry.find("live", "s")
        PackagingSink(-1, len, None, patience_s=1.0).join(stream.flv_log())
        player.close()

        await desk.rig.until(lambda: desk.lines("pull idle"))
        await desk.rig.until(lambda: desk.states == {"live/s": "idle"})


async def test_whoever_else_reads_it_keeps_it_over_a_failover_too():
    text = ON_DEMAND.replace('"rtmp://a.example/x/y"', '["rtmp://a.example/x/y", "rtmp://b.example/x/y"]')
    async with Desk(text) as desk:
        player = await desk.asking()
        first, second = desk.sources.made
        await first.feed(0, *FIRST)
        await player.media(3)
        stream = desk.rig.services.registry.find("live", "s")
        Sink(-1, len, None, patience_s=1.0).join(stream.flv_log())
        await first.end(0, "reset")
        await second.tried(0)
        player.close()
        await desk.rig.until(desk.rig.closed)
        await second.feed(0, *FIRST)

        assert desk.states == {"live/s": "live"}


async def test_one_that_is_not_live_ends_at_once_with_its_last_player():
    async with Desk(ON_DEMAND.replace("0.05", "3600")) as desk:
        (await desk.asking()).close()
        await desk.rig.until(lambda: desk.states == {"live/s": "idle"})


async def test_a_player_that_comes_while_it_is_closing_opens_it_again():
    async with Desk(ON_DEMAND) as desk:
        player = await desk.asking()
        stream = desk.rig.services.registry.find("live", "s")
        desk.pulls.stream_unwanted(stream)
        desk.pulls.stream_wanted(stream)
        await desk.source_number(1)
        await desk.source.feed(0, *FIRST)
        await player.media(3)


async def test_what_the_source_ends_is_over_on_demand_and_tried_again_where_it_is_always_on(monkeypatch):
    monkeypatch.setattr(backoff, "FIRST_PAUSE_S", 0.001)
    async with Desk(ON_DEMAND) as desk:
        player = await desk.playing()
        await desk.source.end(0, "ended", is_end=True)
        await player.status("NetStream.Play.UnpublishNotify")
        await desk.rig.until(lambda: desk.states == {"live/s": "idle"})
    async with Desk(STATIC) as desk:
        await desk.source.feed(0, *FIRST)
        await desk.source.end(0, "ended", is_end=True)
        await desk.source.tried(1)


async def test_every_stream_of_an_edge_is_pulled_once():
    async with Desk(EDGE) as desk:
        players = [await desk.asking(name) for name in ("a", "b", "a")]
        for source in desk.sources.made:
            await source.feed(0, *FIRST)
        for player in players:
            await player.media(3)

        assert desk.states == {"live/a": "live", "live/b": "live"}
        assert sorted(source.url.key for source in desk.sources.made) == ["a", "b"]


async def test_a_stream_that_somebody_publishes_is_not_pulled():
    async with Desk(ON_DEMAND) as desk:
        await desk.rig.publisher()
        await desk.rig.player()

        assert not desk.sources.made


async def test_players_wait_while_the_source_does_not_have_it_and_are_refused_in_the_end():
    async with Desk(ON_DEMAND) as desk:
        player = await desk.asking()
        await desk.source.end(0, "refused: NetStream.Play.StreamNotFound")
        pass_time(desk.rig.services.wait_s)
        await player.status("NetStream.Play.StreamNotFound")
        await desk.rig.until(lambda: desk.states == {"live/s": "idle"})


@pytest.mark.parametrize(("text", "most"), [(EDGE, 1024), (f"{EDGE}max_streams = 2\n", 2)])
async def test_names_that_players_make_up_do_not_open_pulls_without_end(monkeypatch, text, most):
    most = min(most, 3)
    monkeypatch.setattr(pulls_module, "MAX_ON_DEMAND", 3)
    async with Desk(text) as desk:
        for number in range(5):
            await desk.asking(f"made-up-{number}")

        assert len(desk.sources.made) == most
        assert desk.lines("pull refused")[0]["reason"] == "too many streams are pulled on demand"


async def test_a_reload_changes_what_has_changed_and_nothing_else():
    other = '[pulls."live/other"]\nsources = "rtmp://b.example/x/y"\n'
    async with Desk(STATIC + other) as desk:
        for source in desk.sources.made:
            await source.feed(0, *FIRST)
        kept = next(source for source in desk.sources.made if source.label == "rtmp://b.example/x")
        player = await desk.rig.player("s")
        desk.pulls.reload(config(STATIC.replace("a.example", "c.example") + other))
        await player.status("NetStream.Play.UnpublishNotify")
        await (await desk.source_number(2)).tried(0)

        assert desk.source.label == "rtmp://c.example/x"
        assert len(kept.tries) == 1
        assert desk.states == {"live/s": "connecting", "live/other": "live"}


async def test_a_reload_that_changes_something_else_leaves_the_stream_alone():
    async with Desk(STATIC) as desk:
        await desk.source.feed(0, *FIRST)
        player = await desk.rig.player("s")
        desk.pulls.reload(config(STATIC.replace("[apps.live]", "[apps.live]\ngrace_s = 3")))
        await desk.source.feed(0, inter_frame(80))
        await player.media(4)

        assert len(desk.source.tries) == 1


async def test_what_becomes_on_demand_ends_when_nobody_plays_it_and_what_becomes_static_stays():
    async with Desk(STATIC) as desk:
        await desk.source.feed(0, *FIRST)
        desk.pulls.reload(config(ON_DEMAND))
        await desk.rig.until(lambda: desk.lines("pull idle"))
        await desk.rig.until(lambda: desk.states == {"live/s": "idle"})
        desk.pulls.reload(config(ON_DEMAND.replace("0.05", "3600")))
        (await desk.playing()).close()
        await desk.rig.until(lambda: desk.pulls._running["live/s"].idle)
        desk.pulls.reload(config(STATIC))

        assert desk.pulls._running["live/s"].idle is None
        assert desk.states == {"live/s": "live"}


async def test_a_reload_ends_what_is_configured_no_more_and_begins_what_is_waited_for():
    async with Desk(STATIC) as desk:
        await desk.source.feed(0, *FIRST)
        desk.pulls.reload(config("[apps.live]"))
        await desk.rig.until(lambda: desk.states == {})
        assert desk.rig.services.registry.find("live", "s") is None
        player = await desk.asking()
        desk.pulls.reload(config(EDGE))
        await desk.source.feed(0, *FIRST)
        await player.media(3)


async def test_after_the_close_nothing_begins():
    async with Desk(ON_DEMAND) as desk:
        await desk.pulls.close("server stops")
        await desk.asking()

        assert not desk.sources.made


async def test_a_fault_of_ours_is_not_repeated_without_end():
    class Faulty(PlayedSource):
        async def receive(self, feed):
            self.tries.append(feed)
            raise ZeroDivisionError

    async with Desk("[apps.live]") as desk:
        desk.sources.make = lambda url: desk.sources.made.append(Faulty(url.label)) or desk.sources.made[-1]
        desk.pulls.reload(config(STATIC))
        await desk.rig.until(lambda: desk.rig.failures)
        await desk.rig.until(lambda: desk.states == {"live/s": "idle"})

        assert len(desk.sources.made) == 1


async def test_two_edges_of_each_other_come_to_rest_when_the_player_has_gone():
    async with Desk(EDGE, wait_s=0.2) as one, Desk(EDGE, wait_s=0.2) as two:
        loops = []

        class Looping(PlayedSource):
            """A pull of one edge is a player of the other."""

            def __init__(self, other):
                super().__init__("loop")
                self.other = other

            async def receive(self, feed):
                loops.append(self)
                player = await self.other.asking("s")
                with contextlib.closing(player):
                    await player.status("NetStream.Play.StreamNotFound")
                return Parting("refused")

        one.sources.make = lambda url: Looping(two)
        two.sources.make = lambda url: Looping(one)
        player = await one.asking()
        await player.status("NetStream.Play.StreamNotFound")
        player.close()
        await one.rig.until(lambda: one.states == {} and two.states == {})

        assert loops
        assert len(one.rig.services.registry) == len(two.rig.services.registry) == 0


async def test_a_private_stream_is_pulled_and_stays_private():
    async with Desk(ON_DEMAND.replace("[apps.live]", '[apps.live]\npush = "manual"')) as desk:
        player = await desk.asking()
        await desk.source.feed(0, *FIRST)
        stream = desk.rig.services.registry.find("live", "s")
        assert stream.state is StreamState.LIVE
        assert not stream.is_watchable
        pass_time(desk.rig.services.wait_s)
        await player.status("NetStream.Play.StreamNotFound")
        await desk.rig.until(lambda: desk.states == {"live/s": "idle"})


async def test_what_is_on_demand_is_brought_for_who_does_not_play_and_stays_while_it_is_read():
    async with Desk(ON_DEMAND) as desk:
        bringing = desk.rig.services.tasks.supervise(desk.pulls.bring("live", "s"), "bring")
        source = await desk.source_number(0)
        await source.feed(0, *FIRST)
        await desk.rig.until(bringing.done)
        stream = desk.rig.services.registry.find("live", "s")
        assert stream.publication is not None
        assert not stream.members
        await desk.rig.until(lambda: desk.lines("pull idle"))


async def test_what_is_not_on_demand_or_does_not_come_is_not_waited_for_long(monkeypatch):
    monkeypatch.setattr(pulls_module, "BRING_S", 0.05)
    async with Desk(ON_DEMAND) as desk:
        await desk.pulls.bring("live", "other")
        assert not desk.sources.made
        await desk.pulls.bring("live", "s")
        await desk.rig.until(lambda: desk.states == {"live/s": "idle"})

        assert len(desk.rig.services.registry) == 0
