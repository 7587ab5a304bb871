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
