"""
What becomes of the callbacks that are owed: for each receiver the next of each stream, and those that were given up.

A line is what one receiver is owed of one stream, in the order in which it became so. Only the oldest of a line, its
head, has a time of its next attempt; when it has left (delivered or dead), the next one gets one. So heads are found by
an index, however much waits behind them. A dead one has left its line for good: replayed, it waits for nobody and
nobody waits for it.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from rtmpd.store.database import Database

UNTRIED = "never tried: those before it took too long"
"""What is said of one that was given up while it waited behind others."""

_COLUMNS = (
    "deliveries.number, deliveries.url, event_id, event_type, deliveries.stream, body, created_at,"
    " since, attempts, failures, next_try_at, last_error, dead_at"
)
_STATES = {"pending": "dead_at IS NULL", "dead": "dead_at IS NOT NULL"}


@dataclass(frozen=True, slots=True)
class Delivery:
    """What one receiver is owed of one event."""

    number: int
    """Of the event, in the order of all."""
    url: str
    event_id: str
    event_type: int
    stream: str
    """The stream's path, "app/name"."""
    body: dict[str, Any]
    created_at: float
    """Unix seconds: when the event became owed."""
    since: float
    """Unix seconds from which its age counts: when it became owed, or was last replayed."""
    attempts: int
    """Of this event, since then."""
    failures: int
    """Of its line, since the last success."""
    next_try_at: float | None
    """Unix seconds; None for what waits behind another, and for what is dead."""
    last_error: str
    """One line; empty before the first failure."""
    dead_at: float | None
    """Unix seconds: when it was given up."""


class Due(NamedTuple):
    """Heads to be tried now, and when the next failed one will be due."""

    first: tuple[Delivery, ...]
    """Of lines whose last attempt succeeded, or that had none."""
    again: tuple[Delivery, ...]
    """Of lines whose last attempt failed."""
    next_at: float | None
    """Unix seconds; None where no other line has failed."""


@dataclass(frozen=True, slots=True)
class Query:
    """Which deliveries to list; what is None does not matter."""

    state: Literal["pending", "dead"] | None = None
    url: str | None = None
    stream: str | None = None
    limit: int = 100
    offset: int = 0


class Counts(NamedTuple):
    """What a receiver is owed."""

    pending: int
    dead: int


class Purged(NamedTuple):
    """What was cleared away."""

    events: int
    """Events that nobody is owed any more."""
    untried: int
    """Deliveries that became dead while they waited behind others."""


class Deliveries:
    """Every operation is one work of the database; its future is done when it is on the disk."""

    def __init__(self, database: Database) -> None:
        """
        Work on the deliveries of a database.

        Args:
            database: that holds them.
        """
        self._database = database

    def set_receivers(self, urls: Collection[str], now: float, since: float) -> asyncio.Future[int]:
        """
        Name the receivers to which events are owed from now on.

        Those named first after an upgrade are also owed what an earlier version left.

        Args:
            urls: of all of them.
            now: unix seconds.
            since: unix seconds; what an earlier version left is owed if it became so at this time or later.

        Returns:
            How many deliveries were pending to receivers that are not among them; those are owed no more.
        """
        return self._database.submit(
            lambda connection: _set_receivers(connection, tuple(dict.fromkeys(urls)), now, since)
        )

    def due(self, url: str, now: float, *, first: int, again: int, busy: Collection[int] = ()) -> asyncio.Future[Due]:
        """
        Read heads to be tried, those that have waited longest first; no more rows than asked for are read.

        Args:
            url: of the receiver.
            now: unix seconds; heads of failed lines whose time has not come are left out.
            first: the most to read of lines that did not fail.
            again: the most to read of lines that did.
            busy: numbers to leave out, as they are being tried.
        """
        return self._database.submit(lambda connection: _due(connection, url, now, (first, again), tuple(busy)))

    def delivered(self, number: int, url: str, now: float) -> asyncio.Future[None]:
        """
        Note that a receiver has an event; harmless where it is owed no more.

        Args:
            number: of the event.
            url: of the receiver.
            now: unix seconds.
        """
        return self._database.submit(lambda connection: _delivered(connection, number, url, now))

    def failed(self, number: int, url: str, next_try_at: float, error: str) -> asyncio.Future[None]:
        """
        Note a failed attempt.

        Args:
            number: of the event.
            url: of the receiver.
            next_try_at: unix seconds.
            error: one line.
        """
        return self._database.submit(
            lambda connection: _run(
                connection,
                "UPDATE deliveries SET attempts = attempts + 1, failures = failures + 1, next_try_at = ?, last_error = ?"
                " WHERE number = ? AND url = ? AND dead_at IS NULL",
                (next_try_at, error, number, url),
            )
        )

    def given_up(self, number: int, url: str, now: float, next_try_at: float, error: str) -> asyncio.Future[None]:
        """
        Note a failed attempt that was the last one.

        Args:
            number: of the event.
            url: of the receiver.
            now: unix seconds.
            next_try_at: unix seconds: when the next of its line is tried.
            error: one line.
        """
        return self._database.submit(lambda connection: _given_up(connection, number, url, now, next_try_at, error))

    def retry(self, event_id: str, now: float) -> asyncio.Future[int]:
        """
        Have an event tried now.

        A dead one starts anew, out of line, at each receiver that is still known. One that waits behind another is
        not moved, but its line is tried now.

        Args:
            event_id: of the event.
            now: unix seconds.

        Returns:
            To how many receivers it is owed; 0: there is no such event, or nobody is left who is owed it.
        """
        return self._database.submit(lambda connection: _retry(connection, event_id, now))

    def hasten(self, now: float, beyond: float) -> asyncio.Future[int]:
        """
        Have what would be tried after a time tried now.

        Args:
            now: unix seconds.
            beyond: unix seconds; `now` for all that waits, later for what a clock that was set back has left.

        Returns:
            How many there were.
        """
        statement = "UPDATE deliveries SET next_try_at = ? WHERE next_try_at > ?"
        return self._database.submit(lambda connection: connection.execute(statement, (now, beyond)).rowcount)

    def purge(
        self, now: float, *, unowed_before: float, dead_before: float, untried_before: float
    ) -> asyncio.Future[Purged]:
        """
        Clear away what is too old; all times are unix seconds.

        Args:
            now: when what waits too long becomes dead.
            unowed_before: events older than this that nobody is owed go.
            dead_before: dead deliveries that died before this go.
            untried_before: what became owed before this and still waits behind others becomes dead.
        """
        return self._database.submit(
            lambda connection: _purge(connection, now, unowed_before, dead_before, untried_before)
        )

    def list(self, query: Query) -> asyncio.Future[tuple[Delivery, ...]]:
        """
        List deliveries, the newest event first.

        Args:
            query: which.
        """
        return self._database.submit(lambda connection: _list(connection, query))

    def counts(self) -> asyncio.Future[dict[str, Counts]]:
        """Count what is owed, by the URL of the receiver; those that are known and owed nothing are among them."""
        return self._database.submit(_counts)


