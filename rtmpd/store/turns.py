"""
The turns of a recording's life: told one after another, each with its number.

Rule: whether a turn is told, and with which number, is decided where it becomes owed, in the same transaction, by what
was told last. Whoever finds that a recording starts, waits or goes on says so, and need not know what is told already:
nothing is told twice or before its start, no pause without its return, whatever was killed in between.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import replace

from rtmpd.errors import StoreError
from rtmpd.store import outbox
from rtmpd.store.outbox import Owed
from rtmpd.store.rows import Told

RECORDING_STATUS = 332
"""The kind of callback that tells of a turn; its body names the recording as `session_id`."""
NOT_STARTED: frozenset[Told] = frozenset({"", "record_start_failed"})
"""What was told last of a recording whose start was not told."""
_GOING_ON: frozenset[Told] = frozenset({"record_start_succeeded", "record_resumed"})
_PAUSED: frozenset[Told] = frozenset({"record_paused"})
_MAY_FOLLOW: Mapping[str, frozenset[Told]] = {
    "record_start_failed": frozenset({""}),
    "record_start_succeeded": NOT_STARTED,
    "record_paused": _GOING_ON,
    "record_resumed": _PAUSED,
    "record_ended": NOT_STARTED | _GOING_ON | _PAUSED,
}
"""By turn: what was told last where it is told. Others, as `record_error`, are always told and change nothing of that."""


def owe(connection: sqlite3.Connection, owed: Iterable[Owed]) -> None:
    """
    Owe callbacks as `outbox.owe` does; a turn of a recording gets its number, `seq`, from 1.

    Args:
        connection: the one that a work was given.
        owed: the callbacks, in their order; turns that may not follow what was told last are passed over.

    Raises:
        StoreError: a turn's recording is not there.
    """
    for each in owed:
        callback = _numbered(connection, each) if each.event_type == RECORDING_STATUS else each
        if callback is not None:
            outbox.owe(connection, [callback])


def _numbered(connection: sqlite3.Connection, turn: Owed) -> Owed | None:
    """Give a turn its number, and note it as what was told last; None if it is not to be told."""
    if connection.execute("SELECT 1 FROM outbox WHERE event_id = ?", (turn.event_id,)).fetchone() is not None:
        return None  # owed already: no number is left out for it
    recording_id = turn.body["session_id"]
    row = connection.execute("SELECT turns, told FROM recordings WHERE recording_id = ?", (recording_id,)).fetchone()
    if row is None:
        raise StoreError(f"recording {recording_id} is not there to have a turn")
    turns, told = row
    event = turn.body["record_event"]
    if event in _MAY_FOLLOW:
        if told not in _MAY_FOLLOW[event]:
            return None
        told = event
    connection.execute(
        "UPDATE recordings SET turns = ?, told = ? WHERE recording_id = ?", (turns + 1, told, recording_id)
    )
    return replace(turn, body={**turn.body, "seq": turns + 1})
