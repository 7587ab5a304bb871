"""Facts about publications on their way to the disk: in one order, once, and again while the disk is full."""

from __future__ import annotations

import asyncio

import pytest

from rtmpd.control import diary as diary_module
from rtmpd.control.diary import Diary
from rtmpd.errors import StoreError
from tests.helpers.studio import logger_to

FULL = StoreError("database or disk is full", cause="SQLITE_FULL")
BUSY = StoreError("10000 works wait already", cause="SQLITE_BUSY")
NEVER = StoreError("UNIQUE constraint failed", cause="SQLITE_CONSTRAINT_UNIQUE")
BUG = UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed")


class FakeBook:
    """Takes groups, or refuses what holds a fact that it is told to refuse."""

    def __init__(self):
        self.groups = []
        self.refusals = {}

    @property
    def taken(self):
        return [fact for group in self.groups for fact in group]

    def write(self, facts):
        future = asyncio.get_running_loop().create_future()
        refusal = next((self.refusals[fact].pop(0) for fact in facts if self.refusals.get(fact)), None)
        if refusal is None:
            self.groups.append(list(facts))
            future.set_result(None)
        else:
            future.set_exception(refusal)
        return future


class Desk:
    def __init__(self):
        self.book = FakeBook()
        self.lines = []
        self.told = []
        self.diary = Diary(self.book, logger_to(self.lines))

    def note(self, *facts):
        for fact in facts:
            self.diary.note(fact, lambda fact=fact: self.told.append(fact))

    @property
    def events(self):
        return [(level, line["event"]) for level, line in self.lines]


@pytest.fixture
async def desk(monkeypatch):
    monkeypatch.setattr(diary_module, "RETRY_S", 0.001)
    desk = Desk()
    running = asyncio.ensure_future(desk.diary.run())
    yield desk
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_facts_that_wait_together_are_written_together_in_order_and_then_told_of(desk):
    desk.note(*"abc")

    assert await desk.diary.flush(5)
    assert desk.book.groups == [["a", "b", "c"]]
    assert desk.told == ["a", "b", "c"]


async def test_groups_are_bounded(desk, monkeypatch):
    monkeypatch.setattr(desk.diary, "_group", 2)
    monkeypatch.setattr(diary_module, "GROUP", 2)
    desk.note(*"abcde")

    assert await desk.diary.flush(5)
    assert desk.book.groups == [["a", "b"], ["c", "d"], ["e"]]


@pytest.mark.parametrize("refusal", [FULL, BUSY])
async def test_nothing_overtakes_a_fact_that_the_disk_refuses_which_is_logged_once(desk, refusal):
    desk.book.refusals = {"b": [refusal] * 5}
    desk.note(*"abc")

    assert await desk.diary.flush(5)
    assert desk.book.taken == desk.told == ["a", "b", "c"]
    assert desk.events == [("error", "publications not written")]


@pytest.mark.parametrize("refusal", [NEVER, BUG])
async def test_a_fact_that_can_never_be_written_is_given_up_alone(desk, refusal):
    desk.book.refusals = {"c": [refusal] * 10, "f": [refusal] * 10}
    desk.note(*"abcdefgh")

    assert await desk.diary.flush(5)
    assert desk.book.taken == desk.told == list("abdegh")
    assert desk.events == [("error", "publication not written")] * 2

    desk.note(*"ijklm")
    assert await desk.diary.flush(5)
    desk.note(*"nop")
    assert await desk.diary.flush(5)
    assert desk.book.groups[-1] == ["n", "o", "p"]


async def test_a_full_disk_on_the_way_to_a_bad_fact_loses_no_good_one(desk):
    desk.book.refusals = {"a": [NEVER, FULL, FULL], "b": [NEVER, NEVER]}
    desk.note(*"abc")

    assert await desk.diary.flush(5)
    assert desk.book.taken == ["a", "c"]


async def test_flush_says_when_the_disk_does_not_take_everything_in_time(desk):
    desk.book.refusals = {"a": [FULL] * 1_000_000}
    desk.note("a")

    assert not await desk.diary.flush(0.05)
    assert desk.told == []


async def test_facts_that_wait_are_bounded(desk, monkeypatch):
    monkeypatch.setattr(diary_module, "WAITING_FACTS", 3)
    desk.note(*"abcde")

    assert await desk.diary.flush(5)
    assert desk.book.taken == ["a", "b", "c"]
    assert desk.events == [("error", "publications behind")] * 2


async def test_facts_of_a_writer_that_is_cancelled_are_written_by_the_next(monkeypatch):
    desk = Desk()
    never = asyncio.get_running_loop().create_future()
    monkeypatch.setattr(desk.book, "write", lambda facts: never)
    desk.note("a")
    first = asyncio.ensure_future(desk.diary.run())
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)

    monkeypatch.undo()
    desk.note("b")
    second = asyncio.ensure_future(desk.diary.run())
    assert await desk.diary.flush(5)
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)

    assert desk.book.taken == ["a", "b"]
