"""The end of a loop's connections."""

from __future__ import annotations

import asyncio

from tests.helpers.processes import PATIENCE_S


async def close_transports() -> None:
    """
    Close whatever sockets the loop still has, and wait for it.

    A transport that was told to close is closed some turns of the loop later, and only when its peer has taken what was
    written to it. Where the loop has ended before, the collector finds it open in some later test.
    """
    transports = list(asyncio.get_running_loop()._transports.values())
    for each in transports:
        each.abort()
    async with asyncio.timeout(PATIENCE_S):
        while any(each._sock is not None for each in transports):
            await asyncio.sleep(0)
