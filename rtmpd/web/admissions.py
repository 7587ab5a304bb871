"""Who was admitted lately to a recording or a picture: a player that seeks asks hundreds of times, a hook is asked once."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from http import HTTPStatus
from typing import NamedTuple

from aiohttp import web

from rtmpd.control.rooms import Named
from rtmpd.net.services import client_numbers
from rtmpd.web.media import Media
from rtmpd.web.problems import Refusal

KEPT_S = 300.0
"""Since the last request of the same viewer; a film that is paused for longer is asked for anew."""
MOST = 4096
"""Admissions that are remembered; of more, those that were not used for the longest time are forgotten."""


class _Viewer(NamedTuple):
    """Who asks for what; another query is another key."""

    address: str
    query: str
    subject: str


class _Admission(NamedTuple):
    stream: Named
    until_s: float


class Admissions:
    """Asks `Media`, once for each viewer of each file."""

    def __init__(self, media: Media, now: Callable[[], float] = time.monotonic) -> None:
        """
        Start without any.

        Args:
            media: admits.
            now: seconds of a clock that does not leap.
        """
        self._media = media
        self._now = now
        self._known: OrderedDict[_Viewer, _Admission] = OrderedDict()

    async def admit(self, request: web.Request, stream: Named, subject: str) -> Named:
        """
        Decide whether somebody may have something of a stream.

        Args:
            request: its query is that of an RTMP URL.
            stream: which one.
            subject: what is asked for; an admission to one thing is none to another.

        Returns:
            The stream that is to be shown, which a hook may have chosen.

        Raises:
            Refusal: 403 or 404, with the reason.
        """
        if self._media.has_token(request):  # never remembered: the token is not in what is compared
            return stream
        viewer = _Viewer(request.remote or "", request.rel_url.raw_query_string, subject)
        known = self._known.get(viewer)
        if known is None or known.until_s <= self._now():
            grant = await self._media.admit(request, stream, next(client_numbers))
            known = _Admission(Named(grant.app, grant.stream), 0)
        self._known[viewer] = known._replace(until_s=self._now() + KEPT_S)
        self._known.move_to_end(viewer)
        if len(self._known) > MOST:
            self._known.popitem(last=False)
        return known.stream

    async def require(self, request: web.Request, stream: Named, subject: str) -> None:
        """
        Let nobody through who may not have just this stream; see `admit`.

        Raises:
            Refusal: 403 or 404, with the reason.
        """
        if await self.admit(request, stream, subject) != stream:
            headers = self._media.headers(request)
            raise Refusal(HTTPStatus.FORBIDDEN, "who asks for this stream is shown another one", headers=headers)

    def clear(self) -> None:
        """Forget all of them, as another configuration may admit others."""
        self._known.clear()
