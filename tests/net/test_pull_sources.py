"""An RTMP source: a try is a connection, or two where a password is wanted."""

from __future__ import annotations

import asyncio

import pytest

from rtmpd.errors import Unreachable
from rtmpd.net.client_connection import Parting
from rtmpd.net.pull_feed import PullFeed
from rtmpd.net.pull_sources import RtmpSource
from rtmpd.session.limits import ClientLimits
from rtmpd.session.replies import error, on_status
from rtmpd.session.urls import RtmpUrl
from tests.helpers.live import key_frame, video_header
from tests.helpers.pulls import TARGET, Hands, in_log, told
from tests.helpers.rig import Rig
from tests.helpers.transcript import command


@pytest.fixture
async def rig():
    async with Rig() as rig:
        yield rig


@pytest.fixture
def hands():
    hands = Hands()
    yield hands
    hands.close()


class Receiving:
    """A try of a source."""

    def __init__(self, rig, source):
        self.feed = PullFeed(rig.services, TARGET, lambda: None)
        self.task = asyncio.ensure_future(source.receive(self.feed))

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        self.task.cancel()
        await asyncio.wait([self.task])


async def test_what_is_played_is_fed_and_counted(rig, hands):
    source = hands.source(rig)
    async with Receiving(rig, source) as receiving:
        hand = await hands.hand(0)
        await hand.grant_play()
        media = [video_header(), key_frame(0, size=50_000)]
        await hand.say(*(message._replace(chunk_stream_id=6) for message in media))
        await receiving.feed.taken
        stream = rig.services.registry.find("live", "s")
        await rig.until(lambda: stream.has_frames)
        log = in_log(stream)

    assert log == told(*media)
    assert source.bytes_in > 50_000
    assert source.label == "rtmp://source.example/app"


async def test_a_source_that_cannot_be_reached_is_a_parting(rig):
    async def dial(_url):
        raise Unreachable("source.example: Connection refused")

    source = RtmpSource(rig.services, RtmpUrl.parse("rtmp://source.example/app/key"), dial, ClientLimits())

    assert await source.receive(None) == Parting("source.example: Connection refused")


async def test_a_try_that_is_cancelled_closes_its_connection(rig, hands):
    async with Receiving(rig, hands.source(rig)) as receiving:
        hand = await hands.hand(0)
        await hand.grant_play()
        await hand.say(key_frame(0)._replace(chunk_stream_id=6))
        await receiving.feed.taken
        receiving.task.cancel()

        await hand.command("deleteStream")
        await hand.end()


async def test_a_password_is_given_within_the_same_try(rig, hands):
    source = hands.source(rig, "rtmp://bob:secret@source.example/app/key")
    async with Receiving(rig, source):
        first = await hands.hand(0)
        await first.open()
        await first.command("connect")
        await first.say(error(1, "NetConnection.Connect.Rejected", "[ code=403 need auth; authmod=adobe ]"))
        second = await hands.hand(1)
        await second.open()
        connect = await second.command("connect")

    assert connect.command_object["app"] == "app?authmod=adobe&user=bob"


async def test_a_reason_does_not_repeat_what_may_be_secret(rig, hands):
    async with Receiving(rig, hands.source(rig, "rtmp://source.example/app/key?k=hush")) as receiving:
        hand = await hands.hand(0)
        await hand.open()
        await hand.command("connect")
        await hand.say(error(1, "NetConnection.Connect.Rejected", "hush is wrong"))

        assert (await receiving.task).reason == "refused: NetConnection.Connect.Rejected: *** is wrong"


async def test_a_source_that_sends_us_elsewhere_is_asked_there_next_time_and_only_then(rig, hands):
    source = hands.source(rig)
    async with Receiving(rig, source) as receiving:
        hand = await hands.hand(0)
        await hand.grant_play()
        info = {"level": "status", "code": "NetConnection.Connect.ReconnectRequest", "tcUrl": "rtmp://b.example/x"}
        await hand.say(command("onStatus", 0, None, info))
        assert (await receiving.task).url == RtmpUrl.parse("rtmp://b.example/x/key")
    for number in (1, 2):
        async with Receiving(rig, source) as receiving:
            hand = await hands.hand(number)
            await hand.grant_play()
            await hand.say(on_status(1, "NetStream.Play.UnpublishNotify"))
            await receiving.task

    assert [url.host for url in hands.dialled] == ["source.example", "b.example", "source.example"]
