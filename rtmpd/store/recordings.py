"""
The index of recordings: which files there are, what they hold, and which of them are being written.

Rule: a file is in the index before it is on the disk (`begin`, `reserve`), and in it until it is off the disk
(`condemn`, then `remove`). So whatever is killed in between, no file is unknown. A path belongs to one row, so no two
recordings write one file. Each operation is one transaction, together with the callbacks that it makes owed.

All operations give the future of `Database.submit`. One that does not fit the state of its row changes nothing and
fails with a StoreError.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from rtmpd.errors import StoreError
from rtmpd.store import listing
from rtmpd.store.database import Database
from rtmpd.store.listing import Entry, Query, Task
from rtmpd.store.outbox import Owed
from rtmpd.store.rows import Contents, FileRow, RecordingRow, from_columns, to_columns
from rtmpd.store.turns import owe


class Unfinished(NamedTuple):
    """A recording that has not ended, or has files that are not closed."""

    recording: RecordingRow
    files: tuple[FileRow, ...]
    """Those that are reserved or open."""


class Totals(NamedTuple):
    """What is on the disk, without what is being written."""

    files: int
    size_bytes: int


class RecordingIndex:
    """Every recording and every file of the server."""

    def __init__(self, database: Database) -> None:
        """
        Use a database.

        Args:
            database: that holds the index.
        """
        self._submit = database.submit

    def begin(
        self, recording: RecordingRow, files: Sequence[FileRow], owed: Sequence[Owed] = ()
    ) -> asyncio.Future[None]:
        """
        Begin a recording.

        Args:
            recording: with an id that is new.
            files: the first ones, reserved or open.
            owed: the callbacks that this fact owes.

        Returns:
            A failure with the cause SQLITE_CONSTRAINT_UNIQUE if a path is taken.
        """

        def work(connection: sqlite3.Connection) -> None:
            _insert(connection, "recordings", recording)
            for file in files:
                _insert(connection, "files", file)
            owe(connection, owed)

        return self._submit(work)

    def reserve(self, file: FileRow) -> asyncio.Future[None]:
        """
        Add a file to a recording; fails like `begin` if its path is taken.

        Args:
            file: reserved or open.
        """
        return self._submit(lambda connection: _insert(connection, "files", file))

    def opened(self, file_id: str, path: str, at: float, owed: Sequence[Owed] = ()) -> asyncio.Future[None]:
        """
        Note that a file is being written, also when it is one that goes on after it was closed.

        Args:
            file_id: of the file.
            path: the name that it really got.
            at: unix seconds of its first frame; a file that goes on keeps its first one.
            owed: the callbacks that this fact owes.
        """
        return self._change(
            f"file {file_id} is not there to be opened",
            "UPDATE files SET state = 'open', path = ?, start_at = COALESCE(start_at, ?), end_at = NULL"
            " WHERE file_id = ? AND state <> 'removing'",
            (path, at, file_id),
            owed,
        )

    def closed(self, file_id: str, contents: Contents, owed: Sequence[Owed] = ()) -> asyncio.Future[None]:
        """
        Note that a file is complete. What `opened` said is not needed for it: that may have failed on a full disk.

        Args:
            file_id: of the file.
            contents: what it holds.
            owed: the callbacks that this fact owes.
        """
        return self._submit(lambda connection: _close(connection, file_id, contents, None, owed))

    def failed(
        self, file_id: str, reason: str, contents: Contents | None, owed: Sequence[Owed] = ()
    ) -> asyncio.Future[None]:
        """
        Note that a file ended before its feed.

        Args:
            file_id: of the file.
            reason: one line.
            contents: what it holds all the same; None if there is no file, then there is no row of it any more.
            owed: the callbacks that this fact owes.
        """

        def work(connection: sqlite3.Connection) -> None:
            if contents is None:
                _discard(connection, file_id)
                owe(connection, owed)
            else:
                _close(connection, file_id, contents, reason, owed)

        return self._submit(work)

    def finished(
        self, file_id: str, contents: Contents, fault: str | None, owed: Sequence[Owed] = ()
    ) -> asyncio.Future[None]:
        """
        Note what a file holds at last that was interrupted, or failed.

        Args:
            file_id: of the file.
            contents: what it holds.
            fault: why it ended before its feed; None if it was only interrupted.
            owed: the callbacks that this fact owes.
        """
        return self._submit(lambda connection: _close(connection, file_id, contents, fault, owed))

    def tell(self, owed: Sequence[Owed]) -> asyncio.Future[None]:
        """
        Owe callbacks of a fact that is nowhere else in the index.

        Args:
            owed: the callbacks.
        """
        return self._submit(lambda connection: owe(connection, owed))

    def discard(self, file_id: str) -> asyncio.Future[None]:
        """
        Forget a file that is not on the disk: it was never opened, or its muxer removed it as empty.

        Args:
            file_id: of a file that is reserved or open.
        """
        return self._submit(lambda connection: _discard(connection, file_id))

    def wait(self, recording_id: str, at: float, owed: Sequence[Owed] = ()) -> asyncio.Future[None]:
        """
        Note that a recording has lost its publisher.

        Args:
            recording_id: of a recording that has not ended.
            at: unix seconds.
            owed: the callbacks that this fact owes.
        """
        return self._change(
            f"recording {recording_id} is not there to wait",
            "UPDATE recordings SET state = 'waiting', waiting_since = ? WHERE recording_id = ? AND state <> 'ended'",
            (at, recording_id),
            owed,
        )

    def resumed(self, recording_id: str, owed: Sequence[Owed] = ()) -> asyncio.Future[None]:
        """
        Note that a recording has its publisher again.

        Args:
            recording_id: of a recording that has not ended.
            owed: the callbacks that this fact owes.
        """
        return self._change(
            f"recording {recording_id} is not there to go on",
            "UPDATE recordings SET state = 'running', waiting_since = NULL WHERE recording_id = ? AND state <> 'ended'",
            (recording_id,),
            owed,
        )

    def ending(self, recording_id: str, at: float) -> asyncio.Future[None]:
        """
        Note that a recording was told to end: what is left of it goes on with no publisher.

        Args:
            recording_id: of a recording that has not ended.
            at: unix seconds; the first time counts.
        """
        return self._change(
            f"recording {recording_id} is not there to end",
            "UPDATE recordings SET ending_at = COALESCE(ending_at, ?) WHERE recording_id = ? AND state <> 'ended'",
            (at, recording_id),
        )

    def ended(
        self, recording_id: str, at: float, fault: str | None = None, owed: Sequence[Owed] = ()
    ) -> asyncio.Future[None]:
        """
        Note the end of a recording; the first one counts.

        Args:
            recording_id: of a recording that has not ended.
            at: unix seconds.
            fault: why, if not by its stream's end or a request.
            owed: the callbacks that this fact owes.
        """
        return self._change(
            f"recording {recording_id} is not there to end",
            "UPDATE recordings SET state = 'ended', ended_at = ?, waiting_since = NULL, fault = ?"
            " WHERE recording_id = ? AND state <> 'ended'",
            (at, fault, recording_id),
            owed,
        )

    def next_sequence(self, recording_id: str) -> asyncio.Future[int]:
        """Give a recording's next feed its number, which no other gets, whatever is killed."""
        return self._submit(lambda connection: _next_sequence(connection, recording_id))

    def unfinished(self) -> asyncio.Future[tuple[Unfinished, ...]]:
        """Find what a killed server left behind: recordings that have not ended, or have files that are not closed."""
        return self._submit(_unfinished)

    def find_task(self, task_id: str) -> asyncio.Future[Task | None]:
        """Find what a request has recorded, or still records; None if the index does not know it."""
        return self._submit(lambda connection: listing.find_task(connection, task_id))

    def find(self, file_id: str) -> asyncio.Future[Entry | None]:
        """Find a file in any state; None if there is none of that id."""
        return self._submit(lambda connection: listing.find(connection, file_id))

    def find_path(self, path: str) -> asyncio.Future[Entry | None]:
        """Find the file of a path, relative to the recordings directory, in any state; None if there is none."""
        return self._submit(lambda connection: listing.find_path(connection, path))

    def list(self, query: Query) -> asyncio.Future[tuple[Entry, ...]]:
        """List files, those that were reserved last first."""
        return self._submit(lambda connection: listing.select(connection, query))

    def closed_paths(self, after: str, limit: int) -> asyncio.Future[tuple[FileRow, ...]]:
        """
        Read closed files in the order of their paths, a part at a time.

        Args:
            after: the last path of the part before; "" to begin.
            limit: the most to read.
        """
        # "+": by the index of the states all paths would be sorted for each part.
        return self._files(
            "SELECT * FROM files WHERE path > ? AND +state = 'closed' ORDER BY path LIMIT ?", after, limit
        )

    def oldest_closed(self, limit: int) -> asyncio.Future[tuple[FileRow, ...]]:
        """Read the closed files that ended first, oldest first."""
        return self._files("SELECT * FROM files WHERE state = 'closed' ORDER BY end_at LIMIT ?", limit)

    def condemned(self) -> asyncio.Future[tuple[FileRow, ...]]:
        """Read the files that are being removed, or were when a server was killed."""
        return self._files("SELECT * FROM files WHERE state = 'removing' ORDER BY number")

    def totals(self) -> asyncio.Future[Totals]:
        """Add up the files that are closed or being removed."""
        return self._submit(_totals)

    def condemn(self, file_ids: Sequence[str]) -> asyncio.Future[tuple[str, ...]]:
        """
        Begin to remove files: from now on they are not listed, and cannot be opened again.

        Args:
            file_ids: of the files.

        Returns:
            Those of them that are closed; nothing was done to the others.
        """
        statement = "UPDATE files SET state = 'removing' WHERE file_id = ? AND state = 'closed'"
        return self._submit(
            lambda connection: tuple(each for each in file_ids if connection.execute(statement, (each,)).rowcount)
        )

    def remove(self, file_ids: Sequence[str]) -> asyncio.Future[int]:
        """
        Forget files that are off the disk; those that are reserved or open stay.

        Args:
            file_ids: of the files.

        Returns:
            How many were forgotten.
        """
        statement = "DELETE FROM files WHERE file_id = ? AND state IN ('closed', 'removing')"
        return self._submit(
            lambda connection: sum(connection.execute(statement, (each,)).rowcount for each in file_ids)
        )

    def unused(self, folders: Iterable[str], drop: Callable[[str], None]) -> asyncio.Future[None]:
        """
        Drop folders while no file can be reserved in them: a worker would find its folder gone otherwise.

        Args:
            folders: relative to the recordings directory.
            drop: called in the database's thread with each folder that no reserved or open file is in; may not raise.
        """
        return self._submit(lambda connection: _drop_unused(connection, folders, drop))

    def prune(self, before: float) -> asyncio.Future[int]:
        """
        Forget recordings that have no files any more.

        Args:
            before: unix seconds; only those that ended before it.

        Returns:
            How many there were.
        """
        return self._submit(lambda connection: connection.execute(_PRUNE, (before,)).rowcount)

    def _change(
        self, fault: str, statement: str, values: tuple[object, ...], owed: Sequence[Owed] = ()
    ) -> asyncio.Future[None]:
        def work(connection: sqlite3.Connection) -> None:
            _change_one(connection, fault, statement, values)
            owe(connection, owed)

        return self._submit(work)

    def _files(self, statement: str, *values: object) -> asyncio.Future[tuple[FileRow, ...]]:
        return self._submit(
            lambda connection: tuple(from_columns(FileRow, row) for row in connection.execute(statement, values))
        )


