"""
The turns of a recording's life: told one after another, each with its number.

Rule: the number is given where the turn becomes owed, in the same transaction. So receivers can put the turns of a
recording in order and see that none is missing, whatever was killed in between.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import replace

from rtmpd.errors import StoreError
from rtmpd.store import outbox
from rtmpd.store.outbox import Owed

RECORDING_STATUS = 332
"""The kind of callback that tells of a turn; its body names the recording as `session_id`."""
STARTED = "record_start_succeeded"
"""The turn that makes a recording a started one."""


def owe(connection: sqlite3.Connection, owed: Iterable[Owed]) -> None:
    """
    Owe callbacks as `outbox.owe` does; a turn of a recording gets its number, `seq`, from 1.

    Args:
        connection: the one that a work was given.
        owed: the callbacks, in their order.
    """
    for each in owed:
        outbox.owe(connection, [_numbered(connection, each) if each.event_type == RECORDING_STATUS else each])


def _numbered(connection: sqlite3.Connection, turn: Owed) -> Owed:
    if connection.execute("SELECT 1 FROM outbox WHERE event_id = ?", (turn.event_id,)).fetchone() is not None:
        return turn  # owed already: no number is left out for it
    recording_id = turn.body["session_id"]
    changed = connection.execute(
        "UPDATE recordings SET turns = turns + 1, started = MAX(started, ?) WHERE recording_id = ?",
        (turn.body.get("record_event") == STARTED, recording_id),
    )
    if changed.rowcount != 1:
        raise StoreError(f"recording {recording_id} is not there to have a turn")
    (number,) = connection.execute("SELECT turns FROM recordings WHERE recording_id = ?", (recording_id,)).fetchone()
    return replace(turn, body={**turn.body, "seq": number})
