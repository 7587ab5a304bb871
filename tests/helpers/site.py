"""The surfaces, served: in the test's own loop, or in a thread for clients that block."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import socket
import threading
from pathlib import Path
from typing import NamedTuple

import structlog

from rtmpd.config_file import validate
from rtmpd.control.metrics.exposition import Exposition
from rtmpd.errors import StartError
from rtmpd.web.site import Site
from tests.helpers.operations import FakeOperations
from tests.helpers.processes import PATIENCE_S
from tests.helpers.transports import close_transports

TOKEN = "a-token"


def config_of(directory, **tables):
    """A configuration on a free port, with its data in a directory."""
    tables.setdefault("http", {}).setdefault("listen", "127.0.0.1:0")
    return validate({"data": {"directory": str(directory)}, **tables})


class Answer(NamedTuple):
    """What a server answered."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path):
        super().__init__("rtmpd", timeout=PATIENCE_S)
        self._path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(PATIENCE_S)
        self.sock.connect(str(self._path))


async def measured_nothing(accept):
    """What a scrape of an idle server could be."""
    return Exposition(b"# TYPE rtmpd_streams gauge\n", "text/plain; version=0.0.4; charset=utf-8")


class RunningSite:
    """A site in a thread of its own, as a context manager."""

    def __init__(
        self, directory: Path, operations=None, log=None, *, scrape=measured_nothing, outputs=(), port=0, **tables
    ):
        self.operations = operations
        self.scrape = scrape
        self.config = config_of(directory, **tables)
        self.log = log or structlog.get_logger()
        self.outputs = outputs
        self.path = directory / "rtmpd.sock"
        self.listening = socket.create_server(("127.0.0.1", port))
        self.port = self.listening.getsockname()[1]
        self._ready = threading.Event()
        self._failure = None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))

    def __enter__(self):
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._thread.start()
        assert self._ready.wait(PATIENCE_S)
        if self._failure is not None:
            self._thread.join()
            raise self._failure
        return self

    def __exit__(self, *_):
        self.loop.call_soon_threadsafe(self._end.set)
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()

    async def _run(self):
        self.loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        try:
            self.operations = self.operations or FakeOperations()
            surfaces = {"scrape": self.scrape, "outputs": self.outputs}
            self.site = Site(self.operations, self.config, self.log, [self.listening], **surfaces)
            await self.site.start()
        except StartError as failure:
            self._failure = failure
            await self.site.close()
            return
        finally:
            self._ready.set()
        await self._end.wait()
        await self.site.close()
        await close_transports()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def connection(self, surface="tcp"):
        """A connection of one of the two surfaces."""
        if surface == "unix":
            return UnixConnection(self.path)
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)

    def ask(self, method, path, body=None, *, surface="tcp", headers=None):
        """Ask once; a body that is no bytes is sent as JSON."""
        headers = dict(headers or {})
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        if body is not None:
            headers.setdefault("Content-Type", "application/json")
        with contextlib.closing(self.connection(surface)) as connection:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
