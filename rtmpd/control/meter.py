"""
What publishers send, per second, from counts that streams and connections keep anyway.

Counted once a second over the last ten. A limit is not applied to what comes within `SETTLE_S` of a publisher's first
sample: encoders and relays send a whole group of pictures at once when they begin, which over ten seconds would look
like twice their rate. What a limit looks at are ten whole seconds after that, so the earliest end comes after 15 s.

A rate is that of a stream's log: a pulled stream has no connection of ours, and one connection may publish several. A
limit counts what the publisher's connection has received as well, as not all that it sends comes to a log.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping
from typing import NamedTuple

from rtmpd.config import AppConfig
from rtmpd.live.registry import Registry
from rtmpd.live.stream import Publication, Stream
from rtmpd.net.services import Client

WINDOW_SAMPLES = 10
"""Seconds that are looked at: one sample each."""
SETTLE_S = 5.0
"""From a publisher's first sample on: what comes in it never counts against a limit."""


class Rates(NamedTuple):
    """What a stream grows by, over the last seconds."""

    bits_per_s: int
    frames_per_s: float
    """Pictures, not sound."""


STILL = Rates(0, 0.0)
"""Of a stream that nobody publishes, or whose publisher has just begun."""


class _Sample(NamedTuple):
    at_s: float
    received_bytes: int
    """By the publisher's connection; 0 for a pulled stream."""
    logged_bytes: int
    pictures: int


class _Samples:
    """The samples of one publication."""

    __slots__ = ("all", "settled_s")

    def __init__(self, now: float) -> None:
        self.settled_s = now + SETTLE_S
        self.all: deque[_Sample] = deque(maxlen=WINDOW_SAMPLES + 1)

    @property
    def growth(self) -> _Sample:
        """How much each has grown over the samples that there are; `at_s` is how long that took."""
        first, last = self.all[0], self.all[-1]
        return _Sample(
            last.at_s - first.at_s,
            last.received_bytes - first.received_bytes,
            last.logged_bytes - first.logged_bytes,
            last.pictures - first.pictures,
        )

    @property
    def rates(self) -> Rates:
        """Over the samples that there are."""
        growth = self.growth
        if not growth.at_s:
            return STILL
        return Rates(round(growth.logged_bytes * 8 / growth.at_s), round(growth.pictures / growth.at_s, 2))

    def exceeds(self, bits_per_s: int) -> bool:
        """Whether more came over all of a whole window that lies behind the beginning."""
        if len(self.all) <= WINDOW_SAMPLES or self.all[0].at_s < self.settled_s:
            return False
        growth = self.growth
        return max(growth.logged_bytes, growth.received_bytes) * 8 > bits_per_s * growth.at_s


class Excess(NamedTuple):
    """A publisher that sent more than it may."""

    publication: Publication
    reason: str
    """For its end: one line."""


class Meter:
    """The rates of all streams."""

    def __init__(self, registry: Registry, connections: Collection[Client]) -> None:
        """
        Start without samples.

        Args:
            registry: of the streams, which name the connections of their publishers.
            connections: those that there are at any time.
        """
        self._registry = registry
        self._connections = connections
        self._samples: dict[Publication, _Samples] = {}

    def sample(self, now: float) -> None:
        """
        Count; to be called once a second.

        Args:
            now: seconds that never jump.
        """
        publications = [stream.publication for stream in self._registry if stream.publication is not None]
        publishing = {each.terms.client for each in publications}
        received = {each.number: each.bytes_in for each in self._connections if each.number in publishing}
        kept: dict[Publication, _Samples] = {}
        for publication in publications:
            samples = kept[publication] = self._samples.get(publication) or _Samples(now)
            if not samples.all or now > samples.all[-1].at_s:
                samples.all.append(
                    _Sample(
                        now,
                        received.get(publication.terms.client, 0),
                        publication.stream.log.end,
                        publication.pictures,
                    )
                )
        self._samples = kept

    def rates(self, stream: Stream) -> Rates:
        """
        Say how fast a stream grows.

        Args:
            stream: of the registry.

        Returns:
            Its rates over the last ten seconds, or as many as its publisher is there.
        """
        samples = None if stream.publication is None else self._samples.get(stream.publication)
        return STILL if samples is None else samples.rates

    def over_limit(self, apps: Mapping[str, AppConfig]) -> list[Excess]:
        """
        Find the publishers that have sent more than their application allows, over ten whole seconds.

        Args:
            apps: the configuration, by application.

        Returns:
            Each of them, to be evicted for the reason. A connection that publishes several streams is measured as one.
        """
        found = []
        for publication, samples in self._samples.items():
            app = publication.stream.app
            limit = apps[app].max_bits_per_s if app in apps else 0
            if limit and publication.current and samples.exceeds(limit):
                reason = f"more than {limit} bits per second (apps.{app}.max_bits_per_s)"
                found.append(Excess(publication, reason))
        return found
