"""What goes on beside the streams: recordings, media workers, relays, callbacks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

from prometheus_client.core import Metric

from rtmpd.control import models
from rtmpd.control.callback_body import shown_url
from rtmpd.control.metrics.families import Row, counter, gauge
from rtmpd.store.deliveries import Counts
from rtmpd.workers.answers import Status
from rtmpd.workers.protocol import Health


class Workers(Protocol):
    """Runs media workers of one kind."""

    @property
    def health(self) -> Health | tuple[Health, ...]:
        """The last that each of them said, or the only one."""

    @property
    def deaths(self) -> int:
        """How often one of them died."""


def callbacks(owed: Mapping[str, Counts] | None, attempts: Mapping[tuple[str, str], int]) -> Iterator[Metric]:
    """
    Measure callbacks; receivers whose URLs are shown alike are one.

    Args:
        owed: by the URL of each receiver; None where the database does not say.
        attempts: so far, by the URL of the receiver and the outcome.

    Yields:
        Families.
    """
    if owed is not None:
        states: Counter[tuple[str, str]] = Counter()
        for url, counts in owed.items():
            states[shown_url(url), "pending"] += counts.pending
            states[shown_url(url), "dead"] += counts.dead
        about = "Callbacks that were not delivered yet (pending) or ever (dead)."
        yield gauge("callbacks", about, ["receiver", "state"], states.items())
    outcomes: Counter[tuple[str, str]] = Counter()
    for (url, outcome), count in attempts.items():
        outcomes[shown_url(url), outcome] += count
    yield counter("callback_attempts", "Attempts to deliver callbacks.", ["receiver", "outcome"], outcomes.items())


def recordings(statuses: Iterable[Status]) -> Iterator[Metric]:
    """
    Measure recordings.

    Args:
        statuses: of those that have not ended.

    Yields:
        Families.
    """
    states = Counter((status.row.origin, status.phase) for status in statuses)
    yield gauge("recordings", "Recordings that have not ended.", ["origin", "state"], states.items())


def workers(kinds: Mapping[str, Workers]) -> Iterator[Metric]:
    """
    Measure media workers.

    Args:
        kinds: those who run them, by what they do.

    Yields:
        Families.
    """
    rows: list[tuple[tuple[str, str], Health]] = [
        ((kind, str(number)), health)
        for kind, supervisor in kinds.items()
        for number, health in enumerate(_several(supervisor.health))
    ]
    labels = ["work", "worker"]
    resident: Iterable[Row] = ((names, health.resident_bytes) for names, health in rows)
    queued: Iterable[Row] = ((names, health.queued_bytes) for names, health in rows)
    yield gauge("worker_resident_bytes", "Memory of media workers.", labels, resident)
    yield gauge("worker_queued_bytes", "What they were given and have not written yet.", labels, queued)
    deaths = (([kind], supervisor.deaths) for kind, supervisor in kinds.items())
    yield counter("worker_deaths", "Media workers that died and were replaced.", ["work"], deaths)


def _several(health: Health | tuple[Health, ...]) -> tuple[Health, ...]:
    return (health,) if isinstance(health, Health) else health


def relays(listed: models.RelayList) -> Iterator[Metric]:
    """
    Measure relays.

    Args:
        listed: all of them.

    Yields:
        Families.
    """
    states = Counter((relay.kind, relay.state) for relay in listed.relays)
    yield gauge("relays", "Relays to (push) and from (pull) other servers.", ["kind", "state"], states.items())
    lag_ms = max((relay.lag_ms for relay in listed.relays), default=0)
    yield gauge("relay_lag_seconds", "How far the relay is behind that is farthest behind.", (), [((), lag_ms / 1000)])
