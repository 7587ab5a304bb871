"""
Where media of a source become a stream of this server: the hold of one try of a pull relay on its stream.

The stream is taken when the first media come, not before: many servers grant what nobody publishes, and players should
not be told that something has begun then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from rtmpd.errors import Refused
from rtmpd.live.registry import Takeover
from rtmpd.live.stream import Publication
from rtmpd.live.terms import Terms
from rtmpd.net.client_connection import Parting
from rtmpd.net.policy import PublishGrant
from rtmpd.net.publishing import Publishing
from rtmpd.net.pull_target import PullTarget
from rtmpd.net.report import RateReporter
from rtmpd.net.services import Services
from rtmpd.wire.messages import Message

_THE_ONE = 1
_IDENTITY = "pull relay"
"""With a space, which no key and no address has: nobody takes a pulled stream over by accident, and neither does a pull."""


class PullFeed:
    """What one source sends, on its way into the registry."""

    def __init__(self, services: Services, target: PullTarget, on_live: Callable[[], None]) -> None:
        """
        Wait for media.

        Args:
            services: of the server.
            target: what they become.
            on_live: is called when the first have come and the stream is ours.
        """
        self._services = services
        self._target = target
        self._on_live = on_live
        self._publication: Publication | None = None
        self._publishing = Publishing(services)
        self._jumps = RateReporter(services.log, services.loop.time)
        self.taken: asyncio.Future[Publication] = services.loop.create_future()
        """Is set when the stream is ours."""
        self.revoked: asyncio.Future[Parting] = services.loop.create_future()
        """Is set when it cannot be ours, or not any more."""
        self.fed_s = services.loop.time()
        """When the last media came; before, when it began to wait for them."""

    @property
    def is_live(self) -> bool:
        """Whether media have come."""
        return self._publication is not None

    def take(self, messages: Sequence[Message], address: str) -> None:
        """
        Take audio, video and data.

        Args:
            messages: at least one.
            address: IP address of the source.
        """
        services = self._services
        now = self.fed_s = services.loop.time()
        if self.revoked.done():
            return
        publication = self._publication or self._publish(address)
        if publication is None or not publication.current:
            return
        publication.extend(messages, now)
        services.fanout.mark(publication.stream.logs)
        if (jump := publication.take_jump()) is not None:
            self._jumps.warn(
                "timestamps jump", stream=self._target.path, address=address, from_ms=jump.from_ms, to_ms=jump.to_ms
            )

    def stop(self) -> None:
        """Take nothing more: the try is over."""
        self.revoked.cancel()

    def release(self, reason: str, *, clean: bool) -> None:
        """
        Give the stream back, if it was ours.

        Args:
            reason: one line.
            clean: whether it is over; if not, its players are kept for the next source.
        """
        self._publishing.end(_THE_ONE, reason, self._services.loop.time(), clean=clean)

    def _publish(self, address: str) -> Publication | None:
        target = self._target
        terms = Terms(is_public=target.is_public, address=address)
        grant = PublishGrant(target.app, target.name, _IDENTITY, Takeover.SAME, target.grace_s, terms)
        try:
            publication = self._publishing.begin(_THE_ONE, grant, self._revoke)
        except Refused as refused:
            self._revoke(refused.description)
            return None
        if publication is None:
            return None
        self._publication = publication
        self.taken.set_result(publication)
        self._on_live()
        return publication

    def _revoke(self, reason: str) -> None:
        if not self.revoked.done():
            self.revoked.set_result(Parting(reason))
