"""
Where live playlists end, over restarts, so that whatever is packaged next goes on there (RFC 8216 section 6.2.2).

Interop: hls.js 1.7.4 stays on a page over a restart, and stands still for ever if the new playlist has nothing to do with
what it knows: if it was gone for longer than the playlist lasts, it looks for a segment of the discontinuity that it was
in. So what a server begins with lists the last segment of the server before it, as a gap (`EXT-X-GAP`, RFC 8216bis section
4.4.4.7): who has it goes on behind it, and who has not is told that it is gone. Without it one player in ten stood still
that had not been given that segment, and all but those of parts after a kill.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple, Self

from rtmpd.live.window import Window
from rtmpd.logs import Logger
from rtmpd.store.playlists import KEPT_S, PlaylistBook, PlaylistRow


class Beginning(NamedTuple):
    """What the first segment of a playlist is numbered with."""

    number: int
    """Media sequence number."""
    discontinuity_sequence: int
    is_behind_gap: bool
    """The segment before it is to be listed, as one that is not to be had, with the discontinuity sequence number before."""


class PlaylistEnds:
    """The ends of all playlists of the last day."""

    def __init__(
        self, rows: Sequence[PlaylistRow], write: Callable[[PlaylistRow], asyncio.Future[None]], log: Logger
    ) -> None:
        """
        Go on with what is known.

        Args:
            rows: the oldest first.
            write: stores one, as `PlaylistBook.write`.
            log: is told of one that cannot be stored.
        """
        self._rows = {(row.app, row.stream): row for row in rows}
        self._inherited = set(self._rows)
        """Streams that nothing was packaged of since the server before this one."""
        self._write = write
        self._log = log

    @classmethod
    async def load(cls, book: PlaylistBook, log: Logger) -> Self:
        """
        Go on where the server before this one ended.

        Args:
            book: of a database.
            log: is told of ends that cannot be stored.

        Raises:
            StoreError: the book cannot be read.
        """
        return cls(await book.read(), book.write, log)

    def following(self, app: str, name: str, now: float) -> Beginning:
        """
        Say what a playlist begins with.

        A playlist that was cut off, so that nobody knows how far it came, goes on at the unix time: no segment is shorter
        than a second. Discontinuities have no such leap: hls.js has an array as long as their number.

        Args:
            app: of the stream.
            name: of the stream.
            now: unix seconds.

        Returns:
            What the first segment is numbered with.
        """
        row = self._rows.get((app, name))
        if row is None:
            return Beginning(int(now), 0, is_behind_gap=False)
        is_inherited = (app, name) in self._inherited
        if row.next_number is None:
            return Beginning(int(now) + 1, row.discontinuities + 1, is_behind_gap=is_inherited)
        return Beginning(row.next_number, row.discontinuities, is_behind_gap=is_inherited and row.discontinuities > 0)

    def note(self, app: str, name: str, window: Window, now: float) -> None:
        """
        Take note of how far a playlist has come; cheap where that is known.

        Args:
            app: of the stream.
            name: of the stream.
            window: what the playlist is made of.
            now: unix seconds.
        """
        number = window.next_number if window.is_broken_off else None
        row = PlaylistRow(app, name, number, window.next_discontinuity_sequence, now)
        known = self._rows.get((app, name))
        if known is not None and row == replace(known, noted_at=now):
            return
        self._rows.pop((app, name), None)
        self._rows[app, name] = row
        self._inherited.discard((app, name))
        self._forget(now - KEPT_S)
        self._write(row).add_done_callback(lambda written: self._look(row, written))

    def _forget(self, before: float) -> None:
        while self._rows:
            path, row = next(iter(self._rows.items()))
            if row.noted_at >= before:
                return
            del self._rows[path]

    def _look(self, row: PlaylistRow, written: asyncio.Future[None]) -> None:
        """Tell of what costs players of this stream that they have to be reloaded, should the server be restarted now."""
        error = None if written.cancelled() else written.exception()
        if error is not None:
            self._log.warning("playlist's end not stored", stream=f"{row.app}/{row.stream}", reason=str(error))
