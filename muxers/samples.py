"""
FLV tags taken apart into the samples of single tracks, for formats that store payloads instead of tags.

A track is a value: its kind, number, codec and configuration. Where the configuration changes, the samples that follow
belong to another track, and a container that was opened for the old one sees that it has no place for them; a header
that repeats what is in force changes nothing. Headers carry no time, as OBS stamps them 0 in the middle of a stream.

`SampleReader.read` runs for every frame of every recording.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from muxers.clock import NOT_A_FRAME
from rtmpd.errors import MediaError
from rtmpd.media.heads import FRAME_KEY, SEQUENCE_START
from rtmpd.media.tags import SEQUENCE_HEADER, AudioTag, VideoTag, parse_audio, parse_video
from rtmpd.wire.messages import VIDEO

HEADERLESS = frozenset(
    {".mp3", "ac-3", "ec-3"}
    | {"sorenson", "screen", "screen2", "vp6f", "vp6a", "h263"}
    | {"lpcm", "adpcm", "lpcm-le", "nellymoser", "alaw", "mulaw", "speex", "native"},
)
"""Codecs whose frames say all about them."""

_FLAC_START = bytes.fromhex("664c614300000022"), bytes.fromhex("664c614380000022")
"""Magic and header of a STREAMINFO block: Enhanced RTMP wants them, FFmpeg neither writes nor, in MP4, takes them."""
_FLAC_HEADER_BYTES = 8
_CONFIGURATION_BYTES = 64 * 1024
"""Real ones have some hundred bytes, and a stream may have 512 tracks."""


class Track(NamedTuple):
    """One track in one configuration."""

    type_id: int
    """Audio or video, as the message type."""
    track_id: int
    """0 for the default track, others by Enhanced RTMP's multitrack."""
    codec: str
    """As `rtmpd.media.tags` names it."""
    configuration: bytes | None
    """The payload of the sequence header, empty for codecs that have none; None as long as the header is missing."""

    @property
    def is_default_video(self) -> bool:
        """Whether it is the track whose key frames a file starts at."""
        return self.type_id == VIDEO and not self.track_id

    def header_body(self) -> bytes:
        """Make a sequence header of Enhanced RTMP for it; only for codecs that have a FourCC."""
        return bytes([0x90]) + self.codec.encode() + (self.configuration or b"")

    def frame_body(self, payload: bytes) -> bytes:
        """Make a key frame of Enhanced RTMP for it, without a composition time."""
        return bytes([0x93 if self.type_id == VIDEO else 0x91]) + self.codec.encode() + payload


class Sample(NamedTuple):
    """What a container stores for one frame of one track."""

    track: Track
    payload: bytes
    dts_ms: int
    """In the time of whoever placed the tag."""
    composition_ms: int
    """Presentation time minus `dts_ms`; may be negative."""
    is_key: bool
    """A picture that decoding can start at; every audio frame."""


class SampleReader:
    """Takes the audio and video tags of one stream apart."""

    __slots__ = ("_tracks",)

    def __init__(self) -> None:
        """Start without tracks."""
        self._tracks: dict[int, Track] = {}

    @property
    def tracks(self) -> tuple[Track, ...]:
        """The tracks that have a header in force, or have had a frame of a codec that needs none."""
        return tuple(self._tracks.values())

    def read(self, type_id: int, body: bytes, dts_ms: int, flags: int) -> Sequence[Sample]:
        """
        Read one tag.

        Args:
            type_id: audio or video.
            body: the tag's body.
            dts_ms: its time in the file.
            flags: of the tag, from `tags.classify`.

        Returns:
            Its samples: none for headers and what carries nothing, several for a body of many tracks.

        Raises:
            MediaError: the body cannot be read; nothing has changed.
        """
        if flags & NOT_A_FRAME:
            if flags & SEQUENCE_HEADER:
                self._configure(type_id, body)
            return ()
        tag: VideoTag | AudioTag
        if type_id == VIDEO:
            tag = parse_video(body)
            composition_ms, is_key = tag.composition_time_ms, tag.frame_type == FRAME_KEY
        else:
            tag = parse_audio(body)
            composition_ms, is_key = 0, True
        if tag.tracks:
            return [
                Sample(
                    self._track(type_id, part.track_id, part.codec),
                    body[part.data_offset : part.data_end],
                    dts_ms,
                    part.composition_time_ms,
                    is_key,
                )
                for part in tag.tracks
                if part.data_end > part.data_offset
            ]
        payload = body[tag.data_offset :]
        if not payload:
            return ()
        return (Sample(self._track(type_id, 0, tag.codec), payload, dts_ms, composition_ms, is_key),)

    def _track(self, type_id: int, track_id: int, codec: str) -> Track:
        track = self._tracks.get(type_id << 8 | track_id)
        if track is not None and track.codec == codec:
            return track
        if codec not in HEADERLESS:
            return Track(type_id, track_id, codec, None)
        return self._set(Track(type_id, track_id, codec, b""))

    def _configure(self, type_id: int, body: bytes) -> None:
        tag = parse_video(body) if type_id == VIDEO else parse_audio(body)
        if tag.packet_type != SEQUENCE_START:  # colours and channel layouts are in the frames, too
            return
        for part in tag.tracks:
            self._configure_track(type_id, part.track_id, part.codec, body[part.data_offset : part.data_end])
        if not tag.tracks:
            self._configure_track(type_id, 0, tag.codec, body[tag.data_offset :])

    def _configure_track(self, type_id: int, track_id: int, codec: str, configuration: bytes) -> None:
        if codec in HEADERLESS:
            configuration = b""
        elif not configuration:
            return
        elif codec == "fLaC" and configuration.startswith(_FLAC_START):
            configuration = configuration[_FLAC_HEADER_BYTES : _FLAC_HEADER_BYTES + 34]
        elif len(configuration) > _CONFIGURATION_BYTES:
            raise MediaError(f"a configuration of {codec} with {len(configuration)} bytes")
        self._set(Track(type_id, track_id, codec, configuration))

    def _set(self, track: Track) -> Track:
        slot = track.type_id << 8 | track.track_id
        known = self._tracks.get(slot)
        if known == track:
            return known  # one object for one track keeps the look-ups of every frame cheap
        self._tracks[slot] = track
        return track
