"""
Where the live playlist of each stream ended, so that the next server goes on there: a row for each stream.

Players of HLS stay on a page over a restart, and count segments and discontinuities from what they were told last.
"""

from __future__ import annotations

import asyncio
import sqlite3
from dataclasses import dataclass

from rtmpd.store.database import Database
from rtmpd.store.rows import from_columns, to_columns

KEPT_S = 24 * 3600.0
"""For who still looks at the page of a stream that nobody publishes."""


@dataclass(frozen=True, slots=True)
class PlaylistRow:
    """How far the playlist of one stream has come."""

    app: str
    """The application of the stream."""
    stream: str
    """The stream's name within its application."""
    next_number: int | None
    """Media sequence number of the segment behind the discontinuity that the playlist ends with; None while it grows."""
    discontinuities: int
    """Discontinuity sequence number of that segment, or of the one that grows."""
    noted_at: float
    """Unix seconds."""


class PlaylistBook:
    """The playlists of the last day."""

    def __init__(self, database: Database) -> None:
        """
        Use a database.

        Args:
            database: that holds the book.
        """
        self._submit = database.submit

    def write(self, row: PlaylistRow) -> asyncio.Future[None]:
        """
        Replace what is known of a stream, and forget streams that were not heard of for `KEPT_S`.

        Args:
            row: of the stream.

        Returns:
            The future of `Database.submit`.
        """

        def work(connection: sqlite3.Connection) -> None:
            columns = to_columns(row)
            statement = f"REPLACE INTO playlists ({', '.join(columns)}) VALUES (:{', :'.join(columns)})"  # noqa: S608 - names of our own
            connection.execute(statement, columns)
            connection.execute("DELETE FROM playlists WHERE noted_at < ?", (row.noted_at - KEPT_S,))

        return self._submit(work)

    def read(self) -> asyncio.Future[tuple[PlaylistRow, ...]]:
        """Read all rows, the oldest first."""
        return self._submit(_read)


def _read(connection: sqlite3.Connection) -> tuple[PlaylistRow, ...]:
    rows = connection.execute("SELECT * FROM playlists ORDER BY noted_at")
    return tuple(from_columns(PlaylistRow, row) for row in rows)
