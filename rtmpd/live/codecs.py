"""Which codecs a stream is made of: what its headers say, or else its newest frames."""

from __future__ import annotations

from itertools import islice
from typing import NamedTuple

from rtmpd.errors import MediaError
from rtmpd.live.stream import Stream
from rtmpd.media.tags import parse_audio, parse_video
from rtmpd.wire.messages import AUDIO, VIDEO

_LOOKED_AT = 200
"""Newest messages that are asked for codecs without headers (MP3): some seconds of a stream."""


class Codecs(NamedTuple):
    """Codecs by kind, as `rtmpd.media.tags` names them; empty for a kind of which nothing has come yet."""

    video: frozenset[str]
    audio: frozenset[str]


def codecs_of(stream: Stream) -> Codecs:
    """Say what a stream carries, as far as that can be seen now; nothing is said of what cannot be read."""
    found: dict[int, set[str]] = {VIDEO: set(), AUDIO: set()}
    for type_id, body in stream.headers:
        if type_id in found:
            found[type_id] |= _codecs(type_id, body)
    missing = {type_id for type_id, codecs in found.items() if not codecs}
    if missing:
        log = stream.log
        start = log.start if log.newest_key_frame is None else log.newest_key_frame.position
        for entry, body in islice(log.messages(start), _LOOKED_AT):
            if entry.type_id in missing:
                found[entry.type_id] |= _codecs(entry.type_id, body)
    return Codecs(frozenset(found[VIDEO]), frozenset(found[AUDIO]))


def _codecs(type_id: int, body: bytes) -> set[str]:
    try:
        tag = parse_video(body) if type_id == VIDEO else parse_audio(body)
    except MediaError:
        return set()
    return {tag.codec, *(track.codec for track in tag.tracks)} - {""}
