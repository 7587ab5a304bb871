"""Rows for the index of recordings, and a database thread that can be held up."""

from __future__ import annotations

import threading

from rtmpd.store.rows import Contents, FileRow, RecordingRow

PATIENCE_S = 20.0


def recording_row(recording_id="r", **fields):
    row = {"app": "live", "stream": "demo", "origin": "auto", "started_at": 1_000.0, "formats": ("flv",)} | fields
    return RecordingRow(recording_id=recording_id, **row)


def file_row(file_id="f", recording_id="r", path=None, **fields):
    row = {"sequence": 1, "file_format": "flv", "path": path or f"live/demo/{file_id}.flv"} | fields
    return FileRow(file_id=file_id, recording_id=recording_id, **row)


def contents_of(file, **fields):
    return Contents(**{"path": file.path, "end_at": 2_000.0, "size_bytes": 100, "duration_ms": 10_000} | fields)


async def closed_file(index, file_id="f", recording_id="r", **contents):
    file = file_row(file_id, recording_id)
    await index.reserve(file)
    await index.opened(file_id, file.path, contents.pop("start_at", 1_000.0))
    await index.closed(file_id, contents_of(file, **contents))


class HoldUp:
    """A work that keeps the database's thread until it is released, so that what follows is one group."""

    def __init__(self, database):
        self._released = threading.Event()
        self.done = database.submit(self._work)

    def _work(self, connection):
        assert self._released.wait(PATIENCE_S)

    def release(self):
        self._released.set()


def deliver_everything(connection):
    """Empty the outbox, as the delivery does: a work for the database."""
    connection.execute("DELETE FROM deliveries")
    connection.execute("DELETE FROM outbox")
