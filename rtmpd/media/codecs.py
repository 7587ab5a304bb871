"""
Names of codecs, and what a codec configuration tells about a track.

One name a codec, whichever way it was sent: the FourCC of Enhanced RTMP where there is one, else a plain word. Legacy
numbers: FLV 10.1 sections E.4.2.1 and E.4.3.1; FourCCs: E-RTMP v2, "Enhanced Audio" and "Enhanced Video".
"""

from __future__ import annotations

from typing import NamedTuple

LEGACY_VIDEO = {
    2: "sorenson",
    3: "screen",
    4: "vp6f",
    5: "vp6a",
    6: "screen2",
    7: "avc1",
    8: "h263",  # 8 and 9 are FFmpeg's own
    9: "mp4v",
    12: "hvc1",  # 12 to 14: the convention of Chinese services and encoders, laid out like AVC
    13: "av01",
    14: "vvc1",
}
LEGACY_AUDIO = {
    0: "lpcm",
    1: "adpcm",
    2: ".mp3",
    3: "lpcm-le",
    4: "nellymoser",
    5: "nellymoser",
    6: "nellymoser",
    7: "alaw",
    8: "mulaw",
    10: "mp4a",
    11: "speex",
    14: ".mp3",
    15: "native",
}
VIDEO_FOURCC = {name.encode(): name for name in ("vp08", "vp09", "av01", "avc1", "hvc1", "vvc1")}
AUDIO_FOURCC = {name.encode(): name for name in ("ac-3", "ec-3", "Opus", ".mp3", "fLaC", "mp4a")}

COMPOSITION_TIME = frozenset({"avc1", "hvc1", "vvc1"})
"""Codecs whose extended CodedFrames begin with a composition time; the others never reorder."""


class VideoConfiguration(NamedTuple):
    """What a video sequence header says; a size of 0 or an empty name is one that it does not say."""

    codec: str
    """The name used throughout: "avc1", "hvc1", "av01", "vp09"."""
    width: int
    """Pixels, after cropping."""
    height: int
    """Pixels, after cropping."""
    profile: str
    """For people: "High", "Main 10"."""
    level: str
    """For people: "3.1"."""
    codec_string: str
    """RFC 6381, as playlists and browsers want it."""
    nal_length_size: int = 0
    """Bytes of each NAL unit's length prefix; 0 for codecs without NAL units."""


class AudioConfiguration(NamedTuple):
    """What an audio sequence header says."""

    codec: str
    """The name used throughout: "mp4a", "Opus", "fLaC"."""
    sample_rate: int
    """Hz of the decoded sound: with SBR twice the core's rate, with Opus always 48000."""
    channels: int
    """Decoded channels, with PS 2; 0 where the header leaves it to the frames."""
    profile: str
    """For people: "LC", "HE-AAC"; empty for codecs without profiles."""
    codec_string: str
    """RFC 6381, as playlists and browsers want it."""
