"""Both surfaces, started and ended: one application on the HTTP listener's sockets and on the control socket."""

from __future__ import annotations

import asyncio
import functools
import importlib.metadata
import socket
from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path

from aiohttp import web

from rtmpd.config import Config
from rtmpd.logs import Logger
from rtmpd.net.report import RateReporter
from rtmpd.web.api import Api, json_response
from rtmpd.web.connections import Connections, Protocol, close_servers
from rtmpd.web.console import Console
from rtmpd.web.control_socket import ControlSocket, path_of
from rtmpd.web.events import Events
from rtmpd.web.guard import Guard, guarding
from rtmpd.web.media import Outputs
from rtmpd.web.metrics import MetricsPage, Scrape
from rtmpd.web.openapi import document
from rtmpd.web.operations import Operations
from rtmpd.web.problems import HEADERS, answering
from rtmpd.web.routes import OPEN_TO_ALL, Asked, Health

_ACCEPTS_A_TURN = 16
"""The loop closes a connection that there is no room for some turns later: 100, its default, had 300 descriptors in use."""
_BACKLOG = 4096
"""Connections that wait for their turn, as those of RTMP do; to the loop these are as many as it accepts in one."""
_LAST_ANSWERS_S = 0.4
"""At the end, for operations that are under way to be answered; aiohttp waits twice, before and after it cancels them."""


class Site:
    """The control API, on TCP and on the control socket."""

    def __init__(
        self,
        operations: Operations,
        config: Config,
        log: Logger,
        listening: Sequence[socket.socket] = (),
        *,
        guard: Guard | None = None,
        outputs: Sequence[Outputs] = (),
        scrape: Scrape | None = None,
    ) -> None:
        """
        Prepare; follow with `start`.

        Args:
            operations: the verbs.
            config: its http, urls, control and data.
            log: of the server.
            listening: TCP sockets, bound and listening; closed with the site.
            guard: knows who may use the API; made of the configuration if not given.
            outputs: media, beside the API.
            scrape: measures the server; None: there is nothing at /metrics.
        """
        self._operations = operations
        self._config = config
        self._log = log
        self._listening = listening
        self._guard = guard or Guard(config)
        self._outputs = (Console(), *outputs)
        self._metrics = MetricsPage(scrape)
        self._control: ControlSocket | None = None
        self._runner: web.AppRunner | None = None
        self._servers: list[asyncio.Server] = []

    async def start(self) -> None:
        """
        Begin to answer.

        Raises:
            StartError: with one line that says why the control socket cannot be opened.
        """
        self._control = ControlSocket(path_of(self._config))
        self._events = Events(self._config.http.event_streams)
        specials = {
            "events": self._events.follow,
            "openapi": self._openapi,
            "health": self._health,
            "metrics": self._metrics.answer,
        }
        self._api = Api(self._operations, self._config, specials)
        self._runner = web.AppRunner(self._application(), shutdown_timeout=_LAST_ANSWERS_S)
        await self._runner.setup()
        assert self._runner.server is not None
        loop = asyncio.get_running_loop()
        protocol = functools.partial(Protocol, self._runner.server)
        self._servers.append(await loop.create_server(protocol, sock=self._control.socket))
        refusals = RateReporter(self._log, loop.time)
        self.connections = Connections(self._runner.server, self._config.http.connections, refusals)
        """Makes the protocol of each connection over TCP."""
        for each in self._listening:
            self._servers.append(await loop.create_server(self.connections, sock=each, backlog=_ACCEPTS_A_TURN))
            each.listen(_BACKLOG)

    @property
    def control(self) -> Path:
        """The control socket's path."""
        return path_of(self._config)

    def reload(self, config: Config) -> None:
        """
        Go by another configuration: its tokens, names and limits; addresses stay as they are.

        Args:
            config: its http and urls.
        """
        self._guard.reload(config)
        self._api.config = config
        self.connections.most = config.http.connections
        self._events.most_followers = config.http.event_streams

    async def close(self) -> None:
        """End within a second: event streams at once, operations that are under way after a moment."""
        await close_servers(*self._servers)
        if self._runner is not None:
            self._events.close()
            await self._runner.cleanup()
            self._runner = None
        for each in self._listening:
            each.close()
        if self._control is not None:
            self._control.close()

    def _application(self) -> web.Application:
        media = [route for output in self._outputs for route in output.routes()]
        guards = guarding(self._guard, OPEN_TO_ALL, frozenset(route.handler for route in media))
        application = web.Application(middlewares=[answering(self._log), guards])
        application.add_routes([*self._api.routes(), *media])
        return application

    async def _openapi(self, _request: web.Request, _asked: Asked) -> web.StreamResponse:
        return web.json_response(document(version(), wants_token=self._guard.wants_token), headers=HEADERS)

    async def _health(self, _request: web.Request, _asked: Asked) -> web.StreamResponse:
        if self._operations.is_draining:
            return json_response(Health(status="draining"), HTTPStatus.SERVICE_UNAVAILABLE)
        return json_response(Health(status="ok"))


def version() -> str:
    """Of this program."""
    try:
        return importlib.metadata.version("rtmpd")
    except importlib.metadata.PackageNotFoundError:
        return "0"
