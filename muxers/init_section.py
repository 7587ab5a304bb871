"""
Initialisation sections of fragmented MP4, as FFmpeg writes them: codec boxes are not our business.

Frames do not pass through FFmpeg: see `moof`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from muxers._pyav import Output
from muxers.base import MuxError
from muxers.codec_strings import codec_strings
from muxers.fragments import FragmentSplitter, read_tracks
from muxers.samples import Sample, Track
from rtmpd.wire.messages import VIDEO

_OPTIONS = {
    "movflags": "frag_keyframe+empty_moov+default_base_moof+frag_discont+skip_trailer",
    "use_editlist": "0",
    "flush_packets": "1",
}
_NEEDS_FRAMES = frozenset({"ac-3", "ec-3"})
"""Codecs whose boxes FFmpeg makes of a frame."""
_LATE_OPTIONS = {**_OPTIONS, "movflags": f"{_OPTIONS['movflags']}+delay_moov"}


class TrackPlace(NamedTuple):
    """Where a track is in the container."""

    track_id: int
    timescale: int
    """Units a second of its times."""


class InitSection(NamedTuple):
    """What fragments are decoded with."""

    data: bytes
    """`ftyp` and `moov`."""
    codecs: str
    """As RFC 6381 writes them, joined by commas."""
    places: Mapping[Track, TrackPlace]

    @property
    def has_video(self) -> bool:
        """Whether one of its tracks is pictures."""
        return any(track.type_id == VIDEO for track in self.places)


def make_init_section(tracks: Mapping[Track, bytes]) -> InitSection:
    """
    Have FFmpeg write the initialisation section of some tracks.

    Args:
        tracks: each with its first payload.

    Returns:
        The section; its tracks are numbered in the order given.

    Raises:
        MuxError: FFmpeg makes nothing of a track.
    """
    splitter = FragmentSplitter()
    is_late = any(track.codec in _NEEDS_FRAMES for track in tracks)
    try:
        output = Output(
            lambda _offset, data: splitter.feed(data),
            "mp4",
            _LATE_OPTIONS if is_late else _OPTIONS,
            tracks,
            seekable=False,
        )
        if is_late:
            for track, payload in tracks.items():
                output.mux(Sample(track, payload, 0, 0, is_key=True))
            output.close()
        output.abandon()
        data = splitter.init
        if data is None:
            raise MuxError("FFmpeg writes no initialisation section")
        heads = read_tracks(data)
    except OSError as error:  # FFmpeg's numbers are the system's: nothing is written to a disk here
        raise MuxError(f"FFmpeg refuses: {error.strerror}") from error
    places = {
        track: TrackPlace(track_id, head.timescale)
        for track, (track_id, head) in zip(tracks, heads.items(), strict=True)
    }
    return InitSection(data, codec_strings(tracks), places)
