"""
Live outputs: FLV tags in, initialisation sections and parts of fragmented MP4 out, without any I/O.

An output goes on for as long as tracks and configurations stay and time leads on. Whatever breaks it, a changed header, a
leap, a track that joins or falls silent, begins another one with an initialisation section of its own, even if that is
the same: what follows a section never continues what was before it. Outputs with pictures begin with a key frame.

Publishers decide how often that happens, so there is an allowance: a section costs FFmpeg a millisecond or more, and
whoever watches an interruption. Without one left, frames are left out until there is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

from muxers import formats
from muxers.base import MuxError
from muxers.clock import NOT_A_FRAME
from muxers.init_section import InitSection, make_init_section
from muxers.live_clock import LiveClock
from muxers.live_opening import LiveOpening
from muxers.live_run import LiveRun, Part
from muxers.marks import ON_GAP, ON_RESUME
from muxers.samples import Sample, SampleReader, Track
from rtmpd.errors import MediaError
from rtmpd.media.tags import classify
from rtmpd.wire.flv import FlvTag
from rtmpd.wire.messages import AUDIO, VIDEO

__all__ = ["Init", "LivePackager", "Part", "Record", "Refusal"]

SILENT_MS = 10_000
"""A track that lags behind by more has ended, as far as those who wait for it are concerned."""
MOST_SECTIONS = 5
SECTIONS_PER_S = 1.0
"""The allowance: so many at once, then so many a second."""
_LEFT_OUT = {AUDIO: "the sound is left out", VIDEO: "the pictures are left out"}


class Init(NamedTuple):
    """The initialisation section of the parts that follow; nothing before it continues."""

    data: bytes
    codecs: str
    """As RFC 6381 writes them, joined by commas."""
    has_video: bool


class Refusal(NamedTuple):
    """A track that is left out."""

    reason: str
    """One line: which codec, and why."""


Record: TypeAlias = Init | Part | Refusal


class LivePackager:
    """Packages the default tracks of one stream."""

    def __init__(self, part_ms: int) -> None:
        """
        Start before the first tag.

        Args:
            part_ms: how long a part is at most, where frames are not longer.
        """
        self._part_ms = part_ms
        self._reader = SampleReader()
        self._clock = LiveClock()
        self._opening = LiveOpening()
        self._run: LiveRun | None = None
        self._change_is_due = False
        self._unusable: set[Track] = set()
        self._told: set[int] = set()
        self._allowance = float(MOST_SECTIONS)
        self._now_s: float | None = None

    def feed(self, tags: Sequence[FlvTag], now_s: float) -> list[Record]:
        """
        Take the next tags of the stream, headers and the marks of `muxers.marks` among them.

        Args:
            tags: in their order; what cannot be read is left out.
            now_s: any clock that only leads on.

        Returns:
            What became whole, in its order.
        """
        if self._now_s is not None:
            self._allowance = min(MOST_SECTIONS, self._allowance + (now_s - self._now_s) * SECTIONS_PER_S)
        self._now_s = now_s
        records: list[Record] = []
        for tag in tags:
            if tag.type_id in (AUDIO, VIDEO):
                self._take(tag, records)
            elif tag.body.startswith(ON_GAP):
                self._end_run(records)
            elif tag.body.startswith(ON_RESUME):
                self._clock.resume()
        return records

    def finish(self) -> list[Record]:
        """
        End the stream; nothing may be fed any more.

        Returns:
            What is left.
        """
        records: list[Record] = []
        if self._run is None and self._opening.held:
            self._open(records)
        self._end_run(records)
        return records

    def _take(self, tag: FlvTag, records: list[Record]) -> None:
        flags = classify(tag.type_id, tag.body)
        try:
            samples = self._reader.read(tag.type_id, tag.body, 0, flags)
        except MediaError:
            return
        if flags & NOT_A_FRAME or not samples:
            return
        time_ms, breaks = self._clock.place(tag.type_id, tag.timestamp_ms)
        if breaks:
            self._unusable.clear()  # it may be another encoder
            if self._run is not None:
                self._end_run(records)
        for sample in samples:
            if not sample.track.track_id:
                self._take_sample(sample._replace(dts_ms=time_ms), records)

    def _take_sample(self, sample: Sample, records: list[Record]) -> None:
        if not self._carries(sample.track, records):
            return
        run = self._run
        if run is not None and run.is_silent(sample.dts_ms - SILENT_MS):
            self._end_run(records)
            run = None
        if run is not None and self._changes(run, sample):
            self._end_run(records)
            run = None
        if run is None:
            self._hold(sample, records)
        elif run.has(sample.track):
            records += run.add(sample)

    def _carries(self, track: Track, records: list[Record]) -> bool:
        reason = None if track.codec in formats.MP4 else formats.refusal("mp4", [track.codec])
        if reason is not None:
            self._refuse(track, f"{reason}, only {', '.join(sorted(formats.MP4))}", records)
            return False
        return track.configuration is not None and track not in self._unusable

    def _changes(self, run: LiveRun, sample: Sample) -> bool:
        """Say whether a frame begins another output: of a track that is not in the run, where that can begin."""
        if run.has(sample.track) and not self._change_is_due:
            return False
        # Pictures go on up to their next key frame: sound that changes is left out until then.
        if sample.is_key if sample.track.type_id == VIDEO else not run.has_video:
            return True
        self._change_is_due = self._change_is_due or not run.has(sample.track)
        return False

    def _hold(self, sample: Sample, records: list[Record]) -> None:
        opening = self._opening
        opening.add(sample)
        if not opening.is_ready(sample.dts_ms):
            return
        if self._allowance >= 1:
            self._allowance -= 1
            self._open(records)
        elif opening.is_full:
            self._opening = LiveOpening()

    def _open(self, records: list[Record]) -> None:
        opening, self._opening = self._opening, LiveOpening()
        section = self._make_section(opening, records)
        if section is None:
            return
        self._told -= {track.type_id for track in section.places}
        records.append(Init(section.data, section.codecs, section.has_video))
        self._run = run = LiveRun(section, opening.start_ms, self._part_ms)
        for sample in opening.held:
            records += run.add(sample)

    def _make_section(self, opening: LiveOpening, records: list[Record]) -> InitSection | None:
        """Make the section of all tracks that FFmpeg takes; the others are let go of."""
        tracks = opening.tracks
        while tracks:
            try:
                return make_init_section(tracks)
            except MuxError as error:
                odd = next((track for track in tracks if not _is_usable(track, tracks[track])), next(reversed(tracks)))
                self._unusable = {each for each in self._unusable if each.type_id != odd.type_id} | {odd}
                self._refuse(odd, f"nothing can be made of this {odd.codec}: {error}", records)
                opening.remove(odd.type_id)
                tracks = opening.tracks
        return None

    def _refuse(self, track: Track, reason: str, records: list[Record]) -> None:
        """Tell once that there is a kind of media that is left out."""
        if track.type_id not in self._told:
            self._told.add(track.type_id)
            records.append(Refusal(f"{reason}; {_LEFT_OUT[track.type_id]}"))

    def _end_run(self, records: list[Record]) -> None:
        if self._run is not None:
            records += self._run.finish()
        self._run = None
        self._opening = LiveOpening()
        self._change_is_due = False


def _is_usable(track: Track, payload: bytes) -> bool:
    try:
        make_init_section({track: payload})
    except MuxError:
        return False
    return True
