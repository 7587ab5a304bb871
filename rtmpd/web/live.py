"""
Live streams over HTTP: `/app/stream.flv` and `.mp4`, as an answer without end or over a WebSocket.

A plain connection is taken from aiohttp as soon as there is media, and served by the fan-out from then on: it is counted
and limited as those of RTMP are. Over TLS, WebSocket and the control socket aiohttp keeps the connection, and the player
writes through its transport.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from email.utils import formatdate
from http import HTTPStatus

from aiohttp import WSCloseCode, web
from aiohttp.abc import AbstractStreamWriter

from rtmpd.control.rooms import split
from rtmpd.errors import Refused
from rtmpd.live.stream import Stream
from rtmpd.net.http_player import CLOSED, Asked, FlvPlayer, Fragments, HttpPlayer, Mp4Player
from rtmpd.net.policy import PlayGrant
from rtmpd.net.services import Services, client_numbers
from rtmpd.web.connections import Protocol
from rtmpd.web.media import STATUS_OF, Media
from rtmpd.web.problems import HEADERS, Refusal

CONTENT_TYPES = {"flv": "video/x-flv", "mp4": "video/mp4"}
"""By what the path ends with."""
_STATUS_OF = {**STATUS_OF, CLOSED: HTTPStatus.SERVICE_UNAVAILABLE}
_BEGINS_AT_NEWEST = {"0": True, "1": False}
"""Of ?gop=: whether to begin with the next key frame, rather than with the newest."""
_GOODBYE_S = 2.0
"""For a peer to answer a WebSocket's goodbye."""
_LONGEST_REASON_BYTES = 120
MESSAGE_BYTES = 4096
"""A viewer has nothing to say; a longer message ends its WebSocket."""


