"""Migrations: every version comes to the same tables, a step is whole or not at all, strangers are left alone."""

from __future__ import annotations

import contextlib
import sqlite3

import pytest

from rtmpd.errors import StoreError
from rtmpd.store import schema


@pytest.fixture
def connection():
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        yield connection


MEASURED = (
    "size_bytes",
    "duration_ms",
    "start_ms",
    "video_frames",
    "audio_frames",
    "key_frames",
    "gaps",
    "gap_ms",
    "jumps",
    "left_out",
)


def insert(connection, table, **columns):
    places = ", ".join(f":{name}" for name in columns)
    connection.execute(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({places})", columns)


def shape(connection):
    return connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY name").fetchall()


def pragma(connection, name):
    return connection.execute(f"PRAGMA {name}").fetchone()[0]


@pytest.fixture
def newest(connection):
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as other:
        schema.migrate(other)
        return shape(other)


@pytest.mark.parametrize("version", range(len(schema.STEPS) + 1))
def test_every_version_comes_to_the_newest_tables(connection, newest, version, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(schema, "STEPS", schema.STEPS[:version])
        schema.migrate(connection)
    assert pragma(connection, "user_version") == version

    schema.migrate(connection)

    assert pragma(connection, "user_version") == len(schema.STEPS)
    assert pragma(connection, "application_id") == schema.APPLICATION_ID
    assert shape(connection) == newest
    assert not connection.in_transaction


def test_a_later_step_keeps_what_is_stored(connection, monkeypatch):
    schema.migrate(connection)
    connection.execute(
        "INSERT INTO outbox (event_id, event_type, stream, body, created_at) VALUES ('e', 1, 'live/demo', '{}', 5.0)"
    )
    monkeypatch.setattr(schema, "STEPS", (*schema.STEPS, "ALTER TABLE outbox ADD COLUMN extra TEXT"))

    schema.migrate(connection)

    assert connection.execute("SELECT event_id, extra FROM outbox").fetchall() == [("e", None)]
    assert pragma(connection, "user_version") == len(schema.STEPS)


def test_a_step_that_fails_leaves_the_version_before_it(connection, newest, monkeypatch):
    broken = "CREATE TABLE half (x); INSERT INTO half VALUES (1); INSERT INTO nowhere VALUES (1)"
    monkeypatch.setattr(schema, "STEPS", (*schema.STEPS, broken))

    with pytest.raises(sqlite3.OperationalError, match="nowhere"):
        schema.migrate(connection)

    assert shape(connection) == newest
    assert pragma(connection, "user_version") == len(schema.STEPS) - 1
    assert not connection.in_transaction


def test_a_newer_database_is_refused_untouched(connection, newest):
    schema.migrate(connection)
    connection.execute(f"PRAGMA user_version = {len(schema.STEPS) + 1}")

    with pytest.raises(StoreError, match=f"version {len(schema.STEPS) + 1}; this program knows {len(schema.STEPS)}"):
        schema.migrate(connection)
    assert shape(connection) == newest


def test_a_database_of_another_program_is_refused_untouched(connection):
    connection.execute("CREATE TABLE bookmarks (url)")
    before = shape(connection)

    with pytest.raises(StoreError, match="another program"):
        schema.migrate(connection)
    assert shape(connection) == before


@pytest.mark.parametrize(
    ("state", "turns", "start_at", "told"),
    [
        ("running", 0, None, ""),
        ("running", 1, None, "record_start_failed"),
        ("running", 1, 5.0, "record_start_succeeded"),
        ("waiting", 0, None, ""),
        ("waiting", 2, 5.0, "record_paused"),
        ("ended", 3, 5.0, "record_ended"),
    ],
)
def test_what_was_told_last_is_concluded_for_older_recordings(connection, state, turns, start_at, told, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(schema, "STEPS", schema.STEPS[:5])
        schema.migrate(connection)
    old = {
        "state": state,
        "turns": turns,
        "app": "live",
        "stream": "demo",
        "origin": "auto",
        "started_at": 1.0,
        "last_sequence": 1,
    }
    insert(
        connection, "recordings", recording_id="r", formats="[]", record_type="video", tags="[]", stream_param="", **old
    )
    measured = dict.fromkeys(MEASURED, 0)
    file = {"sequence": 1, "file_format": "flv", "path": "a", "state": "open", "start_at": start_at, "tracks": "[]"}
    insert(connection, "files", file_id="f", recording_id="r", **file, **measured)

    schema.migrate(connection)

    assert connection.execute("SELECT told FROM recordings").fetchall() == [(told,)]
