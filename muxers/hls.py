"""
HLS: a playlist and a folder of segments, which can be played while they are being recorded.

HLS can go on where other files cannot: a changed configuration, another track, a publisher that was gone begin a new
run (`hls_run`) behind a discontinuity. So `write` always takes all tags. As each run makes files, it lasts a second at
least; what cannot be carried until the next one is left out and counted.

A media playlist has one rendition, so only the default tracks are carried: one of video, one of audio. RFC 8216.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from muxers import formats
from muxers.base import FileFacts, MuxError, TrackFacts
from muxers.clock import NOT_A_FRAME, FileClock
from muxers.collector import FactsCollector
from muxers.formats import SegmentType
from muxers.hls_folder import HlsFolder
from muxers.hls_repair import Recovered, recover, repair
from muxers.hls_run import Run
from muxers.marks import ON_GAP, ON_RESUME
from muxers.opening import Opening
from muxers.pieces import Piece
from muxers.samples import Sample, SampleReader
from rtmpd.errors import MediaError
from rtmpd.media.tags import classify
from rtmpd.media.timeline import JUMP_MS
from rtmpd.wire.flv import FlvTag
from rtmpd.wire.messages import AUDIO, DATA_AMF0, VIDEO

__all__ = ["HlsMuxer", "repair"]

_LONGEST_MS = 12_000
"""Of a segment, unless it is asked for longer ones: encoders send a key frame every 10 s or less."""
LONGEST_RUN_MS = 3 * 3_600_000
"""FFmpeg counts 2**31 ticks in a container: 6 hours of MPEG-TS, 3 of sound at 192 kHz."""
_CHANGE_MS = 1_000
_CHANGE_FRAMES = 20
"""What a run lasts at least before another one is granted: neither timestamps alone nor messages alone make files. A
kind of track that a run lacks is granted at once, as it comes once a run."""


class HlsMuxer:
    """Writes one HLS recording."""

    def __init__(
        self,
        path: Path,
        *,
        segment_ms: int = 2000,
        segment_type: SegmentType = "fmp4",
        started_at: datetime | None = None,
        resume: bool = False,
    ) -> None:
        """
        Prepare; `open` creates the files.

        Args:
            path: of the playlist, "NAME.m3u8"; segments go to the folder "NAME" beside it.
            segment_ms: how long a segment is at least; the next key frame ends it.
            segment_type: fragmented MP4, or MPEG-TS for players that know nothing else.
            started_at: the wall clock at the first frame, for the dates in the playlist; None for a playlist without.
            resume: go on behind what an earlier process left there, finished or not, if there is something.
        """
        longest_ms = max(_LONGEST_MS, 2 * segment_ms)
        self._path = path
        self._segment_ms = segment_ms
        self._longest_ms = longest_ms
        self._segment_type = segment_type
        self._zero = started_at
        self._resume = resume
        self._recovered: Recovered | None = None
        self._carries = formats.TRANSPORT_STREAM if segment_type == "ts" else formats.MP4
        self._folder = HlsFolder(path, is_fmp4=segment_type == "fmp4", longest_ms=longest_ms)
        self._reader = SampleReader()
        self._clock = FileClock()
        self._base_ms = 0
        self._collector = FactsCollector()
        self._track_facts: dict[str, TrackFacts] = {}
        self._opening: Opening | None = Opening()
        self._held: deque[int] = deque()
        self._run: Run | None = None
        self._state = "new"
        self._tags = 0
        self._left_out = 0
        self._is_changed = False
        self._is_added = False
        self._is_broken = False
        self._is_back = False

    @property
    def confirmed_tags(self) -> int:
        """How many of the tags handed over are in fragments or packets on the disk."""
        confirmed = self._held[0] if self._held else self._tags
        if self._run is not None and (number := self._run.first_unconfirmed) is not None:
            confirmed = min(confirmed, number)
        return confirmed

    def open(self) -> None:
        """
        Create folder and playlist, and lock the folder.

        Raises:
            FileExistsError: one of them is there, and nothing is to be resumed; nothing was touched.
            OSError: they cannot be created.
            BlockingIOError: what is to be resumed is still being written.
            MuxError: what is to be resumed has segments of the other kind.
        """
        if self._resume and self._folder.exists():
            self._folder.lock()
            try:
                self._recover()
            except BaseException:
                self._folder.unlock()
                raise
        else:
            self._folder.create()
        self._state = "open"

    def write(self, tags: Sequence[FlvTag]) -> int:
        """
        Append tags.

        Args:
            tags: in the order of the feed.

        Returns:
            Their number: HLS can go on whatever changes.

        Raises:
            MuxError: the recording is closed or broken, or HLS cannot carry the codec.
            OSError: the disk did not take it; `confirmed_tags` says what it took.
        """
        if self._state != "open":
            raise MuxError(f"{self._path.name} is not open for writing")
        try:
            for tag in tags:
                self._take(tag)
                self._tags += 1
        except (OSError, MuxError):
            self._state = "broken"
            raise
        return len(tags)

    def flush(self) -> None:
        """
        Do nothing but look: fragments and packets are written as soon as they are whole.

        Raises:
            FileNotFoundError: the folder was removed.
        """
        if self._state == "open":
            self._folder.require_present()

    def facts(self) -> FileFacts:
        """Say what the recording holds so far."""
        collector = self._collector
        facts = FileFacts(
            path=str(self._path),
            file_format="hls",
            size_bytes=self._folder.size_bytes,
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
            empty=self._folder.is_empty,
        )
        return facts if self._recovered is None else self._recovered.with_more(facts)

    def close(self) -> FileFacts:
        """
        Complete the recording; harmless when called again. One without frames is removed.

        Returns:
            What it holds.

        Raises:
            MuxError: FFmpeg cannot make a container of the last tracks; what was confirmed is there.
            OSError: the disk did not take the last changes; what was confirmed is there, for `repair` to end.
        """
        state, self._state = self._state, "closed"
        if state in ("open", "broken"):
            try:
                self._complete(is_broken=state == "broken")
            finally:
                self._folder.unlock()
        return self.facts()

    def _complete(self, *, is_broken: bool) -> None:
        try:
            if not is_broken:
                self._begin_run()
                self._end_run()
        finally:
            if self._run is not None:
                self._run.abandon()
            self._folder.finish()
            self._folder.complete()

    def _recover(self) -> None:
        self._recovered = recovered = recover(self._path)
        if recovered is None:
            self._folder.resume()
            return
        if recovered.is_fmp4 != (self._segment_type == "fmp4"):
            raise MuxError(f"{self._path.name} has segments of the other kind")
        self._folder.resume(recovered.playlist, recovered.next_segment, recovered.next_init, recovered.files_bytes)
        self._base_ms = recovered.end_ms

    def _take(self, tag: FlvTag) -> None:
        type_id, timestamp_ms, body = tag
        if type_id not in (AUDIO, VIDEO):
            if type_id == DATA_AMF0:
                self._take_script(body)
            return
        flags = classify(type_id, body)
        # Until a frame is let in there is no time: the first one of the recording is at 0.
        time_ms = 0 if self._clock.start_ms is None else self._clock.place(timestamp_ms, flags)
        try:
            samples = self._reader.read(type_id, body, self._base_ms + time_ms, flags)
        except MediaError:  # nobody can read it, so no player could
            self._left_out += not flags & NOT_A_FRAME
            return
        taken = [self._put(sample) for sample in samples]
        self._left_out += taken.count(False)
        if flags & NOT_A_FRAME or any(taken):
            self._collector.add_media(type_id, body, time_ms, flags)
        if any(taken) and self._clock.start_ms is None:
            self._clock.place(timestamp_ms, flags)

    def _take_script(self, body: bytes) -> None:
        self._collector.add_script(body)
        if self._clock.start_ms is None:  # what is missing before the first frame breaks nothing
            return
        if body.startswith(ON_RESUME):
            self._clock.resume()
            self._is_broken = self._is_back = True
        elif body.startswith(ON_GAP):
            self._is_broken = True

    def _put(self, sample: Sample) -> bool:
        """Bring a sample into the run that carries it, and say whether there is one."""
        track = sample.track
        if track.track_id or track.configuration is None:
            return False
        if track.codec not in self._carries:
            options = formats.FormatOptions(hls_segment_type=self._segment_type)
            raise MuxError(formats.refusal("hls", [track.codec], options))
        if self._opening is None and self._ends_run(sample):
            self._end_run()
            self._await_run(sample)
        if self._opening is not None:
            return self._hold(self._opening, sample)
        run = self._run
        if run is None or not run.takes(sample):
            return False
        self._store(run, run.mux(sample, self._tags))
        return True

    def _await_run(self, first: Sample) -> None:
        if self._is_back and self._zero is not None:
            self._zero = datetime.now(UTC) - timedelta(milliseconds=first.dts_ms - self._base_ms)
        self._is_back = self._is_broken = self._is_changed = self._is_added = False
        self._opening = Opening()

    def _hold(self, opening: Opening, sample: Sample) -> bool:
        """Keep a sample until it is known which tracks the next run has."""
        admitted = opening.admits(sample)
        if admitted and not opening.add(sample):
            self._begin_run()
            self._is_changed = True
            return False
        if admitted:
            self._held.append(self._tags)
        if opening.is_ready(sample.dts_ms):
            self._begin_run()
        return admitted

    def _ends_run(self, sample: Sample) -> bool:
        """Whether the next run begins with this sample."""
        run = self._run
        if run is None:
            return False
        if not run.has(sample.track):
            self._is_changed = True
            self._is_added |= not run.has_kind(sample.track.type_id)
        elif sample.dts_ms - run.latest_ms > JUMP_MS:
            self._is_broken = True
        if not _is_start(run, sample):
            return False
        # A player waits for a track that its container has, and FFmpeg keeps the last frame of one that pauses.
        is_over = run.is_silent(sample.dts_ms - JUMP_MS) or sample.dts_ms - run.start_ms > LONGEST_RUN_MS
        if not (self._is_broken or self._is_changed or is_over):
            return False
        is_long = sample.dts_ms - run.start_ms >= _CHANGE_MS and run.frames >= _CHANGE_FRAMES
        return is_long or self._is_added

    def _begin_run(self) -> None:
        opening, self._opening = self._opening, None
        if opening is None or not opening.held:
            return
        self._run = run = Run(
            self._segment_type,
            opening.tracks,
            opening.held[0].dts_ms,
            segment_ms=self._segment_ms,
            longest_ms=self._longest_ms,
        )
        self._track_facts |= {track.kind: track for track in run.track_facts}
        self._collector.set_tracks(self._track_facts.values())
        for sample in opening.held:
            self._store(run, run.mux(sample, self._held[0]))
            self._held.popleft()

    def _end_run(self) -> None:
        run = self._run
        if run is None:
            return
        self._store(run, run.close())
        self._left_out += run.refused
        self._run = None
        self._folder.finish()

    def _store(self, run: Run, pieces: Sequence[Piece]) -> None:
        for piece in pieces:
            if piece.starts_segment:
                self._begin_segment(run, piece)
            self._folder.append(piece)
            run.confirm(piece)

    def _begin_segment(self, run: Run, piece: Piece) -> None:
        self._folder.finish(piece.start_ms)
        date = None
        if piece.starts_run:
            if run.init is not None:
                self._folder.add_init(run.init)
            if self._zero is not None:
                date = self._zero + timedelta(milliseconds=piece.start_ms - self._base_ms)
        self._folder.begin(piece.start_ms, discontinuity=piece.starts_run, date=date)


def _is_start(run: Run, sample: Sample) -> bool:
    """Whether another run can begin with this sample."""
    if sample.track.type_id == VIDEO:
        return sample.is_key
    return not run.has_video or sample.dts_ms - run.lead_ms > JUMP_MS
