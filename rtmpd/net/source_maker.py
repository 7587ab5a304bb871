"""Sources made of their URLs: who connects to which kind, and within which limits."""

from __future__ import annotations

import ssl
from dataclasses import asdict
from functools import cached_property

from rtmpd.net.dial import Dialled, dial
from rtmpd.net.http_flv import HttpFlvSource
from rtmpd.net.pull_sources import PullSource, RtmpSource
from rtmpd.net.pull_urls import HttpFlvUrl, SourceUrl
from rtmpd.net.services import Services
from rtmpd.session.limits import ClientLimits
from rtmpd.session.urls import RtmpUrl

DIAL_S = 10.0
"""For look-up, connecting and TLS."""


class SourceMaker:
    """Makes sources for pull relays."""

    def __init__(self, services: Services) -> None:
        """
        Prepare.

        Args:
            services: of the server; what a publisher may send is what a source may send.
        """
        self._services = services
        limits = services.limits
        self._limits = ClientLimits(**asdict(limits), source_idle_s=limits.publisher_idle_s)

    @property
    def silence_s(self) -> float:
        """How long a source may send no media."""
        return self._limits.source_idle_s

    def make(self, url: SourceUrl) -> PullSource:
        """
        Make a source.

        Args:
            url: of any kind.
        """
        if isinstance(url, HttpFlvUrl):
            return HttpFlvSource(url, self._limits, self._tls)
        return RtmpSource(self._services, url, self._dial, self._limits)

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        """Made when it is first wanted: it reads every certificate of the system."""
        return ssl.create_default_context()

    async def _dial(self, url: RtmpUrl) -> Dialled:
        tls = self._tls if url.secure else None
        return await dial(url.host, url.port, tls=tls, timeout_s=DIAL_S, patience_s=self._services.lag_limit_s)
