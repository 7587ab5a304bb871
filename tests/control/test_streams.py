"""Streams as they are shown: who publishes, who watches, what records; and publishers that are disconnected."""

from __future__ import annotations

import asyncio
import functools
from types import SimpleNamespace

import pytest

from rtmpd.config import RoomsConfig
from rtmpd.control import models
from rtmpd.control.meter import Rates
from rtmpd.control.reach import Reach
from rtmpd.control.streams import Measures, Streams
from rtmpd.control.urls import Bases
from rtmpd.errors import NotPossible
from tests.helpers.fake_client import FakeClient
from tests.helpers.pushes import PlayedRow, PlayedStatus, PushRig

TRACK = models.Track(kind="video", codec="avc1", width=50, height=38)
a_client = functools.partial(FakeClient, bytes_in=100, bytes_out=200, skipped_ms=3, lag_ms=4)


@pytest.fixture
async def rig(tmp_path):
    rig = await PushRig.open(tmp_path)
    connections = {
        a_client(7, role="publish"),
        a_client(8),
        a_client(9, kind="hls", lag_ms=70),
        a_client(10, kind="rtmp", skipped_ms=900),
        a_client(11, path="live/other", lag_ms=999),
        a_client(12, role="-", path="-"),
    }
    services = SimpleNamespace(registry=rig.registry, connections=connections, log=rig.log)
    rig.streams = Streams(
        services,
        rig.recorder,
        rig.pushes,
        Reach(RoomsConfig(), Bases("rtmp://live.example.com", "http://live.example.com")),
        Measures(lambda _stream: (TRACK,), lambda _stream: Rates(7_000, 25.0)),
        clock=lambda: rig.now,
    )
    rig.registry.observers.append(rig.streams)
    yield rig
    await rig.close()


async def test_a_stream_is_shown_with_all_that_belongs_to_it(rig):
    rig.now = 5_000.0
    rig.publish(public=True)
    rig.now += 60
    rig.watch()
    begun = await rig.start(formats=("flv",))

    shown = rig.streams.get("live/s")
    assert rig.streams.list().streams == [shown]
    assert shown.model_dump() == {
        "stream": "live/s",
        "app": "live",
        "name": "s",
        "state": "live",
        "public": True,
        "publisher": {
            "client_id": 7,
            "address": "192.0.2.7",
            "since": 5_000.0,
            "bytes_in": 100,
            "bits_per_s": 7_000,
        },
        "tracks": [TRACK.model_dump()],
        "bits_per_s": 7_000,
        "frames_per_s": 25.0,
        "players": 1,
        "viewers": {"rtmp": 2, "hls": 1},
        "lag_ms": 70,
        "skipped_ms": 906,
        "recordings": 1,
        "channel_id": begun.kept.push.channel_id,
        "urls": [
            {"type": 1, "play_url": "http://live.example.com/live/s.m3u8", "rate_type": 0},
            {"type": 2, "play_url": "http://live.example.com/live/s.flv", "rate_type": 0},
            {"type": 5, "play_url": "rtmp://live.example.com/live/s", "rate_type": 0},
            {"type": 7, "play_url": "http://live.example.com/live/s.mp4", "rate_type": 0},
        ],
    }


async def test_a_private_stream_has_no_urls_and_one_that_nobody_publishes_no_publisher(rig):
    publication = rig.publish("private")
    rig.watch("idle")
    private, idle = rig.streams.get("live/private"), rig.streams.get("live/idle")

    assert (private.state, private.public, private.urls, private.channel_id) == ("live", False, [], None)
    assert (idle.state, idle.public, idle.urls, idle.publisher, idle.players) == ("idle", False, [], None, 1)
    assert [each.name for each in rig.streams.list().streams] == ["idle", "private"]
    rig.lose(publication, 1e12)
    assert (rig.streams.get("live/private").state, rig.streams.get("live/private").publisher) == ("grace", None)


async def test_recordings_are_counted_while_they_go_on(rig):
    rig.publish()
    rows = [PlayedRow(str(n), None, "live", "s") for n in range(3)] + [PlayedRow("x", None, "live", "other")]
    phases = ["running", "waiting", "ended", "running"]
    rig.recorder.statuses = [PlayedStatus(*each) for each in zip(rows, phases, strict=True)]

    assert rig.streams.get("live/s").recordings == 2


async def test_a_publisher_whose_connection_has_just_gone_is_shown_without_it(rig):
    rig.streams._services.connections.clear()
    rig.publish()

    publisher = rig.streams.get("live/s").publisher
    assert (publisher.client_id, publisher.address, publisher.bytes_in) == (7, "192.0.2.7", 0)


async def test_since_when_is_forgotten_with_the_stream(rig):
    rig.lose(rig.publish())

    assert rig.streams._since == {}


async def test_a_publisher_is_disconnected(rig):
    evicted = []
    rig.publish(evict=evicted.append)

    assert rig.streams.disconnect_publisher("live/s") == models.Done()
    assert evicted == ["disconnected by an operator"]
    assert [(line["stream"], line["client"]) for line in rig.said("publisher disconnected")] == [("live/s", 7)]


@pytest.mark.parametrize("path", ["live/never", "live/idle", "other/s", "s"])
async def test_who_does_not_publish_cannot_be_disconnected(rig, path):
    rig.publish()
    rig.watch("idle")
    with pytest.raises(NotPossible, match=f"nobody publishes {path}") as raised:
        rig.streams.disconnect_publisher(path)
    assert raised.value.kind == "unknown"


async def test_a_stream_that_nobody_knows_is_unknown(rig):
    with pytest.raises(NotPossible, match="nobody publishes live/never"):
        rig.streams.get("live/never")


async def test_many_streams_are_listed_in_one_go(rig):
    for number in range(200):
        rig.publish(f"{number:03}")
        await asyncio.sleep(0)

    assert [each.name for each in rig.streams.list().streams] == [f"{number:03}" for number in range(200)]
