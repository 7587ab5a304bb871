"""Questions to the database that an operation asks: each is answered within a bounded time, or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from rtmpd.errors import NotPossible, StoreError

ANSWER_S = 5.0

T = TypeVar("T")


async def answered(question: Awaitable[T], timeout_s: float = ANSWER_S) -> T:
    """
    Wait for the database.

    Args:
        question: that was put to it.
        timeout_s: how long to wait.

    Returns:
        Its answer.

    Raises:
        NotPossible: "unavailable": it did not answer in time, or it failed.
    """
    try:
        async with asyncio.timeout(timeout_s):
            return await question
    except TimeoutError:
        raise NotPossible("unavailable", f"the database did not answer for {timeout_s:g} s") from None
    except StoreError as error:
        raise NotPossible("unavailable", f"the database failed: {error}") from None
