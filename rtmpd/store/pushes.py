"""
Pushes and their targets: what has to be remembered of them over restarts and crashes.

Rule: a stream has one push at a time. One that has ended stays for a while, so that who ends it again is told that it
was so already, not that there is no such push; the same holds for targets.

What stands here is called by works of the database, with the connection that those were given: whoever changes a push
says how long it waits for the commit.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

from rtmpd.store.rows import from_columns, to_columns

Mode: TypeAlias = Literal["auto", "manual"]
TargetOrigin: TypeAlias = Literal["request", "hook"]


@dataclass(frozen=True, slots=True)
class PushRow:
    """One push."""

    channel_id: str
    """Unique."""
    app: str
    """The application of the stream."""
    stream: str
    """The stream's name within its application."""
    mode: Mode
    """auto: the stream could be watched without it as well, when it was last published."""
    channel_name: str
    """The caller's name for it."""
    started_at: float
    """Unix seconds."""
    channel_desc: str = ""
    encode_type: int | None = None
    """Which watch URLs were asked for, a number of `rtmpd.control.words`; None: all."""
    formats: tuple[str, ...] = ()
    """What the stream is recorded as while the push lasts; empty: it is not."""
    record_id: int | None = None
    """The caller's number."""
    record_task_id: str | None = None
    """The newest recording that was made for it."""
    waiting_since: float | None = None
    """Unix seconds: when its publisher was lost; None while it is on."""
    ended_at: float | None = None
    """Unix seconds; None until then."""


@dataclass(frozen=True, slots=True)
class TargetRow:
    """Where a pushed stream is relayed to."""

    target_id: str
    """Unique."""
    channel_id: str
    """The push it belongs to."""
    url: str
    """With whatever key it needs: not to be shown."""
    added_at: float
    """Unix seconds."""
    origin: TargetOrigin = "request"
    """Who named it; a hook names its own anew for each publisher."""
    removed_at: float | None = None
    """Unix seconds; None until then."""


class Kept(NamedTuple):
    """A push that has not ended, with its targets."""

    push: PushRow
    targets: tuple[TargetRow, ...]


def begin(connection: sqlite3.Connection, kept: Kept) -> None:
    """
    Store a push that begins, in the place of whatever push its stream had.

    Args:
        connection: of the work.
        kept: with ids that are new.
    """
    push = kept.push
    connection.execute(
        "UPDATE pushes SET ended_at = ? WHERE app = ? AND stream = ? AND ended_at IS NULL",
        (push.started_at, push.app, push.stream),
    )
    _insert(connection, "pushes", push)
    add_targets(connection, kept.targets)


def set_state(connection: sqlite3.Connection, channel_id: str, mode: Mode, waiting_since: float | None) -> None:
    """
    Store whether a push waits for its publisher; nothing happens to one that has ended.

    Args:
        connection: of the work.
        channel_id: of the push.
        mode: of the stream's newest publisher.
        waiting_since: unix seconds; None while it is on.
    """
    connection.execute(
        "UPDATE pushes SET mode = ?, waiting_since = ? WHERE channel_id = ? AND ended_at IS NULL",
        (mode, waiting_since, channel_id),
    )


def set_recording(connection: sqlite3.Connection, push: PushRow) -> None:
    """
    Store how a push is recorded; nothing happens to one that has ended.

    Args:
        connection: of the work.
        push: its formats, record id and task id count.
    """
    columns = to_columns(push)
    connection.execute(
        "UPDATE pushes SET formats = :formats, record_id = :record_id, record_task_id = :record_task_id"
        " WHERE channel_id = :channel_id AND ended_at IS NULL",
        columns,
    )


def end(connection: sqlite3.Connection, channel_id: str, at: float) -> bool | None:
    """
    Store that a push has ended.

    Args:
        connection: of the work.
        channel_id: of the push.
        at: unix seconds.

    Returns:
        Whether it had not ended before; None if there is none of that id.
    """
    statement = "UPDATE pushes SET ended_at = ? WHERE channel_id = ? AND ended_at IS NULL"
    if connection.execute(statement, (at, channel_id)).rowcount:
        return True
    known = connection.execute("SELECT 1 FROM pushes WHERE channel_id = ?", (channel_id,)).fetchone()
    return None if known is None else False


