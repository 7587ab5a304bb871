"""Facts on their way into the index: in order, once, and again while the disk is full."""

from __future__ import annotations

import asyncio

import pytest
import structlog

from rtmpd.errors import StoreError
from rtmpd.workers import ledger as ledger_module
from rtmpd.workers.ledger import Ledger, is_taken

FULL = StoreError("database or disk is full", cause="SQLITE_FULL")
BUSY = StoreError("10000 works wait already", cause="SQLITE_BUSY")
TAKEN = StoreError("UNIQUE constraint failed", cause="SQLITE_CONSTRAINT_UNIQUE")
ABSENT = StoreError("file x is not there to be closed")


class FakeIndex:
    """Takes facts, or refuses with what it is told to."""

    def __init__(self):
        self.taken = []
        self.refusals = {}

    def write(self, name):
        future = asyncio.get_running_loop().create_future()
        refusals = self.refusals.get(name, [])
        if refusals:
            future.set_exception(refusals.pop(0))
        else:
            self.taken.append(name)
            future.set_result(None)
        return future


class Office:
    def __init__(self):
        self.index = FakeIndex()
        self.lines = []
        log = structlog.wrap_logger(
            None, processors=[self._keep], wrapper_class=structlog.make_filtering_bound_logger(0)
        )
        self.ledger = Ledger(self.index, log)
        self.told = []

    def _keep(self, _logger, method, event):
        self.lines.append((method, event["event"]))
        raise structlog.DropEvent

    def note(self, name, recording="r", **callbacks):
        self.ledger.note(recording, lambda index: index.write(name), then=lambda: self.told.append(name), **callbacks)


@pytest.fixture
async def office(monkeypatch):
    monkeypatch.setattr(ledger_module, "RETRY_S", 0.001)
    office = Office()
    running = asyncio.ensure_future(office.ledger.run())
    yield office
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_facts_are_written_in_order_and_then_told_of(office):
    for name in "abc":
        office.note(name)

    assert await office.ledger.flush(5)
    assert office.index.taken == office.told == ["a", "b", "c"]


@pytest.mark.parametrize("refusal", [FULL, BUSY])
async def test_a_fact_is_written_again_until_the_disk_has_room_and_logged_once(office, refusal):
    office.index.refusals = {"a": [refusal] * 5}
    office.note("a")
    office.note("b")

    assert await office.ledger.flush(5)
    assert office.index.taken == ["a", "b"]
    assert office.lines == [("error", "index not written")]


async def test_what_a_full_disk_does_not_take_is_not_overtaken_by_the_same_recording_and_holds_up_no_other(office):
    office.index.refusals = {"a": [FULL, FULL], "c": [FULL]}
    for name in ("a", "b", "c"):
        office.note(name)
        office.note(f"other {name}", recording="other")

    assert await office.ledger.flush(5)
    assert [name for name in office.index.taken if len(name) == 1] == ["a", "b", "c"]
    assert office.index.taken[:2] == ["other a", "other b"]


async def test_what_failed_together_stays_in_order(office):
    office.index.refusals = {name: [FULL, FULL] for name in "abc"}
    for name in "abc":
        office.note(name, recording=name)
        office.note(name.upper(), recording=name)

    assert await office.ledger.flush(5)
    assert office.index.taken == ["a", "b", "c", "A", "B", "C"]


async def test_facts_of_many_recordings_are_submitted_together(office):
    answers = {}

    def write(recording):
        answers[recording] = asyncio.get_running_loop().create_future()
        return answers[recording]

    for recording in range(ledger_module.GROUP + 1):
        office.ledger.note(str(recording), lambda _, recording=recording: write(recording))
    while len(answers) < ledger_module.GROUP:
        await asyncio.sleep(0)
    assert len(answers) == ledger_module.GROUP
    for each in answers.values():
        each.set_result(None)
    while len(answers) == ledger_module.GROUP:
        await asyncio.sleep(0)
    answers[ledger_module.GROUP].set_result(None)

    assert await office.ledger.flush(5)


@pytest.mark.parametrize("refusal", [TAKEN, ABSENT])
async def test_what_the_index_never_takes_is_not_tried_again(office, refusal):
    refused = []
    office.index.refusals = {"a": [refusal], "b": [refusal]}
    office.note("a", refused=refused.append)
    office.note("b")

    assert await office.ledger.flush(5)
    assert refused == [refusal]
    assert office.lines == [("error", "index refused")]
    assert office.told == []


async def test_facts_noted_by_a_callback_are_written_too(office):
    office.ledger.note("r", lambda index: index.write("a"), then=lambda: office.note("b"))

    assert await office.ledger.flush(5)
    assert office.index.taken == ["a", "b"]


async def test_flush_says_when_the_disk_does_not_take_everything_in_time(office):
    office.index.refusals = {"a": [FULL] * 1_000_000}
    office.note("a")

    assert not await office.ledger.flush(0.05)


async def test_facts_that_wait_are_bounded(office, monkeypatch):
    monkeypatch.setattr(ledger_module, "WAITING_FACTS", 3)
    for number in range(5):
        office.note(str(number))

    assert await office.ledger.flush(5)
    assert office.index.taken == ["0", "1", "2"]
    assert office.lines == [("error", "index behind")] * 2


def test_only_a_path_that_is_taken_is_called_so():
    assert is_taken(TAKEN)
    assert not is_taken(FULL)
    assert not is_taken(ABSENT)


async def test_a_bug_in_who_is_told_does_not_end_the_writing(office):
    office.ledger.note("r", lambda index: index.write("a"), then=lambda: 1 / 0)
    office.note("b")

    assert await office.ledger.flush(5)
    office.note("c")
    assert await office.ledger.flush(5)
    assert office.index.taken == ["a", "b", "c"]
    assert office.lines == [("error", "internal error")]
