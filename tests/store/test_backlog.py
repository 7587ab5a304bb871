"""What waits to be written: tried again, and waited for."""

from __future__ import annotations

import asyncio

import pytest

from rtmpd.store.backlog import Backlog


class Notes(Backlog):
    def __init__(self):
        super().__init__(0.001)
        self.waiting, self.written = [], []
        self.failures = 0

    def note(self, name):
        self.waiting.append(name)
        self._has_more()

    def _is_left(self):
        return bool(self.waiting)

    async def _write_group(self):
        await asyncio.sleep(0)
        if self.failures:
            self.failures -= 1
            return False
        self.written.append(self.waiting.pop(0))
        return True


@pytest.fixture
async def notes():
    notes = Notes()
    running = asyncio.ensure_future(notes.run())
    yield notes
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_there_is_nothing_to_wait_for_before_anything_is_noted(notes):
    assert await notes.flush(0.0)


async def test_what_is_noted_is_tried_until_it_is_written(notes):
    notes.failures = 5
    notes.note("a")
    notes.note("b")

    assert await notes.flush(5)
    assert notes.written == ["a", "b"]


async def test_what_is_noted_while_something_is_written_is_waited_for_as_well(notes):
    notes.note("a")
    flushed = asyncio.ensure_future(notes.flush(5))
    await asyncio.sleep(0)
    notes.note("b")

    assert await flushed
    assert notes.written == ["a", "b"]


async def test_a_wait_that_is_too_long_is_said(notes):
    notes.failures = 1_000_000
    notes.note("a")

    assert not await notes.flush(0.02)