def add_targets(connection: sqlite3.Connection, targets: Iterable[TargetRow]) -> None:
    """
    Store targets; one that is there already is passed over.

    Args:
        connection: of the work.
        targets: of pushes that are stored.
    """
    for target in targets:
        if connection.execute("SELECT 1 FROM push_targets WHERE target_id = ?", (target.target_id,)).fetchone() is None:
            _insert(connection, "push_targets", target)


def remove_target(connection: sqlite3.Connection, channel_id: str, target_id: str, at: float) -> bool | None:
    """
    Take a target from a push.

    Args:
        connection: of the work.
        channel_id: of the push.
        target_id: of the target.
        at: unix seconds.

    Returns:
        Whether it was there until now; None if the push never had a target of that id.
    """
    values = {"channel_id": channel_id, "target_id": target_id, "at": at}
    this = "channel_id = :channel_id AND target_id = :target_id"
    statement = f"UPDATE push_targets SET removed_at = :at WHERE {this} AND removed_at IS NULL"  # noqa: S608 - our constant
    if connection.execute(statement, values).rowcount:
        return True
    known = connection.execute(f"SELECT 1 FROM push_targets WHERE {this}", values).fetchone()  # noqa: S608 - as above
    return None if known is None else False


def strip(connection: sqlite3.Connection, channel_id: str, at: float) -> None:
    """
    Take the recording and all targets from a push that stays on.

    Args:
        connection: of the work.
        channel_id: of the push.
        at: unix seconds.
    """
    connection.execute(
        "UPDATE pushes SET formats = '[]', record_task_id = NULL WHERE channel_id = ? AND ended_at IS NULL",
        (channel_id,),
    )
    connection.execute(
        "UPDATE push_targets SET removed_at = ? WHERE channel_id = ? AND removed_at IS NULL", (at, channel_id)
    )


def take_up(connection: sqlite3.Connection, now: float) -> tuple[Kept, ...]:
    """
    Read what an earlier server left; its publishers are all lost by now.

    Args:
        connection: of the work.
        now: unix seconds: since when those wait that were on when the server was killed.

    Returns:
        Every push that has not ended, oldest first, each with the targets that it still has.
    """
    # One that waits since a time to come met a clock that was set back.
    connection.execute(
        "UPDATE pushes SET waiting_since = :now"
        " WHERE ended_at IS NULL AND (waiting_since IS NULL OR waiting_since > :now)",
        {"now": now},
    )
    rows = connection.execute("SELECT * FROM pushes WHERE ended_at IS NULL ORDER BY started_at, rowid").fetchall()
    return tuple(
        Kept(push, _targets(connection, push.channel_id)) for push in [from_columns(PushRow, row) for row in rows]
    )


def purge(connection: sqlite3.Connection, before: float) -> int:
    """
    Forget what ended long ago.

    Args:
        connection: of the work.
        before: unix seconds; pushes that ended, and targets that were removed, before this go.

    Returns:
        How many pushes there were.
    """
    connection.execute(
        "DELETE FROM push_targets WHERE removed_at < :before"
        " OR channel_id IN (SELECT channel_id FROM pushes WHERE ended_at < :before)",
        {"before": before},
    )
    return connection.execute("DELETE FROM pushes WHERE ended_at < ?", (before,)).rowcount


def _insert(connection: sqlite3.Connection, table: str, row: PushRow | TargetRow) -> None:
    columns = to_columns(row)
    connection.execute(
        f"INSERT INTO {table} ({', '.join(columns)}) VALUES (:{', :'.join(columns)})",  # noqa: S608 - names of our own
        columns,
    )


def _targets(connection: sqlite3.Connection, channel_id: str) -> tuple[TargetRow, ...]:
    statement = "SELECT * FROM push_targets WHERE channel_id = ? AND removed_at IS NULL ORDER BY rowid"
    return tuple(from_columns(TargetRow, row) for row in connection.execute(statement, (channel_id,)))