_UNFINISHED = """
    SELECT * FROM recordings
    WHERE state <> 'ended' OR recording_id IN (SELECT recording_id FROM files WHERE state IN ('reserved', 'open'))
    ORDER BY started_at
"""
_PRUNE = """
    DELETE FROM recordings
    WHERE state = 'ended' AND ended_at < ?
    AND NOT EXISTS (SELECT 1 FROM files WHERE files.recording_id = recordings.recording_id)
"""


def _insert(connection: sqlite3.Connection, table: str, row: RecordingRow | FileRow) -> None:
    columns = to_columns(row)
    connection.execute(
        f"INSERT INTO {table} ({', '.join(columns)}) VALUES (:{', :'.join(columns)})",  # noqa: S608 - names of our own
        columns,
    )


def _change_one(
    connection: sqlite3.Connection, fault: str, statement: str, values: tuple[object, ...] | dict[str, object]
) -> None:
    if connection.execute(statement, values).rowcount != 1:
        raise StoreError(fault)


def _close(
    connection: sqlite3.Connection, file_id: str, contents: Contents, fault: str | None, owed: Sequence[Owed]
) -> None:
    _change_one(
        connection,
        f"file {file_id} is not there to be closed",
        """
        UPDATE files SET state = 'closed', path = :path, start_at = COALESCE(start_at, :end_at - :duration_ms / 1000.0),
            end_at = :end_at, size_bytes = :size_bytes, duration_ms = :duration_ms, start_ms = :start_ms,
            video_frames = :video_frames, audio_frames = :audio_frames, key_frames = :key_frames, tracks = :tracks,
            gaps = :gaps, gap_ms = :gap_ms, jumps = :jumps, left_out = :left_out, fault = :fault
        WHERE file_id = :file_id AND state <> 'removing'
        """,
        {**to_columns(contents), "file_id": file_id, "fault": fault},
    )
    owe(connection, owed)


