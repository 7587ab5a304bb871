"""
What all answers that carry media have in common: who may have them, and what pages of other sites may do with them.

They need what playing the stream needs, in the query as in an RTMP URL, or what the API needs. The answers are for
players everywhere: `http.media_origins` says whose pages may read them (CORS), and the API's rules do not hold.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Protocol

from aiohttp import web

from rtmpd.config import Config
from rtmpd.control.rooms import Named
from rtmpd.errors import Refused
from rtmpd.net.policy import PlayGrant, Policy
from rtmpd.session.events import PlayRequested
from rtmpd.web.guard import Guard
from rtmpd.web.problems import HEADERS, Refusal

STATUS_OF = {
    "NetStream.Play.StreamNotFound": HTTPStatus.NOT_FOUND,
    "NetStream.Play.Failed": HTTPStatus.FORBIDDEN,
}
"""Of what players are refused with."""
PREFLIGHT_S = 86400
"""How long a browser may remember what a page of another site may ask."""
_LONGEST_PATH_BYTES = 1024


class Outputs(Protocol):
    """Answers requests for media."""

    def routes(self) -> list[web.RouteDef]:
        """What it answers; none of it is guarded as the API is, so each asks `Media`."""


class Media:
    """Admits those who want media."""

    def __init__(self, guard: Guard, policy: Policy, config: Config) -> None:
        """
        Prepare.

        Args:
            guard: knows who may use the API.
            policy: knows who may play.
            config: its http.
        """
        self._guard = guard
        self._policy = policy
        self._origins = config.http.media_origins

    def reload(self, config: Config) -> None:
        """
        Go by another configuration from now on.

        Args:
            config: its http.
        """
        self._origins = config.http.media_origins

    def has_token(self, request: web.Request) -> bool:
        """
        Say whether somebody may have everything, as `Guard.has_token` does.

        Args:
            request: of either surface.
        """
        return self._guard.has_token(request)

    async def admit(self, request: web.Request, stream: Named, client: int) -> PlayGrant:
        """
        Decide whether somebody may have a stream, or what was recorded of it.

        Args:
            request: its query is that of an RTMP URL.
            stream: which one.
            client: number of who asks, for hooks and the log.

        Returns:
            What it may watch.

        Raises:
            Refusal: 403 or 404, with the reason.
        """
        if not _may_be_published(stream.path):
            raise Refusal(
                HTTPStatus.NOT_FOUND, "nothing can be published under this name", headers=self.headers(request)
            )
        if self._guard.has_token(request):
            return PlayGrant(stream.app, stream.name)
        # As it was sent: who reads it decodes it, and twice would make another key of one with a percent sign or a plus.
        asked = PlayRequested(1, stream.app, stream.name, request.rel_url.raw_query_string)
        try:
            return await self._policy.admit_player(asked, request.remote or "", client)
        except Refused as refused:
            status = STATUS_OF.get(refused.code, HTTPStatus.FORBIDDEN)
            raise Refusal(status, refused.description, headers=self.headers(request)) from None

    def headers(self, request: web.Request) -> dict[str, str]:
        """
        Say what pages of other sites may do with an answer.

        Args:
            request: whose answer it is.

        Returns:
            Headers of CORS, to be added to the answer.
        """
        origin = request.headers.get("Origin")
        shared = {"Access-Control-Expose-Headers": "Content-Length, Content-Range", "X-Content-Type-Options": "nosniff"}
        if "*" in self._origins:
            return {**shared, "Access-Control-Allow-Origin": "*"}
        allowed = {"Access-Control-Allow-Origin": origin} if origin in self._origins and origin else {}
        return {**shared, **allowed, "Vary": "Origin"}

    def preflight(self, request: web.Request) -> web.Response:
        """
        Answer a browser that asks what a page of another site may ask for.

        Args:
            request: OPTIONS, of a path that has media.

        Returns:
            The answer.
        """
        allowed = {
            "Access-Control-Allow-Methods": "GET, HEAD, OPTIONS",
            "Access-Control-Allow-Headers": "Range, If-Range",
            "Access-Control-Max-Age": str(PREFLIGHT_S),
        }
        return web.Response(status=HTTPStatus.NO_CONTENT, headers={**HEADERS, **self.headers(request), **allowed})

    def check_websocket(self, request: web.Request) -> None:
        """
        Refuse a WebSocket to pages that may not show media: browsers leave that to the server, other than for requests.

        Args:
            request: for a WebSocket.

        Raises:
            Refusal: 403.
        """
        origin = request.headers.get("Origin")
        if origin is None or "*" in self._origins or origin in self._origins or self._guard.is_own_page(request):
            return
        raise Refusal(HTTPStatus.FORBIDDEN, "Origin is not one of http.media_origins", headers=self.headers(request))


def _may_be_published(path: str) -> bool:
    """As RTMP has it (`rtmpd.session.paths`): such names reach hooks and log lines."""
    segments = set(path.split("/"))
    return (
        path.isprintable()
        and not {"", ".", ".."} & segments
        and not {"?", "\ufffd"} & set(path)
        and len(path.encode()) <= _LONGEST_PATH_BYTES
    )
