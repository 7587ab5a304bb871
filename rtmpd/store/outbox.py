"""
The outbox: callbacks that are owed to receivers, in the order in which they became so.

Rule: a fact and the callbacks that it owes are one transaction. So the only way in is `owe`, which a work of the
database calls beside its own statements. An event's id is unique: a fact that is stored again owes nothing new.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from rtmpd.store.database import Database


@dataclass(frozen=True, slots=True)
class Owed:
    """One callback."""

    event_id: str
    """Stable: the same for the same fact, however often it is stored or sent."""
    event_type: int
    """The kind of callback: 0, 1, 100, 321, 332 or 341."""
    stream: str
    """The stream's path, "app/name": callbacks of one stream keep their order."""
    body: dict[str, Any]
    """The fields that are the same at each attempt, as JSON values."""
    created_at: float
    """Unix seconds: when it became owed."""


class Outbox:
    """What is owed, to be looked at."""

    def __init__(self, database: Database) -> None:
        """
        Look into an outbox.

        Args:
            database: that holds it.
        """
        self._database = database

    def pending(self, limit: int) -> asyncio.Future[tuple[Owed, ...]]:
        """
        Read the callbacks that are to be delivered, oldest first.

        Args:
            limit: the most to read.
        """
        return self._database.submit(lambda connection: _pending(connection, limit))

    def count(self) -> asyncio.Future[int]:
        """Count the callbacks that are to be delivered."""
        return self._database.submit(_count)

    def purge(self, before: float) -> asyncio.Future[int]:
        """
        Give up the callbacks that became owed before a time, so that a receiver that never answers fills no disk.

        Args:
            before: unix seconds.

        Returns:
            How many there were.
        """
        return self._database.submit(lambda connection: _purge(connection, before))


def owe(connection: sqlite3.Connection, owed: Iterable[Owed]) -> None:
    """
    Owe callbacks as part of the transaction that stores their fact.

    Args:
        connection: the one that a work was given.
        owed: the callbacks, in their order; those whose event is owed already are passed over.
    """
    connection.executemany(
        "INSERT INTO outbox (event_id, event_type, stream, body, created_at) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT (event_id) DO NOTHING",
        [(each.event_id, each.event_type, each.stream, json.dumps(each.body), each.created_at) for each in owed],
    )


def _pending(connection: sqlite3.Connection, limit: int) -> tuple[Owed, ...]:
    rows = connection.execute(
        "SELECT event_id, event_type, stream, body, created_at FROM outbox WHERE dead_at IS NULL"
        " ORDER BY number LIMIT ?",
        (limit,),
    )
    return tuple(Owed(event_id, kind, stream, json.loads(body), at) for event_id, kind, stream, body, at in rows)


def _count(connection: sqlite3.Connection) -> int:
    (count,) = connection.execute("SELECT COUNT(*) FROM outbox WHERE dead_at IS NULL").fetchone()
    return int(count)


def _purge(connection: sqlite3.Connection, before: float) -> int:
    return connection.execute("DELETE FROM outbox WHERE created_at < ?", (before,)).rowcount
