"""Streams and their publishers, as they are now."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from rtmpd.control import models
from rtmpd.control.audience import Audience, audiences
from rtmpd.control.meter import Rates
from rtmpd.control.push_recordings import ALIVE
from rtmpd.control.pushes import Pushes
from rtmpd.control.reach import Reach
from rtmpd.control.rooms import Named, split
from rtmpd.control.urls import watched
from rtmpd.errors import NotPossible
from rtmpd.live.stream import Publication, Stream
from rtmpd.net.services import Client, Services
from rtmpd.workers.recorder import Recorder


class Measures(NamedTuple):
    """What is known of a stream's media."""

    tracks_of: Callable[[Stream], Sequence[models.Track]]
    rates: Callable[[Stream], Rates]


class _Around(NamedTuple):
    """What is counted once for all streams that are shown."""

    publishers: Mapping[int, Client]
    audiences: Mapping[str, Audience]
    recordings: Mapping[Named, int]


class Streams:
    """Every stream; follows them as an observer of the registry."""

    def __init__(
        self,
        services: Services,
        recorder: Recorder,
        pushes: Pushes,
        reach: Reach,
        measures: Measures,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """
        Look over the streams of a server.

        Args:
            services: with its registry and connections.
            recorder: records them.
            pushes: of them.
            reach: what their URLs begin with.
            measures: of their media.
            clock: unix seconds.
        """
        self._services = services
        self._recorder = recorder
        self._pushes = pushes
        self._reach = reach
        self._measures = measures
        self._clock = clock
        self._since: dict[Named, float] = {}

    def stream_published(self, stream: Stream) -> None:
        """Take note when its publisher began."""
        self._since[Named(stream.app, stream.name)] = self._clock()

    def stream_ended(self, stream: Stream, reason: str) -> None:  # noqa: ARG002 - as observers are told
        """Forget it."""
        self._since.pop(Named(stream.app, stream.name), None)

    def list(self) -> models.StreamList:
        """Every stream that somebody publishes or waits for, by their paths."""
        streams = sorted(self._services.registry, key=lambda stream: stream.path)
        around = self._around(self._services.connections)
        return models.StreamList(streams=[self._show(stream, around) for stream in streams])

    def get(self, path: str) -> models.StreamInfo:
        """
        Show one stream.

        Args:
            path: "application/name".

        Raises:
            NotPossible: "unknown": nobody publishes it, or waits for it.
        """
        stream = self._find(path)
        return self._show(stream, self._around(each for each in self._services.connections if each.path == path))

    def disconnect_publisher(self, path: str) -> models.Done:
        """
        Disconnect who publishes a stream; it may come back.

        Args:
            path: "application/name".

        Raises:
            NotPossible: "unknown": nobody publishes it.
        """
        publication = self._find(path).publication
        if publication is None:
            raise NotPossible("unknown", f"nobody publishes {path}")
        self._services.log.info("publisher disconnected", stream=path, client=publication.terms.client)
        publication.evict("disconnected by an operator")
        return models.Done()

    def _find(self, path: str) -> Stream:
        stream = self._services.registry.find(*split(path))
        if stream is None:
            raise NotPossible("unknown", f"nobody publishes {path}")
        return stream

    def _around(self, clients: Iterable[Client]) -> _Around:
        there = list(clients)
        alive = (each.row for each in self._recorder.statuses if each.phase in ALIVE)
        return _Around(
            {each.number: each for each in there if each.role != "play"},
            audiences(there),
            Counter(Named(row.app, row.stream) for row in alive),
        )

    def _show(self, stream: Stream, around: _Around) -> models.StreamInfo:
        named = Named(stream.app, stream.name)
        kept = self._pushes.of(named)
        publication = stream.publication
        rates = self._measures.rates(stream)
        audience = around.audiences.get(stream.path) or Audience()
        return models.StreamInfo(
            stream=stream.path,
            app=stream.app,
            name=stream.name,
            state=stream.state.value,
            public=stream.is_watchable,
            publisher=None if publication is None else self._publisher(publication, named, around),
            tracks=list(self._measures.tracks_of(stream)),
            bits_per_s=rates.bits_per_s,
            frames_per_s=rates.frames_per_s,
            players=len(stream.members),
            viewers=dict(audience.kinds),
            lag_ms=audience.lag_ms,
            skipped_ms=audience.skipped_ms,
            recordings=around.recordings.get(named, 0),
            channel_id=None if kept is None else kept.push.channel_id,
            urls=watched(self._reach.bases, named).urls if stream.is_watchable else [],
        )

    def _publisher(self, publication: Publication, stream: Named, around: _Around) -> models.Publisher:
        number = publication.terms.client
        client = around.publishers.get(number)
        return models.Publisher(
            client_id=number,
            address=publication.terms.address,
            since=self._since.get(stream, 0.0),
            bytes_in=0 if client is None else client.bytes_in,
            bits_per_s=self._measures.rates(publication.stream).bits_per_s,
        )
