"""
Draining: a server that comes to its end without cutting anybody off who would go by himself.

Nobody is admitted any more, clients that can are asked to go on elsewhere, the others are given time. Listeners stay
open, so that who comes reads why he is refused; a closed port would look like a crash.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable

from rtmpd.control import models
from rtmpd.errors import Refused
from rtmpd.net.services import Client, Services

PLAYERS_LEAVE_S = 1.0
"""At the end: for players to read that their stream has ended."""
_LOOK_S = 0.05
# Of the codes that refuse a connect this one says that the same may be granted later: encoders and relays try again.
_REFUSED = Refused("NetConnection.Connect.AppShutdown", "the server is stopping; try again in a moment")


class Drainer:
    """Lets one server come to its end; the server asks it once a second whether it has."""

    def __init__(
        self, services: Services, stop_admitting: Callable[[], None], *, clock: Callable[[], float] = time.time
    ) -> None:
        """
        Stand ready.

        Args:
            services: of the server.
            stop_admitting: has publishers and players refused from now on, on connections that are there already.
            clock: unix seconds.
        """
        self._services = services
        self._stop_admitting = stop_admitting
        self._clock = clock
        self._until_s: float | None = None
        self._url: str | None = None
        self._there: set[Client] = set()

    @property
    def is_draining(self) -> bool:
        """Whether nobody is admitted any more: the server is on the way to its end."""
        return self._services.connect_refusal is not None

    @property
    def waited_for(self) -> frozenset[Client]:
        """
        Who was there when draining began and has not gone yet.

        Whoever connects later is refused within a moment, again and again: nobody waits for those.
        """
        self._there &= self._services.connections
        return frozenset(self._there)

    def admit_nobody(self) -> None:
        """Refuse whoever comes from now on; harmless when called again."""
        self._services.connect_refusal = _REFUSED
        self._stop_admitting()

    def drain(self, request: models.Drain) -> models.Draining:
        """
        Begin; asked again, a deadline that is earlier counts, and clients are told of a URL that is another.

        Args:
            request: how much time there is, and where to send clients.

        Returns:
            How many were asked to go, and how many are waited for.
        """
        services = self._services
        now = services.loop.time()
        already = self._until_s is not None
        until_s = now + request.timeout
        self._until_s = until_s if self._until_s is None else min(until_s, self._until_s)
        if not already:
            self.admit_nobody()
            self._there = set(services.connections)
            services.registry.end_overdue(math.inf)  # whose publisher was away cannot take it up again
        asked = 0 if already and request.url in {None, self._url} else self._send_away(request.url)
        answer = self._answer(asked, self._until_s - now, already=already)
        services.log.info("draining", **answer.model_dump(), url=_without_query(request.url))
        return answer

    def is_over(self, now: float) -> bool:
        """
        Say whether the server may stop: it is draining, and all have gone or the time is up.

        Args:
            now: seconds of the loop's clock.
        """
        return self._until_s is not None and (now >= self._until_s or not self.waited_for)

    async def players_leave(self) -> None:
        """
        Wait until nobody plays any more, for PLAYERS_LEAVE_S at most; their streams have ended.

        The looks are counted, not the time: in that in which the server itself was stopped nobody was told anything.
        """
        for _ in range(round(PLAYERS_LEAVE_S / _LOOK_S)):
            if not any(each.role == "play" for each in self._services.connections):
                return
            await asyncio.sleep(_LOOK_S)

    def _send_away(self, url: str | None) -> int:
        self._url = url
        # A copy: who cannot be written to leaves the set.
        return sum(client.send_away(_REFUSED, url) for client in list(self._services.connections))

    def _answer(self, asked: int, left_s: float, *, already: bool) -> models.Draining:
        waited_for = self.waited_for
        roles = [each.role for each in waited_for]
        return models.Draining(
            already=already,
            asked=asked,
            waited_for=len(waited_for),
            publishers=roles.count("publish"),
            players=roles.count("play"),
            deadline=self._clock() + left_s,
        )


def _without_query(url: str | None) -> str | None:
    """For the log: a query may hold a key."""
    return None if url is None else url.partition("?")[0]
