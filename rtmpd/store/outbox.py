"""
The outbox: callbacks that are owed to receivers, in the order in which they became so.

Rule: a fact and the callbacks that it owes are one transaction. So the only way in is `owe`, which a work of the
database calls beside its own statements. An event's id is unique: a fact that is stored again owes nothing new. It is
owed to the receivers that are known when its fact is committed; `rtmpd/store/deliveries.py` has what becomes of it.
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
    """The kind of callback: 0, 1, 100, 321, 332, 341 or 1001."""
    stream: str
    """The stream's path, "app/name": callbacks of one stream keep their order."""
    body: dict[str, Any]
    """The fields that are the same at each attempt, as JSON values."""
    created_at: float
    """Unix seconds: when it became owed."""


class Outbox:
    """What is stored, to be looked at."""

    def __init__(self, database: Database) -> None:
        """
        Look into an outbox.

        Args:
            database: that holds it.
        """
        self._database = database

    def pending(self, limit: int) -> asyncio.Future[tuple[Owed, ...]]:
        """
        Read the callbacks that not every receiver has yet, oldest first; dead ones and those without any are among them.

        Args:
            limit: the most to read.
        """
        return self._database.submit(lambda connection: _pending(connection, limit))

    def count(self) -> asyncio.Future[int]:
        """Count the callbacks that not every receiver has yet."""
        return self._database.submit(_count)


def owe(connection: sqlite3.Connection, owed: Iterable[Owed]) -> None:
    """
    Owe callbacks as part of the transaction that stores their fact.

    Args:
        connection: the one that a work was given.
        owed: the callbacks, in their order; those whose event is owed already are passed over.
    """
    for each in owed:
        cursor = connection.execute(
            "INSERT INTO outbox (event_id, event_type, stream, body, created_at) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT (event_id) DO NOTHING",
            (each.event_id, each.event_type, each.stream, json.dumps(each.body), each.created_at),
        )
        if cursor.rowcount:
            # In front of its line it is to be tried; behind another it waits until that one has left.
            connection.execute(
                "INSERT INTO deliveries (number, url, stream, since, next_try_at)"
                " SELECT :number, url, :stream, :at, CASE WHEN EXISTS (SELECT 1 FROM deliveries AS line"
                " WHERE line.url = receivers.url AND line.stream = :stream AND line.in_line = 1) THEN NULL ELSE :at END"
                " FROM receivers",
                {"number": cursor.lastrowid, "stream": each.stream, "at": each.created_at},
            )


def _pending(connection: sqlite3.Connection, limit: int) -> tuple[Owed, ...]:
    rows = connection.execute(
        "SELECT event_id, event_type, stream, body, created_at FROM outbox ORDER BY number LIMIT ?", (limit,)
    )
    return tuple(Owed(event_id, kind, stream, json.loads(body), at) for event_id, kind, stream, body, at in rows)


def _count(connection: sqlite3.Connection) -> int:
    (count,) = connection.execute("SELECT COUNT(*) FROM outbox").fetchone()
    return int(count)
