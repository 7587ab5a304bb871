"""
HLS media playlists: values to text, and back.

Pure text, so that recordings and live outputs share it. `parse` takes exactly what `render` writes: a playlist that
somebody else made, or that was torn, is an error with its line, never a guess. Durations are whole milliseconds; who
takes them as differences of one rounded clock gets sums that do not drift. RFC 8216.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import zip_longest
from typing import Literal
from urllib.parse import quote, unquote

PlaylistType = Literal["EVENT", "VOD"]

VERSION_TS = 3
"""Fractional durations (RFC 8216 section 7)."""
VERSION_FMP4 = 7
"""EXT-X-MAP needs 6; 7 is what players of fragmented MP4 look for."""

_MAP_VERSION = 6


class PlaylistError(ValueError):
    """A text that `render` did not write; the message names the line."""


@dataclass(frozen=True, slots=True)
class Segment:
    """One media segment, and what changes with it."""

    uri: str
    """Relative to the playlist, as a file is called: escapes are the text's business."""
    duration_ms: int
    map_uri: str | None = None
    """Its initialisation section (fragmented MP4); None for MPEG-TS."""
    discontinuity: bool = False
    """Timestamps, tracks or codecs do not continue those of the segment before."""
    program_date_time: datetime | None = None
    """The wall clock at its start, with a time zone; written in UTC, cut to milliseconds."""


@dataclass(frozen=True, slots=True)
class Playlist:
    """A media playlist."""

    target_duration_s: int
    """What no segment's rounded duration may exceed; constant for the life of a playlist."""
    segments: tuple[Segment, ...] = ()
    version: int = VERSION_FMP4
    media_sequence: int = 0
    """Number of the first segment."""
    discontinuity_sequence: int = 0
    """Discontinuities before the first segment."""
    playlist_type: PlaylistType | None = None
    """EVENT only grows, VOD does not change; None is a window that moves."""
    independent_segments: bool = False
    """Every segment can be decoded without another one."""
    ended: bool = False
    """Nothing will be added."""

    def __post_init__(self) -> None:
        """Refuse what the format forbids, with a ValueError."""
        if min(self.target_duration_s, self.media_sequence, self.discontinuity_sequence) < 0:
            raise ValueError("a playlist has no negative numbers")
        map_uri: str | None = None
        for segment in self.segments:
            self._check(segment, map_uri)
            map_uri = segment.map_uri

    def _check(self, segment: Segment, map_uri: str | None) -> None:
        if not segment.uri or segment.map_uri == "":
            raise ValueError("a segment has an empty URI")
        if segment.duration_ms < 0 or round_s(segment.duration_ms) > self.target_duration_s:
            raise ValueError(f"{segment.uri} lasts {segment.duration_ms} ms; the target is {self.target_duration_s} s")
        if segment.map_uri is None and map_uri is not None:
            raise ValueError(f"{segment.uri} has no initialisation section, but a segment before it has")
        if segment.map_uri is not None and self.version < _MAP_VERSION:
            raise ValueError(f"version {self.version} has no initialisation sections")
        if segment.program_date_time is not None and segment.program_date_time.tzinfo is None:
            raise ValueError(f"{segment.uri} has a date without a time zone")


def round_s(duration_ms: int) -> int:
    """Round a duration the way that a target duration is compared with: to the nearest second, halves up."""
    return (duration_ms + 500) // 1000


def render(playlist: Playlist, rendered: str | None = None) -> str:
    """
    Write a playlist.

    Args:
        playlist: what it says.
        rendered: its segments as `render_segment` wrote them one by one, for a playlist that grows; else those in
            `playlist` are written, which takes a millisecond for a thousand.

    Returns:
        Its text, ending with a line feed; ASCII, as all URIs are percent-encoded.
    """
    segments = _joined(_body_lines(playlist)) if rendered is None else rendered
    return _joined(_head_lines(playlist)) + segments + ("#EXT-X-ENDLIST\n" if playlist.ended else "")


def render_segment(segment: Segment, map_uri: str | None) -> str:
    """
    Write one segment's lines.

    Args:
        segment: one that a playlist may have there.
        map_uri: the initialisation section of the segment before it.

    Returns:
        What `render` writes for it.
    """
    return _joined(_segment_lines(segment, map_uri))


def parse(text: str) -> Playlist:
    """
    Read a playlist that `render` wrote.

    Args:
        text: the whole file.

    Returns:
        The values it was made of.

    Raises:
        PlaylistError: it is any other text.
    """
    parser = _Parser()
    lines = text.split("\n")
    if lines.pop():
        raise PlaylistError(f"line {len(lines) + 1} has no end")
    for number, line in enumerate(lines, 1):
        try:
            parser.take(line)
        except ValueError as error:
            raise PlaylistError(f"line {number}: {error}") from None
    playlist = parser.playlist()
    # What the parser is too lenient for (order, repetition, other spellings) shows when it is written again.
    pairs = zip_longest(lines, render(playlist).split("\n")[:-1])
    wrong = next((number for number, (given, written) in enumerate(pairs, 1) if given != written), None)
    if wrong is not None:
        raise PlaylistError(f"line {wrong} is not what belongs there")
    return playlist


