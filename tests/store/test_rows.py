"""Rows: what goes into SQLite comes out the same."""

from __future__ import annotations

import sqlite3

import pytest

from rtmpd.store.rows import FileRow, RecordingRow, from_columns, to_columns
from tests.helpers.store import file_row, recording_row

TRACK = {"kind": "video", "track_id": 0, "codec": "avc1", "width": 1280, "height": 720, "sample_rate": 0, "channels": 0}


def through_sqlite(row):
    columns = to_columns(row)
    connection = sqlite3.connect(":memory:")
    connection.row_factory = sqlite3.Row
    try:
        selected = ", ".join(f":{name} AS {name}" for name in columns)
        return from_columns(type(row), connection.execute(f"SELECT {selected}, 1 AS number", columns).fetchone())
    finally:
        connection.close()


@pytest.mark.parametrize(
    "row",
    [
        recording_row(),
        recording_row(formats=("flv", "mp4"), tags=("näme", "a,b", ""), task_id="t", ended_at=2.5, fault="a\nb"),
        recording_row(file_name="n", push=True, ends_at=3.5, ending_at=4.5, turns=7),
        file_row(),
        file_row(tracks=(TRACK, TRACK), size_bytes=2**53, start_ms=2**40, start_at=1_795_620_902.123_456, end_at=2.0),
    ],
)
def test_a_row_comes_back_equal(row):
    assert through_sqlite(row) == row


def test_every_column_of_the_tables_has_its_field():
    from rtmpd.store import schema

    connection = sqlite3.connect(":memory:", isolation_level=None)
    schema.migrate(connection)
    columns = {
        table: {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}
        for table in ("recordings", "files")
    }
    connection.close()

    assert columns["recordings"] == set(to_columns(recording_row()))
    assert columns["files"] == set(to_columns(file_row())) | {"number"}
    assert {RecordingRow, FileRow} == {type(recording_row()), type(file_row())}
