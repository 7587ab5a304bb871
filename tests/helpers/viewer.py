"""Players behind HTTP requests without HTTP: real sockets, and the fan-out of a rig."""

from __future__ import annotations

import asyncio
import contextlib

from rtmpd.net.http_player import Asked, FlvPlayer
from rtmpd.net.policy import PlayGrant
from rtmpd.wire.flv import TagReader
from tests.helpers.rig import PATIENCE_S, tcp_pair

HEAD = b"HTTP/1.1 200 OK\r\n\r\n"


class Viewer:
    """A client that reads what its player sends, beside that player."""

    def __init__(self, rig, make=FlvPlayer, *, kind="http-flv", at_newest=False):
        self._loop = rig.loop
        self.player = make(rig.services, Asked("192.0.2.9", kind, at_newest))
        self.ours, self.socket = tcp_pair()
        self.data = bytearray()
        self.ended = False
        self._reading = None
        self._reader = TagReader()
        self._tags = []
        self._taken_apart = len(HEAD)
        """How many bytes of `data` are in `_tags`: who waits for the last of 20 MB asks every millisecond."""
        rig.clients.append(self)

    def join(self, name="s"):
        self.player.join(PlayGrant("live", name))
        return self

    async def play(self, name="s"):
        """Join a stream, and play when there is something to play."""
        self.join(name)
        await self.start()
        return self

    async def start(self):
        async with asyncio.timeout(PATIENCE_S):
            await self.player.ready()
        self.player.play_on_socket(self.ours, HEAD)
        self.read_on()

    def read_on(self):
        self._reading = asyncio.ensure_future(self._read())

    def pause(self):
        self._reading.cancel()

    @property
    def tags(self):
        """What came behind the head."""
        assert HEAD.startswith(bytes(self.data[: len(HEAD)]))
        self._tags += self._reader.feed(bytes(self.data[self._taken_apart :]))
        self._taken_apart = max(self._taken_apart, len(self.data))
        return list(self._tags)

    @property
    def times(self):
        """Of the frames of video."""
        return [tag.timestamp_ms for tag in self.tags if tag.type_id == 9 and tag.body[1] == 1]

    async def until(self, condition):
        async with asyncio.timeout(PATIENCE_S):
            while not condition():
                await asyncio.sleep(0.001)

    async def end(self):
        """Wait until the server has closed."""
        await self.until(lambda: self.ended)

    def close(self):
        if self._reading is not None:
            self._reading.cancel()
        self.socket.close()
        if self._reading is None:
            self.ours.close()

    async def _read(self):
        with contextlib.suppress(ConnectionError):
            while data := await self._loop.sock_recv(self.socket, 1 << 20):
                self.data += data
        self.ended = True
