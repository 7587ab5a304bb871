"""
The list of files, as the API shows it: newest first, a page at a time, each file with its recording.

Rule: newest is what was reserved last. That is the order of the table itself, so a page costs no sort, and it holds
while files are opened and closed and when the clock is set.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import NamedTuple

from rtmpd.store.rows import FileRow, FileState, RecordingRow, from_columns


class Entry(NamedTuple):
    """A file with the recording that it belongs to."""

    recording: RecordingRow
    file: FileRow


class Task(NamedTuple):
    """What one request has recorded."""

    recording: RecordingRow
    files: tuple[FileRow, ...]
    """Those that are open or closed, in the order of their reservation."""

    @property
    def is_told_to_end(self) -> bool:
        """Whether its end, or that it is to end, is written down."""
        return self.recording.state == "ended" or self.recording.ending_at is not None

    @property
    def is_complete(self) -> bool:
        """Whether it has ended, and all of its files are closed."""
        return self.recording.state == "ended" and all(file.state == "closed" for file in self.files)


@dataclass(frozen=True, slots=True)
class Query:
    """Which files to list; what is None does not matter."""

    app: str | None = None
    stream: str | None = None
    """The name within the application."""
    recording_id: str | None = None
    task_id: str | None = None
    state: FileState | None = None
    """None: all but those that are being removed."""
    has_begun: bool | None = None
    """False: those that are reserved only."""
    since: float | None = None
    """Unix seconds: files that began at this time or later."""
    until: float | None = None
    """Unix seconds: files that began before this time."""
    limit: int = 100
    offset: int = 0


_CONDITIONS = {
    "app": "recordings.app = :app",
    "stream": "recordings.stream = :stream",
    "recording_id": "files.recording_id = :recording_id",
    "task_id": "recordings.task_id = :task_id",
    "state": "files.state = :state",
    "has_begun": "(files.state <> 'reserved') = :has_begun",
    "since": "files.start_at >= :since",
    "until": "files.start_at < :until",
}


def find(connection: sqlite3.Connection, file_id: str) -> Entry | None:
    """Find a file in any state."""
    return next(iter(_entries(connection, "SELECT * FROM files WHERE file_id = :file_id", {"file_id": file_id})), None)


def find_path(connection: sqlite3.Connection, path: str) -> Entry | None:
    """Find the file of a path, relative to the recordings directory, in any state."""
    return next(iter(_entries(connection, "SELECT * FROM files WHERE path = :path", {"path": path})), None)


def find_task(connection: sqlite3.Connection, task_id: str) -> Task | None:
    """Find the recording of a request, and what it wrote."""
    row = connection.execute("SELECT * FROM recordings WHERE task_id = ? ORDER BY rowid DESC", (task_id,)).fetchone()
    if row is None:
        return None
    recording = from_columns(RecordingRow, row)
    files = connection.execute(
        "SELECT * FROM files WHERE recording_id = ? AND state IN ('open', 'closed') ORDER BY number",
        (recording.recording_id,),
    )
    return Task(recording, tuple(from_columns(FileRow, file) for file in files))


def select(connection: sqlite3.Connection, query: Query) -> tuple[Entry, ...]:
    """List the files that a query asks for."""
    conditions = [text for name, text in _CONDITIONS.items() if getattr(query, name) is not None]
    if query.state is None:
        conditions.append("files.state <> 'removing'")
    where = " AND ".join(conditions)
    statement = (
        f"SELECT files.* FROM files JOIN recordings USING (recording_id) WHERE {where}"  # noqa: S608 - of our constants
        " ORDER BY files.number DESC LIMIT :limit OFFSET :offset"
    )
    names = (*_CONDITIONS, "limit", "offset")
    return _entries(connection, statement, {name: getattr(query, name) for name in names})


def _entries(connection: sqlite3.Connection, statement: str, values: dict[str, object]) -> tuple[Entry, ...]:
    files = [from_columns(FileRow, row) for row in connection.execute(statement, values)]
    recordings: dict[str, RecordingRow] = {}
    for recording_id in {file.recording_id for file in files}:
        row = connection.execute("SELECT * FROM recordings WHERE recording_id = ?", (recording_id,)).fetchone()
        recordings[recording_id] = from_columns(RecordingRow, row)
    return tuple(Entry(recordings[file.recording_id], file) for file in files)
