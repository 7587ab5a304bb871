"""
A window as viewers see it: the playlist of each version is written and compressed once, whoever asks for it.

URIs are relative to the playlist and begin with the packaging's edition, so they need no name, no host and no prefix of
a proxy, and who has the playlist has what it lists. A packaging that begins again is another edition.
"""

from __future__ import annotations

import asyncio
import functools
import gzip
from datetime import UTC, datetime, timedelta

from muxers.live_playlist import LivePart, LivePlaylist, LiveSegment, render
from rtmpd.live.window import Segment, Window
from rtmpd.web.waiting import Waiting

FIRST_ANSWER_MS = 1_000
"""Less than this in parts is nothing to begin with."""
TARGETS_BLOCKED = 3
"""For so many target durations a request waits; then it is answered with what there is (RFC 8216bis section 6.2.5.2)."""
TARGETS_STALLED = 0.6
PARTS_STALLED = 2
"""
Sooner if nothing comes at all, for so many target durations or parts, whichever is longer.

hls.js takes a reload for lost after 0.8 target durations (or three parts), and itself for lost after three of them: a
publisher that is gone for a moment would end it. What is answered without news it asks for again at its leisure.
"""
_GZIP_LEVEL = 6


class Rendered:
    """A playlist's text."""

    def __init__(self, text: str) -> None:
        """
        Keep it.

        Args:
            text: ASCII.
        """
        self.plain = text.encode("ascii")

    @functools.cached_property
    def compressed(self) -> bytes:
        """The same by gzip."""
        return gzip.compress(self.plain, _GZIP_LEVEL, mtime=0)


class View:
    """One window, with those who wait for it to move on."""

    def __init__(self, window: Window, edition: str) -> None:
        """
        Begin to listen.

        Args:
            window: of a packaging.
            edition: of the same.
        """
        self.window = window
        self.waiting = Waiting()
        """Looks whenever the window changes."""
        self.edition = edition
        """What its URIs begin with."""
        self._version = -1
        self._has_ended = False
        self._loop = asyncio.get_running_loop()
        self._changed_s = self._loop.time()
        window.listeners.append(self._changed)

    @property
    def has_segment(self) -> bool:
        """Whether every player can begin."""
        return bool(self.window.segments)

    @property
    def has_parts(self) -> bool:
        """Whether one that knows parts can."""
        return self.window.listed_ms >= FIRST_ANSWER_MS

    def playlist(self) -> Rendered:
        """Write the playlist as it is now, if that was not done before."""
        if self._version != self.window.version:
            self._version = self.window.version
            self._rendered = Rendered(render(_playlist_of(self.window, self.edition)))
        return self._rendered

    async def wait_for_media(self, number: int, index: int | None) -> None:
        """
        Wait until the playlist has what a player asks for, or the window stalls, or it takes too long.

        Args:
            number: of a segment.
            index: of a part of it; None: all of it.
        """
        window = self.window
        ends_s = self._loop.time() + self._blocked_s
        stalled_s = max(PARTS_STALLED * window.part_ms / 1000, TARGETS_STALLED * window.target_duration_s)
        stalls_s = self._loop.time() + stalled_s
        while not self._has_ended and (left_s := min(ends_s, stalls_s) - self._loop.time()) > 0:
            if await self.waiting.until(lambda: window.has(number, index), left_s):
                return
            stalls_s = max(stalls_s, self._changed_s + stalled_s)

    async def wait_for_part(self, number: int) -> None:
        """
        Wait until a part that is hinted at has come, or will not come, or it takes too long.

        Args:
            number: of the part.
        """
        window = self.window
        if number == window.next_part_number:
            await self.waiting.until(lambda: window.next_part_number > number or window.is_broken_off, self._blocked_s)

    def end(self) -> None:
        """Let nobody wait any more, now and later: nothing comes."""
        self._has_ended = True
        self.waiting.dismiss()

    def close(self) -> None:
        """Do not listen any more; who waits goes on."""
        self.end()
        self.window.listeners.remove(self._changed)

    @property
    def _blocked_s(self) -> float:
        return TARGETS_BLOCKED * self.window.target_duration_s

    def _changed(self) -> None:
        self._changed_s = self._loop.time()
        self.waiting.look()


def init_name(number: int) -> str:
    """Make the file name of an initialisation section."""
    return f"init-{number}.m4s"


def segment_name(number: int) -> str:
    """Make the file name of a segment, by its media sequence number."""
    return f"{number}.m4s"


def part_name(number: int) -> str:
    """Make the file name of a part."""
    return f"part-{number}.m4s"


def _playlist_of(window: Window, edition: str) -> LivePlaylist:
    growing = () if window.current is None else (window.current,)
    segments = [_segment_of(each, edition) for each in (*window.segments, *growing)]
    first_number = window.next_number - len(window.segments)
    if window.gap_ms and segments:
        first_number -= 1
        segments.insert(0, _gap_before(segments[0], window.gap_ms, f"{edition}/{segment_name(first_number)}"))
    hint = None if window.is_broken_off else f"{edition}/{part_name(window.next_part_number)}"
    return LivePlaylist(
        target_duration_s=window.target_duration_s,
        media_sequence=first_number,
        discontinuity_sequence=window.discontinuity_sequence,
        segments=segments,
        part_ms=window.part_ms,
        hint_uri=hint,
    )


def _segment_of(segment: Segment, edition: str) -> LiveSegment:
    return LiveSegment(
        uri=None if segment.data is None else f"{edition}/{segment_name(segment.number)}",
        map_uri=f"{edition}/{init_name(segment.init_number)}",
        parts=[
            LivePart(f"{edition}/{part_name(part.number)}", part.duration_ms, part.is_independent)
            for part in segment.parts
        ],
        program_date_time=datetime.fromtimestamp(segment.date_s, UTC),
        is_discontinuity=segment.is_discontinuity,
    )


def _gap_before(first: LiveSegment, gap_ms: int, uri: str) -> LiveSegment:
    """Its URI is answered with 404, as those of all segments that are gone."""
    start = first.program_date_time - timedelta(milliseconds=gap_ms)
    return LiveSegment(uri, first.map_uri, (), start, gap_ms=gap_ms)
