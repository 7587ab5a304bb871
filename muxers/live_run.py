"""
One container of a live output, from its initialisation section to its end, cut into parts.

The leading track cuts: pictures, or sound where there are none. A part ends where the frame arrives that begins the next
one, so that its durations are exact and it is one frame late at most; what other tracks have by then rides along, in
the part that its time belongs to. The newest frame of each track waits for the next one, as no frame knows how long it
lasts: where pictures stall, sound goes on in parts of its own, and the waiting picture comes in the part in which the
next one arrives.

Parts follow each other without a gap or an overlap: one ends at the millisecond where the next one starts. Of the
tracks in them that holds as far as the publisher interleaves them.
"""

from __future__ import annotations

from typing import NamedTuple

from muxers.av1_units import without_framing
from muxers.init_section import InitSection, TrackPlace
from muxers.moof import Frame, TrackFrames, encode_fragment
from muxers.samples import Sample, Track
from rtmpd.wire.messages import VIDEO

MOST_FRAMES = 1_000
MOST_BYTES = 8 * 1024 * 1024
"""What a part may collect before it ends whatever the timestamps say: those that stand still shall not fill the memory."""
_STALLED_PARTS = 2
"""Sound that is so many parts ahead does not wait for pictures any longer."""
_ROUNDING_MS = 1
"""What frames of one rate differ by in milliseconds; a part that turns out too long for it still ends in time."""
_GUESS_MS = 40
"""The duration of a frame that was the only one of its track."""


class Part(NamedTuple):
    """A fragment of some hundred milliseconds, of all tracks."""

    data: bytes
    """`moof` and `mdat`."""
    start_ms: int
    duration_ms: int
    """To the start of the next one."""
    is_independent: bool
    """It begins with a key frame, or its container has no pictures."""


class _Waiting(NamedTuple):
    """A frame that is in no part yet; times in the track's timescale but for the last one."""

    payload: bytes
    dts: int
    pts: int
    is_key: bool
    dts_ms: int


