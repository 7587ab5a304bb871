"""
The start of a live output: its first frames wait until it is known which tracks there are.

As for recordings (`opening`) nothing else tells, but here each wait is a delay: an output with pictures and sound is
opened at once, one that has had only one of them after half a second. Where pictures come that nobody can begin with,
as behind a gap, everything waits for their key frame: an output that began with sound alone would have to begin anew,
and players do not take pictures that join.
"""

from __future__ import annotations

from collections import deque

from muxers.samples import Sample, Track
from rtmpd.wire.messages import VIDEO

WAIT_MS = 500
"""For a second track."""
KEY_WAIT_MS = 10_000
"""For a key frame of pictures that come; some encoders make one at their start and never again."""
MOST_SAMPLES = 1_000
MOST_BYTES = 8 * 1024 * 1024
"""Timestamps that stand still shall not fill the memory."""


class LiveOpening:
    """Holds the frames that an output begins with."""

    def __init__(self) -> None:
        """Start without tracks."""
        self._first: dict[int, tuple[Track, bytes]] = {}
        self._bytes = 0
        self._pictures_ms: int | None = None
        self.held: deque[Sample] = deque()
        """What waits, in its order; of one track of each kind."""

    @property
    def tracks(self) -> dict[Track, bytes]:
        """The tracks that are in, each with its first payload: pictures first."""
        return dict(self._first[kind] for kind in sorted(self._first, reverse=True))

    @property
    def start_ms(self) -> int:
        """Decoding time of the first frame of the track that leads: of pictures, where there are some."""
        lead = next(iter(self.tracks))
        return next(sample.dts_ms for sample in self.held if sample.track is lead or sample.track == lead)

    def add(self, sample: Sample) -> None:
        """
        Take a frame, unless its track has to begin with a key frame first.

        Args:
            sample: of a default track that is configured; one in another configuration takes its track's place.
        """
        track, kind = sample.track, sample.track.type_id
        known = self._first.get(kind)
        if known is None or known[0] != track:
            if kind == VIDEO and not sample.is_key:
                if self._pictures_ms is None:
                    self._pictures_ms = sample.dts_ms
                return
            self.remove(kind)
            self._first[kind] = track, sample.payload
        self.held.append(sample)
        self._bytes += len(sample.payload)

    def remove(self, kind: int) -> None:
        """Let go of a track: audio or video."""
        if self._first.pop(kind, None) is not None:
            self.held = deque(sample for sample in self.held if sample.track.type_id != kind)
            self._bytes = sum(len(sample.payload) for sample in self.held)

    def is_ready(self, now_ms: int) -> bool:
        """
        Say whether the output is to be opened.

        Args:
            now_ms: the newest time of the stream.
        """
        if not self.held:
            return False
        if len(self._first) > 1:
            return True
        pictures_ms = self._pictures_ms
        if VIDEO not in self._first and pictures_ms is not None and now_ms - pictures_ms < KEY_WAIT_MS:
            self._trim(now_ms)
            return False
        return now_ms - self.held[0].dts_ms >= WAIT_MS or self.is_full

    @property
    def is_full(self) -> bool:
        """Whether no more can be held."""
        return len(self.held) >= MOST_SAMPLES or self._bytes >= MOST_BYTES

    def _trim(self, now_ms: int) -> None:
        """Let go of sound that is too old to go with a picture that comes now."""
        while self.held and (self.is_full or now_ms - self.held[0].dts_ms > WAIT_MS):
            self._bytes -= len(self.held.popleft().payload)
