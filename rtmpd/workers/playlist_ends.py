"""Where live playlists end, over restarts, so that whatever is packaged next goes on there (RFC 8216 section 6.2.2)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Self

from rtmpd.live.window import Window
from rtmpd.logs import Logger
from rtmpd.store.playlists import KEPT_S, PlaylistBook, PlaylistRow


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

    def following(self, app: str, name: str, now: float) -> tuple[int, int]:
        """
        Say what the first segment of a playlist is numbered with.

        Interop: hls.js 1.7.4 goes on by itself where both numbers follow what was announced. Where a playlist was cut off,
        and nobody knows how far it came, it does so in its low-latency mode alone, if the second is the old one and the
        first a later one, as a unix time is: no segment is shorter than a second. Nor may the second be large: it has an
        array as long as the number.

        Args:
            app: of the stream.
            name: of the stream.
            now: unix seconds.

        Returns:
            Media sequence number and discontinuity sequence number.
        """
        row = self._rows.get((app, name))
        if row is None:
            return int(now), 0
        return int(now) if row.next_number is None else row.next_number, row.discontinuities

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
