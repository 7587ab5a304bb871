"""HLS as it is served, without packagers: what is packaged comes from the test."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from contextlib import AsyncExitStack
from types import SimpleNamespace

import aiohttp
import structlog

from rtmpd.live.registry import Takeover
from rtmpd.web.guard import Guard
from rtmpd.web.hls import Hls
from rtmpd.web.media import Media
from rtmpd.web.site import Site
from tests.helpers.live_window import Feed
from tests.helpers.operations import FakeOperations
from tests.helpers.rig import Rig
from tests.helpers.site import config_of


class FakePackaging:
    """One that a test fills, through `feed`."""

    def __init__(self, edition, **options):
        self.edition = edition
        self.refusal = None
        self.feed = Feed(**options)
        self.window = self.feed.window
        self.wanted = 0


class FakePackagings:
    """Makes one for each stream that is wanted, and keeps it."""

    def __init__(self, **options):
        self.options = options
        self.by_path = {}

    def find(self, edition):
        return next((each for each in self.by_path.values() if each.edition == edition), None)

    def get(self, app, name):
        return self.by_path.get(f"{app}/{name}")

    def want(self, stream):
        if stream.path not in self.by_path:
            self.by_path[stream.path] = FakePackaging(f"{len(self.by_path):016x}", **self.options)
        self.by_path[stream.path].wanted += 1
        return self.by_path[stream.path]


class HlsRig:
    """A site that answers with HLS, and a client; as an asynchronous context manager."""

    def __init__(self, directory, *, wait_s=30.0, window=None, **tables):
        self.config = config_of(directory, **tables)
        self.rig = Rig(wait_s=wait_s)
        self.services = self.rig.services
        self.packagings = FakePackagings(**window or {})
        guard = Guard(self.config)
        self.media = Media(guard, self.rig.policy, self.config)
        self.hls = Hls(self.media, self.packagings, self.services, self.config)
        listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        log = structlog.get_logger()
        self.site = Site(FakeOperations(), self.config, log, [listening], guard=guard, outputs=[self.hls])
        self._stack = AsyncExitStack()

    async def __aenter__(self):
        await self._stack.enter_async_context(self.rig)
        await self.site.start()
        self._stack.push_async_callback(self.site.close)
        self._stack.callback(self.hls.close)
        self.client = await self._stack.enter_async_context(self.new_client())
        return self

    async def __aexit__(self, *error):
        await self._stack.__aexit__(*error)

    def new_client(self, **headers):
        """Another player."""
        return aiohttp.ClientSession(
            self.url, headers={"User-Agent": "test", **headers}, connector=aiohttp.TCPConnector(limit=0)
        )

    def publish(self, name="cam"):
        """Publish a stream; its media are those of `packaging`."""
        return self.services.registry.publish("live", name, "me", Takeover.SAME, lambda _: None)

    def packaging(self, name="cam"):
        """What stands for a packager of a stream, also before somebody wants it."""
        return self.packagings.want(SimpleNamespace(path=f"live/{name}"))

    async def get(self, path="/live/cam.m3u8", method="GET", client=None, **headers):
        """Ask, and read the whole answer."""
        async with (client or self.client).request(method, path, headers=headers) as answer:
            answer.body = await answer.read()
            return answer

    async def text(self, path="/live/cam.m3u8"):
        """Ask for a playlist that must be there."""
        answer = await self.get(path)
        assert answer.status == 200, answer.body
        return answer.body.decode()

    @contextlib.asynccontextmanager
    async def asking(self, *paths, client=None):
        """Ask, and go on while the answers are waited for; they must have come at the end of the block."""
        async with asyncio.TaskGroup() as group:
            yield [group.create_task(self.get(path, client=client)) for path in paths]

    async def until(self, condition):
        """Let the loop run until something is true."""
        await self.rig.until(condition)

    @property
    def viewers(self):
        """Those who watch by HLS."""
        return [client for client in self.services.connections if client.kind == "hls"]

    @property
    def waiting(self):
        """How many requests wait for windows."""
        return sum(len(view.waiting) for view in self.hls._views.values())