class _Lane:
    """One track on its way into parts."""

    def __init__(self, place: TrackPlace, start_ms: int, *, is_video: bool) -> None:
        self.place = place
        self.is_video = is_video
        self.waiting: list[_Waiting] = []
        self.latest_ms = start_ms
        self.step = place.timescale * _GUESS_MS // 1000
        self._last = -1

    @property
    def end_ms(self) -> int:
        """Where the newest frame ends, if it is as long as the one before it."""
        return self.latest_ms + self.step * 1000 // self.place.timescale

    def append(self, sample: Sample, payload: bytes) -> None:
        """Take a frame; one that does not come after the one before it is put one tick behind that."""
        timescale = self.place.timescale
        dts = max((sample.dts_ms * timescale + 500) // 1000, self._last + 1)
        pts = ((sample.dts_ms + sample.composition_ms) * timescale + 500) // 1000
        if self._last >= 0:
            self.step = dts - self._last
        self._last = dts
        self.latest_ms = sample.dts_ms
        self.waiting.append(_Waiting(payload, dts, pts if self.is_video else dts, sample.is_key, sample.dts_ms))

    def take(self, count: int) -> TrackFrames | None:
        """Hand over so many of the frames that wait; None for no frame."""
        if not count:
            return None
        taken, self.waiting = self.waiting[:count], self.waiting[count:]
        following = [each.dts for each in taken[1:]]
        following.append(self.waiting[0].dts if self.waiting else taken[-1].dts + self.step)
        frames = [
            Frame(each.payload, next_dts - each.dts, each.pts - each.dts, each.is_key)
            for each, next_dts in zip(taken, following, strict=True)
        ]
        return TrackFrames(self.place.track_id, self.is_video, taken[0].dts, frames)


class LiveRun:
    """Writes the parts of one container."""

    def __init__(self, section: InitSection, start_ms: int, part_ms: int) -> None:
        """
        Begin.

        Args:
            section: of the container, with one track of each kind at most.
            start_ms: decoding time of the leading track's first frame.
            part_ms: how long a part is at most, where frames are not longer.
        """
        self._lanes = {
            track: _Lane(place, start_ms, is_video=track.type_id == VIDEO) for track, place in section.places.items()
        }
        self._lead = next((lane for lane in self._lanes.values() if lane.is_video), next(iter(self._lanes.values())))
        self._others = [lane for lane in self._lanes.values() if lane is not self._lead]
        self._start_ms = start_ms
        self._part_ms = part_ms
        self._number = 0
        self._held_frames = 0
        self._held_bytes = 0

    @property
    def has_video(self) -> bool:
        """Whether pictures lead."""
        return self._lead.is_video

    def has(self, track: Track) -> bool:
        """Say whether the container has a track, in this configuration."""
        return track in self._lanes

    def is_silent(self, before_ms: int) -> bool:
        """Say whether a track has had nothing since a time."""
        return any(lane.latest_ms < before_ms for lane in self._lanes.values())

    def add(self, sample: Sample) -> list[Part]:
        """
        Take a frame.

        Args:
            sample: of a track that `has` knows, not far behind the one before it.

        Returns:
            The parts that became whole.
        """
        lane = self._lanes[sample.track]
        payload = without_framing(sample.payload) if sample.track.codec == "av01" else sample.payload
        if not payload:
            return []
        self._held_frames += 1
        self._held_bytes += len(payload)
        lane.append(sample, payload)
        parts = self._cut_at_lead(sample) if lane is self._lead else self._cut_stalled(sample.dts_ms)
        if self._held_frames >= MOST_FRAMES or self._held_bytes >= MOST_BYTES:
            counts = {each: max(len(each.waiting) - 1, 0) for each in (self._lead, *self._others)}
            parts += self._write(max(sample.dts_ms, self._start_ms + 1), counts)
        return parts

    def finish(self) -> list[Part]:
        """
        End the container.

        Returns:
            The last part, if frames are left.
        """
        lanes = self._lanes.values()
        stalled = not self._lead.waiting or self._lead.waiting[-1].dts_ms < self._start_ms
        end_ms = max(lane.end_ms for lane in lanes) if stalled else self._lead.end_ms
        return self._write(max(end_ms, self._start_ms + 1), {lane: len(lane.waiting) for lane in lanes})

    def _cut_at_lead(self, sample: Sample) -> list[Part]:
        """Cut in front of the newest frame of the leading track, which has just come, where a part is due."""
        waiting = self._lead.waiting
        if len(waiting) == 1:
            return []
        parts: list[Part] = []
        now_ms, before_ms = sample.dts_ms, waiting[-2].dts_ms
        if now_ms - self._start_ms > self._part_ms and len(waiting) > 2 and before_ms > self._start_ms:
            parts = self._cut(before_ms, len(waiting) - 2)
        if self.has_video and sample.is_key:
            parts += self._cut(now_ms if now_ms > self._start_ms else self._ahead_ms(), len(self._lead.waiting) - 1)
        elif now_ms > self._start_ms and now_ms + now_ms - before_ms - _ROUNDING_MS - self._start_ms > self._part_ms:
            parts += self._cut(now_ms, len(self._lead.waiting) - 1)
        return parts

    def _cut_stalled(self, now_ms: int) -> list[Part]:
        """Cut where sound is far ahead."""
        parts: list[Part] = []
        while now_ms - self._start_ms >= _STALLED_PARTS * self._part_ms:
            cut = self._cut(self._ahead_ms(), len(self._lead.waiting) - 1)
            if not cut:
                break
            parts += cut
        return parts

    def _ahead_ms(self) -> int:
        """The last time within a part's length at which a frame of another track begins, or the first one behind it."""
        times = [each.dts_ms for lane in self._others for each in lane.waiting if each.dts_ms > self._start_ms]
        within = [time for time in times if time <= self._start_ms + self._part_ms]
        return max(within) if within else min(times, default=self._start_ms + 1)

    def _cut(self, end_ms: int, lead_frames: int) -> list[Part]:
        counts = {self._lead: max(lead_frames, 0)}
        for lane in self._others:
            counts[lane] = sum(each.dts_ms < end_ms for each in lane.waiting[:-1])
        return self._write(end_ms, counts)

    def _write(self, end_ms: int, counts: dict[_Lane, int]) -> list[Part]:
        tracks = [taken for lane, count in counts.items() if (taken := lane.take(count)) is not None]
        if not tracks:
            return []
        self._number += 1
        start_ms, self._start_ms = self._start_ms, end_ms
        for track in tracks:
            self._held_frames -= len(track.frames)
            self._held_bytes -= sum(len(frame.payload) for frame in track.frames)
        is_independent = not self.has_video or (tracks[0].is_video and tracks[0].frames[0].is_key)
        return [Part(encode_fragment(self._number, tracks), start_ms, end_ms - start_ms, is_independent)]
