"""
Callbacks, put together: who publishes is written down, what is odd about it is noticed, and all that is owed is delivered.

The server knows this and nothing below it. Order: the delivery knows its receivers before anything may owe, and what a
killed server left without an end is told before anybody can publish.
"""

from __future__ import annotations

import asyncio
from collections import Counter

from rtmpd.config import Config
from rtmpd.control.abnormal import Abnormal
from rtmpd.control.callback_client import CallbackClient
from rtmpd.control.delivery import CallbackDelivery, DeliverySettings, Outcome
from rtmpd.control.publications import Publications
from rtmpd.control.urls import Listening, bases
from rtmpd.net.services import Services
from rtmpd.store.database import Database
from rtmpd.store.publications import PublicationBook


class CallbacksOffice:
    """Everything that a server has for its callbacks."""

    def __init__(self, config: Config, database: Database, services: Services, listening: Listening, node: str) -> None:
        """
        Put it together; follow with `open`.

        Args:
            config: of the server.
            database: holds what is owed.
            services: whose streams and connections are told of.
            listening: where clients are accepted, for URLs.
            node: the name of this server.
        """
        self._listening = listening
        self._services = services
        self.publications = Publications(PublicationBook(database), services.log, node, services.loop.time)
        self._abnormal = Abnormal(services.registry, self.publications, services.log, services.loop.time)
        self.outcomes: Counter[tuple[str, str]] = Counter()
        """Attempts to deliver so far, by the URL of the receiver and what came of them."""
        self.delivery = CallbackDelivery(
            database, self._settings(config), CallbackClient, services.log, on_outcome=self._count
        )
        self._running: list[asyncio.Task[None]] = []

    async def open(self) -> None:
        """
        Begin to deliver, and to write down who publishes; before anything may owe.

        Raises:
            StoreError: the database cannot be used.
        """
        await self.delivery.open()
        supervise = self._services.tasks.supervise
        self._running += [
            supervise(self.delivery.run(), "callbacks"),
            supervise(self.publications.run(), "publications"),
            supervise(self._abnormal.run(), "abnormal"),
        ]
        await self.publications.recover()
        self._services.registry.observers.append(self.publications)
        self._services.journal = self.publications

    def reload(self, config: Config) -> None:
        """Use another configuration from now on."""
        self.delivery.reconfigure(self._settings(config))

    async def close(self, timeout_s: float) -> None:
        """
        Write down the last ends, and try once to deliver what is due; after the last connection, before the database.

        Args:
            timeout_s: for each of the two.
        """
        if not self._running:
            return
        if not await self.publications.flush(timeout_s):
            self._services.log.error("publications not written", reason="the database did not take everything")
        await self.delivery.flush(timeout_s)
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    def _count(self, outcome: Outcome) -> None:
        self.outcomes[outcome.delivery.url, outcome.kind] += 1

    def _settings(self, config: Config) -> DeliverySettings:
        section, reach = config.callbacks, bases(config.urls, self._listening)
        return DeliverySettings(
            urls=section.urls,
            key=section.key or "",
            parallel=section.parallel,
            timeout_s=section.timeout_s,
            longest_pause_s=section.longest_pause_s,
            give_up_s=section.give_up_s,
            dead_kept_s=section.dead_kept_s,
            host=reach.host,
            http_base=reach.http,
        )
