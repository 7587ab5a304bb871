"""Answers about recordings: they follow the commit, and no disk makes anybody wait for ever."""

from __future__ import annotations

import asyncio

import pytest

from rtmpd.workers import answers
from rtmpd.workers.answers import NotEntered, Started
from tests.helpers.studio import Rig


async def test_an_event_that_comes_in_time_is_reached_and_another_one_is_not():
    event = asyncio.Event()
    assert not await answers.reached(event, 0.001)

    event.set()
    assert await answers.reached(event, 20.0)


async def test_a_start_is_entered_once_its_row_is_and_says_so_as_often_as_it_is_asked(tmp_path):
    rig = await Rig.open(tmp_path, record="manual")
    started = rig.request(rig.publish(), task_id="t")
    await started.entered()
    await started.entered()

    assert len(await rig.recordings()) == 1
    await rig.close()


async def test_a_start_that_is_not_entered_names_its_task(tmp_path, monkeypatch):
    monkeypatch.setattr(answers, "ENTER_S", 0.001)
    rig = await Rig.open(tmp_path, record="manual")
    publication = rig.publish()
    rig.hold_database()
    started = rig.request(publication, task_id="t")

    with pytest.raises(NotEntered, match="goes on, as task t") as caught:
        await Started(started.recorder, already=True, notes=()).entered()
    assert "\n" not in str(caught.value)
    await rig.close()
