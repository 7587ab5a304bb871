"""The page that Prometheus reads, at /metrics: guarded as the API is, compressed for who takes that."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import TypeAlias

from aiohttp import web

from rtmpd.control.metrics.exposition import Exposition
from rtmpd.web.problems import HEADERS, Refusal
from rtmpd.web.routes import Asked

Scrape: TypeAlias = Callable[[str], Awaitable[Exposition]]
"""Measures everything, in a format of the header Accept that it is given."""
_LEVEL = 4
"""Of gzip: a tenth of the size in 5 ms, in a thread."""


class MetricsPage:
    """Answers requests for metrics."""

    def __init__(self, scrape: Scrape | None) -> None:
        """
        Prepare.

        Args:
            scrape: measures; None where nothing is measured.
        """
        self._scrape = scrape

    async def answer(self, request: web.Request, _asked: Asked) -> web.StreamResponse:
        """
        Answer one.

        Args:
            request: its Accept and Accept-Encoding.

        Returns:
            The metrics.

        Raises:
            Refusal: 404, nothing is measured.
        """
        if self._scrape is None:
            raise Refusal(HTTPStatus.NOT_FOUND, "nothing is measured here")
        exposition = await self._scrape(request.headers.get("Accept", ""))
        headers = {**HEADERS, "Content-Type": exposition.content_type, "Vary": "Accept, Accept-Encoding"}
        body = exposition.body
        if takes_gzip(request.headers.get("Accept-Encoding", "")):
            body = await asyncio.to_thread(gzip.compress, body, _LEVEL)
            headers["Content-Encoding"] = "gzip"
        return web.Response(body=body, headers=headers)


def takes_gzip(accept_encoding: str) -> bool:
    """
    Read a header.

    Args:
        accept_encoding: as it was sent.

    Returns:
        Whether gzip is among what is accepted, and not ruled out by a weight of 0.
    """
    for each in accept_encoding.lower().split(","):
        coding, _, parameter = each.partition(";")
        if coding.strip() == "gzip":
            weight = parameter.replace(" ", "").removeprefix("q=")
            return weight.strip("0.") != "" or not weight
    return False
