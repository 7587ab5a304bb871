"""
HLS media playlists of live streams, with parts for players that know low-latency HLS: values to text.

Others read the same text and skip the lines that they do not know. RFC 8216; its second edition
(draft-pantos-hls-rfc8216bis) for parts, blocking reloads and hints. Delta updates are left out: they may skip only what is
six target durations from the end, and a list of that length is hardly longer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from muxers.playlist import VERSION_FMP4

PARTS_HELD_BACK = 3
"""Least distance from the end for players of parts, in part targets (RFC 8216bis section 4.4.3.8)."""
LEAST_HELD_BACK_MS = 1_000
"""Closer to the end players stall whenever a packet is lost."""
TARGETS_HELD_BACK = 3
"""Distance from the end for the others, in target durations; what they would take it for."""
TARGETS_WITH_PARTS = 3
"""Parts are listed so far from the end, in target durations (RFC 8216bis section 4.4.4.9)."""


@dataclass(frozen=True, slots=True)
class LivePart:
    """A part of a segment."""

    uri: str
    """Relative to the playlist, of characters that a URI may have."""
    duration_ms: int
    is_independent: bool = False
    """It can be decoded without the part before it."""


@dataclass(frozen=True, slots=True)
class LiveSegment:
    """A segment, whole or growing."""

    uri: str | None
    """As of parts; None while it grows."""
    map_uri: str
    """Of its initialisation section."""
    parts: Sequence[LivePart]
    """All of them; which are listed is decided here."""
    program_date_time: datetime
    """The wall clock at its start, with a time zone; written in UTC, cut to milliseconds."""
    is_discontinuity: bool = False
    gap_ms: int = 0
    """
    Instead of parts: it is not to be had, and has lasted so long.

    Interop: its initialisation section is not listed. hls.js 1.7.4 would load it, be told that there is a gap, and wait for
    ever for what comes next, if it begins with it.
    """

    @property
    def duration_ms(self) -> int:
        """Sum of its parts, or of what is missing."""
        return self.gap_ms + sum(part.duration_ms for part in self.parts)

    @property
    def is_independent(self) -> bool:
        """It can be decoded without the segment before it."""
        return self.gap_ms > 0 or (bool(self.parts) and self.parts[0].is_independent)


@dataclass(frozen=True, slots=True)
class LivePlaylist:
    """A playlist that moves on."""

    target_duration_s: int
    media_sequence: int
    """Number of the first segment."""
    discontinuity_sequence: int
    """Discontinuities before the first segment."""
    segments: Sequence[LiveSegment]
    """Only the last may be growing."""
    part_ms: int
    """How long parts usually are; longer ones count where they are listed."""
    hint_uri: str | None = None
    """Of the next part, which can be asked for before it is there; None where only a discontinuity can follow."""


def render(playlist: LivePlaylist) -> str:
    """
    Write a playlist.

    Args:
        playlist: what it says.

    Returns:
        Its text, ASCII, ending with a line feed.
    """
    first = _first_with_parts(playlist)
    lines = [*_head_lines(playlist, first)]
    map_uri: str | None = None
    for index, segment in enumerate(playlist.segments):
        lines += _segment_lines(segment, map_uri, with_parts=index >= first)
        map_uri = segment.map_uri
    if playlist.hint_uri is not None:
        lines.append(f'#EXT-X-PRELOAD-HINT:TYPE=PART,URI="{playlist.hint_uri}"')
    elif playlist.segments:
        # Now, not with the segment: hls.js counts the one that it expects, and ends where the count changes later.
        lines.append("#EXT-X-DISCONTINUITY")
    return "".join(f"{line}\n" for line in lines)


def _first_with_parts(playlist: LivePlaylist) -> int:
    """Index of the first segment whose parts are listed: it ends less than so many target durations from the end."""
    left_ms = TARGETS_WITH_PARTS * playlist.target_duration_s * 1000
    index = len(playlist.segments)
    while index > 0 and left_ms > 0:
        index -= 1
        left_ms -= playlist.segments[index].duration_ms
    return index


def _head_lines(playlist: LivePlaylist, first_with_parts: int) -> Iterator[str]:
    listed = (part.duration_ms for segment in playlist.segments[first_with_parts:] for part in segment.parts)
    part_target_ms = max(playlist.part_ms, *listed, 0)
    part_hold_back_ms = max(PARTS_HELD_BACK * part_target_ms, LEAST_HELD_BACK_MS)
    hold_back_s = TARGETS_HELD_BACK * playlist.target_duration_s
    yield "#EXTM3U"
    yield f"#EXT-X-VERSION:{VERSION_FMP4}"
    yield f"#EXT-X-TARGETDURATION:{playlist.target_duration_s}"
    yield (
        f"#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK={_seconds(part_hold_back_ms)},"
        f"HOLD-BACK={_seconds(hold_back_s * 1000)}"
    )
    yield f"#EXT-X-PART-INF:PART-TARGET={_seconds(part_target_ms)}"
    yield f"#EXT-X-MEDIA-SEQUENCE:{playlist.media_sequence}"
    yield f"#EXT-X-DISCONTINUITY-SEQUENCE:{playlist.discontinuity_sequence}"
    if all(segment.is_independent for segment in playlist.segments):
        yield "#EXT-X-INDEPENDENT-SEGMENTS"


def _segment_lines(segment: LiveSegment, map_uri: str | None, *, with_parts: bool) -> Iterator[str]:
    if segment.is_discontinuity:
        yield "#EXT-X-DISCONTINUITY"
    if segment.gap_ms:
        yield "#EXT-X-GAP"
    elif segment.map_uri != map_uri or segment.is_discontinuity:
        yield f'#EXT-X-MAP:URI="{segment.map_uri}"'
    moment = segment.program_date_time.astimezone(UTC).replace(tzinfo=None)
    yield f"#EXT-X-PROGRAM-DATE-TIME:{moment.isoformat(timespec='milliseconds')}Z"
    if with_parts:
        for part in segment.parts:
            independent = ",INDEPENDENT=YES" if part.is_independent else ""
            yield f'#EXT-X-PART:DURATION={_seconds(part.duration_ms)},URI="{part.uri}"{independent}'
    if segment.uri is not None:
        yield f"#EXTINF:{_seconds(segment.duration_ms)},"
        yield segment.uri


def _seconds(duration_ms: int) -> str:
    return f"{duration_ms // 1000}.{duration_ms % 1000:03d}"