def _run(connection: sqlite3.Connection, statement: str, values: tuple[object, ...]) -> None:
    connection.execute(statement, values)


def _set_receivers(connection: sqlite3.Connection, urls: tuple[str, ...], now: float, since: float) -> int:
    for url in urls:
        connection.execute(
            "INSERT INTO deliveries (number, url, stream, since)"
            " SELECT number, ?, stream, since FROM deliveries WHERE url = '' AND since >= ?",
            (url, since),
        )
        connection.execute("INSERT OR IGNORE INTO receivers VALUES (?)", (url,))
    connection.execute(f"DELETE FROM receivers WHERE url NOT IN ({_marks(urls)})", urls)  # noqa: S608 - question marks
    connection.execute("DELETE FROM deliveries WHERE url = ''")
    lost = connection.execute(
        "DELETE FROM deliveries WHERE dead_at IS NULL AND url NOT IN (SELECT url FROM receivers)"
    ).rowcount
    connection.execute(
        "UPDATE deliveries SET next_try_at = ? WHERE in_line = 1 AND next_try_at IS NULL AND number = ("
        " SELECT MIN(number) FROM deliveries AS line"
        " WHERE line.url = deliveries.url AND line.stream = deliveries.stream AND line.in_line = 1)",
        (now,),
    )
    return lost


def _marks(values: Collection[object]) -> str:
    return ", ".join("?" * len(values))


def _due(connection: sqlite3.Connection, url: str, now: float, limits: tuple[int, int], busy: tuple[int, ...]) -> Due:
    first, again = limits
    select = f"SELECT {_COLUMNS} FROM deliveries JOIN outbox USING (number) WHERE url = ?"  # noqa: S608 - of our constants
    rest = f" AND deliveries.number NOT IN ({_marks(busy)}) ORDER BY next_try_at, deliveries.number LIMIT ?"
    # Lines that did not fail are due whatever the clock says: their times only tell who has waited longest.
    fresh = connection.execute(
        f"{select} AND failures = 0 AND next_try_at IS NOT NULL{rest}", (url, *busy, first)
    ).fetchall()
    failed = connection.execute(
        f"{select} AND failures > 0 AND next_try_at <= ?{rest}", (url, now, *busy, again)
    ).fetchall()
    (next_at,) = connection.execute(
        "SELECT MIN(next_try_at) FROM deliveries WHERE url = ? AND failures > 0 AND next_try_at > ?", (url, now)
    ).fetchone()
    return Due(_deliveries(fresh), _deliveries(failed), next_at)


def _delivered(connection: sqlite3.Connection, number: int, url: str, now: float) -> None:
    line = _line_of(connection, number, url)
    connection.execute("DELETE FROM deliveries WHERE number = ? AND url = ?", (number, url))
    connection.execute(
        "DELETE FROM outbox WHERE number = :number AND NOT EXISTS (SELECT 1 FROM deliveries WHERE number = :number)",
        {"number": number},
    )
    if line is not None:
        _promote(connection, url, line.stream, now, failures=0)