class Live:
    """Answers requests for live streams (an `Outputs`)."""

    def __init__(
        self,
        services: Services,
        media: Media,
        most_clients: int,
        want: Callable[[Stream], Fragments] | None = None,
    ) -> None:
        """
        Prepare.

        Args:
            services: of the server.
            media: admits.
            most_clients: connections of all kinds that the server may have.
            want: has a stream packaged, for MP4; None where nothing can.
        """
        self._services = services
        self._media = media
        self._most_clients = most_clients
        self._want = want

    def routes(self) -> list[web.RouteDef]:
        """What it answers."""
        forms = "flv" if self._want is None else "|".join(CONTENT_TYPES)
        path = f"/{{app:.+}}/{{stream:[^/]+}}.{{form:{forms}}}"
        return [
            web.get(path, self._play, allow_head=False),
            web.head(path, self._look),
            web.options(path, self._preflight),
        ]

    async def _preflight(self, request: web.Request) -> web.StreamResponse:
        return self._media.preflight(request)

    async def _look(self, request: web.Request) -> web.StreamResponse:
        """Answer HEAD: what is live now; nobody is waited for, and nothing brought for it."""
        grant = await self._admit(request, next(client_numbers))
        stream = self._services.registry.find(grant.app, grant.stream)
        if stream is None or not stream.is_watchable:
            raise self._refusal(request, HTTPStatus.NOT_FOUND, f"nobody publishes {grant.app}/{grant.stream}")
        return web.Response(headers=self._headers(request))

    async def _play(self, request: web.Request) -> web.StreamResponse:
        number = next(client_numbers)
        upgrade = self._upgrade(request)
        asked = Asked(request.remote or "", _kind(request), at_newest=self._begins_at_newest(request))
        grant = await self._admit(request, number)
        player = self._player(request, asked, number)
        protocol = request.protocol
        assert isinstance(protocol, Protocol)
        protocol.watch(player)
        try:
            player.join(grant)
            await self._ready(request, player)
            if upgrade is not None:
                return await self._over_websocket(request, player, upgrade)
            if _is_plain(request):
                return await self._on_own_socket(request, protocol, player)
            return await self._through_transport(request, player)
        finally:
            protocol.unwatch()
            player.request_ended()

    def _upgrade(self, request: web.Request) -> web.WebSocketResponse | None:
        """Find out whether a WebSocket is asked for, and may be."""
        if not _wants_websocket(request):
            return None
        upgrade = web.WebSocketResponse(timeout=_GOODBYE_S, compress=False, max_msg_size=MESSAGE_BYTES)
        if not upgrade.can_prepare(request).ok:
            raise self._refusal(request, HTTPStatus.BAD_REQUEST, "a WebSocket of version 13 is expected")
        self._media.check_websocket(request)
        upgrade.headers.update(HEADERS)
        return upgrade

    def _begins_at_newest(self, request: web.Request) -> bool:
        text = request.query.get("gop", "1")
        if text not in _BEGINS_AT_NEWEST:
            raise self._refusal(request, HTTPStatus.UNPROCESSABLE_ENTITY, "gop: 0 or 1 is expected")
        return _BEGINS_AT_NEWEST[text]

    async def _admit(self, request: web.Request, number: int) -> PlayGrant:
        services = self._services
        stream = split(f"{request.match_info['app']}/{request.match_info['stream']}")
        try:
            if services.connect_refusal is not None:
                raise self._refusal(request, HTTPStatus.SERVICE_UNAVAILABLE, services.connect_refusal.description)
            if services.sockets >= self._most_clients:
                raise self._refusal(request, HTTPStatus.SERVICE_UNAVAILABLE, "there is no room for another client")
            return await self._media.admit(request, stream, number)
        except Refusal as refusal:
            services.log.info(
                "play refused",
                client=number,
                address=request.remote,
                kind=_kind(request),
                stream=stream.path,
                status=int(refusal.status),
                why=refusal.detail,
            )
            raise

    def _player(self, request: web.Request, asked: Asked, number: int) -> HttpPlayer:
        if request.match_info["form"] == "mp4" and self._want is not None:
            return Mp4Player(self._services, asked, self._want, number)
        return FlvPlayer(self._services, asked, number)

    async def _ready(self, request: web.Request, player: HttpPlayer) -> None:
        try:
            await player.ready()
        except Refused as refused:
            status = _STATUS_OF.get(refused.code, HTTPStatus.FORBIDDEN)
            raise self._refusal(request, status, refused.description) from None

    async def _on_own_socket(self, request: web.Request, protocol: Protocol, player: HttpPlayer) -> web.StreamResponse:
        try:
            async with asyncio.timeout(self._services.lag_limit_s):
                connection = await protocol.hand_over()
        except TimeoutError:
            protocol.abort()
            raise ConnectionResetError("earlier answers are not read") from None
        except ConnectionError:
            raise
        except OSError as error:
            raise self._refusal(
                request, HTTPStatus.SERVICE_UNAVAILABLE, f"no room for another client: {error.strerror}"
            ) from None
        player.play_on_socket(connection, self._head(request))
        return _Relinquished()

    async def _through_transport(self, request: web.Request, player: HttpPlayer) -> web.StreamResponse:
        transport = request.transport
        if transport is None:
            raise ConnectionResetError("connection lost")
        player.play_on_transport(transport, self._head(request))
        await asyncio.wait([player.over])
        if not player.has_all:
            transport.abort()
        return _Relinquished()

    async def _over_websocket(
        self, request: web.Request, player: HttpPlayer, upgrade: web.WebSocketResponse
    ) -> web.StreamResponse:
        await upgrade.prepare(request)
        transport = request.transport
        if transport is None:
            raise ConnectionResetError("connection lost")
        goodbye = self._services.tasks.supervise(_say_goodbye(upgrade, transport, player), "goodbye to a WebSocket")
        player.play_on_transport(transport, b"", framed=True)
        async for message in upgrade:
            if isinstance(message.data, bytes | str):  # else it says what was wrong with a message
                player.bytes_in += len(message.data)
        player.left()
        await asyncio.wait([goodbye])
        return upgrade

    def _refusal(self, request: web.Request, status: HTTPStatus, detail: str) -> Refusal:
        return Refusal(status, detail, headers=self._media.headers(request))

    def _headers(self, request: web.Request) -> dict[str, str]:
        content_type = CONTENT_TYPES[request.match_info["form"]]
        return {**HEADERS, **self._media.headers(request), "Content-Type": content_type, "Accept-Ranges": "none"}

    def _head(self, request: web.Request) -> bytes:
        """Of an answer whose end is that of the connection; the same to clients of HTTP/1.0."""
        headers = {**self._headers(request), "Date": formatdate(usegmt=True), "Connection": "close"}
        lines = ["HTTP/1.1 200 OK", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
        return "\r\n".join(lines).encode("latin-1")


class _Relinquished(web.StreamResponse):
    """Nothing for aiohttp to send: the answer was written by hand."""

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:  # noqa: ARG002 - as its base has it
        """Send no head."""
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        """Send no end."""


async def _say_goodbye(upgrade: web.WebSocketResponse, transport: asyncio.Transport, player: HttpPlayer) -> None:
    """Close a WebSocket when its player is over; one that takes nothing any more would not take a goodbye either."""
    await asyncio.wait([player.over])
    if upgrade.closed or transport.is_closing():
        return
    if transport.get_write_buffer_size():
        transport.abort()
        return
    reason = player.over.result().encode()[:_LONGEST_REASON_BYTES].decode(errors="ignore").encode()
    try:
        async with asyncio.timeout(2 * _GOODBYE_S):
            await upgrade.close(code=WSCloseCode.OK if player.has_all else WSCloseCode.GOING_AWAY, message=reason)
    except TimeoutError:
        transport.abort()


def _wants_websocket(request: web.Request) -> bool:
    return request.headers.get("Upgrade", "").strip().lower() == "websocket"


def _kind(request: web.Request) -> str:
    if request.match_info["form"] != "flv":
        return request.match_info["form"]
    return "ws-flv" if _wants_websocket(request) else "http-flv"


def _is_plain(request: web.Request) -> bool:
    """Whether the connection is TCP without TLS."""
    transport = request.transport
    if transport is None or transport.get_extra_info("sslcontext") is not None:
        return False
    connection = transport.get_extra_info("socket")
    return connection is not None and connection.family in {socket.AF_INET, socket.AF_INET6}
