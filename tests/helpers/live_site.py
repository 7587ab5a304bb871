"""Live streams over HTTP in the test's own loop: a rig's streams, and the surface that shows them."""

from __future__ import annotations

import asyncio
import contextlib
import ssl

import trustme

from rtmpd.net.acceptor import Admission
from rtmpd.net.listener import listen
from rtmpd.net.tls_listener import TlsListener
from rtmpd.web.guard import Guard
from rtmpd.web.live import Live
from rtmpd.web.media import Media
from rtmpd.web.session_desk import SessionDesk
from rtmpd.web.site import Site
from tests.helpers.client_session import client_session
from tests.helpers.operations import FakeOperations
from tests.helpers.rig import Rig
from tests.helpers.site import config_of

AUTHORITY = trustme.CA()


class LiveSite:
    """A site with the streams of a rig, over HTTP and HTTPS, and a client of it; to be used as a context manager."""

    def __init__(self, directory, *, want=None, most_clients=100, http=None, **rig):
        self._directory = directory
        self._want = want
        self._most_clients = most_clients
        self._http = http or {}
        self._rig = rig

    async def __aenter__(self):
        self._stack = contextlib.AsyncExitStack()
        self.rig = rig = await self._stack.enter_async_context(Rig(**self._rig))
        config = config_of(self._directory, http=self._http)
        (plain,), (secure,) = listen("127.0.0.1", 0), listen("127.0.0.1", 0)
        self.address, self.secure_address = plain.getsockname(), secure.getsockname()
        guard = Guard(config)
        want = self._want and (lambda stream: self._want(rig, stream))
        self.media = Media(guard, rig.policy, config)
        self.live = Live(rig.services, self.media, self._most_clients, want)
        self.site = Site(
            FakeOperations(), config, rig.services.log, [plain], guard=guard, outputs=[SessionDesk(guard), self.live]
        )
        await self.site.start()
        self._stack.push_async_callback(self.site.close)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        AUTHORITY.issue_cert("127.0.0.1").configure_cert(context)
        self.tls = TlsListener(rig.services, secure, Admission(0, 100, 100), context, self.site.connections)
        self._stack.callback(self.tls.close)
        self.trust = ssl.create_default_context()
        AUTHORITY.configure_trust(self.trust)
        self.session = await self._stack.enter_async_context(client_session(ssl=self.trust))
        return self

    async def __aexit__(self, *error):
        for connection in list(self.rig.services.connections):
            connection.evict("test ends")
        await self._stack.__aexit__(*error)
        self.rig.clients.clear()  # aiohttp caches handlers for ever, and those hold the rig

    def url(self, path, *, secure=False):
        port = (self.secure_address if secure else self.address)[1]
        return f"http{'s' if secure else ''}://127.0.0.1:{port}{path}"

    async def ask(self, method, path, **headers):
        """Ask for what has an end; the answer has been read."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        async with asyncio.timeout(10), self.session.request(method, self.url(path), headers=sent) as response:
            await response.read()
            return response

    @property
    def held(self):
        """Connections that aiohttp has."""
        return self.site._runner.server.connections

    @property
    def players(self):
        return [each for each in self.rig.services.connections if each.role == "play"]