def _discard(connection: sqlite3.Connection, file_id: str) -> None:
    _change_one(
        connection,
        f"file {file_id} is not there to be discarded",
        "DELETE FROM files WHERE file_id = ? AND state IN ('reserved', 'open')",
        (file_id,),
    )


def _next_sequence(connection: sqlite3.Connection, recording_id: str) -> int:
    _change_one(
        connection,
        f"recording {recording_id} is not there to go on",
        "UPDATE recordings SET last_sequence = last_sequence + 1 WHERE recording_id = ? AND state <> 'ended'",
        (recording_id,),
    )
    statement = "SELECT last_sequence FROM recordings WHERE recording_id = ?"
    return int(connection.execute(statement, (recording_id,)).fetchone()[0])


def _unfinished(connection: sqlite3.Connection) -> tuple[Unfinished, ...]:
    statement = "SELECT * FROM files WHERE recording_id = ? AND state IN ('reserved', 'open') ORDER BY number"
    recordings = [from_columns(RecordingRow, row) for row in connection.execute(_UNFINISHED)]
    return tuple(
        Unfinished(
            recording,
            tuple(from_columns(FileRow, row) for row in connection.execute(statement, (recording.recording_id,))),
        )
        for recording in recordings
    )


def _totals(connection: sqlite3.Connection) -> Totals:
    statement = "SELECT COUNT(*), COALESCE(SUM(size_bytes), 0) FROM files WHERE state IN ('closed', 'removing')"
    return Totals(*connection.execute(statement).fetchone())


def _drop_unused(connection: sqlite3.Connection, folders: Iterable[str], drop: Callable[[str], None]) -> None:
    # "0" is the character after "/": what lies between is what is below the folder.
    statement = (
        "SELECT 1 FROM files WHERE path > ? || '/' AND path < ? || '0' AND state IN ('reserved', 'open') LIMIT 1"
    )
    for folder in folders:
        if connection.execute(statement, (folder, folder)).fetchone() is None:
            drop(folder)
