"""
The start of an output whose tracks must be known when it is opened: its first samples wait until they are.

Rule: the tracks are those that have had a sample within half a second of media. Nothing else tells which will come:
some codecs have no headers, and metadata lies. The wait costs nothing, as a crash takes an unfinished fragment anyway;
and a container with a track that never comes is no alternative, as FFmpeg writes nothing until every track has begun.
"""

from __future__ import annotations

from muxers.samples import Sample, Track

WAIT_MS = 500
_MOST_SAMPLES = 1_000
_MOST_BYTES = 8 * 1024 * 1024
"""Timestamps that stand still shall not fill the memory."""


class Opening:
    """Collects the samples that an output begins with."""

    def __init__(self) -> None:
        """Start without tracks."""
        self._payloads: dict[Track, bytes] = {}
        self._size = 0
        self.held: list[Sample] = []
        """What waits, in order; whoever has written it clears it."""

    @property
    def tracks(self) -> dict[Track, bytes]:
        """The tracks that are in, each with its first payload: pictures first, then by number."""
        order = sorted(self._payloads, key=lambda track: (-track.type_id, track.track_id))
        return {track: self._payloads[track] for track in order}

    def admits(self, sample: Sample) -> bool:
        """Say whether the output may begin with a sample: its track is configured and, before it, had a key frame."""
        track = sample.track
        return track.configuration is not None and (sample.is_key or track in self._payloads)

    def is_change(self, track: Track) -> bool:
        """Say whether the same track is in with another codec or configuration."""
        return track not in self._payloads and any(known[:2] == track[:2] for known in self._payloads)

    def add(self, sample: Sample) -> bool:
        """
        Hold a sample that `admits` lets in.

        Returns:
            False for a change: the output is to be opened without this sample.
        """
        if self.is_change(sample.track):
            return False
        self._payloads.setdefault(sample.track, sample.payload)
        self._size += len(sample.payload)
        self.held.append(sample)
        return True

    def is_ready(self, now_ms: int) -> bool:
        """
        Say whether the output is to be opened.

        Args:
            now_ms: the newest time of the output.
        """
        if not self.held:
            return False
        return now_ms - self.held[0].dts_ms >= WAIT_MS or len(self.held) >= _MOST_SAMPLES or self._size >= _MOST_BYTES
