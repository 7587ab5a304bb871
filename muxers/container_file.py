"""
One file that FFmpeg writes piece by piece, each of which goes to the kernel as it is made: MP4, M4A, MPEG-TS.

Rule: the pieces that are there open, so a crash costs what is not in one yet, and a disk that fills up the torn piece.
The tracks of a file are those that it begins with (`opening`): another one, or another configuration, belongs into a
new file, from the next place on where one can start.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from muxers._pyav import Output
from muxers.base import FileFacts, MuxError
from muxers.clock import NOT_A_FRAME, FileClock
from muxers.collector import FactsCollector
from muxers.formats import refusal
from muxers.growing_file import GrowingFile
from muxers.marks import ON_RESUME
from muxers.opening import Opening
from muxers.samples import Sample, SampleReader, Track
from rtmpd.errors import MediaError
from rtmpd.media.tags import KEY_FRAME, classify
from rtmpd.wire.flv import FlvTag
from rtmpd.wire.messages import AUDIO, DATA_AMF0, VIDEO

PAUSE_MS = 10_000
"""
How long a track that pauses keeps back what is confirmed: its last frame waits in memory for the next one, however late
that is, as without its duration the next one would be put right behind it.
"""
_FIRST_PAUSE_MS = 1_200
"""How long the first piece, which may need a frame of every track, waits for a second one of each."""
_SHORTEST_FILE_MS = 1_000
"""An encoder that changes its configuration with every frame makes no file of each."""
_UNSETTLED = 3
"""Frames of a track that may not be in a piece yet: one with us, one in FFmpeg's queue, one that ended it."""
_UNSETTLED_EAC3 = 8
"""FFmpeg joins up to six frames of E-AC-3 into one."""


class _Frame(NamedTuple):
    """A tag with frames."""

    number: int
    """Of the tag, from 0."""
    type_id: int
    body: bytes
    time_ms: int
    flags: int
    samples: Sequence[Sample]


class _Progress:
    """Knows which tags are surely in a piece once FFmpeg has written one."""

    def __init__(self) -> None:
        self._recent: dict[Track, deque[int]] = {}
        self._times_ms: dict[Track, int] = {}

    def add(self, track: Track, tag: int, time_ms: int) -> None:
        recent = self._recent.get(track)
        if recent is None:
            unsettled = _UNSETTLED_EAC3 if track.codec == "ec-3" else _UNSETTLED
            recent = self._recent[track] = deque(maxlen=unsettled)
        recent.append(tag)
        self._times_ms[track] = time_ms

    def settled_tags(self, now_ms: int) -> int:
        """How many tags, from the first on, have only frames that FFmpeg has let go of, or none."""
        # A frame of a track that paused long ago is worth less than a crash after which an hour is recorded again.
        awake = (track for track, time_ms in self._times_ms.items() if now_ms - time_ms < PAUSE_MS)
        return min((self._recent[track][0] for track in awake), default=0)


class Layout(NamedTuple):
    """What FFmpeg makes of a file."""

    container: str
    """FFmpeg's name of it."""
    options: Mapping[str, str]
    """Of FFmpeg's muxer, with which a file opens whatever of its pieces are there."""
    seekable: bool
    """Whether FFmpeg goes back, at the end, to what it wrote first."""


