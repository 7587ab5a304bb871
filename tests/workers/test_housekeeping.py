"""Now and then: room on the disk, retention, and a line when disks fall behind."""

from __future__ import annotations

import asyncio
import errno

import pytest

from rtmpd.errors import StoreError
from rtmpd.workers import housekeeping as housekeeping_module
from rtmpd.workers.housekeeping import SWEEP_S, Housekeeping
from rtmpd.workers.protocol import Health
from rtmpd.workers.retention import Failure, Removed, Swept
from tests.helpers.played_workers import PlayedSupervisor
from tests.helpers.store import file_row
from tests.helpers.studio import Clock, logger_to, until

MIB = 1024 * 1024
NOTHING = Swept((), (), 0)


class House:
    """A studio and a retention as housekeeping sees them; each notes what it was asked."""

    def __init__(self):
        self.loop = Clock()
        self.supervisor = PlayedSupervisor(None)
        self.lines = []
        self.looks = 0
        self.gone = []
        self.sweeps = []
        """What the next sweeps say, or raise."""
        self.swept_at = []
        self.time = 1_000_000.0

    def now(self):
        return self.time

    async def look_for_room(self):
        self.looks += 1

    async def verify(self):
        return answer(self.gone)

    async def sweep(self, now):
        self.swept_at.append(now)
        return answer(self.sweeps.pop(0) if self.sweeps else NOTHING)

    async def rounds(self, count=2):
        """Wait until so many more rounds are over."""
        wanted = self.looks + count
        await until(lambda: self.looks >= wanted)

    def said(self, event):
        return [(level, values) for level, values in self.lines if values["event"] == event]


def answer(outcome):
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


@pytest.fixture
async def house(monkeypatch):
    monkeypatch.setattr(housekeeping_module, "ROUND_S", 0.0)
    house = House()
    running = []

    async def start():
        running.append(asyncio.ensure_future(Housekeeping(house, house, logger_to(house.lines)).run()))
        await house.rounds()

    house.start = start
    yield house
    for each in running:
        each.cancel()
        await asyncio.gather(each, return_exceptions=True)
        assert each.cancelled()


async def test_the_index_is_verified_once_and_what_is_gone_is_said(house):
    house.gone = [file_row("f", path="live/s/gone.flv")]
    await house.start()
    await house.rounds()

    assert house.said("recording gone") == [("warning", {"event": "recording gone", "path": "live/s/gone.flv"})]


@pytest.mark.parametrize("error", [StoreError("damaged"), FileNotFoundError(errno.ENOENT, "not mounted")])
async def test_an_index_that_cannot_be_verified_does_not_end_the_work(house, error):
    house.gone = error
    await house.start()

    assert house.said("index not verified") == [("error", {"event": "index not verified", "reason": str(error)})]
    assert house.swept_at


async def test_room_is_looked_for_each_round_and_recordings_are_swept_now_and_then(house):
    await house.start()
    await house.rounds(10)
    assert len(house.swept_at) == 1

    house.loop.go_on_to(house.loop.time() + SWEEP_S)
    await house.rounds()

    assert house.swept_at == [house.time, house.time]


async def test_what_was_swept_and_what_could_not_be_is_said(house):
    removed = Removed(file_row("f", path="a.flv"), "age")
    failed = Failure(file_row("g", path="b.flv"), "Permission denied")
    house.sweeps = [Swept((removed,), (failed,), 0)]
    await house.start()

    assert house.said("recording deleted") == [
        ("info", {"event": "recording deleted", "path": "a.flv", "reason": "age"})
    ]
    assert house.said("recording not deleted") == [
        ("error", {"event": "recording not deleted", "path": "b.flv", "reason": "Permission denied"})
    ]


@pytest.mark.parametrize("error", [StoreError("full"), OSError(errno.EIO, "broken")])
async def test_a_sweep_that_fails_is_tried_again_the_next_time(house, error):
    house.sweeps = [error]
    await house.start()
    house.loop.go_on_to(house.loop.time() + SWEEP_S)
    await house.rounds()

    assert [level for level, _ in house.said("recordings not swept")] == ["error"]
    assert len(house.swept_at) == 2


async def test_disks_that_fall_behind_are_said_once_and_once_more_when_they_have_caught_up(house):
    house.supervisor.health = (Health(50 * MIB, 5 * MIB), Health(60 * MIB, 4 * MIB))
    await house.start()
    await house.rounds(5)
    house.supervisor.health = (Health(50 * MIB, 0),)
    await house.rounds(5)

    behind = {"queued_bytes": 9 * MIB, "worker_memory_bytes": [50 * MIB, 60 * MIB]}
    caught_up = {"queued_bytes": 0, "worker_memory_bytes": [50 * MIB]}
    assert house.said("disk is behind") == [("warning", {"event": "disk is behind"} | behind)]
    assert house.said("disk caught up") == [("info", {"event": "disk caught up"} | caught_up)]


async def test_a_little_that_waits_is_not_worth_a_line(house):
    house.supervisor.health = (Health(50 * MIB, 8 * MIB),)
    await house.start()

    assert house.said("disk is behind") == []
