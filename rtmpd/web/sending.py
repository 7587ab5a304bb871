"""Answers with megabytes from memory, to clients that may not read."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from aiohttp import hdrs, web

SLICE_BYTES = 64 * 1024
"""Handed to a connection at a time: what a client does not take is copied, so thousands of them would fill the memory."""
STALLED_S = 30.0
"""A client that takes nothing for so long is disconnected."""


async def send(request: web.Request, data: bytes | memoryview, headers: Mapping[str, str]) -> web.StreamResponse:
    """
    Answer with data that are in memory.

    Args:
        request: what is answered.
        data: the body; not copied as a whole.
        headers: of the answer, with its content type.

    Returns:
        The answer: sent, if it is long; a client that read nothing for STALLED_S was disconnected.
    """
    if len(data) <= SLICE_BYTES or request.method == hdrs.METH_HEAD:
        return web.Response(body=bytes(data), headers=headers)
    response = web.StreamResponse(headers=headers)
    response.content_length = len(data)
    await response.prepare(request)
    view = memoryview(data)
    try:
        for start in range(0, len(view), SLICE_BYTES):
            async with asyncio.timeout(STALLED_S):
                await response.write(view[start : start + SLICE_BYTES])
    except TimeoutError:
        if request.transport is not None:
            request.transport.abort()
    return response
