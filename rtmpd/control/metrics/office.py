"""
Metrics, put together: what is counted as it happens, and what is looked at when somebody asks.

Nothing here is on the way of media. A scrape looks at everything at one moment, but for connections, which it looks at a
few at a time; who goes meanwhile is still counted once.
"""

from __future__ import annotations

import asyncio
import platform
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sized
from typing import NamedTuple

from prometheus_client.core import Metric
from prometheus_client.process_collector import ProcessCollector

from rtmpd.control import models
from rtmpd.control.metrics.duties import Workers, callbacks, recordings, relays, workers
from rtmpd.control.metrics.events import EventCounts
from rtmpd.control.metrics.exposition import Exposition, expose
from rtmpd.control.metrics.families import counter, gauge
from rtmpd.control.metrics.loop import LoopLag, loop_metrics
from rtmpd.control.metrics.per_stream import per_stream, rows_of, totals
from rtmpd.control.metrics.traffic import Census, traffic
from rtmpd.errors import StoreError
from rtmpd.live.stream import Stream
from rtmpd.net.services import Services
from rtmpd.store.database import Database
from rtmpd.store.deliveries import Counts, Deliveries
from rtmpd.workers.recorder import Recorder

_CLIENTS_A_TURN = 1000
"""Looked at in 2 ms."""
_DATABASE_S = 1.0
"""For the database to say what is owed; where it hangs, the rest is told."""


class Measured(NamedTuple):
    """What is looked at."""

    services: Services
    recorder: Recorder
    workers: Mapping[str, Workers]
    """Those who run media workers, by what they do."""
    database: Database
    """Holds what is owed to receivers of callbacks."""
    attempts: Mapping[tuple[str, str], int]
    """To deliver those, by the URL of the receiver and the outcome."""
    relays: Callable[[], models.RelayList]
    version: str
    packagings: Sized = ()
    """Streams that are packaged now."""


class MetricsOffice:
    """Everything that a server has to be measured by; follows streams as an observer of the registry."""

    def __init__(self, measured: Measured) -> None:
        """
        Prepare; follow with `open`.

        Args:
            measured: what is looked at.
        """
        self._measured = measured
        self._deliveries = Deliveries(measured.database)
        self._published: Counter[str] = Counter()
        self._events = EventCounts()
        self._lag = LoopLag(measured.services.loop)
        self._process = ProcessCollector(registry=None)
        self._scraping = asyncio.Lock()
        self._deaf = self._nothing

    def open(self) -> None:
        """Begin to count."""
        self._deaf = self._events.listen()
        self._lag.start()
        self._measured.services.registry.observers.append(self)

    def close(self) -> None:
        """Count no more; harmless when called again."""
        self._deaf()
        self._lag.stop()

    def stream_published(self, stream: Stream) -> None:
        """Count it."""
        self._published[stream.app] += 1

    def stream_ended(self, stream: Stream, reason: str) -> None:
        """Do nothing: it is not there when somebody looks."""

    async def scrape(self, accept: str) -> Exposition:
        """
        Measure everything.

        Args:
            accept: which formats are accepted, as in the header of that name.

        Returns:
            What Prometheus reads. One scrape waits for another.
        """
        async with self._scraping:
            connections = self._measured.services.connections
            clients, turnover = list(connections), connections.turnover.copy()
            owed = await self._owed()
            census = Census()
            for first in range(0, len(clients), _CLIENTS_A_TURN):
                census.count(clients[first : first + _CLIENTS_A_TURN])
                await asyncio.sleep(0)
            streams = list(self._measured.services.registry)
            rows = rows_of(streams, census.audiences, turnover.sent_bytes)
            return await expose(
                self._families(owed, [totals(streams), per_stream(rows), traffic(census, turnover)]), accept
            )

    def _families(self, owed: Mapping[str, Counts] | None, looked_at: list[Iterator[Metric]]) -> Iterator[Metric]:
        measured = self._measured
        services = measured.services
        about = [((measured.version, platform.python_version()), 1)]
        yield gauge("build_info", "Which rtmpd this is.", ["version", "python"], about)
        draining = services.connect_refusal is not None
        yield gauge("draining", "Whether the server admits nobody any more.", (), [((), draining)])
        for families in looked_at:
            yield from families
        published = (([app], count) for app, count in self._published.items())
        yield counter("publishes", "Publishers that were given a stream, pulls included.", ["app"], published)
        yield from self._events.metrics()
        yield from loop_metrics(self._lag, services.fanout, services.poller)
        yield from recordings(measured.recorder.statuses)
        yield from workers(measured.workers)
        yield gauge("packagings", "Streams that are packaged for HTTP.", (), [((), len(measured.packagings))])
        yield from relays(measured.relays())
        yield from callbacks(owed, measured.attempts)
        yield from self._process.collect()

    async def _owed(self) -> Mapping[str, Counts] | None:
        try:
            async with asyncio.timeout(_DATABASE_S):
                return await self._deliveries.counts()
        except (StoreError, TimeoutError):
            return None

    @staticmethod
    def _nothing() -> None:
        """Before `open`."""
