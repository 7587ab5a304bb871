"""A receiver of callbacks in this process, which keeps what it gets and can be told to go wrong."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import Any, NamedTuple

from aiohttp import web

from rtmpd.web.connections import close_servers

LARGE_BYTES = 10 * 1024 * 1024


class Received(NamedTuple):
    """One request."""

    path: str
    headers: dict[str, str]
    data: bytes
    peer_port: int
    """Of the connection: the same for requests that share it."""

    @property
    def body(self) -> dict[str, Any]:
        return json.loads(self.data)

    @property
    def event_id(self) -> str:
        return self.body["event_id"]

    @property
    def stream(self) -> str:
        return self.body["stream_id"]

    @property
    def same_at_each_attempt(self) -> dict[str, Any]:
        return {name: value for name, value in self.body.items() if name not in {"t", "sign"}}


async def ok(_request):
    return web.json_response({"code": 0})


async def error_500(_request):
    return web.Response(status=500, text="out of order")


async def hang(_request):
    await asyncio.Event().wait()


async def close(request):
    request.transport.abort()
    return web.Response()


async def redirect(_request):
    return web.Response(status=302, headers={"Location": "/elsewhere"})


async def large(_request):
    return web.Response(body=bytes(LARGE_BYTES))


async def large_error(_request):
    return web.Response(status=500, body=bytes(LARGE_BYTES))


async def accepted(_request):
    return web.Response(status=202)


async def endless(request):
    """Answer 200, and never come to the end of the body."""
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(b"{")
    await asyncio.Event().wait()


class Receiver:
    """
    A context manager; `plan` says how to answer.

    `plan` is given a request and how often its event has come (1 for the first time), and returns one of the answers
    of this module.
    """

    def __init__(self, plan=lambda _received, _times: ok):
        self.plan = plan
        self.requests: list[Received] = []
        self.taken: list[Received] = []
        """Those that were answered 200 or are being so."""
        # Held also while nobody listens: whoever needs any port could be given this one.
        self._held = socket.socket()
        self._held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self._held.bind(("127.0.0.1", 0))
        self.port = self._held.getsockname()[1]
        self._runner = None
        self._server = None

    async def __aenter__(self):
        await self.start()
        return self

    async def __aexit__(self, *_):
        await self.stop()
        self._held.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/callbacks"

    async def start(self):
        """Listen, on the same port as the last time."""
        application = web.Application(client_max_size=LARGE_BYTES)
        application.router.add_route("*", "/{path:.*}", self._take)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.01)
        await self._runner.setup()
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._runner.server, "127.0.0.1", self.port, reuse_port=True)

    async def stop(self):
        """Be down: connections are closed, and new ones refused."""
        if self._runner is not None:
            await close_servers(self._server)
            await self._runner.cleanup()
            self._runner = None

    def of(self, stream: str) -> list[str]:
        """Event ids of a stream, as they came."""
        return [each.event_id for each in self.requests if each.stream == stream]

    async def _take(self, request):
        port = request.transport.get_extra_info("peername")[1]
        received = Received(request.path, dict(request.headers), await request.read(), port)
        self.requests.append(received)
        times = sum(1 for each in self.requests if each.event_id == received.event_id)
        answer = self.plan(received, times)
        if answer in {ok, large, endless}:
            self.taken.append(received)
        return await answer(request)
