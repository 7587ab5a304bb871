"""Connections and what they carry, of the whole server: those that are there and those that have gone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from prometheus_client.core import Metric

from rtmpd.control.audience import Audience
from rtmpd.control.metrics.families import counter, gauge
from rtmpd.net.services import Client
from rtmpd.net.turnover import Turnover


@dataclass(slots=True)
class Census:
    """The connections that there are, counted a few at a time."""

    clients: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By kind and role."""
    bytes_in: Counter[str] = field(default_factory=Counter)
    """By kind; the same for the next two."""
    bytes_out: Counter[str] = field(default_factory=Counter)
    skipped_ms: Counter[str] = field(default_factory=Counter)
    audiences: dict[str, Audience] = field(default_factory=dict)
    """By path."""

    def count(self, clients: Iterable[Client]) -> None:
        """Count some more of them."""
        for client in clients:
            kind = client.kind
            self.clients[kind, client.role] += 1
            self.bytes_in[kind] += client.bytes_in
            self.bytes_out[kind] += client.bytes_out
            self.skipped_ms[kind] += client.skipped_ms
            if client.role == "play":
                self.audiences.setdefault(client.path, Audience()).add(client)


def traffic(census: Census, turnover: Turnover) -> Iterator[Metric]:
    """
    Measure connections.

    Args:
        census: of those that are there.
        turnover: of those that have gone, as it was when the census was taken.

    Yields:
        Families.
    """
    yield gauge("clients", "Connections, by what they speak and do.", ["kind", "role"], census.clients.items())
    yield counter("clients_accepted", "Connections so far.", ["kind"], _by_kind(turnover.accepted))
    yield counter("clients_closed", "Connections that have ended.", ["kind", "role"], turnover.closed.items())
    yield counter("received_bytes", "Received from clients.", ["kind"], _by_kind(turnover.bytes_in + census.bytes_in))
    yield counter("sent_bytes", "Media taken by sockets.", ["kind"], _by_kind(turnover.bytes_out + census.bytes_out))
    skipped_ms = turnover.skipped_ms + census.skipped_ms
    yield counter(
        "skipped_seconds",
        "Media time that players were too slow for.",
        ["kind"],
        (([kind], value / 1000) for kind, value in skipped_ms.items()),
    )


def _by_kind(counts: Counter[str]) -> Iterator[tuple[list[str], int]]:
    return (([kind], value) for kind, value in counts.items())
