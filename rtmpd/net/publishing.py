"""What one connection publishes: its holds on streams, each on its own message stream, until it or the connection ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from rtmpd.errors import Refused
from rtmpd.live.stream import Publication
from rtmpd.net.policy import PublishGrant
from rtmpd.net.services import Services

_BAD_NAME = "NetStream.Publish.BadName"


class _Held(NamedTuple):
    """One accepted publish."""

    publication: Publication
    grace_s: float


class Publishing:
    """Takes streams for a connection, and gives them back."""

    __slots__ = ("_held", "_is_over", "_services")

    def __init__(self, services: Services) -> None:
        """
        Start with none.

        Args:
            services: of the server.
        """
        self._services = services
        self._held: dict[int, _Held] = {}
        self._is_over = False

    def begin(self, message_stream_id: int, grant: PublishGrant, evict: Callable[[str], None]) -> Publication | None:
        """
        Take a stream.

        Args:
            message_stream_id: on which it is published.
            grant: what the connection may do.
            evict: ends the connection, with the reason.

        Returns:
            The hold on it; None if the connection came to its end while others were told of the stream.

        Raises:
            Refused: somebody else publishes it, or this connection does already.
        """
        if any(each.publication.stream.is_named(grant.app, grant.stream) for each in self._held.values()):
            raise Refused(_BAD_NAME, "this connection publishes the stream already")
        registry = self._services.registry
        publication = registry.publish(grant.app, grant.stream, grant.identity, grant.takeover, evict, grant.terms)
        held = _Held(publication, grant.grace_s)
        if self._is_over:  # it plays the stream as well, and its socket took no more when that began
            self._give_back(held, "its publisher is gone", self._services.loop.time(), clean=False)
            return None
        self._held[message_stream_id] = held
        return publication

    def find(self, message_stream_id: int) -> Publication | None:
        """What is published on a message stream; it may have been lost to another publisher."""
        held = self._held.get(message_stream_id)
        return None if held is None else held.publication

    def end(self, message_stream_id: int, reason: str, now: float, *, clean: bool) -> None:
        """
        Give a stream back; harmless where there is none.

        Args:
            message_stream_id: on which it is published.
            reason: one line.
            now: seconds.
            clean: whether the publisher said so itself.
        """
        held = self._held.pop(message_stream_id, None)
        if held is not None:
            self._give_back(held, reason, now, clean=clean)

    def end_all(self, reason: str, now: float) -> None:
        """
        Give every stream back, as the connection ends; from now on none is taken.

        Args:
            reason: one line.
            now: seconds.
        """
        self._is_over = True
        for message_stream_id in list(self._held):
            self.end(message_stream_id, reason, now, clean=False)

    def _give_back(self, held: _Held, reason: str, now: float, *, clean: bool) -> None:
        # Who could not connect will not come back: its players are better told at once.
        comes_back = not clean and self._services.connect_refusal is None
        grace_until_s = now + held.grace_s if comes_back and held.grace_s else None
        self._services.registry.unpublish(held.publication, reason, grace_until_s)
        self._services.journal.over(held.publication, reason, clean=clean)
