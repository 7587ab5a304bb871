"""Questions to the database: an answer, or a bounded wait and a word why not."""

from __future__ import annotations

import asyncio

import pytest

from rtmpd.control.answered import answered
from rtmpd.errors import NotPossible, StoreError


async def saying(result):
    if isinstance(result, Exception):
        raise result
    return result


async def test_an_answer_is_passed_on():
    assert await answered(saying(5)) == 5


async def test_a_database_that_fails_or_does_not_answer_is_unavailable():
    for question, why in (
        (saying(StoreError("disk I/O error")), "the database failed: disk I/O error"),
        (asyncio.Event().wait(), "the database did not answer for 0.01 s"),
    ):
        with pytest.raises(NotPossible, match=why) as raised:
            await answered(question, 0.01)
        assert raised.value.kind == "unavailable"


async def test_our_own_bugs_are_no_answer():
    with pytest.raises(KeyError):
        await answered(saying(KeyError("bug")))
