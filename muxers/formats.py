"""
The formats of recordings: what each can carry, and who writes it.

Muxers that need PyAV are imported when one of them is made: whoever writes FLV only never loads FFmpeg.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Literal, TypeAlias

from muxers.base import Muxer
from muxers.flv import FlvMuxer
from muxers.mp3 import Mp3Muxer

SegmentType: TypeAlias = Literal["fmp4", "ts"]
"""What HLS segments are: fragmented MP4, or MPEG-TS for players that know nothing else."""

_SOUND = frozenset({"mp4a", ".mp3", "Opus", "fLaC", "ac-3", "ec-3"})
_PICTURES = frozenset({"avc1", "hvc1", "av01", "vp09"})
_VIDEO = frozenset(
    {"avc1", "hvc1", "av01", "vp08", "vp09", "vvc1", "mp4v", "h263"} | {"sorenson", "screen", "screen2", "vp6f", "vp6a"}
)


@dataclass(frozen=True, slots=True)
class FormatOptions:
    """What a recording may choose about its formats."""

    hls_segment_ms: int = 2_000
    """A segment ends at the first key frame after so many milliseconds."""
    hls_segment_type: SegmentType = "fmp4"
    started_at: datetime | None = None
    """The wall clock at the first frame, for the dates in HLS playlists; None for playlists without."""
    resume: bool = False
    """Go on in what an earlier muxer left under the same path; only HLS can, and others refuse a name that is taken."""


@dataclass(frozen=True, slots=True)
class Format:
    """One format."""

    name: str
    """As requests and file facts name it."""
    suffix: str
    """Of its files' names, without a dot."""
    title: str
    """As messages name it."""
    carries: frozenset[str] | None
    """Codecs, as `rtmpd.media.tags` names them; None for all."""
    audio_only: bool
    """It leaves pictures out by design, so that they are no reason to refuse it."""
    make: Callable[[Path, FormatOptions], Muxer]
    """Make the muxer of one output; nothing is created before its `open`."""


def refusal(file_format: str, codecs: Iterable[str], options: FormatOptions | None = None) -> str | None:
    """
    Say whether a format can hold a stream, before anything is written.

    Args:
        file_format: a key of `FORMATS`, or any other name.
        codecs: of the stream's tracks; empty names are unknown codecs.
        options: of the recording; the defaults where None.

    Returns:
        One line that names the format and what it cannot carry; None when it can.
    """
    known = FORMATS.get(file_format)
    if known is None:
        return f"no muxer writes {file_format}"
    title, carries = known.title, known.carries
    if file_format == "hls" and options is not None and options.hls_segment_type == "ts":
        title, carries = "HLS in MPEG-TS", TRANSPORT_STREAM
    if carries is None:
        return None
    odd = sorted({codec for codec in codecs if codec not in carries and not (known.audio_only and codec in _VIDEO)})
    return f"{title} cannot carry {' and '.join(codec or 'an unknown codec' for codec in odd)}" if odd else None


def _make_flv(path: Path, _options: FormatOptions) -> Muxer:
    return FlvMuxer(path)


def _make_mp3(path: Path, _options: FormatOptions) -> Muxer:
    return Mp3Muxer(path)


def _make_mp4(path: Path, _options: FormatOptions) -> Muxer:
    from muxers.mp4 import Mp4Muxer  # noqa: PLC0415 - PyAV

    return Mp4Muxer(path)


def _make_m4a(path: Path, _options: FormatOptions) -> Muxer:
    from muxers.mp4 import Mp4Muxer  # noqa: PLC0415 - PyAV

    return Mp4Muxer(path, audio_only=True)


def _make_ts(path: Path, _options: FormatOptions) -> Muxer:
    from muxers.ts import TsMuxer  # noqa: PLC0415 - PyAV

    return TsMuxer(path)


def _make_hls(path: Path, options: FormatOptions) -> Muxer:
    from muxers.hls import HlsMuxer  # noqa: PLC0415 - PyAV

    return HlsMuxer(
        path,
        segment_ms=options.hls_segment_ms,
        segment_type=options.hls_segment_type,
        started_at=options.started_at,
        resume=options.resume,
    )


MP4 = _PICTURES | _SOUND
"""FFmpeg's FLV reader, through which its MP4 muxer learns of codecs, knows no VP8."""
TRANSPORT_STREAM = frozenset({"avc1", "hvc1", "mp4a", ".mp3", "ac-3", "ec-3"})
"""RFC 8216 and HLS authoring: Opus, FLAC, AV1 and VP9 travel in fragmented MP4 only."""

FORMATS: Mapping[str, Format] = MappingProxyType(
    {
        each.name: each
        for each in (
            Format("flv", "flv", "FLV", None, audio_only=False, make=_make_flv),
            Format("mp4", "mp4", "MP4", MP4, audio_only=False, make=_make_mp4),
            Format("m4a", "m4a", "M4A", _SOUND, audio_only=True, make=_make_m4a),
            Format("mp3", "mp3", "MP3", frozenset({".mp3"}), audio_only=True, make=_make_mp3),
            Format("hls", "m3u8", "HLS", MP4, audio_only=False, make=_make_hls),
            Format("ts", "ts", "MPEG-TS", TRANSPORT_STREAM, audio_only=False, make=_make_ts),
        )
    }
)
"""Every format by its name."""