def _head_lines(playlist: Playlist) -> Iterator[str]:
    yield "#EXTM3U"
    yield f"#EXT-X-VERSION:{playlist.version}"
    yield f"#EXT-X-TARGETDURATION:{playlist.target_duration_s}"
    yield f"#EXT-X-MEDIA-SEQUENCE:{playlist.media_sequence}"
    if playlist.discontinuity_sequence:
        yield f"#EXT-X-DISCONTINUITY-SEQUENCE:{playlist.discontinuity_sequence}"
    if playlist.playlist_type:
        yield f"#EXT-X-PLAYLIST-TYPE:{playlist.playlist_type}"
    if playlist.independent_segments:
        yield "#EXT-X-INDEPENDENT-SEGMENTS"


def _body_lines(playlist: Playlist) -> Iterator[str]:
    map_uri: str | None = None
    for segment in playlist.segments:
        yield from _segment_lines(segment, map_uri)
        map_uri = segment.map_uri


def _segment_lines(segment: Segment, map_uri: str | None) -> Iterator[str]:
    if segment.discontinuity:
        yield "#EXT-X-DISCONTINUITY"
    if segment.map_uri is not None and segment.map_uri != map_uri:
        yield f'#EXT-X-MAP:URI="{_escape(segment.map_uri)}"'
    if segment.program_date_time is not None:
        moment = segment.program_date_time.astimezone(UTC).replace(tzinfo=None)
        yield f"#EXT-X-PROGRAM-DATE-TIME:{moment.isoformat(timespec='milliseconds')}Z"
    yield f"#EXTINF:{segment.duration_ms // 1000}.{segment.duration_ms % 1000:03d},"
    yield _escape(segment.uri)


def _joined(lines: Iterator[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _escape(uri: str) -> str:
    """File names may hold bytes that are no UTF-8, which Python shows as surrogates."""
    return quote(uri, errors="surrogateescape")


def _unescape(text: str) -> str:
    return unquote(text, errors="surrogateescape")


class _Parser:
    """Collects the values of a playlist line by line; ValueError for what it cannot read."""

    def __init__(self) -> None:
        self._head: dict[str, int] = {}
        self._type: PlaylistType | None = None
        self._independent = False
        self._ended = False
        self._segments: list[Segment] = []
        self._map_uri: str | None = None
        self._discontinuity = False
        self._date: datetime | None = None
        self._duration_ms: int | None = None

    def take(self, line: str) -> None:
        if not line.startswith("#"):
            self._add_segment(line)
            return
        name, _, value = line.partition(":")
        match name:
            case "#EXTM3U" | "#EXT-X-INDEPENDENT-SEGMENTS" | "#EXT-X-DISCONTINUITY" | "#EXT-X-ENDLIST":
                self._take_flag(name)
            case "#EXT-X-PLAYLIST-TYPE":
                self._type = _playlist_type(value)
            case "#EXT-X-MAP":
                self._map_uri = _unescape(_matched(r'URI="([^"]+)"', value)[0])
            case "#EXT-X-PROGRAM-DATE-TIME":
                self._date = datetime.fromisoformat(_matched("(.{23}Z)", value)[0])
            case "#EXTINF":
                seconds, milliseconds = _matched(r"([0-9]+)\.([0-9]{3}),", value)
                self._duration_ms = int(seconds) * 1000 + int(milliseconds)
            case _:
                self._head[name] = int(_matched("([0-9]+)", value)[0])

    def playlist(self) -> Playlist:
        try:
            return Playlist(
                target_duration_s=self._head.pop("#EXT-X-TARGETDURATION"),
                segments=tuple(self._segments),
                version=self._head.pop("#EXT-X-VERSION"),
                media_sequence=self._head.pop("#EXT-X-MEDIA-SEQUENCE"),
                discontinuity_sequence=self._head.pop("#EXT-X-DISCONTINUITY-SEQUENCE", 0),
                playlist_type=self._type,
                independent_segments=self._independent,
                ended=self._ended,
            )
        except KeyError as missing:
            raise PlaylistError(f"there is no {missing.args[0]}") from None
        except ValueError as error:
            raise PlaylistError(str(error)) from None

    def _take_flag(self, name: str) -> None:
        self._independent |= name == "#EXT-X-INDEPENDENT-SEGMENTS"
        self._discontinuity |= name == "#EXT-X-DISCONTINUITY"
        self._ended |= name == "#EXT-X-ENDLIST"

    def _add_segment(self, line: str) -> None:
        if self._duration_ms is None:
            raise ValueError("a segment without its duration")
        self._segments.append(
            Segment(_unescape(line), self._duration_ms, self._map_uri, self._discontinuity, self._date)
        )
        self._duration_ms = self._date = None
        self._discontinuity = False


def _playlist_type(value: str) -> PlaylistType:
    match value:
        case "EVENT" | "VOD":
            return value
        case _:
            raise ValueError(f"unknown playlist type {value}")


def _matched(pattern: str, value: str) -> tuple[str, ...]:
    match = re.fullmatch(pattern, value)
    if match is None:
        raise ValueError(f"cannot read {value!r}")
    return match.groups()
