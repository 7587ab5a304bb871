"""The kinds of source that a pull relay knows, each of them tried once at a time."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Protocol

from rtmpd.errors import Unreachable
from rtmpd.net.client_connection import Parting
from rtmpd.net.dial import Dialled
from rtmpd.net.pull_connection import PullConnection
from rtmpd.net.pull_feed import PullFeed
from rtmpd.net.services import Services
from rtmpd.session.client import ClientSession
from rtmpd.session.limits import ClientLimits
from rtmpd.session.urls import RtmpUrl
from rtmpd.wire.handshake import RANDOM_BYTES

Dialler = Callable[[RtmpUrl], Awaitable[Dialled]]
"""Connects to a server, within its own limit of time; raises Unreachable."""


class PullSource(Protocol):
    """A place that a stream can be had from."""

    label: str
    """For log lines and people: nothing in it is secret."""

    @property
    def bytes_in(self) -> int:
        """Received, over all tries."""

    async def receive(self, feed: PullFeed) -> Parting:
        """
        Try it once, and give the feed what comes until it is over; a try that is cancelled leaves no socket open.

        Args:
            feed: takes the media.

        Returns:
            Why it is over.
        """


class RtmpSource:
    """A stream on an RTMP server."""

    def __init__(
        self,
        services: Services,
        url: RtmpUrl,
        dialler: Dialler,
        limits: ClientLimits,
    ) -> None:
        """
        Prepare.

        Args:
            services: of the server.
            url: of the stream.
            dialler: connects.
            limits: of the sessions.
        """
        self._services = services
        self._url = url
        self._dialler = dialler
        self._limits = limits
        self.label = url.label
        self._moved: RtmpUrl | None = None
        self._bytes_in = 0
        self._connection: PullConnection | None = None

    @property
    def bytes_in(self) -> int:
        """Received, over all tries."""
        return self._bytes_in + (self._connection.bytes_in if self._connection else 0)

    async def receive(self, feed: PullFeed) -> Parting:
        """Play the stream, where the last try was sent to if it was; connects again at once for a server that wants a password."""
        url, self._moved = self._moved or self._url, None
        parting = await self._play(url, "", feed)
        while parting.auth_query:
            parting = await self._play(url, parting.auth_query, feed)
        self._moved = parting.url
        return parting

    async def _play(self, url: RtmpUrl, auth_query: str, feed: PullFeed) -> Parting:
        services = self._services
        try:
            dialled = await self._dialler(url)
        except Unreachable as unreachable:
            return Parting(str(unreachable))
        random_bytes = os.urandom(RANDOM_BYTES)
        session = ClientSession(url, "play", self._limits, random_bytes, services.loop.time(), auth_query)
        connection = self._connection = PullConnection(services, dialled, session, feed.take)
        try:
            parting = await connection.ended
            return replace(parting, reason=url.without_secrets(parting.reason))
        finally:
            connection.leave("closed")
            self._bytes_in += connection.bytes_in
            self._connection = None
