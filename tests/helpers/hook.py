"""A hook: an HTTP server in a thread that answers as it is told, or misbehaves."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from rtmpd.web.connections import close_servers
from tests.helpers.processes import PATIENCE_S, wait_until
from tests.helpers.transports import close_transports

Behaviour = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Hook:
    """One server for any path; to be used as a context manager, by tests of either kind."""

    def __init__(self, behaviour: Behaviour, tls: ssl.SSLContext | None = None) -> None:
        """
        Prepare.

        Args:
            behaviour: answers each request; may be replaced at any time.
            tls: speak HTTPS.
        """
        self.behaviour = behaviour
        self._tls = tls
        self.questions: list[dict[str, Any]] = []
        self.requests: list[web.Request] = []
        self.ports: set[int] = set()
        """From which it was asked: as many as there were connections."""
        self.abandoned: list[dict[str, Any]] = []
        """Questions whose asker left before the answer, in the order in which that was noticed."""
        self.sent_bytes = 0
        """Of bodies that were sent piece by piece."""
        self._port = 0
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="hook", daemon=True)

    def __enter__(self):
        self._thread.start()
        assert self._started.wait(PATIENCE_S)
        return self

    def __exit__(self, *_error) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()

    def url(self, path: str = "/hook") -> str:
        """Its address."""
        return f"http{'s' if self._tls else ''}://127.0.0.1:{self._port}{path}"

    def forget(self) -> None:
        """Begin anew, for the next test."""
        self.questions.clear()
        self.requests.clear()
        self.abandoned.clear()

    def wait_for_questions(self, count: int = 1) -> dict[str, Any]:
        """Wait until it was asked so often; the last of these questions."""
        wait_until(lambda: len(self.questions) >= count, f"question {count} to the hook")
        return self.questions[count - 1]

    def wait_for_abandoned(self, count: int = 1, **match: Any) -> None:
        """Wait until so many askers have left, of questions with the given values."""
        wait_until(
            lambda: sum(match.items() <= each.items() for each in list(self.abandoned)) >= count,
            f"{count} askers to leave {match}",
        )

    async def _serve(self) -> None:
        app = web.Application()
        app.router.add_post("/{path:.*}", self._answer)
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        server = await self._loop.create_server(runner.server, "127.0.0.1", 0, ssl=self._tls)
        self._port = server.sockets[0].getsockname()[1]
        self._started.set()
        await self._stop.wait()
        await close_servers(server)
        await runner.cleanup()
        await close_transports()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        question = await request.json()
        self.requests.append(request)
        self.ports.add(request.transport.get_extra_info("peername")[1])
        self.questions.append(question)
        try:
            return await self.behaviour(request)
        except (asyncio.CancelledError, ConnectionError):
            self.abandoned.append(question)
            raise

    def sends(self, status: int, size_bytes: int) -> Behaviour:
        """Answer with a body of spaces, piece by piece."""

        async def behave(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse(status=status)
            await response.prepare(request)
            for _ in range(size_bytes // 65536):
                await response.write(b" " * 65536)
                self.sent_bytes += 65536
            return response

        return behave


def says(status: int = 200, body: bytes | str = b"", **headers: str) -> Behaviour:
    """Answer with a body; underscores in names of headers become hyphens."""
    content = body.encode() if isinstance(body, str) else body

    async def behave(_request: web.Request) -> web.StreamResponse:
        return web.Response(
            status=status, body=content, headers={name.replace("_", "-"): each for name, each in headers.items()}
        )

    return behave


def settles(**fields: Any) -> Behaviour:
    """Admit, with a JSON object."""

    async def behave(_request: web.Request) -> web.StreamResponse:
        return web.json_response(fields)

    return behave


def when(permitted: threading.Event, behaviour: Behaviour) -> Behaviour:
    """Wait for a test's permission before answering."""

    async def behave(request: web.Request) -> web.StreamResponse:
        while not permitted.is_set():
            await asyncio.sleep(0.005)
        return await behaviour(request)

    return behave


async def hangs(_request: web.Request) -> web.StreamResponse:
    """Say nothing."""
    await asyncio.Event().wait()
    raise AssertionError


def hangs_in_body(status: int) -> Behaviour:
    """Begin an answer and say no more."""

    async def behave(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=status)
        await response.prepare(request)
        await response.write(b"{")
        return await hangs(request)

    return behave


async def drips(request: web.Request) -> web.StreamResponse:
    """Send a head that never ends, byte by byte."""
    request.transport.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    while True:
        request.transport.write(b"x")
        await asyncio.sleep(0.01)


def speaks(raw: bytes) -> Behaviour:
    """Send something of one's own instead of HTTP, and close."""

    async def behave(request: web.Request) -> web.StreamResponse:
        request.transport.write(raw)
        request.transport.close()
        return await hangs(request)

    return behave
