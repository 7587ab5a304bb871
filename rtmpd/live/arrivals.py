"""When a log last took pictures and sound: looked up now and then, so that no message pays for it."""

from __future__ import annotations

from itertools import islice
from typing import NamedTuple

from rtmpd.live.log import Log
from rtmpd.media.tags import SEQUENCE_HEADER
from rtmpd.wire.messages import AUDIO, VIDEO


class Arrivals(NamedTuple):
    """The newest frames of a part of a log, in seconds of the clock that it was given; None where there is none."""

    video_s: float | None
    audio_s: float | None
    is_whole: bool
    """Whether the part was looked through as far as was needed; if not, None means nothing."""


def newest_arrivals(log: Log, position: int, most: int) -> Arrivals:
    """
    Find the newest picture and the newest sound.

    Args:
        log: of a stream.
        position: where to stop looking: the log's end at the look before.
        most: messages to go back over; a flood of tiny ones must not make looks costly.

    Returns:
        When they came.
    """
    found: dict[int, float] = {}
    looked_at = 0
    for entry in islice(log.newest_first(position), most):
        looked_at += 1
        if entry.type_id in (VIDEO, AUDIO) and not entry.flags & SEQUENCE_HEADER:
            found.setdefault(entry.type_id, entry.arrived_s)
            if len(found) == 2:
                break
    return Arrivals(found.get(VIDEO), found.get(AUDIO), len(found) == 2 or looked_at < most)
