"""
Connections: what they speak, how many there may be, and how long one may be silent before it asks for anything.

The limits are those of the listeners for HTTP alone. A connection that plays a live stream is none of theirs: it counts as
those of RTMP do, whether its socket was handed over or not.
"""

from __future__ import annotations

import asyncio
import logging
import re
import socket
import typing
from http import HTTPStatus

from aiohttp import web
from aiohttp.http import HttpProcessingError
from aiohttp.web_protocol import RequestHandler

from rtmpd.net.report import RateReporter
from rtmpd.web.problems import Refusal

FIRST_REQUEST_S = 10.0
"""From a connection to the end of its first request's headers. Between requests, the keep-alive is the limit."""
HEAD_BYTES = 64 * 1024
"""All headers of a request together; aiohttp limits each of them alone. Who sends more has nothing to ask."""
CONNECTION_BYTES = 512 * 1024
"""Memory of a connection beside the body of a request, at most: its head, twice, and what is read and written at once."""
_MOST_HEADERS = 64
"""The same while an answer is under way, when what comes may be a body as well."""
_KEEPALIVE_S = 75.0
_LINGER_S = 2.0
"""A client may finish sending a body that is refused, so that it reads why."""
_LONGEST_FAULT = 200


class Watcher(typing.Protocol):
    """Who uses a connection for a live stream."""

    def left(self) -> None:
        """The connection is lost."""

    def on_writable(self) -> None:
        """Nothing is left of what was written."""


