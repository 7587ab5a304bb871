"""Streams: how many, and of each what comes and goes. Who has never been published has no metrics of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

from prometheus_client.core import Metric

from rtmpd.control.audience import Audience
from rtmpd.control.metrics.families import counter, gauge
from rtmpd.live.stream import Stream, StreamState

MOST_STREAMS = 1000
"""That have metrics of their own, the oldest first: each is a dozen time series that Prometheus keeps for weeks."""
_NOBODY = Audience()


class Row(NamedTuple):
    """One stream, at one moment."""

    path: str
    logged_bytes: int
    pictures: int
    sounds: int
    audience: Audience
    sent_bytes: int


def rows_of(streams: Iterable[Stream], audiences: Mapping[str, Audience], sent_bytes: Mapping[str, int]) -> list[Row]:
    """
    Look at streams.

    Args:
        streams: of the registry, the oldest first.
        audiences: by path.
        sent_bytes: to players that have gone, by path.

    Returns:
        Those that are published, or were a moment ago; `MOST_STREAMS` of them.
    """
    published = (stream for stream in streams if stream.state is not StreamState.IDLE)
    return [
        _row(stream, audiences.get(stream.path, _NOBODY), sent_bytes.get(stream.path, 0))
        for stream in islice(published, MOST_STREAMS)
    ]


def _row(stream: Stream, audience: Audience, sent_bytes: int) -> Row:
    publication = stream.publication
    pictures, frames = (0, 0) if publication is None else (publication.pictures, publication.frames)
    return Row(stream.path, stream.log.end, pictures, frames - pictures, audience, audience.bytes_out + sent_bytes)


def totals(streams: Iterable[Stream]) -> Iterator[Metric]:
    """
    Count streams.

    Args:
        streams: of the registry.

    Yields:
        Families.
    """
    states = Counter((stream.app, stream.state.value) for stream in streams)
    yield gauge(
        "streams",
        "Streams that somebody publishes (live), whose publisher dropped (grace) or that players wait for (idle).",
        ["app", "state"],
        states.items(),
    )
    published = sum(count for (_, state), count in states.items() if state != StreamState.IDLE.value)
    yield gauge(
        "streams_left_out",
        f"Published streams without metrics of their own: {MOST_STREAMS} have them.",
        (),
        [((), max(published - MOST_STREAMS, 0))],
    )


def per_stream(rows: Sequence[Row]) -> Iterator[Metric]:
    """
    Measure each stream; a family is made when it is asked for.

    Args:
        rows: of the streams.

    Yields:
        Families, each with samples of every stream.
    """
    yield counter(
        "stream_received_bytes",
        "Media of a stream, as its log has it.",
        ["stream"],
        (([row.path], row.logged_bytes) for row in rows),
    )
    yield counter(
        "stream_frames",
        "Frames from a stream's publisher; begins anew with each.",
        ["stream", "media"],
        (
            ((row.path, media), count)
            for row in rows
            for media, count in (("video", row.pictures), ("audio", row.sounds))
        ),
    )
    yield counter(
        "stream_sent_bytes",
        "Media that its players' sockets took.",
        ["stream"],
        (([row.path], row.sent_bytes) for row in rows),
    )
    yield gauge(
        "stream_players",
        "Its players by what they speak.",
        ["stream", "kind"],
        (((row.path, kind), count) for row in rows for kind, count in row.audience.kinds.items()),
    )
    yield gauge(
        "stream_lag_seconds",
        "How far the player is behind that is farthest behind.",
        ["stream"],
        (([row.path], row.audience.lag_ms / 1000) for row in rows),
    )
    yield gauge(
        "stream_skipped_seconds",
        "Media time that the players who are there were too slow for.",
        ["stream"],
        (([row.path], row.audience.skipped_ms / 1000) for row in rows),
    )
