"""
A window as viewers see it: the playlist of each version is written and compressed once, whoever asks for it.

URIs are relative to the playlist and begin with the packaging's edition, so they need no name, no host and no prefix of
a proxy, and who has the playlist has what it lists. A packaging that begins again is another edition.
"""

from __future__ import annotations

import functools
import gzip
from datetime import UTC, datetime

from muxers.live_playlist import LivePart, LivePlaylist, LiveSegment, render
from rtmpd.live.window import Segment, Window
from rtmpd.web.waiting import Waiting

FIRST_ANSWER_MS = 1_000
"""Less media than this is nothing to begin with, unless it is a whole segment."""
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
        window.listeners.append(self.waiting.look)

    @property
    def has_enough(self) -> bool:
        """Whether a player can begin."""
        return bool(self.window.segments) or self.window.listed_ms >= FIRST_ANSWER_MS

    def playlist(self) -> Rendered:
        """Write the playlist as it is now, if that was not done before."""
        if self._version != self.window.version:
            self._version = self.window.version
            self._rendered = Rendered(render(_playlist_of(self.window, self.edition)))
        return self._rendered

    def close(self) -> None:
        """Do not listen any more; who waits goes on."""
        self.window.listeners.remove(self.waiting.look)
        self.waiting.dismiss()


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
    hint = None if window.is_broken_off else f"{edition}/{part_name(window.next_part_number)}"
    return LivePlaylist(
        target_duration_s=window.target_duration_s,
        media_sequence=window.next_number - len(window.segments),
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
