"""
Who published when: a row for each publication, from its event 1 to its event 0.

Rule: facts are written in the order in which they are handed over, all of one call or none, each with the callbacks
that it owes. Every fact says all that it needs, so one that is written again, or comes without the one before it,
still leaves one event 1 and one event 0 behind, in this order.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeAlias

from rtmpd.store.database import Database
from rtmpd.store.outbox import Owed, owe
from rtmpd.store.rows import from_columns, to_columns

KEPT_S = 24 * 3600.0
"""How long a publication is kept after its end."""


@dataclass(frozen=True, slots=True)
class PublicationRow:
    """One publisher's hold on a stream."""

    sequence: str
    """Unique; the same on event 1 and event 0."""
    app: str
    """The application of the stream."""
    stream: str
    """The stream's name within its application."""
    started_at: float
    """Unix seconds."""
    address: str
    """The publisher's IP address."""
    stream_param: str
    """The query of the publish URL."""
    ended_at: float | None = None
    """Unix seconds; None until it has ended."""


class Begun(NamedTuple):
    """A publication began."""

    row: PublicationRow
    owed: Owed
    """Event 1."""


class Ended(NamedTuple):
    """A publication ended."""

    row: PublicationRow
    """With its end."""
    begun: Owed
    """Event 1, for the case that the beginning was never written."""
    owed: tuple[Owed, ...]
    """Event 0, behind whatever has to be told before it."""


class Told(NamedTuple):
    """Something is to be told that is stored nowhere else."""

    owed: tuple[Owed, ...]


Fact: TypeAlias = Begun | Ended | Told


class PublicationBook:
    """Every publication of the last day."""

    def __init__(self, database: Database) -> None:
        """
        Use a database.

        Args:
            database: that holds the book.
        """
        self._submit = database.submit

    def write(self, facts: Sequence[Fact]) -> asyncio.Future[None]:
        """
        Write facts, in their order and as one transaction.

        Args:
            facts: those that are written already are passed over.

        Returns:
            The future of `Database.submit`; of facts that fail nothing is written.
        """

        def work(connection: sqlite3.Connection) -> None:
            for fact in facts:
                _WRITERS[type(fact)](connection, fact)
            _forget(connection, facts)

        return self._submit(work)

    def unfinished(self) -> asyncio.Future[tuple[PublicationRow, ...]]:
        """Find the publications without an end, in the order in which they began."""
        return self._submit(_unfinished)


def _begin(connection: sqlite3.Connection, fact: Begun) -> None:
    if _insert(connection, fact.row):
        owe(connection, [fact.owed])


def _end(connection: sqlite3.Connection, fact: Ended) -> None:
    row = fact.row
    assert row.ended_at is not None
    if _insert(connection, replace(row, ended_at=None)):
        owe(connection, [fact.begun])
    statement = "UPDATE publications SET ended_at = ? WHERE sequence = ? AND ended_at IS NULL"
    if connection.execute(statement, (row.ended_at, row.sequence)).rowcount:
        owe(connection, fact.owed)


def _tell(connection: sqlite3.Connection, fact: Told) -> None:
    owe(connection, fact.owed)


def _forget(connection: sqlite3.Connection, facts: Sequence[Fact]) -> None:
    """Forget what ended long ago, but for what is written now: that may be written again, if its commit is not sure."""
    ends = [fact.row.ended_at for fact in facts if isinstance(fact, Ended) and fact.row.ended_at is not None]
    if ends:
        written = [fact.row.sequence for fact in facts if not isinstance(fact, Told)]
        marks = ", ".join("?" * len(written))
        connection.execute(
            f"DELETE FROM publications WHERE ended_at < ? AND sequence NOT IN ({marks})",  # noqa: S608 - question marks
            (max(ends) - KEPT_S, *written),
        )


_WRITERS: Mapping[type[Fact], Callable[[sqlite3.Connection, Any], None]] = {Begun: _begin, Ended: _end, Told: _tell}


def _insert(connection: sqlite3.Connection, row: PublicationRow) -> bool:
    """Add a row, and say whether it was missing."""
    columns = to_columns(row)
    statement = f"INSERT INTO publications ({', '.join(columns)}) VALUES (:{', :'.join(columns)})"  # noqa: S608 - names of our own
    return connection.execute(f"{statement} ON CONFLICT (sequence) DO NOTHING", columns).rowcount == 1


def _unfinished(connection: sqlite3.Connection) -> tuple[PublicationRow, ...]:
    rows = connection.execute("SELECT * FROM publications WHERE ended_at IS NULL ORDER BY number")
    return tuple(from_columns(PublicationRow, row) for row in rows)
