"""Publications for tests of who is told what about them."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import NamedTuple

from rtmpd.control.push_events import End, cause_of, ended, started
from rtmpd.live.registry import Takeover
from rtmpd.live.terms import Terms
from rtmpd.store.publications import Begun, Ended, PublicationRow

NODE = "origin-1"
TERMS = Terms(query="key=k&groupid=7", address="192.0.2.1", client=7)


class Told(NamedTuple):
    """What a receiver will hear, as far as order and pairs go."""

    event_type: int
    sequence: str


def publication_row(sequence="1", **fields):
    row = {"app": "live", "stream": "s", "started_at": 1_000.0, "address": "192.0.2.1", "stream_param": ""} | fields
    return PublicationRow(sequence=sequence, **row)


def begun(row):
    return Begun(row, started(row, NODE))


def finished(row, reason="deleteStream"):
    return Ended(row, started(row, NODE), (ended(row, NODE, End(cause_of(reason), 5_000, 0, 0)),))


def take_over(registry, publications, name="s", terms=TERMS):
    """Publish as connections do it: whoever is replaced is over before the new one begins."""
    held = []

    def evict(reason):
        publications.over(held[0], reason, clean=False)

    held.append(registry.publish("live", name, "me", Takeover.ALWAYS, evict, terms))
    return held[0]


def told(database_path):
    """Everything that is owed, in its order, as another program sees it."""
    with closing(sqlite3.connect(database_path)) as connection:
        rows = connection.execute("SELECT event_type, json_extract(body, '$.sequence') FROM outbox ORDER BY number")
        return [Told(*row) for row in rows]
