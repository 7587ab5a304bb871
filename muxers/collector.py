"""Collects the facts of a file from the tags that were really written to it; every muxer has one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from muxers.base import TrackFacts
from muxers.clock import NOT_A_FRAME
from muxers.marks import ON_GAP, read_gap_ms
from rtmpd.errors import MediaError
from rtmpd.media.configurations import VideoConfiguration, describe_header
from rtmpd.media.heads import MAX_TRACKS
from rtmpd.media.tags import KEY_FRAME, SEQUENCE_HEADER, header_slot, parse_audio, parse_video
from rtmpd.wire.messages import AUDIO, VIDEO

_KINDS = {AUDIO: "audio", VIDEO: "video"}
_LONGEST_FRAME_MS = 1_000
_DESCRIPTIONS = 256
"""Headers that are read for one file: reading one may take a millisecond."""


class _Kind:
    """The frames of all audio, or of all video tracks."""

    __slots__ = ("end_ms", "frames", "last_ms", "step_ms")

    def __init__(self) -> None:
        self.frames = 0
        self.last_ms = 0
        self.step_ms = 0
        self.end_ms = 0


class FactsCollector:
    """Counts frames and remembers tracks, key frames and gaps."""

    def __init__(self) -> None:
        """Start with an empty file."""
        self._kinds = {AUDIO: _Kind(), VIDEO: _Kind()}
        self._tracks: dict[tuple[int, int], TrackFacts] = {}
        self._described: set[int] = set()
        self.key_frames = 0
        self.last_key_frame_ms = 0
        self.gaps = 0
        self.gap_ms = 0

    @property
    def audio_frames(self) -> int:
        """Audio frames so far."""
        return self._kinds[AUDIO].frames

    @property
    def video_frames(self) -> int:
        """Video frames so far."""
        return self._kinds[VIDEO].frames

    @property
    def duration_ms(self) -> int:
        """The end of the last frame, which is taken to be as long as the one before it."""
        return max(kind.end_ms for kind in self._kinds.values())

    @property
    def tracks(self) -> tuple[TrackFacts, ...]:
        """The tracks of the kinds that had frames, video first."""
        seen = {type_id for type_id, kind in self._kinds.items() if kind.frames}
        return tuple(track for (type_id, _), track in sorted(self._tracks.items(), reverse=True) if type_id in seen)

    def set_tracks(self, tracks: Iterable[TrackFacts]) -> None:
        """
        Name the tracks where the format has settled them: headers and first frames are not asked any more.

        Args:
            tracks: all of the file's.
        """
        type_ids = {kind: type_id for type_id, kind in _KINDS.items()}
        self._tracks = {(type_ids[track.kind], track.track_id): track for track in tracks}

    def add_media(self, type_id: int, body: bytes, time_ms: int, flags: int) -> None:
        """
        Count an audio or video tag.

        Args:
            type_id: audio or video.
            body: the tag's body.
            time_ms: its time in the file.
            flags: from `tags.classify`.
        """
        if flags & SEQUENCE_HEADER:
            self._describe(type_id, body)
        if flags & NOT_A_FRAME:
            return
        kind = self._kinds[type_id]
        kind.frames += 1
        if kind.frames == 1:
            self._name(type_id, body)
        step_ms = time_ms - kind.last_ms
        if 0 < step_ms <= _LONGEST_FRAME_MS:
            kind.step_ms = step_ms
        kind.last_ms = time_ms
        kind.end_ms = max(kind.end_ms, time_ms + kind.step_ms)
        if flags & KEY_FRAME:
            self.key_frames += 1
            self.last_key_frame_ms = time_ms

    def add_script(self, body: bytes) -> None:
        """Count a script tag: only gaps are facts."""
        if not body.startswith(ON_GAP):
            return
        self.gaps += 1
        self.gap_ms += read_gap_ms(body)

    def _describe(self, type_id: int, body: bytes) -> None:
        """Take a sequence header's word for the track it belongs to; a later one corrects it."""
        # Encoders repeat their headers with each key frame, and a hostile one sends a new one each time.
        if hash(body) in self._described or len(self._described) >= _DESCRIPTIONS:
            return
        self._described.add(hash(body))
        try:
            configuration = describe_header(type_id, body)
        except MediaError:
            return
        if configuration is None:
            return
        slot = (type_id, header_slot(type_id, body)[1] % MAX_TRACKS)
        track = TrackFacts(_KINDS[type_id], slot[1], configuration.codec)
        if isinstance(configuration, VideoConfiguration):
            track = replace(track, width=configuration.width, height=configuration.height)
        else:
            track = replace(track, sample_rate=configuration.sample_rate, channels=configuration.channels)
        self._tracks[slot] = track

    def _name(self, type_id: int, body: bytes) -> None:
        """Name the default track by its first frame where no header did: MP3 and old codecs have none."""
        if any(slot[0] == type_id for slot in self._tracks):
            return
        track = TrackFacts(_KINDS[type_id], 0, "")
        try:
            if type_id == VIDEO:
                track = replace(track, codec=parse_video(body).codec)
            else:
                tag = parse_audio(body)
                track = replace(track, codec=tag.codec, sample_rate=tag.sample_rate, channels=tag.channels)
        except MediaError:
            pass
        self._tracks[type_id, 0] = track
