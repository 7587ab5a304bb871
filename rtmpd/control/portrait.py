"""What a stream is made of, for lists and callbacks: made once for each change of its headers, however often it is asked for."""

from __future__ import annotations

from typing import NamedTuple
from weakref import WeakKeyDictionary

from rtmpd.control import models
from rtmpd.live.headers import Headers
from rtmpd.live.stream import Stream
from rtmpd.media.tracks import Tracks, describe_tracks


class _Portrait(NamedTuple):
    facts: Tracks
    tracks: tuple[models.Track, ...]


_portraits: WeakKeyDictionary[Headers, _Portrait] = WeakKeyDictionary()
"""By the identity of headers that are still in force somewhere; they never change."""


class Size(NamedTuple):
    """Of a picture, in pixels; 0 where it is not known."""

    width: int
    height: int


def tracks_of(stream: Stream) -> tuple[models.Track, ...]:
    """Describe the tracks of a stream, as its headers in force do; what they do not say is None."""
    return _portrait(stream.headers).tracks


def facts_of(headers: Headers) -> Tracks:
    """Say what headers tell of tracks, with what is wrong with them."""
    return _portrait(headers).facts


def size_of(stream: Stream) -> Size:
    """Find the size of a stream's picture, of its default track if that has one."""
    sizes = [
        Size(track.width, track.height)
        for track in sorted(facts_of(stream.headers).described, key=lambda each: each.track_id)
        if track.kind == "video" and track.width
    ]
    return sizes[0] if sizes else Size(0, 0)


def _portrait(headers: Headers) -> _Portrait:
    portrait = _portraits.get(headers)
    if portrait is None:
        facts = describe_tracks(headers)
        tracks = tuple(
            models.Track(
                kind=each.kind,
                codec=each.codec,
                track_id=each.track_id,
                width=each.width or None,
                height=each.height or None,
                sample_rate=each.sample_rate or None,
                channels=each.channels or None,
            )
            for each in facts.described
        )
        portrait = _portraits[headers] = _Portrait(facts, tracks)
    return portrait
