"""
Everything over HTTP, put together: the API, sessions, live outputs, recordings and pictures, on all surfaces.

The server knows this and nothing below it.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from rtmpd.config import Config
from rtmpd.control.recorded import RecordedFiles
from rtmpd.net.services import Services
from rtmpd.web.connections import Connections
from rtmpd.web.guard import Guard
from rtmpd.web.hls import Hls
from rtmpd.web.live import Live
from rtmpd.web.media import Media, Outputs
from rtmpd.web.metrics import Scrape
from rtmpd.web.operations import Operations
from rtmpd.web.recordings import Recordings
from rtmpd.web.session_desk import SessionDesk
from rtmpd.web.site import Site
from rtmpd.web.thumbnails import Pictures
from rtmpd.workers.packaging import Packagings
from rtmpd.workers.thumbnails import Thumbnails


class Shown(NamedTuple):
    """What can be had over HTTP."""

    services: Services
    operations: Operations
    packagings: Packagings
    files: RecordedFiles
    recordings: Path
    """The directory that holds them, absolute."""
    scrape: Scrape
    """Measures the server."""


class WebOffice:
    """Everything that a server has over HTTP."""

    def __init__(
        self, config: Config, shown: Shown, listening: Sequence[socket.socket], *, most_connections: int
    ) -> None:
        """
        Put it together; follow with `open`.

        Args:
            config: of the server.
            shown: what can be had.
            listening: TCP sockets, bound and listening; closed with the office.
            most_connections: of players, RTMP's among them.
        """
        services = shown.services
        guard = Guard(config)
        self._media = media = Media(guard, services.policy, config)
        self._thumbnails = Thumbnails(shown.recordings, services.tasks, services.log)
        self._hls = Hls(media, shown.packagings, services, config)
        self._pictures = Pictures(media, self._thumbnails, services.registry, shown.files)
        self._recordings = Recordings(media, shown.files, shown.recordings)
        outputs: list[Outputs] = [
            SessionDesk(guard),
            Live(services, media, most_connections, shown.packagings.want),
            self._hls,
            self._pictures,
            self._recordings,
        ]
        self._site = Site(
            shown.operations, config, services.log, listening, guard=guard, outputs=outputs, scrape=shown.scrape
        )

    @property
    def control(self) -> Path:
        """The control socket's path."""
        return self._site.control

    @property
    def connections(self) -> Connections:
        """Takes connections on, whoever accepted them."""
        return self._site.connections

    async def open(self) -> None:
        """
        Begin to answer.

        Raises:
            StartError: with one line that says why the control socket cannot be opened.
        """
        await self._site.start()

    def reload(self, config: Config) -> None:
        """Use another configuration from now on; addresses stay as they are."""
        self._media.reload(config)
        self._site.reload(config)
        self._pictures.forget_admissions()
        self._recordings.forget_admissions()

    async def finish_playlists(self, timeout_s: float) -> None:
        """
        Let viewers of HLS have what was packaged last; follow with `close`.

        Args:
            timeout_s: for them to ask for it.
        """
        await self._hls.finish(timeout_s)

    async def close(self) -> None:
        """End within a second."""
        self._hls.close()
        await self._site.close()
        self._recordings.close()
        self._thumbnails.stop()
