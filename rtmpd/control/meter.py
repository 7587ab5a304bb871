"""
What publishers send, in bits per second, from a count of bytes that each connection keeps anyway.

Counted once a second over the last ten. A limit is not applied to what comes within `SETTLE_S` of a publisher's first
sample: encoders and relays send a whole group of pictures at once when they begin, which over ten seconds would look
like twice their rate. What a limit looks at are ten whole seconds after that, so the earliest end comes after 15 s.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping
from typing import NamedTuple

from rtmpd.config import AppConfig
from rtmpd.live.registry import Registry
from rtmpd.live.stream import Publication
from rtmpd.net.services import Client

WINDOW_SAMPLES = 10
"""Seconds that are looked at: one sample each."""
SETTLE_S = 5.0
"""From a publisher's first sample on: what comes in it never counts against a limit."""


class _Sample(NamedTuple):
    at_s: float
    bytes_in: int


class _Samples:
    """The samples of one publisher."""

    __slots__ = ("all", "settled_s")

    def __init__(self, now: float) -> None:
        self.settled_s = now + SETTLE_S
        self.all: deque[_Sample] = deque(maxlen=WINDOW_SAMPLES + 1)

    @property
    def bits_per_s(self) -> float:
        """Over the samples that there are; 0 for fewer than two."""
        if len(self.all) < 2:
            return 0.0
        first, last = self.all[0], self.all[-1]
        return (last.bytes_in - first.bytes_in) * 8 / (last.at_s - first.at_s)

    @property
    def counts(self) -> bool:
        """Whether all of a whole window lies behind the beginning."""
        return len(self.all) == WINDOW_SAMPLES + 1 and self.all[0].at_s >= self.settled_s


class Excess(NamedTuple):
    """A publisher that sent more than it may."""

    publication: Publication
    reason: str
    """For its end: one line."""


class Meter:
    """The bit rates of all publishers."""

    def __init__(self, registry: Registry, connections: Collection[Client]) -> None:
        """
        Start without samples.

        Args:
            registry: of the streams, which name the connections of their publishers.
            connections: those that there are at any time.
        """
        self._registry = registry
        self._connections = connections
        self._samples: dict[int, _Samples] = {}

    def sample(self, now: float) -> None:
        """
        Count; to be called once a second.

        Args:
            now: seconds that never jump.
        """
        publishing = {each.terms.client for each in self._publications()}
        kept: dict[int, _Samples] = {}
        for client in self._connections:
            if client.number in publishing:
                samples = kept[client.number] = self._samples.get(client.number) or _Samples(now)
                if not samples.all or now > samples.all[-1].at_s:
                    samples.all.append(_Sample(now, client.bytes_in))
        self._samples = kept

    def bits_per_s(self, client_number: int) -> int:
        """
        Say what a publisher sends.

        Args:
            client_number: of its connection.

        Returns:
            Bits per second over the last ten seconds, or as many as there are; 0 for who is not known to publish.
        """
        samples = self._samples.get(client_number)
        return round(samples.bits_per_s) if samples is not None else 0

    def over_limit(self, apps: Mapping[str, AppConfig]) -> list[Excess]:
        """
        Find the publishers that have sent more than their application allows, over ten whole seconds.

        Args:
            apps: the configuration, by application.

        Returns:
            Each of them, to be evicted for the reason. A connection that publishes several streams is measured as one.
        """
        found = []
        for publication in self._publications():
            app = publication.stream.app
            limit = apps[app].max_bits_per_s if app in apps else 0
            samples = self._samples.get(publication.terms.client)
            if limit and samples is not None and samples.counts and samples.bits_per_s > limit:
                reason = f"more than {limit} bits per second (apps.{app}.max_bits_per_s)"
                found.append(Excess(publication, reason))
        return found

    def _publications(self) -> list[Publication]:
        return [stream.publication for stream in self._registry if stream.publication is not None]
