"""The packager's process: started with the first feed, replaced when it dies, gone with the server."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

import pytest

from rtmpd.errors import UsageError
from rtmpd.live.fragments import Init, Part
from rtmpd.wire.flv import encode_file_header, encode_tag
from rtmpd.wire.messages import VIDEO
from rtmpd.workers import packager as packager_module
from rtmpd.workers import protocol
from rtmpd.workers.fragment_feed import RecordReader
from rtmpd.workers.packager import SILENT_TICKS, Packager
from tests.helpers.live import AVC_HEADER
from tests.helpers.packagings import open_descriptors
from tests.helpers.played_packager import CRASHES
from tests.helpers.studio import PATIENCE_S, logger_to, until

PLAYED = "tests.helpers.played_packager"
PICTURE = b"\x17\x01\0\0\0picture"
FLV = encode_file_header(audio=True, video=True) + encode_tag(VIDEO, 0, AVC_HEADER) + encode_tag(VIDEO, 40, PICTURE)
RECORDS = [Init(AVC_HEADER, "avc1.64001f", True), Part(PICTURE, 40, 40, True)]


def is_gone(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


class Desk:
    """A packager, what it logs, and how often it told of its feeds' loss."""

    def __init__(self):
        self.lines = []
        self.told = 0
        self.blamed = []
        self.packager = Packager(self.on_death, part_ms=200, log=logger_to(self.lines), module=PLAYED)

    def on_death(self, name):
        self.told += 1
        self.blamed.append(name)

    def said(self, event):
        return [values for _, values in self.lines if values["event"] == event]

    async def kill(self):
        """Kill the process as soon as there is one, and wait until that was noticed."""
        await until(lambda: self.packager.pid is not None)
        told = self.told
        os.kill(self.packager.pid, signal.SIGKILL)
        await until(lambda: self.told > told)


@pytest.fixture
async def desk():
    before = open_descriptors()
    desk = Desk()
    yield desk
    await desk.packager.stop(5.0)
    await asyncio.sleep(0)
    assert desk.packager.pid is None
    assert open_descriptors() == before


async def read(feed, count=None):
    """So many records of a feed, or all to its end."""
    reader, records = RecordReader(), []
    async with asyncio.timeout(20):
        while count is None or len(records) < count:
            data = await asyncio.get_running_loop().sock_recv(feed, 1 << 16)
            if not data:
                break
            records += reader.feed(data)
    return records


async def test_there_is_no_process_before_the_first_feed(desk):
    assert desk.packager.pid is None
    await desk.packager.stop(5.0)

    with pytest.raises(UsageError):
        desk.packager.open_feed("live/s")


async def test_a_feed_gives_records_for_flv_and_ends_when_its_input_does(desk):
    with desk.packager.open_feed("live/s") as feed:
        feed.send(FLV)
        assert await read(feed, 2) == RECORDS
        feed.shutdown(1)
        assert await read(feed) == []


async def test_feeds_share_one_process(desk):
    with desk.packager.open_feed("live/s") as first, desk.packager.open_feed("live/s") as second:
        pid = desk.packager.pid
        for feed in (second, first):
            feed.send(FLV)
            assert await read(feed, 2) == RECORDS
        assert desk.packager.pid == pid
    await until(lambda: desk.packager.health.resident_bytes > 0)


async def test_a_process_that_is_killed_is_replaced_and_its_feeds_end(desk):
    with desk.packager.open_feed("live/s") as feed:
        feed.send(FLV)
        await read(feed, 2)
        pid = desk.packager.pid
        await desk.kill()
        assert await read(feed) == []
    assert is_gone(pid)
    with desk.packager.open_feed("live/s") as feed:
        feed.send(FLV)
        assert await read(feed, 2) == RECORDS

    assert (desk.told, desk.packager.deaths) == (1, 1)
    assert [(line["pid"], line["reason"]) for line in desk.said("packager died")] == [(pid, "killed by signal 9")]