def _given_up(
    connection: sqlite3.Connection, number: int, url: str, now: float, next_try_at: float, error: str
) -> None:
    line = _line_of(connection, number, url)
    connection.execute(
        "UPDATE deliveries SET attempts = attempts + 1, last_error = ?, in_line = 0, next_try_at = NULL, dead_at = ?"
        " WHERE number = ? AND url = ?",
        (error, now, number, url),
    )
    if line is not None:
        _promote(connection, url, line.stream, next_try_at, failures=line.failures + 1)


class _Line(NamedTuple):
    stream: str
    failures: int


def _line_of(connection: sqlite3.Connection, number: int, url: str) -> _Line | None:
    """Find in which line a delivery is; None for one that is in none any more."""
    row = connection.execute(
        "SELECT stream, failures FROM deliveries WHERE number = ? AND url = ? AND in_line = 1", (number, url)
    ).fetchone()
    return None if row is None else _Line(*row)


def _promote(connection: sqlite3.Connection, url: str, stream: str, at: float, failures: int) -> None:
    """Make the oldest of a line its head."""
    connection.execute(
        "UPDATE deliveries SET next_try_at = :at, failures = :failures WHERE url = :url"
        " AND number = (SELECT MIN(number) FROM deliveries WHERE url = :url AND stream = :stream AND in_line = 1)",
        {"at": at, "failures": failures, "url": url, "stream": stream},
    )


def _retry(connection: sqlite3.Connection, event_id: str, now: float) -> int:
    values = {"event_id": event_id, "now": now}
    this = "number = (SELECT number FROM outbox WHERE event_id = :event_id)"
    connection.execute(
        "UPDATE deliveries SET dead_at = NULL, since = :now, attempts = 0, failures = 0, next_try_at = :now"  # noqa: S608 - our constant
        f" WHERE {this} AND dead_at IS NOT NULL AND url IN (SELECT url FROM receivers)",
        values,
    )
    waiting = connection.execute(
        f"SELECT url, stream, in_line, number FROM deliveries WHERE {this} AND dead_at IS NULL",  # noqa: S608 - as above
        values,
    ).fetchall()
    for url, stream, in_line, number in waiting:
        connection.execute(
            "UPDATE deliveries SET next_try_at = :now WHERE url = :url AND next_try_at > :now AND number = CASE :in_line"
            " WHEN 1 THEN (SELECT MIN(number) FROM deliveries WHERE url = :url AND stream = :stream AND in_line = 1)"
            " ELSE :number END",
            {"now": now, "url": url, "stream": stream, "in_line": in_line, "number": number},
        )
    return len(waiting)


def _purge(
    connection: sqlite3.Connection, now: float, unowed_before: float, dead_before: float, untried_before: float
) -> Purged:
    untried = connection.execute(
        "UPDATE deliveries SET in_line = 0, dead_at = ?, last_error = ?"
        " WHERE in_line = 1 AND next_try_at IS NULL AND since < ?",
        (now, UNTRIED, untried_before),
    ).rowcount
    connection.execute("DELETE FROM deliveries WHERE dead_at < ?", (dead_before,))
    events = connection.execute(
        "DELETE FROM outbox WHERE created_at < ?"
        " AND NOT EXISTS (SELECT 1 FROM deliveries WHERE deliveries.number = outbox.number)",
        (unowed_before,),
    ).rowcount
    return Purged(events, untried)


def _list(connection: sqlite3.Connection, query: Query) -> tuple[Delivery, ...]:
    conditions = ["deliveries.url <> ''"]
    if query.state is not None:
        conditions.append(_STATES[query.state])
    if query.url is not None:
        conditions.append("deliveries.url = :url")
    if query.stream is not None:
        conditions.append("deliveries.stream = :stream")
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM deliveries JOIN outbox USING (number) WHERE {' AND '.join(conditions)}"  # noqa: S608 - of our constants
        " ORDER BY deliveries.number DESC, url LIMIT :limit OFFSET :offset",
        {"url": query.url, "stream": query.stream, "limit": query.limit, "offset": query.offset},
    ).fetchall()
    return _deliveries(rows)


def _counts(connection: sqlite3.Connection) -> dict[str, Counts]:
    counts = {url: Counts(0, 0) for (url,) in connection.execute("SELECT url FROM receivers WHERE url <> ''")}
    rows = connection.execute(
        "SELECT url, SUM(dead_at IS NULL), SUM(dead_at IS NOT NULL) FROM deliveries WHERE url <> '' GROUP BY url"
    )
    return counts | {url: Counts(pending, dead) for url, pending, dead in rows}


def _deliveries(rows: list[sqlite3.Row]) -> tuple[Delivery, ...]:
    return tuple(Delivery(**{**row, "body": json.loads(row["body"])}) for row in map(dict, rows))
