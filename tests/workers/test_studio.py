"""What recordings share: the time of day, and whether the disk has room."""

from __future__ import annotations

import os
import time
from types import SimpleNamespace

import pytest

from rtmpd.workers import studio as studio_module
from rtmpd.workers.studio import ROOM_BYTES, Studio

MIB = 1024 * 1024


def new_studio(directory):
    others = dict.fromkeys(["loop", "fanout", "poller", "supervisor", "workshop", "ledger", "log"])
    return Studio(directory=directory, keep_s=10.0, **others)


@pytest.mark.parametrize(
    ("size_mib", "free_mib", "has_room"),
    [
        (100_000, ROOM_BYTES // MIB, True),
        (100_000, ROOM_BYTES // MIB - 1, False),
        (100, 5, True),
        (100, 4, False),
        (0, 0, True),
    ],
)
async def test_room_is_16_mib_or_a_twentieth_of_a_small_disk(monkeypatch, tmp_path, size_mib, free_mib, has_room):
    disk = SimpleNamespace(f_bavail=free_mib * 256, f_blocks=size_mib * 256, f_frsize=4096)
    monkeypatch.setattr(studio_module.os, "statvfs", lambda _path: disk)
    studio = new_studio(tmp_path)
    studio.has_room = not has_room
    await studio.look_for_room()

    assert studio.has_room is has_room


async def test_a_directory_that_is_gone_is_no_full_disk(tmp_path):
    studio = new_studio(tmp_path / "gone")
    studio.has_room = False
    await studio.look_for_room()

    assert studio.has_room


async def test_a_real_disk_can_be_asked(tmp_path):
    studio = new_studio(tmp_path)
    await studio.look_for_room()

    assert studio.has_room == studio_module._has_room(tmp_path)
    assert os.statvfs(tmp_path).f_blocks


def test_now_is_the_time_of_day(tmp_path):
    assert new_studio(tmp_path).now() == pytest.approx(time.time(), abs=5)