class Protocol(RequestHandler):
    """A connection; what is no HTTP is answered with a problem document, too."""

    __slots__ = ("_census", "_deadline", "_head_bytes", "_watcher")

    def __init__(self, server: web.Server, census: Connections | None = None) -> None:
        """
        Prepare for a connection of either surface.

        Args:
            server: aiohttp's, which answers requests.
            census: limits connections, and wants to know which of them play; None where nobody does.
        """
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            access_log=None,  # type: ignore[arg-type]  # documented: no access log
            logger=_logger(),
            keepalive_timeout=_KEEPALIVE_S,
            lingering_time=_LINGER_S,
            max_headers=_MOST_HEADERS,
            auto_decompress=False,  # a body of a few KB could become gigabytes
        )
        self._deadline: asyncio.TimerHandle | None = None
        self._head_bytes = 0
        """Of a request that has not come whole."""
        self._census = census
        self._watcher: Watcher | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin; close the connection if no request comes in time."""
        super().connection_made(transport)
        if self._census is None:
            return
        if self._census.has_too_many:  # thousands may have been in their TLS handshake while there was room
            self._census.tell_full()
            self.force_close()
        else:
            self._deadline = asyncio.get_running_loop().call_later(FIRST_REQUEST_S, self.force_close)

    def data_received(self, data: bytes) -> None:
        """Read on; end a connection whose head would fill the memory."""
        super().data_received(data)
        # Not where it is answered: a deadline may pass in the turn of the loop in which the request comes.
        if self._request_count:
            self._end_deadline()
        if self._waiter is None or self._waiter.done():  # a request has come, or one is being answered
            self._head_bytes = 0
            return
        self._head_bytes += len(data)
        if self._head_bytes > HEAD_BYTES:
            self.abort()

    def watch(self, watcher: Watcher) -> None:
        """
        Use the connection for a live stream from now on.

        Args:
            watcher: is told of its end, and of room.

        Raises:
            ConnectionResetError: it has ended already.
        """
        if self.transport is None:
            raise ConnectionResetError("connection lost")
        self._watcher = watcher
        if self._census is not None:
            self._census.players += 1

    def unwatch(self) -> None:
        """Use it so no longer; harmless when called again."""
        if self._watcher is None:
            return
        self._watcher = None
        if self._census is not None:
            self._census.players -= 1

    def resume_writing(self) -> None:
        """Go on writing."""
        super().resume_writing()
        if self._watcher is not None:
            self._watcher.on_writable()

    async def hand_over(self) -> socket.socket:
        """
        Give away the socket, once all that was written to it is sent; nobody is told that the connection is lost.

        Returns:
            A duplicate; the connection goes on under it.

        Raises:
            ConnectionError: it is lost.
            OSError: there is no descriptor.
        """
        if self.transport is None:
            raise ConnectionResetError("connection lost")
        self.transport.set_write_buffer_limits(high=0)
        await self._drain_helper()
        transport = self.transport
        if transport is None:
            raise ConnectionResetError("connection lost")
        duplicate: socket.socket = transport.get_extra_info("socket").dup()
        self.unwatch()
        self.force_close()
        return duplicate

    def abort(self) -> None:
        """Close at once; what could not be sent yet is lost."""
        if self.transport is not None:
            self.transport.abort()
        self.force_close()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Let go of everything at once: what was received may be large, and strangers come as fast as they like."""
        self._end_deadline()
        watcher = self._watcher
        self.unwatch()
        if watcher is not None:
            watcher.left()
        for message, _ in self._messages:
            _cut_loose(getattr(message, "exc", None))
        super().connection_lost(exc)
        if self._waiter is None:  # else the next of them is being taken
            self._messages.clear()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = HTTPStatus.INTERNAL_SERVER_ERROR,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what aiohttp cannot read: its own answer names its version, and repeats what was sent."""
        answer = super().handle_error(request, status, exc, message)
        _cut_loose(exc)
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return answer
        # What was sent comes after a colon, or in the next line.
        fault = re.split(r"[:\n]", message or "")[0][:_LONGEST_FAULT].strip(" .")
        response = Refusal(HTTPStatus(status), f"this is no HTTP: {fault}").response()
        response.force_close()
        return response

    def _end_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


class Connections:
    """Makes a protocol for each connection that there is room for."""

    def __init__(self, server: web.Server, most: int, refusals: RateReporter) -> None:
        """
        Start with no connections.

        Args:
            server: aiohttp's, which answers requests.
            most: at once, over TCP, players not counted; more are closed as they come.
            refusals: is told of those.
        """
        self._server = server
        self._refusals = refusals
        self.most = most
        self.players = 0
        """How many play live streams."""

    @property
    def is_full(self) -> bool:
        """Whether there is no room for another one."""
        return len(self._server.connections) - self.players >= self.most

    @property
    def has_too_many(self) -> bool:
        """Whether there is one more than there is room for."""
        return len(self._server.connections) - self.players > self.most

    def __call__(self) -> asyncio.Protocol:
        """Make the protocol of a connection; what `loop.create_server` calls."""
        if not self.is_full:
            return Protocol(self._server, self)
        self.tell_full()
        return _TurnedAway()

    def tell_full(self) -> None:
        """Write into the log that somebody is turned away, once a second at most."""
        self._refusals.warn("connections refused: http.connections is reached", limit=self.most)


async def close_servers(*servers: asyncio.Server) -> None:
    """
    Accept no more, and let go of the listening sockets.

    A connection that was accepted in this turn of the loop becomes a transport in the next one. asyncio makes half of one for
    a server that has been closed in between: its client waits until the collector finds it.

    Args:
        servers: of this loop.
    """
    loop = asyncio.get_running_loop()
    for listening in (each for server in servers for each in server.sockets):
        loop.remove_reader(listening.fileno())
    try:
        await asyncio.sleep(0)
    finally:
        for server in servers:
            server.close()


def _cut_loose(error: BaseException | None) -> None:
    """
    Let an error go of its frames, which hold the error as well, and with it all that was received.

    Such a circle waits for a full collection, which this server hardly ever makes: strangers could fill its memory.
    """
    while error is not None:
        error.__traceback__ = None
        error = error.__context__


class _TurnedAway(asyncio.Protocol):
    """A connection that there is no room for."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


def _logger() -> logging.Logger:
    """For aiohttp, which would log a traceback for what clients do: strangers could fill the log with them."""
    logger = logging.getLogger("rtmpd.web")
    logger.addFilter(_is_no_peers_mistake)  # added once, however often
    return logger


def _is_no_peers_mistake(record: logging.LogRecord) -> bool:
    """Neither what is no HTTP, nor that a client has gone before its request had come, or its answer was sent."""
    return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError | ConnectionError))
