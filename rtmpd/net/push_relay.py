"""
A push relay: one stream, published to one more server for as long as it lives.

Each relay has a cursor of its own and tries again by itself, so a target that hangs, refuses, resets or reads slowly
touches nothing else. It starts at the newest key frame, with metadata and headers; a target that is too slow jumps to
the newest key frame as a player does, and one that takes nothing for `players.lag_limit_s` is connected to anew.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum

from rtmpd.errors import Unreachable
from rtmpd.live.stream import Stream
from rtmpd.net.backoff import LONGEST_PAUSE_S, STABLE_S, pause_s
from rtmpd.net.client_connection import Parting
from rtmpd.net.dial import Dialled
from rtmpd.net.relay_connection import RelayConnection
from rtmpd.net.services import Services
from rtmpd.session.client import ClientSession
from rtmpd.session.limits import ClientLimits
from rtmpd.session.urls import RtmpUrl
from rtmpd.wire.handshake import RANDOM_BYTES

Dialler = Callable[[RtmpUrl], Awaitable[Dialled]]
"""Connects to a target, within its own limit of time; raises Unreachable."""


class RelayState(Enum):
    """What a relay is doing."""

    CONNECTING = "connecting"
    LIVE = "live"
    BACKING_OFF = "backing_off"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class RelayStatus:
    """A relay at one moment."""

    target: str
    """Where to, without what may be secret."""
    state: RelayState
    since_s: float
    """When it came to this state, on the loop's clock."""
    reason: str
    """Why the last try ended; empty before."""
    failures: int
    """Tries in a row that did not last."""
    connects: int
    """How often it has become live."""
    bytes_out: int
    """Media taken by the target, over all tries."""
    skipped_ms: int
    """Media time that the target was too slow for, over all tries."""
    lag_ms: int
    """Media time that the target is behind now."""


class PushRelay:
    """One target of one stream."""

    def __init__(
        self,
        services: Services,
        stream: Stream,
        url: RtmpUrl,
        dialler: Dialler,
        limits: ClientLimits,
        on_change: Callable[[RelayStatus], None],
    ) -> None:
        """
        Begin to connect.

        Args:
            services: of the server.
            stream: that is published; `finish` when this life of it is over.
            url: of the target.
            dialler: connects to it.
            limits: of the sessions.
            on_change: is told of every change of state; not a place to raise anything.
        """
        self._services = services
        self._path = stream.path
        self._log = stream.log
        self._url = url
        self._dialler = dialler
        self._limits = limits
        self._on_change = on_change
        self._state = RelayState.CONNECTING
        self._since_s = services.loop.time()
        self._reason = ""
        self._failures = 0
        self._connects = 0
        self._bytes_out = 0
        self._skipped_ms = 0
        self._connection: RelayConnection | None = None
        self._finishing = False
        self._task = services.tasks.supervise(self._run(), f"push relay to {url.label}")
        self._task.add_done_callback(self._ended)

    @property
    def status(self) -> RelayStatus:
        """What it is doing."""
        connection = self._connection
        return RelayStatus(
            target=self._url.label,
            state=self._state,
            since_s=self._since_s,
            reason=self._reason,
            failures=self._failures,
            connects=self._connects,
            bytes_out=self._bytes_out + (connection.bytes_out if connection else 0),
            skipped_ms=self._skipped_ms + (connection.skipped_ms if connection else 0),
            lag_ms=connection.lag_ms if connection else 0,
        )

    def finish(self, reason: str) -> None:
        """
        End it, because the stream has: a live target gets the rest and is told; harmless when called again.

        Args:
            reason: for the status.
        """
        if self._finishing or self._state is RelayState.ENDED:
            return
        self._finishing = True
        self._reason = reason
        if self._connection is not None and self._state is RelayState.LIVE:
            self._connection.finish(reason)
        else:
            self._task.cancel()

    async def close(self) -> None:
        """End it at once, and wait until its socket is closed."""
        self._finishing = True
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _run(self) -> None:
        while not self._finishing:
            await self._pause(await self._try_until_parted())

    async def _try_until_parted(self) -> Parting:
        """Connect, and at once again where the target wants a password or sends us elsewhere, until it is over for now."""
        url, auth_query = self._url, ""
        while True:
            parting = await self._try(url, auth_query)
            if parting.auth_query and not self._finishing:
                auth_query = parting.auth_query
            elif parting.url is not None and self._lasted and not self._finishing:
                url, auth_query = parting.url, ""
            else:
                return parting
            self._services.log.debug(
                "push relay connects again", stream=self._path, target=url.label, reason=parting.reason
            )

    async def _try(self, url: RtmpUrl, auth_query: str) -> Parting:
        services = self._services
        self._enter(RelayState.CONNECTING)
        try:
            dialled = await self._dialler(url)
        except Unreachable as unreachable:
            return Parting(str(unreachable))
        random_bytes = os.urandom(RANDOM_BYTES)
        session = ClientSession(url, "publish", self._limits, random_bytes, services.loop.time(), auth_query)
        connection = RelayConnection(services, dialled, session, self._log, self._went_live)
        self._connection = connection
        try:
            return await connection.ended
        finally:
            connection.close(Parting("closed"))
            self._bytes_out += connection.bytes_out
            self._skipped_ms += connection.skipped_ms
            self._connection = None

    def _went_live(self) -> None:
        self._connects += 1
        self._services.log.debug("push relay live", stream=self._path, target=self._url.label, failures=self._failures)
        self._enter(RelayState.LIVE)

    @property
    def _lasted(self) -> bool:
        """Whether the try that has just ended was a success."""
        return self._state is RelayState.LIVE and self._services.loop.time() - self._since_s >= STABLE_S

    async def _pause(self, parting: Parting) -> None:
        """Wait before the next try."""
        if self._finishing:
            return
        self._failures = 1 if self._lasted else self._failures + 1
        self._reason = parting.reason
        seconds = pause_s(self._failures, random.random()) if parting.may_retry else LONGEST_PAUSE_S
        self._services.log.debug(
            "push relay failed",
            stream=self._path,
            target=self._url.label,
            reason=parting.reason,
            failures=self._failures,
            next_try_s=round(seconds, 1),
        )
        self._enter(RelayState.BACKING_OFF)
        await asyncio.sleep(seconds)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            self._reason = "internal error"
        status = self.status
        self._services.log.debug(
            "push relay ended",
            stream=self._path,
            target=status.target,
            reason=status.reason,
            connects=status.connects,
            bytes_out=status.bytes_out,
            skipped_ms=status.skipped_ms,
        )
        self._enter(RelayState.ENDED)

    def _enter(self, state: RelayState) -> None:
        self._state = state
        self._since_s = self._services.loop.time()
        self._on_change(self.status)
