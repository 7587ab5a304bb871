"""
Live packaging, the server's side: fragmented MP4 of the streams that somebody wants it of.

A stream's `Packaging` feeds it to the one packager (`rtmpd.workers.packager`) and takes what comes back: a log, whose
cursors are the players of MP4, and a window of segments, which HLS is answered from. Whoever asks for one has it looked
at first, so what has become private is out of reach at once.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import NamedTuple

from rtmpd.config import Config
from rtmpd.live.log import Retention
from rtmpd.live.stream import Stream
from rtmpd.live.window import Window
from rtmpd.net.services import Services
from rtmpd.workers.packager import PACKAGER_MODULE, Packager
from rtmpd.workers.playlist_ends import PlaylistEnds
from rtmpd.workers.protocol import Health
from rtmpd.workers.stream_packaging import Packaging, Shared

__all__ = ["PART_BYTES", "Packaging", "Packagings", "most_bytes"]

PART_BYTES = 8 * 1024 * 1024
"""What a part collects before it ends, whatever the timestamps say; the message that ends it comes on top."""
GAP_MS = 50
"""Of what a server before this one had: how long it was is not known, and players step over what is shorter than 100 ms."""
DEATHS_BARRED = 2
"""A process may be killed by somebody else while it has an innocent stream in hand, but hardly twice the same one."""
BARRED_S = 120.0
"""After the last death, a stream is blamed for so long; one that has died twice by then is packaged for nobody."""


def most_bytes(config: Config) -> int:
    """
    Sum up what this process keeps of one packaged stream, beside the stream's own logs.

    Args:
        config: of the server.

    Returns:
        Bytes at most: the window, a log of parts, and the largest part on its way from the packager and into each.
    """
    part_bytes = PART_BYTES + config.limits.message_bytes
    return config.packaging.window_bytes + config.log.gop_bytes + 3 * part_bytes


class _Blame(NamedTuple):
    deaths: int
    until_s: float


class Packagings:
    """Every packaging of a server, and the packager; an observer of the registry."""

    def __init__(
        self,
        config: Config,
        services: Services,
        ends: PlaylistEnds,
        *,
        module: str = PACKAGER_MODULE,
        unix_now: Callable[[], float] = time.time,
    ) -> None:
        """
        Prepare; no process is started before somebody wants a stream.

        Args:
            config: of the server.
            services: of the server.
            ends: of playlists.
            module: what the packager's process runs.
            unix_now: unix seconds.
        """
        self._apps = config.apps
        self._services = services
        self._packager = Packager(
            self._on_death, part_ms=round(config.packaging.part_ms), log=services.log, module=module
        )
        self._shared = Shared(
            config.packaging,
            Retention(config.log.gop_s, config.log.gop_bytes),
            services,
            self._packager,
            ends,
            self._is_always_on,
            self._is_barred,
            unix_now,
        )
        self._blamed: dict[str, _Blame] = {}
        """By the paths of streams that packagers have died of lately."""
        self._by_path: dict[tuple[str, str], Packaging] = {}
        self._by_edition: dict[str, Packaging] = {}
        self._is_closed = False

    def __len__(self) -> int:
        return len(self._by_path)

    @property
    def health(self) -> Health:
        """The last that the packager said of its memory; zeros while there is none."""
        return self._packager.health

    @property
    def deaths(self) -> int:
        """Of packagers, since the server's start."""
        return self._packager.deaths

    @property
    def pid(self) -> int | None:
        """The packager's process; None before it is needed and while it is being replaced."""
        return self._packager.pid

    def find(self, edition: str) -> Packaging | None:
        """Look up what a segment's URL belongs to; None for what is over, or private by now."""
        return self._present(self._by_edition.get(edition))

    def get(self, app: str, name: str) -> Packaging | None:
        """Look up that of a stream, if there is one: running, waiting, or kept after the stream's end."""
        return self._present(self._by_path.get((app, name)))

    def want(self, stream: Stream) -> Packaging:
        """
        Have a stream packaged, from now on until nobody has asked for `idle_s`.

        Args:
            stream: of the registry; nobody need publish it yet.

        Returns:
            Its packaging, kept from an earlier life of the stream, or a new one.
        """
        now = self._services.loop.time()
        packaging = self._by_path.get((stream.app, stream.name))
        if packaging is not None:
            packaging.use(now)
        packaging = self._present(packaging) or self._make(stream.app, stream.name)
        packaging.use(now)
        packaging.follow(stream)
        packaging.look(now)
        return packaging

    def reload(self, config: Config) -> None:
        """Use another configuration from now on: which applications are packaged always."""
        self._apps = config.apps
        self.tick()

    def tick(self) -> None:
        """Do what is due; to be called about once a second."""
        self._packager.tick()
        now = self._services.loop.time()
        self._blamed = {path: blame for path, blame in self._blamed.items() if now < blame.until_s}
        for packaging in list(self._by_path.values()):
            self._present(packaging)
        if any(app.packaging == "always" for app in self._apps.values()):
            for stream in self._services.registry:
                self._begin_if_always_on(stream)

    def stream_published(self, stream: Stream) -> None:
        """Package a stream that is wanted, or always packaged; told behind those who make streams private."""
        packaging = self._by_path.get((stream.app, stream.name))
        if packaging is not None:
            packaging.follow(stream)
            self._present(packaging)
        self._begin_if_always_on(stream)

    def stream_ended(self, stream: Stream, reason: str) -> None:  # noqa: ARG002 - as observers of streams have it
        """Let its packaging end with it."""
        packaging = self._by_path.get((stream.app, stream.name))
        if packaging is not None:
            packaging.stream_ended(self._services.loop.time())

    async def finish(self, timeout_s: float) -> None:
        """
        Wait until what is left of streams that have ended is packaged: every log and window has its last part.

        Args:
            timeout_s: how long; what has not come back by then is left out.
        """
        try:
            async with asyncio.timeout(timeout_s):
                for packaging in list(self._by_path.values()):
                    await packaging.at_rest.wait()
        except TimeoutError:
            for packaging in list(self._by_path.values()):
                packaging.cut_off()

    async def close(self, timeout_s: float, reason: str = "server stops") -> None:
        """
        End everything.

        Args:
            timeout_s: how long the packager may take to end before it is killed.
            reason: for viewers and the log.
        """
        self._is_closed = True
        for packaging in list(self._by_path.values()):
            packaging.close(reason)
        self._by_path.clear()
        self._by_edition.clear()
        await self._packager.stop(timeout_s)

    def _make(self, app: str, name: str) -> Packaging:
        packaging = Packaging(self._shared, self._new_window(app, name), app, name)
        if self._is_closed:
            packaging.close("server stops")
        else:
            self._by_path[app, name] = self._by_edition[packaging.edition] = packaging
        return packaging

    def _new_window(self, app: str, name: str) -> Window:
        config = self._shared.config
        beginning = self._shared.ends.following(app, name, self._shared.unix_now())
        return Window(
            first_number=beginning.number,
            first_discontinuity=beginning.discontinuity_sequence,
            gap_ms=GAP_MS if beginning.is_behind_gap else 0,
            segment_ms=round(1000 * config.segment_s),
            part_ms=round(config.part_ms),
            most_segments=config.playlist_segments,
            most_bytes=config.window_bytes,
        )

    def _present(self, packaging: Packaging | None) -> Packaging | None:
        """Look what is due, and forget what is over."""
        if packaging is None:
            return None
        packaging.look(self._services.loop.time())
        if not packaging.is_over:
            return packaging
        self._by_edition.pop(packaging.edition, None)
        if self._by_path.get((packaging.app, packaging.name)) is packaging:
            del self._by_path[packaging.app, packaging.name]
        return None

    def _begin_if_always_on(self, stream: Stream) -> None:
        if self._is_always_on(stream.app) and stream.is_watchable and (stream.app, stream.name) not in self._by_path:
            self.want(stream)

    def _is_always_on(self, app: str) -> bool:
        config = self._apps.get(app)
        return config is not None and config.packaging == "always"

    def _is_barred(self, path: str) -> bool:
        blame = self._blamed.get(path)
        return blame is not None and blame.deaths >= DEATHS_BARRED and self._services.loop.time() < blame.until_s

    def _on_death(self, path: str) -> None:
        """Go on; a stream that packagers keep dying of would have the others wait for ever longer."""
        now = self._services.loop.time()
        if path:
            deaths = 1 + (self._blamed[path].deaths if path in self._blamed else 0)
            self._blamed[path] = _Blame(deaths, now + BARRED_S)
            if deaths >= DEATHS_BARRED:
                self._services.log.warning("packaging barred", stream=path, deaths=deaths, again_s=BARRED_S)
        for packaging in list(self._by_path.values()):
            packaging.packager_died(now)
