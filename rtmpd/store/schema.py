"""
The tables, as steps from each version of the database to the next.

Rule: a step that was released is never changed; what it lacks is a new step at the end. The database's user_version is
the number of steps that it has had, so every database of every release comes to the same tables. SQLite 3.24 is enough
(no STRICT tables, no RETURNING): that is what the oldest supported systems have.
"""

from __future__ import annotations

import contextlib
import sqlite3

from rtmpd.errors import StoreError

APPLICATION_ID = 0x72746D70
""""rtmp": marks a file as a database of rtmpd, for this program and for file(1)."""

STEPS: tuple[str, ...] = (
    """
    CREATE TABLE recordings (
        recording_id TEXT NOT NULL PRIMARY KEY,
        app TEXT NOT NULL,
        stream TEXT NOT NULL,
        origin TEXT NOT NULL CHECK (origin IN ('auto', 'manual')),
        task_id TEXT,
        formats TEXT NOT NULL,
        record_type TEXT NOT NULL CHECK (record_type IN ('video', 'audio')),
        tags TEXT NOT NULL,
        started_at REAL NOT NULL,
        ended_at REAL,
        state TEXT NOT NULL CHECK (state IN ('running', 'waiting', 'ended')),
        waiting_since REAL,
        last_sequence INTEGER NOT NULL,
        stream_param TEXT NOT NULL,
        fault TEXT
    );
    CREATE INDEX recordings_by_task ON recordings (task_id) WHERE task_id IS NOT NULL;
    CREATE INDEX recordings_by_end ON recordings (state, ended_at);

    -- number: the order of reservation, which is that of the list; it is named so that VACUUM keeps it.
    CREATE TABLE files (
        number INTEGER PRIMARY KEY,
        file_id TEXT NOT NULL UNIQUE,
        recording_id TEXT NOT NULL REFERENCES recordings,
        sequence INTEGER NOT NULL,
        file_format TEXT NOT NULL,
        path TEXT NOT NULL UNIQUE,
        state TEXT NOT NULL CHECK (state IN ('reserved', 'open', 'closed', 'removing')),
        start_at REAL,
        end_at REAL,
        size_bytes INTEGER NOT NULL,
        duration_ms INTEGER NOT NULL,
        start_ms INTEGER NOT NULL,
        video_frames INTEGER NOT NULL,
        audio_frames INTEGER NOT NULL,
        key_frames INTEGER NOT NULL,
        tracks TEXT NOT NULL,
        gaps INTEGER NOT NULL,
        gap_ms INTEGER NOT NULL,
        jumps INTEGER NOT NULL,
        left_out INTEGER NOT NULL,
        fault TEXT
    );
    CREATE INDEX files_by_recording ON files (recording_id);
    CREATE INDEX files_by_end ON files (state, end_at, size_bytes);

    CREATE TABLE outbox (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        event_id TEXT NOT NULL UNIQUE,
        event_type INTEGER NOT NULL,
        stream TEXT NOT NULL,
        body TEXT NOT NULL,
        created_at REAL NOT NULL,
        attempts INTEGER NOT NULL DEFAULT 0,
        next_try_at REAL,
        dead_at REAL
    );
    """,
    """
    -- Recordings by request go on over a restart as they were asked for; turns: how many of a recording's turns were told.
    ALTER TABLE recordings ADD COLUMN file_name TEXT NOT NULL DEFAULT '';
    ALTER TABLE recordings ADD COLUMN push INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE recordings ADD COLUMN ends_at REAL;
    ALTER TABLE recordings ADD COLUMN ending_at REAL;
    ALTER TABLE recordings ADD COLUMN turns INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE recordings ADD COLUMN record_id INTEGER;
    """,
    """
    -- number: the order in which they began.
    CREATE TABLE publications (
        number INTEGER PRIMARY KEY,
        sequence TEXT NOT NULL UNIQUE,
        app TEXT NOT NULL,
        stream TEXT NOT NULL,
        started_at REAL NOT NULL,
        ended_at REAL,
        address TEXT NOT NULL,
        stream_param TEXT NOT NULL
    );
    CREATE INDEX publications_by_end ON publications (ended_at);
    """,
    """
    -- Attempts belong to a delivery to one receiver, so the outbox loses their columns; a rebuild, as SQLite drops none.
    CREATE TABLE rebuilt (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        event_id TEXT NOT NULL UNIQUE,
        event_type INTEGER NOT NULL,
        stream TEXT NOT NULL,
        body TEXT NOT NULL,
        created_at REAL NOT NULL
    );
    INSERT INTO rebuilt SELECT number, event_id, event_type, stream, body, created_at FROM outbox ORDER BY number;
    DROP TABLE outbox;
    ALTER TABLE rebuilt RENAME TO outbox;
    CREATE INDEX outbox_by_age ON outbox (created_at);

    -- The empty URL stands for the receivers that the next start will name: what is owed until then is owed to them.
    CREATE TABLE receivers (url TEXT NOT NULL PRIMARY KEY) WITHOUT ROWID;
    INSERT INTO receivers VALUES ('');

    -- since: from when its age counts. in_line: whether it keeps the order of its stream (a dead one never does again).
    -- next_try_at: null for what waits behind another of its line. failures: of its line, since the last success.
    CREATE TABLE deliveries (
        number INTEGER NOT NULL REFERENCES outbox,
        url TEXT NOT NULL,
        stream TEXT NOT NULL,
        since REAL NOT NULL,
        in_line INTEGER NOT NULL DEFAULT 1,
        attempts INTEGER NOT NULL DEFAULT 0,
        failures INTEGER NOT NULL DEFAULT 0,
        next_try_at REAL,
        last_error TEXT NOT NULL DEFAULT '',
        dead_at REAL,
        PRIMARY KEY (number, url)
    ) WITHOUT ROWID;
    CREATE INDEX deliveries_in_line ON deliveries (url, stream, number) WHERE in_line = 1;
    CREATE INDEX deliveries_first ON deliveries (url, next_try_at) WHERE failures = 0 AND next_try_at IS NOT NULL;
    CREATE INDEX deliveries_again ON deliveries (url, next_try_at) WHERE failures > 0 AND next_try_at IS NOT NULL;
    CREATE INDEX deliveries_dead ON deliveries (dead_at) WHERE dead_at IS NOT NULL;
    INSERT INTO deliveries (number, url, stream, since) SELECT number, '', stream, created_at FROM outbox;
    """,
    """
    -- formats: what the stream is recorded as while the push lasts. Ended ones are kept for a while, to be recognised.
    CREATE TABLE pushes (
        channel_id TEXT NOT NULL PRIMARY KEY,
        app TEXT NOT NULL,
        stream TEXT NOT NULL,
        mode TEXT NOT NULL CHECK (mode IN ('auto', 'manual')),
        channel_name TEXT NOT NULL,
        channel_desc TEXT NOT NULL,
        encode_type INTEGER,
        formats TEXT NOT NULL,
        record_id INTEGER,
        record_task_id TEXT,
        started_at REAL NOT NULL,
        waiting_since REAL,
        ended_at REAL
    );
    CREATE UNIQUE INDEX pushes_by_stream ON pushes (app, stream) WHERE ended_at IS NULL;
    CREATE INDEX pushes_by_end ON pushes (ended_at) WHERE ended_at IS NOT NULL;

    CREATE TABLE push_targets (
        target_id TEXT NOT NULL PRIMARY KEY,
        channel_id TEXT NOT NULL REFERENCES pushes,
        url TEXT NOT NULL,
        origin TEXT NOT NULL CHECK (origin IN ('request', 'hook')),
        added_at REAL NOT NULL,
        removed_at REAL
    );
    CREATE INDEX push_targets_by_push ON push_targets (channel_id);
    """,
    """
    -- told: what was told last of a recording's life; of those that are there already it is concluded from their rows.
    ALTER TABLE recordings ADD COLUMN told TEXT NOT NULL DEFAULT '';
    UPDATE recordings SET told = CASE
        WHEN state = 'ended' THEN 'record_ended'
        WHEN turns = 0 THEN ''
        WHEN NOT EXISTS (
            SELECT 1 FROM files WHERE files.recording_id = recordings.recording_id AND files.start_at IS NOT NULL
        ) THEN 'record_start_failed'
        WHEN state = 'waiting' THEN 'record_paused'
        ELSE 'record_start_succeeded'
    END;
    """,
    """
    -- next_number: null while the playlist grows.
    CREATE TABLE playlists (
        app TEXT NOT NULL,
        stream TEXT NOT NULL,
        next_number INTEGER,
        discontinuities INTEGER NOT NULL,
        noted_at REAL NOT NULL,
        PRIMARY KEY (app, stream)
    ) WITHOUT ROWID;
    CREATE INDEX playlists_by_age ON playlists (noted_at);
    """,
)
"""By number: the first makes version 1 of an empty database."""


def migrate(connection: sqlite3.Connection) -> None:
    """
    Bring a database to the newest version, a step at a time, each whole or not at all.

    Args:
        connection: in autocommit mode, outside a transaction.

    Raises:
        StoreError: the database is of a newer program, or of another one; nothing was changed.
        sqlite3.Error: a step failed; the database has the version before it.
    """
    version = _version(connection)
    if version > len(STEPS):
        raise StoreError(f"made by a newer rtmpd (version {version}; this program knows {len(STEPS)})")
    for number, step in enumerate(STEPS[version:], version + 1):
        try:
            # executescript would commit a transaction that is open, so the script has its own.
            connection.executescript(
                f"BEGIN IMMEDIATE; {step}; PRAGMA user_version = {number};"
                f" PRAGMA application_id = {APPLICATION_ID}; COMMIT"
            )
        except sqlite3.Error:
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            raise


def _version(connection: sqlite3.Connection) -> int:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (tables,) = connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
    if tables and application != APPLICATION_ID:
        raise StoreError("a database of another program")
    return int(version)