async def test_the_feed_that_the_process_died_of_is_named(desk):
    with desk.packager.open_feed("live/a") as innocent, desk.packager.open_feed("live/b") as guilty:
        innocent.send(FLV)
        await read(innocent, 2)
        guilty.send(CRASHES)
        assert await read(innocent) == []
        await until(lambda: desk.told)
    desk.packager.open_feed("live/a").close()
    await desk.kill()

    assert desk.blamed == ["live/b", ""]
    assert [line["stream"] for line in desk.said("packager died")] == ["live/b", None]


async def test_one_that_keeps_dying_is_replaced_after_growing_pauses(desk, monkeypatch):
    monkeypatch.setattr(
        packager_module, "pause_after_s", lambda deaths, ask=packager_module.pause_after_s: ask(deaths) / 1000
    )
    desk.packager.open_feed("live/s").close()
    for _ in range(4):
        await desk.kill()

    assert [1000 * line["again_s"] for line in desk.said("packager died")] == [0.0, 0.5, 1.0, 2.0]
    assert desk.packager.deaths == 4


async def test_one_that_lived_long_is_replaced_at_once(desk, monkeypatch):
    monkeypatch.setattr(packager_module, "STABLE_S", 0.0)
    desk.packager.open_feed("live/s").close()
    for _ in range(3):
        await desk.kill()

    assert [line["again_s"] for line in desk.said("packager died")] == [0.0, 0.0, 0.0]


async def test_a_process_that_cannot_be_started_is_tried_again_and_the_feeds_wait(desk, monkeypatch):
    monkeypatch.setattr(packager_module, "pause_after_s", lambda _deaths: 0.01)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "executable", "/nowhere/python")
        feed = desk.packager.open_feed("live/s")
        await until(lambda: len(desk.said("packager not started")) >= 2)
    with feed:
        feed.send(FLV)
        assert await read(feed, 2) == RECORDS


async def test_stop_while_it_waits_to_be_replaced_starts_nothing(desk, monkeypatch):
    monkeypatch.setattr(packager_module, "pause_after_s", lambda _deaths: 3600.0)
    desk.packager.open_feed("live/s").close()
    await desk.kill()
    await desk.packager.stop(PATIENCE_S)

    assert desk.packager._timer.cancelled()


async def test_stop_kills_a_process_that_does_not_end(desk):
    desk.packager.open_feed("live/s").close()
    pid = desk.packager.pid
    await until(lambda: desk.packager.health.resident_bytes > 0)
    os.kill(pid, signal.SIGSTOP)
    await desk.packager.stop(0.1)

    assert is_gone(pid)
    assert len(desk.said("packager killed")) == 1


async def test_a_process_whose_feeds_have_ended_ends_by_itself_at_the_stop(desk):
    feed = desk.packager.open_feed("live/s")
    pid = desk.packager.pid
    await until(lambda: desk.packager.health.resident_bytes > 0)
    feed.close()
    await desk.packager.stop(PATIENCE_S)

    assert is_gone(pid)
    assert desk.said("packager killed") == []
    assert desk.told == 0


async def test_a_process_that_hangs_is_killed_and_replaced(desk):
    desk.packager.tick()
    desk.packager.open_feed("live/s").close()
    await until(lambda: desk.packager.health.resident_bytes > 0)
    pid = desk.packager.pid
    for _ in range(SILENT_TICKS - 1):
        desk.packager.tick()
    desk.packager._take(protocol.Health(1, 0))
    for _ in range(SILENT_TICKS - 1):
        desk.packager.tick()
    assert desk.said("packager hangs") == []
    os.kill(pid, signal.SIGSTOP)
    desk.packager.tick()
    await until(lambda: desk.told == 1)

    assert [line["pid"] for line in desk.said("packager hangs")] == [pid]
    with desk.packager.open_feed("live/s") as feed:
        feed.send(FLV)
        assert await read(feed, 2) == RECORDS


async def test_stop_after_a_death_lets_the_next_process_end_by_itself(desk):
    desk.packager.open_feed("live/s").close()
    await desk.kill()
    await until(lambda: desk.packager.health.resident_bytes > 0)
    pid = desk.packager.pid
    child = desk.packager._child
    await desk.packager.stop(PATIENCE_S)

    assert is_gone(pid)
    assert child._process.returncode == 0


async def test_a_word_that_no_packager_says_is_loud(desk):
    with pytest.raises(UsageError):
        desk.packager._take(protocol.Ended("r", 1))