class ContainerFile:
    """Writes one file; the formats derive from it."""

    def __init__(self, path: Path, file_format: str, layout: Layout, *, audio_only: bool = False) -> None:
        """
        Prepare; `open` creates the file.

        Args:
            path: its folder exists.
            file_format: a key of `FORMATS`, which says what it carries.
            layout: of the file.
            audio_only: leave the pictures out.
        """
        self._path = path
        self._format = file_format
        self._layout = layout
        self._audio_only = audio_only
        self._clock = FileClock()
        self._reader = SampleReader()
        self._collector = FactsCollector()
        self._opening = Opening()
        self._progress = _Progress()
        self._output: Output | None = None
        self._file = GrowingFile(path)
        self._held: list[_Frame] = []
        self._tags = 0
        self._confirmed_tags = 0
        self._left_out = 0
        self._has_video = False
        self._ends_from_ms: int | None = None
        """From when on the next place to start at belongs into a new file; None while nothing asks for one."""
        self._takes_no_more = False
        self._broken = False
        self._fault: OSError | None = None
        self._closed = False
        self._whole_facts: FileFacts | None = None
        """As they were at the last piece."""
        self._final_facts: FileFacts | None = None
        """Those of a file that the disk cut short."""

    @property
    def confirmed_tags(self) -> int:
        """How many of the tags handed over are in whole pieces; a few more may be."""
        return self._confirmed_tags

    def open(self) -> None:
        """
        Create the file and lock it.

        Raises:
            FileExistsError: the path is taken; nothing was touched.
            OSError: it cannot be created.
        """
        self._file.open()

    def write(self, tags: Sequence[FlvTag]) -> int:
        """
        Append tags.

        Args:
            tags: in the order of the feed.

        Returns:
            How many it took. Fewer than all when a configuration has changed or a track has come that the file was not
            begun with; the frames of such a track before that place are left out.

        Raises:
            MuxError: the format cannot carry a codec, or the file is closed or broken.
            OSError: the disk did not take it; `confirmed_tags` says what it took.
        """
        if self._closed or self._broken or not self._file.is_open:
            raise MuxError(f"{self._path.name} is not open for writing")
        try:
            return self._write(tags)
        except OSError as fault:
            self._broken, self._fault = True, fault
            raise
        except MuxError:
            self._broken = True
            raise

    def flush(self) -> None:
        """
        Look whether the file is still there; pieces end when FFmpeg ends them.

        Raises:
            FileNotFoundError: somebody removed it.
        """
        if self._file.is_open:
            self._file.require_linked()

    def facts(self) -> FileFacts:
        """Say what the file holds so far; where the disk failed, give or take the last frames before that."""
        if self._final_facts is not None:
            return self._final_facts
        collector = self._collector
        return FileFacts(
            path=str(self._path),
            file_format=self._format,
            size_bytes=self._file.size,
            duration_ms=collector.duration_ms,
            start_ms=self._clock.start_ms or 0,
            video_frames=collector.video_frames,
            audio_frames=collector.audio_frames,
            key_frames=collector.key_frames,
            tracks=collector.tracks,
            gaps=collector.gaps,
            gap_ms=collector.gap_ms,
            jumps=self._clock.jumps,
            left_out=self._left_out,
            empty=self._closed and not self._file.size,
        )

    def close(self) -> FileFacts:
        """
        Complete the file; harmless when called again. A file without frames is removed.

        Returns:
            What the file holds.

        Raises:
            MuxError: FFmpeg cannot make the file of these tracks; what was confirmed is left.
            OSError: the last writes failed; the file is closed, and opens with what was confirmed.
        """
        if not self._closed:
            self._closed = True
            if self._file.is_open:
                try:
                    self._complete()
                finally:
                    self._abandon()
                    self._file.close()
        return self.facts()

    def _write(self, tags: Sequence[FlvTag]) -> int:
        for count, tag in enumerate(tags):
            if self._takes_no_more or not self._take(tag):
                self._takes_no_more = True
                return count
            self._tags += 1
        if self._output is not None and self._whole_facts is None:
            self._let_go_of_first_frames(self._output)
        return len(tags)

    def _take(self, tag: FlvTag) -> bool:
        """Take a tag; False when it belongs into a new file."""
        type_id, timestamp_ms, body = tag
        if type_id not in (AUDIO, VIDEO):
            self._take_script(type_id, body)
            return True
        if type_id == VIDEO and self._audio_only:
            return True
        flags = classify(type_id, body)
        # Until a frame is let in there is no time: the first one of the file is at 0.
        time_ms = 0 if self._clock.start_ms is None else self._clock.place(timestamp_ms, flags)
        try:
            samples = self._reader.read(type_id, body, time_ms, flags)
        except MediaError:
            self._left_out += not flags & NOT_A_FRAME
            return True
        if not samples:
            return True
        if self._output is None:
            if not any(self._opening.is_change(sample.track) for sample in samples):
                self._hold(tag, flags, time_ms, samples)
                return True
            self._begin()
        return self._mux(_Frame(self._tags, type_id, body, time_ms, flags, samples))

    def _take_script(self, type_id: int, body: bytes) -> None:
        if type_id != DATA_AMF0:
            return
        if body.startswith(ON_RESUME):
            self._clock.resume()
        else:
            self._collector.add_script(body)

    def _hold(self, tag: FlvTag, flags: int, time_ms: int, samples: Sequence[Sample]) -> None:
        """Keep the samples of a tag until the tracks are known."""
        admitted = []
        for sample in samples:
            self._see(sample.track)
            if self._opening.admits(sample):
                self._opening.add(sample)
                admitted.append(sample)
            else:
                self._left_out += 1
        if admitted:
            if self._clock.start_ms is None:
                self._clock.place(tag.timestamp_ms, flags)
            self._held.append(_Frame(self._tags, tag.type_id, tag.body, time_ms, flags, admitted))
        if self._opening.is_ready(self._clock.latest_ms):
            self._begin()

    def _begin(self) -> None:
        """Open the container for the tracks that have come, and write what was held."""
        held, self._held = self._held, []
        name, options, seekable = self._layout
        self._output = Output(self._file.write_at, name, options, self._opening.tracks, seekable=seekable)
        self._file.seal()  # the first bytes of the file, which are no piece
        self._collector.set_tracks(self._output.tracks)
        for frame in held:
            self._mux(frame)
        self._opening.held.clear()

    def _mux(self, frame: _Frame) -> bool:
        """Write the samples of a tag; False when it belongs into a new file."""
        assert self._output is not None
        number, type_id, body, time_ms, flags, samples = frame
        if self._ends_from_ms is not None and self._ends_at(samples[0], flags, self._ends_from_ms):
            return False
        written = False
        for sample in samples:
            try:
                fits = self._output.mux(sample)
            except MuxError:  # for the frame before it
                self._left_out += 1
                fits = True
            if fits:
                self._progress.add(sample.track, number, time_ms)
                written = True
            elif not written and self._begins_another(sample, flags):
                return False
            else:
                self._leave_out(sample)
        if written:
            self._collector.add_media(type_id, body, time_ms, flags)
        self._confirm()
        return True

    def _begins_another(self, misfit: Sample, flags: int) -> bool:
        """Say whether a sample without a place in the container begins a new file."""
        self._see(misfit.track)
        return misfit.track.configuration is not None and self._ends_at(misfit, flags, self._least_ms(misfit.track))

    def _leave_out(self, misfit: Sample) -> None:
        self._see(misfit.track)
        self._left_out += 1
        if misfit.track.configuration is not None:
            from_ms = self._least_ms(misfit.track)
            self._ends_from_ms = from_ms if self._ends_from_ms is None else min(from_ms, self._ends_from_ms)

    def _least_ms(self, track: Track) -> int:
        return _SHORTEST_FILE_MS if self._opening.is_change(track) else 0

    def _ends_at(self, sample: Sample, flags: int, from_ms: int) -> bool:
        starts = flags & KEY_FRAME if self._has_video else sample.is_key
        return bool(starts) and self._clock.latest_ms >= from_ms

    def _see(self, track: Track) -> None:
        reason = refusal(self._format, [track.codec])
        if reason is not None:
            raise MuxError(reason)
        self._has_video = self._has_video or track.is_default_video

    def _let_go_of_first_frames(self, output: Output) -> None:
        now_ms = self._clock.latest_ms
        try:
            output.release(now_ms - _FIRST_PAUSE_MS, now_ms)
        except MuxError:
            self._left_out += 1
        self._confirm()

    def _confirm(self) -> None:
        if self._file.seal():
            self._confirmed_tags = self._progress.settled_tags(self._clock.latest_ms)
            self._whole_facts = self.facts()

    def _complete(self) -> None:
        try:
            if self._held and not self._fault:
                self._begin()
            if self._output is not None and not self._fault:
                self._output.close()
                self._file.complete()
                self._confirmed_tags = self._tags
                return
        except (OSError, MuxError):
            self._leave_pieces()
            raise
        self._leave_pieces()

    def _leave_pieces(self) -> None:
        """Leave what is whole: it opens."""
        self._abandon()
        if self._whole_facts is None:
            self._file.remove()
            self._collector = FactsCollector()
        else:
            self._final_facts = replace(self._whole_facts, size_bytes=self._file.whole)
            self._file.cut()

    def _abandon(self) -> None:
        if self._output is not None:
            self._output.abandon()
