"""Time that passes at once, when a test has seen what must come before: no stall of the machine comes in between."""

from __future__ import annotations

import asyncio


def pass_time(seconds):
    """
    Make everything due that the running loop waits for until then; the loop's clock stays ahead.

    Args:
        seconds: from now.
    """
    loop = asyncio.get_running_loop()
    before = loop.time
    loop.time = lambda: before() + seconds
