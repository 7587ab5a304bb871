"""How hooks are asked: by one POST each, which is bounded in time, size and number."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import aiohttp

from rtmpd.control.hook_answers import HookFailed, Reply
from rtmpd.control.resolver import Resolver

BODY_BYTES = 64 * 1024
"""Of an answer; the rest of a longer one is not read."""
PARALLEL = 256
"""Questions to one host at once; more wait within their own time. One host's hanging hook is not in the way of others."""
KEEPALIVE_S = 1.0
"""A connection is used again for so long: less than servers keep one (2 s and more), as a question that meets a
connection's end has failed and cannot be asked twice."""
_HEADERS = {"User-Agent": "rtmpd", "Accept": "application/json", "Accept-Encoding": "identity"}


class HookClient:
    """Asks hooks; its connections are shared by all of them."""

    def __init__(self, parallel: int = PARALLEL) -> None:
        """
        Start without connections.

        Args:
            parallel: questions to one host at once.
        """
        self._parallel = parallel
        self._session: aiohttp.ClientSession | None = None

    async def ask(self, url: str, question: Mapping[str, Any], timeout_s: float) -> Reply:
        """
        Ask one hook.

        Args:
            url: http or https.
            question: sent as JSON.
            timeout_s: for everything, from the wait for a connection to the end of the body.

        Returns:
            What it answered. A refusal (4xx) stands without its body, whatever became of that.

        Raises:
            HookFailed: no whole answer came.
        """
        status = 0
        try:
            async with (
                asyncio.timeout(timeout_s),
                self._connected().post(url, json=question, allow_redirects=False) as response,
            ):
                status = response.status
                return Reply(status, await _body(response))
        except TimeoutError:
            failure = HookFailed(f"did not answer in {timeout_s:g} s", f"no whole answer in {timeout_s:g} s")
        except HookFailed as error:
            failure = error
        except (aiohttp.ClientError, OSError, ValueError) as error:  # ValueError: a host that cannot be written as IDNA
            failure = HookFailed("failed", str(error) or type(error).__name__)
        if 400 <= status < 500:
            return Reply(status, b"")
        raise failure

    async def close(self) -> None:
        """Close all connections; who still asks has failed."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _connected(self) -> aiohttp.ClientSession:
        """Make the session with the first question: it needs the loop, and most servers have no hooks."""
        if self._session is None:
            connector = aiohttp.TCPConnector(
                resolver=Resolver(), limit=0, limit_per_host=self._parallel, keepalive_timeout=KEEPALIVE_S
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                headers=_HEADERS,
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(),
                auto_decompress=False,  # a small body could become a large one
                read_bufsize=BODY_BYTES,
            )
        return self._session


async def _body(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for piece in response.content.iter_any():
        body += piece
        if len(body) > BODY_BYTES:
            raise HookFailed("failed", f"a body of more than {BODY_BYTES} bytes")
    return bytes(body)
