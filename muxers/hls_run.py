"""
One container of an HLS recording, from its opening to its end, cut into segments.

A run lasts as long as tracks and configurations do not change and nothing is missing: what follows a discontinuity is
another run. FFmpeg writes the container; `fragments` or `transport_stream` takes its bytes apart again.

Segments begin with key frames, at the first one that is due. Where none comes for long, a segment begins without one,
as its length is promised to players. Each has some frames at least: timestamps cost nothing, and who lies about them
would have every frame made a file.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence

from muxers._pyav import Output
from muxers.base import MuxError, TrackFacts
from muxers.formats import SegmentType
from muxers.fragments import FragmentSplitter
from muxers.pieces import Cut, Piece, Splitter
from muxers.samples import Sample, Track
from muxers.transport_stream import TransportSplitter
from rtmpd.wire.messages import VIDEO

FRAGMENT_MS = 500
FEWEST_FRAMES = 10
"""Of a segment, and twice as many of a run."""

_OPTIONS = {
    "flush_packets": "1",
    # Never hold the packets of one track back for another one's; it is in microseconds, and 0 would mean for ever.
    "max_interleave_delta": "1",
    "avoid_negative_ts": "disabled",
}
# frag_discont without edit lists: the times in the fragments are those of the frames. Without it each track is moved to
# 0, so tracks that do not start together lose their sync, and so does every run but the first.
_MOVFLAGS = "frag_keyframe+empty_moov+default_base_moof+frag_discont+skip_trailer"
_FMP4 = {**_OPTIONS, "movflags": _MOVFLAGS, "use_editlist": "0", "frag_duration": str(FRAGMENT_MS * 1000)}
_NEEDS_FRAMES = frozenset({"ac-3", "ec-3"})
"""Codecs of which FFmpeg writes no header before it has seen a frame."""
_FMP4_LATE = {**_FMP4, "movflags": f"{_MOVFLAGS}+delay_moov"}
_TS = {**_OPTIONS, "mpegts_flags": "initial_discontinuity", "pes_payload_size": "0"}


class Run:
    """Writes one container."""

    def __init__(
        self,
        segment_type: SegmentType,
        tracks: Mapping[Track, bytes],
        start_ms: int,
        *,
        segment_ms: int,
        longest_ms: int,
    ) -> None:
        """
        Open the container.

        Args:
            segment_type: what the segments are.
            tracks: at most one of each kind, with the first payload where there is one.
            start_ms: decoding time of the first frame.
            segment_ms: from when on a key frame begins the next segment.
            longest_ms: from when on any frame does.

        Raises:
            MuxError: FFmpeg cannot make the container of these tracks.
        """
        self.start_ms = start_ms
        self.latest_ms = start_ms
        """The newest decoding time."""
        self.lead_ms = start_ms - 1
        """The newest of the track whose key frames begin segments: of video, if there is one."""
        self.frames = 0
        self.refused = 0
        """Frames that FFmpeg did not take."""
        self._segment_ms = segment_ms
        self._longest_ms = longest_ms
        self._indices = {track: index for index, track in enumerate(tracks)}
        self._kinds = {track.type_id: index for track, index in self._indices.items()}
        self._lead = self._kinds.get(VIDEO, 0)
        self._begun: set[Track] = set()
        self._waiting: tuple[deque[tuple[int, int]], ...] = tuple(deque() for _ in tracks)
        self._latest_ms = [start_ms - 1] * len(tracks)
        self._cut_ms = start_ms
        self._cut_frames = 0
        self._written = bytearray()
        self._splitter: Splitter
        if segment_type == "ts":
            self._splitter = TransportSplitter(start_ms)
            self._output = Output(self._write, "mpegts", _TS, tracks, seekable=False)
        else:
            is_late = any(track.codec in _NEEDS_FRAMES for track in tracks)
            self._splitter = FragmentSplitter()
            self._output = Output(self._write, "mp4", _FMP4_LATE if is_late else _FMP4, tracks, seekable=False)

    @property
    def init(self) -> bytes | None:
        """The initialisation section, once there is a piece; None for MPEG-TS."""
        return self._splitter.init

    @property
    def track_facts(self) -> tuple[TrackFacts, ...]:
        """Its tracks, with what FFmpeg found out about them."""
        return self._output.tracks

    @property
    def has_video(self) -> bool:
        """Whether one of its tracks is video."""
        return self.has_kind(VIDEO)

    @property
    def first_unconfirmed(self) -> int | None:
        """Number of the first tag with a frame that is in no piece seen by `confirm`."""
        return min((waiting[0][1] for waiting in self._waiting if waiting), default=None)

    def has(self, track: Track) -> bool:
        """Whether it has a track, in this configuration."""
        return track in self._indices

    def has_kind(self, type_id: int) -> bool:
        """Whether it has a track of audio, or of video."""
        return type_id in self._kinds

    def is_silent(self, since_ms: int) -> bool:
        """Whether a track has had no frame since then."""
        return min(self._latest_ms) < since_ms

    def takes(self, sample: Sample) -> bool:
        """Whether it can carry a sample: of a track it has, which for video begins with a key frame."""
        return sample.track in self._begun or (sample.track in self._indices and sample.is_key)

    def mux(self, sample: Sample, number: int) -> Sequence[Piece]:
        """
        Append a sample.

        Args:
            sample: one that it takes.
            number: of the tag that it came in.

        Returns:
            What became whole.
        """
        index = self._indices[sample.track]
        self._begun.add(sample.track)
        self.frames += 1
        self._plan(sample, index)
        if sample.dts_ms > self._latest_ms[index]:
            self._latest_ms[index] = sample.dts_ms
            self.latest_ms = max(self.latest_ms, sample.dts_ms)
            if index == self._lead:
                self.lead_ms = sample.dts_ms
        waiting = self._waiting[index]
        # What goes back in time is moved behind the sample before it.
        waiting.append((max(sample.dts_ms, waiting[-1][0]) if waiting else sample.dts_ms, number))
        try:
            self.refused += not self._output.mux(sample)
        except MuxError:  # one frame that is broken costs itself
            self.refused += 1
        return self._take()

    def confirm(self, piece: Piece) -> None:
        """Note that a piece is where it cannot get lost."""
        for index, part in piece.parts.items():
            waiting = self._waiting[index]
            # Not at the same time: several frames of one millisecond may be in several pieces.
            while waiting and waiting[0][0] < part.last_ms:
                waiting.popleft()

    def close(self) -> Sequence[Piece]:
        """
        End the container.

        Returns:
            What was left.

        Raises:
            MuxError: FFmpeg could not end it.
        """
        self._output.close()
        return self._take()

    def abandon(self) -> None:
        """Free the container."""
        self._output.abandon()

    def _plan(self, sample: Sample, index: int) -> None:
        length_ms = sample.dts_ms - self._cut_ms
        self._cut_frames += 1
        if self._cut_frames <= FEWEST_FRAMES:
            return
        if length_ms >= self._longest_ms:
            self._splitter.plan(Cut(sample.dts_ms, None))
        elif length_ms >= self._segment_ms and index == self._lead and sample.is_key:
            # A presentation before the decoding moves the decoding, and what does not rise is moved behind what was.
            time_ms = sample.dts_ms + min(sample.composition_ms, 0)
            if time_ms <= self.lead_ms:
                return
            self._splitter.plan(Cut(time_ms, index))
        else:
            return
        self._cut_ms = sample.dts_ms
        self._cut_frames = 1

    def _write(self, _offset: int, data: bytes) -> None:
        self._written += data

    def _take(self) -> Sequence[Piece]:
        if not self._written:
            return ()
        data = bytes(self._written)
        self._written.clear()
        return self._splitter.feed(data)
