"""
FLV over HTTP as a source: one GET whose answer never ends.

aiohttp is allowed here as sources move media, which is `net`'s job, and this kind alone needs HTTP: redirects, chunked
bodies and TLS are not worth a second implementation. It stops reading from the socket when 128 KB wait for us, and the
tag reader holds one incomplete tag, so the memory of a source is bounded whatever it sends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TypeAlias

import aiohttp
from aiohttp.abc import AbstractResolver

from rtmpd.errors import LimitExceeded, MessageError
from rtmpd.logs import escaped
from rtmpd.net.client_connection import Parting
from rtmpd.net.http_reasons import reason
from rtmpd.net.pull_feed import PullFeed
from rtmpd.net.pull_urls import HttpFlvUrl
from rtmpd.session.limits import Limits, TokenBucket, body_limits
from rtmpd.wire.flv import FlvTag, TagReader
from rtmpd.wire.messages import AUDIO, DATA_AMF0, VIDEO, Message

NameResolver: TypeAlias = AbstractResolver
"""Finds the addresses of a host, as aiohttp asks for them."""
CONNECT_S = 10.0
"""From the look-up of the name to the head of the answer, redirects included."""
MAX_REDIRECTS = 3
"""Services that distribute load send their clients on once or twice."""
_READ_BYTES = 64 * 1024
_REASON_CHARACTERS = 200
_HEADERS = {"User-Agent": "rtmpd", "Accept": "video/x-flv, */*", "Accept-Encoding": "identity"}
_FORBIDDEN = frozenset({401, 403, 405, 410, 451})
"""Answers that the same request will get again."""


class HttpFlvSource:
    """A stream on an HTTP server."""

    def __init__(self, url: HttpFlvUrl, limits: Limits, resolver: NameResolver) -> None:
        """
        Prepare.

        Args:
            url: of the stream.
            limits: of messages, as for those of RTMP.
            resolver: looks its host up.
        """
        self.label = url.label
        self.bytes_in = 0
        self._url = url
        self._limits = limits
        self._resolver = resolver

    async def receive(self, feed: PullFeed) -> Parting:
        """Ask for the stream once and take what comes; an answer in chunks that ends as it should is a stream that has ended."""
        try:
            async with self._client() as client, await self._get(client) as answer:
                if answer.status != 200:
                    return Parting(f"answered {answer.status}", may_retry=answer.status not in _FORBIDDEN)
                await self._read(answer, feed)
                is_end = "chunked" in answer.headers.get("Transfer-Encoding", "").lower()
                return Parting("the answer has ended", is_end=is_end)
        except TimeoutError:
            return Parting(f"no answer within {CONNECT_S:g} s")
        except (MessageError, LimitExceeded) as fault:
            return Parting(f"not a stream of FLV: {fault}")
        except (aiohttp.ClientError, OSError, ValueError) as error:  # ValueError: a host that cannot be written as IDNA
            return Parting(escaped(reason(error))[:_REASON_CHARACTERS])

    def _client(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(force_close=True, resolver=self._resolver),
            timeout=aiohttp.ClientTimeout(total=None),
            headers=_HEADERS,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,  # a small body could become a large one
            read_bufsize=_READ_BYTES,
        )

    async def _get(self, client: aiohttp.ClientSession) -> aiohttp.ClientResponse:
        async with asyncio.timeout(CONNECT_S):
            return await client.get(self._url.text, max_redirects=MAX_REDIRECTS)

    async def _read(self, answer: aiohttp.ClientResponse, feed: PullFeed) -> None:
        """Feed the body; raises MessageError or LimitExceeded where it is not what it should be."""
        reader = TagReader()
        conversion = _Conversion(self._limits, asyncio.get_running_loop().time())
        address = _address(answer)
        async for data in answer.content.iter_any():
            self.bytes_in += len(data)
            messages = conversion.messages(reader.feed(data), asyncio.get_running_loop().time())
            if messages:
                feed.take(messages, address)
        reader.feed(b"")  # raises what was wrong behind the last tags


def _address(answer: aiohttp.ClientResponse) -> str:
    """Find who answers, while it does."""
    transport = answer.connection.transport if answer.connection else None
    peer = transport.get_extra_info("peername") if transport else None
    return str(peer[0]) if peer else ""


class _Conversion:
    """Tags to messages, within the limits that hold for a publisher."""

    def __init__(self, limits: Limits, now: float) -> None:
        self._body_limits = body_limits(limits)
        self._data_rate = TokenBucket(limits.data_bytes_per_s, limits.data_bytes, now)

    def messages(self, tags: Sequence[FlvTag], now: float) -> list[Message]:
        """Leave out what is above the rate of data, and data in AMF3, which no server sends over HTTP."""
        found = []
        for type_id, timestamp_ms, body in tags:
            size = len(body)
            if size > self._body_limits[type_id]:
                raise LimitExceeded(f"a tag of type {type_id} with {size} bytes")
            if type_id in {AUDIO, VIDEO} or (type_id == DATA_AMF0 and self._data_rate.take(size, now)):
                found.append(Message(type_id, timestamp_ms, 1, body))
        return found
