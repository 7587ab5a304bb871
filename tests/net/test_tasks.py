from __future__ import annotations

import asyncio

from rtmpd.net.tasks import Tasks


async def fail():
    raise ZeroDivisionError


async def test_failure_of_a_task_is_reported():
    failures = []
    task = Tasks(failures.append).supervise(fail(), "t")
    await asyncio.wait([task])

    assert [type(error) for error in failures] == [ZeroDivisionError]


async def test_cancel_ends_every_task_waits_for_it_and_reports_nothing():
    failures, ended = [], []
    tasks = Tasks(failures.append)

    async def wait():
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    for _ in range(3):
        tasks.supervise(wait(), "t")
    await asyncio.sleep(0)
    await tasks.cancel()

    assert ended == [True] * 3
    assert failures == []
