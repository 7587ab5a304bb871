"""Requests that wait until something has become true."""

from __future__ import annotations

import asyncio

import pytest

from rtmpd.web.waiting import WOKEN_AT_ONCE, Waiting
from tests.helpers.rig import PATIENCE_S


async def let_run():
    for _ in range(5):
        await asyncio.sleep(0)


async def test_what_is_true_already_needs_no_waiting():
    assert await Waiting().until(lambda: True, 0)


async def test_only_those_are_woken_who_need_not_wait_any_longer():
    waiting, reached = Waiting(), set()
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(waiting.until(lambda n=n: n in reached, PATIENCE_S)) for n in range(3)]
        await let_run()
        reached.add(1)
        waiting.look()
        assert len(waiting) == 2
        await let_run()
        assert [task.done() for task in tasks] == [False, True, False]
        reached.update({0, 2})
        waiting.look()

    assert [task.result() for task in tasks] == [True] * 3
    assert len(waiting) == 0


async def test_who_waits_too_long_is_told_so_and_leaves_nothing_behind():
    waiting = Waiting()

    assert not await waiting.until(lambda: False, 0.001)
    assert len(waiting) == 0


async def test_many_are_woken_in_turns_so_that_others_come_in_between():
    waiting, reached, order = Waiting(), [], []
    count = 3 * WOKEN_AT_ONCE

    async def wait(number):
        await waiting.until(lambda: bool(reached), PATIENCE_S)
        order.append(number)

    async with asyncio.TaskGroup() as group:
        for number in range(count):
            group.create_task(wait(number))
        while len(waiting) < count:
            await asyncio.sleep(0)
        reached.append(True)
        waiting.look()
        assert len(waiting) == count - WOKEN_AT_ONCE
        await asyncio.sleep(0)
        assert WOKEN_AT_ONCE <= len(waiting) <= count - WOKEN_AT_ONCE

    assert order == list(range(count))


async def test_all_can_be_dismissed():
    waiting = Waiting()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(waiting.until(lambda: False, PATIENCE_S))
        await let_run()
        waiting.dismiss()

    assert task.result() is False


async def test_one_that_is_cancelled_disturbs_nobody():
    waiting, reached = Waiting(), []
    async with asyncio.TaskGroup() as group:
        gone = group.create_task(waiting.until(lambda: bool(reached), PATIENCE_S))
        stays = group.create_task(waiting.until(lambda: bool(reached), PATIENCE_S))
        await let_run()
        gone.cancel()
        reached.append(True)
        waiting.look()
        with pytest.raises(asyncio.CancelledError):
            await gone

    assert stays.result()
    assert len(waiting) == 0
