"""
The HTTP client of callbacks: one request, and what was wrong with its answer in a line.

Receivers are strangers: whatever they answer, or do not, ends in a reason and never in an exception, takes no longer
than the timeout, and no more memory than a few KB.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

import aiohttp

from rtmpd.control.callback_body import Request
from rtmpd.control.resolver import Resolver
from rtmpd.logs import escaped
from rtmpd.net.http_reasons import reason

ANSWER_BYTES = 64 * 1024
"""Of an answer's body that are read, to use its connection again; one with a longer body is closed."""
KEEPALIVE_S = 4.0
"""Shorter than the 5 s after which common receivers close an idle connection, or a callback would run into that."""
REASON_CHARACTERS = 200
_ANSWER_ENDS_S = 1.0
"""For the body of an answer whose status has decided already."""


class CallbackClient:
    """Connections to receivers, used again; a context manager."""

    def __init__(self) -> None:
        """Prepare; connections are made inside `async with`."""
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        """Begin."""
        self._session = aiohttp.ClientSession(
            # Who sends has bounded how many requests there are at a time.
            connector=aiohttp.TCPConnector(resolver=Resolver(), limit=0, keepalive_timeout=KEEPALIVE_S),
            timeout=aiohttp.ClientTimeout(total=None),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close every connection."""
        assert self._session is not None
        await self._session.close()

    async def post(self, url: str, request: Request, timeout_s: float) -> str:
        """
        Send a callback.

        Args:
            url: of the receiver.
            request: what to send.
            timeout_s: for everything, from the look-up of the name to the answer's head.

        Returns:
            Empty when the receiver answered 200; else why it is not delivered, in one line.
        """
        assert self._session is not None
        try:
            async with asyncio.timeout(timeout_s):
                answer = await self._session.post(
                    url, data=request.body, headers=request.headers, allow_redirects=False
                )
        except TimeoutError as error:
            _unhitch(error)
            return f"no answer within {timeout_s:g} s"
        except (aiohttp.ClientError, OSError, ValueError) as error:
            _unhitch(error)
            return escaped(reason(error))[:REASON_CHARACTERS]
        status = answer.status
        await _finish(answer)
        if status == 200:
            return ""
        return f"answered {status}{', a redirect, which is not followed' if 300 <= status < 400 else ''}"


def _unhitch(error: BaseException | None) -> None:
    """
    Take the tracebacks from an exception, and from those behind it.

    Their frames refer back to the exception; what hangs in such a circle (10 KB, a socket among it) stays until a
    collection, which a server that runs steadily seldom makes.
    """
    while error is not None:
        error.__traceback__ = None
        error = error.__cause__ or error.__context__


async def _finish(answer: aiohttp.ClientResponse) -> None:
    """Read the rest of an answer for its connection's sake, if it is short and comes soon."""
    size = 0
    try:
        async with asyncio.timeout(_ANSWER_ENDS_S):
            while size <= ANSWER_BYTES and (data := await answer.content.readany()):
                size += len(data)
    except (TimeoutError, aiohttp.ClientError, OSError):
        answer.close()
    else:
        if size > ANSWER_BYTES:
            answer.close()
        answer.release()
