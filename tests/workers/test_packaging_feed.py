"""One feed of the packager: what is written, what comes back, and its two ends."""

from __future__ import annotations

import asyncio
import socket
from types import SimpleNamespace

import pytest

from rtmpd.live.fragments import Init, Part
from rtmpd.net.fanout import FanOut, Pace
from rtmpd.net.poller import Poller
from rtmpd.workers.fragment_feed import encode_record
from rtmpd.workers.packaging_feed import PackagingFeed
from tests.helpers.live import inter_frame, key_frame, new_stream, publish, video_header
from tests.helpers.played_packager import PlayedFeed
from tests.helpers.studio import logger_to, until

INIT = Init(b"init", "avc1.64001f", has_video=True)
PART = Part(b"x" * 200_000, 0, 200, True)


class Desk:
    """A feed and the packager's end of it."""

    def __init__(self):
        loop = asyncio.get_running_loop()
        self.loop = loop
        self.lines = []
        self.records = []
        self.ends = 0
        self.poller = Poller(loop, 0.005, share=1.0, max_delay_s=0.0)
        self.services = SimpleNamespace(
            loop=loop,
            poller=self.poller,
            fanout=FanOut(loop, self.poller, Pace(max_delay_s=0.0)),
            buffer=memoryview(bytearray(1 << 16)),
            log=logger_to(self.lines),
        )
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.setblocking(False)
        self.played = PlayedFeed(theirs)
        self.take = self.records.extend
        self.feed = PackagingFeed(self.services, ours, self.on_records, self.on_end)
        self.stream = new_stream(seconds=3600.0)
        self.publication = publish(self.stream)
        self.log = self.stream.flv_log()

    def on_records(self, records):
        self.take(records)

    def on_end(self):
        self.ends += 1

    def send(self, *messages):
        for message in messages:
            self.publication.append(message, self.loop.time())
        self.services.fanout.mark(self.stream.logs)

    async def received(self, times):
        """Wait until the packager has so many pictures."""
        await until(lambda: self.played.receive().muxer.times == times)


@pytest.fixture
async def desk():
    desk = Desk()
    yield desk
    desk.feed.close()
    desk.feed.close()
    desk.played.close()
    desk.poller.close()
    assert desk.log.cursors == []
    assert desk.ends <= 1


async def test_it_begins_where_it_is_told_with_the_headers_in_force_there(desk):
    desk.send(video_header(), key_frame(40), inter_frame(80), key_frame(120))
    desk.feed.begin(desk.log, desk.log.newest_key_frame)
    desk.send(inter_frame(160))
    await desk.received([120, 160])

    assert [type(record) for record in desk.played.records] == [Init, Part, Part]


async def test_a_log_without_a_key_frame_is_fed_from_its_beginning(desk):
    desk.send(video_header(), inter_frame(40))
    desk.feed.begin(desk.log, None)

    await desk.received([40])


async def test_a_log_that_has_lost_its_beginning_and_every_key_frame_is_fed_from_the_next_one_on(desk):
    desk.send(video_header(), inter_frame(40))
    desk.log.trim(desk.loop.time() + 4000)
    desk.feed.begin(desk.log, None)
    desk.send(inter_frame(80), key_frame(120))

    await desk.received([120])


async def test_records_come_whole_and_in_order_in_whatever_pieces(desk):
    desk.feed.begin(desk.log, None)
    data = encode_record(INIT) + encode_record(PART) + encode_record(PART)
    for start in range(0, len(data), 150_000):
        piece = memoryview(data)[start : start + 150_000]
        while piece:
            try:
                piece = piece[desk.played.connection.send(piece) :]
            except BlockingIOError:
                await asyncio.sleep(0)
    await until(lambda: len(desk.records) == 3)

    assert desk.records == [INIT, PART, PART]
    assert desk.ends == 0


async def test_after_finish_the_log_is_fed_to_its_end_and_what_comes_back_is_still_taken(desk):
    desk.feed.begin(desk.log, None)
    desk.send(video_header(), *(inter_frame(number, 100_000) for number in range(30)))
    desk.feed.finish()
    desk.feed.finish()
    assert desk.feed.ending_since_s is not None
    await desk.received(list(range(30)))
    assert desk.played.at_end
    assert desk.ends == 0
    desk.played.records.clear()
    desk.played.send(INIT)
    await until(lambda: desk.records == [INIT])
    desk.played.close()
    await until(lambda: desk.ends == 1)


async def test_it_ends_once_when_the_packager_goes_while_it_is_fed(desk):
    desk.feed.begin(desk.log, None)
    desk.send(video_header(), *(inter_frame(number, 100_000) for number in range(30)))
    desk.played.send(INIT)
    desk.played.close()
    desk.send(key_frame(5000))
    await until(lambda: desk.ends == 1)

    assert desk.feed.on_readable() is False
    desk.feed.on_writable()


async def test_who_is_closed_is_told_nothing_more(desk):
    desk.feed.begin(desk.log, None)
    desk.played.send(INIT)
    desk.feed.close()
    desk.feed.finish()
    await asyncio.sleep(0)

    assert (desk.records, desk.ends, desk.feed.ending_since_s) == ([], 0, None)
    assert desk.log.cursors == []


async def test_it_may_be_closed_by_who_takes_its_records(desk):
    desk.take = lambda _records: desk.feed.close()
    desk.feed.begin(desk.log, None)
    desk.played.send(INIT)
    await until(lambda: desk.feed.on_readable() is False and desk.feed._is_over)

    assert desk.ends == 0
    assert desk.lines == []


async def test_a_bug_of_who_takes_its_records_is_loud_and_ends_it(desk):
    desk.take = lambda _records: 1 / 0
    desk.feed.begin(desk.log, None)
    desk.played.send(INIT)
    await until(lambda: desk.ends == 1)

    assert [line["event"] for _, line in desk.lines] == ["internal error"]


async def test_a_slow_packager_is_never_given_up_and_goes_on_at_a_key_frame(desk):
    desk.feed.begin(desk.log, None)
    desk.send(video_header(), *(inter_frame(number, 100_000) for number in range(1, 30)))
    await until(lambda: desk.feed._sink.blocked)
    desk.send(key_frame(30, 100_000))
    desk.log.trim(desk.loop.time() + 4000)
    desk.services.fanout.cut_off_stalled(desk.loop.time() + 1e9)
    assert not desk.ends
    desk.send(inter_frame(31), key_frame(32))
    await until(lambda: desk.played.receive().muxer.times[-1:] == [32])

    assert 31 not in desk.played.muxer.times
