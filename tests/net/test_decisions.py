from __future__ import annotations

import asyncio

from rtmpd.net.decisions import Decisions
from rtmpd.net.tasks import Tasks


class Desk:
    def __init__(self):
        self.failures, self.decided = [], []
        self.tasks = Tasks(self.failures.append)
        self.decisions = Decisions(self.tasks)
        self.gate = asyncio.Event()

    def ask(self, message_stream_id, answer):
        async def decide():
            await self.gate.wait()
            self.decided.append(answer)

        self.decisions.start(message_stream_id, decide)

    async def settle(self):
        self.gate.set()
        while self.tasks._tasks:
            await asyncio.sleep(0)


async def test_requests_on_different_streams_are_decided_apart():
    desk = Desk()
    desk.ask(1, "a")
    desk.ask(2, "b")
    desk.decisions.drop(1)
    desk.decisions.drop(1)
    await desk.settle()

    assert desk.decided == ["b"]
    assert desk.failures == []


async def test_new_request_on_a_stream_takes_the_place_of_the_old_one():
    desk = Desk()
    desk.ask(1, "a")
    await asyncio.sleep(0)
    desk.ask(1, "b")
    await desk.settle()

    assert desk.decided == ["b"]


async def test_nothing_is_decided_any_more_after_all_were_dropped():
    desk = Desk()
    desk.ask(1, "a")
    desk.ask(2, "b")
    await asyncio.sleep(0)
    desk.decisions.drop_all()
    await desk.settle()

    assert desk.decided == []
