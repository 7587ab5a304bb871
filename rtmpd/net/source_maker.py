"""Sources made of their URLs, within the limits that hold for publishers."""

from __future__ import annotations

from dataclasses import asdict

from rtmpd.net.http_flv import HttpFlvSource, NameResolver
from rtmpd.net.pull_sources import Dialler, PullSource, RtmpSource
from rtmpd.net.pull_urls import HttpFlvUrl, SourceUrl
from rtmpd.net.services import Services
from rtmpd.session.limits import ClientLimits


class SourceMaker:
    """Makes sources for pull relays."""

    def __init__(self, services: Services, dialler: Dialler, resolver: NameResolver) -> None:
        """
        Prepare.

        Args:
            services: of the server; what a publisher may send is what a source may send.
            dialler: connects to RTMP servers.
            resolver: looks the hosts of HTTP servers up.
        """
        self._services = services
        self._dialler = dialler
        self._resolver = resolver
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
            return HttpFlvSource(url, self._limits, self._resolver)
        return RtmpSource(self._services, url, self._dialler, self._limits)
