"""The index of recordings against a model, whatever the order of its operations."""

from __future__ import annotations

import asyncio
import itertools
import sqlite3
from dataclasses import asdict, replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule

from rtmpd.errors import StoreError
from rtmpd.store import schema
from rtmpd.store.listing import Entry, Query
from rtmpd.store.recordings import RecordingIndex, Totals, Unfinished
from tests.helpers.store import contents_of, file_row, recording_row


class AtOnce:
    """A database without a thread: a work is done, or undone, when it is submitted."""

    def __init__(self, connection):
        self.connection = connection
        self.loop = asyncio.new_event_loop()

    def submit(self, work):
        future = self.loop.create_future()
        self.connection.execute("SAVEPOINT work")
        try:
            future.set_result(work(self.connection))
        except (StoreError, sqlite3.IntegrityError) as error:
            self.connection.execute("ROLLBACK TO work")
            future.set_exception(error)
        self.connection.execute("RELEASE work")
        return future


def answer(future):
    """The result; None for what was refused."""
    return None if future.exception() else (future.result(),)


PATHS = st.sampled_from(["a/1.flv", "a/2.flv", "b/1.flv", "b/2.flv", "c.flv"])
TIMES = st.integers(0, 50).map(float)


class IndexAgainstModel(RuleBasedStateMachine):
    """Any operations in any order: the index says what a pair of dictionaries says."""

    recordings = Bundle("recordings")
    files = Bundle("files")

    def __init__(self):
        super().__init__()
        connection = sqlite3.connect(":memory:", isolation_level=None)
        connection.row_factory = sqlite3.Row
        schema.migrate(connection)
        connection.execute("PRAGMA foreign_keys = ON")
        self.database = AtOnce(connection)
        self.index = RecordingIndex(self.database)
        self.numbers = itertools.count()
        self.known_recordings = {}
        self.known_files = {}

    def teardown(self):
        self.database.connection.close()
        self.database.loop.close()

    def is_free(self, path, file_id=None):
        return all(file.path != path for file in self.known_files.values() if file.file_id != file_id)

    def change(self, file_id, allowed, future, **fields):
        file = self.known_files.get(file_id)
        possible = file is not None and file.state in allowed and self.is_free(fields.get("path", file.path), file_id)
        assert (answer(future) is not None) == possible
        if possible:
            self.known_files[file_id] = replace(file, **fields)
        return possible

    @rule(target=recordings, at=TIMES)
    def begin(self, at):
        row = recording_row(f"r{next(self.numbers)}", started_at=at)
        assert answer(self.index.begin(row, []))
        self.known_recordings[row.recording_id] = row
        return row.recording_id

    @rule(target=files, recording=recordings, path=PATHS)
    def reserve(self, recording, path):
        row = file_row(f"f{next(self.numbers)}", recording, path=path)
        possible = recording in self.known_recordings and self.is_free(path)
        assert (answer(self.index.reserve(row)) is not None) == possible
        if not possible:
            return multiple()
        self.known_files[row.file_id] = row
        return row.file_id

    @rule(file=files, path=PATHS, at=TIMES)
    def open(self, file, path, at):
        known = self.known_files.get(file)
        start_at = at if known is None or known.start_at is None else known.start_at
        future = self.index.opened(file, path, at)
        fields = {"state": "open", "path": path, "start_at": start_at, "end_at": None}
        self.change(file, {"reserved", "open", "closed"}, future, **fields)

    @rule(file=files, path=PATHS, at=TIMES, size=st.integers(0, 9), fault=st.sampled_from([None, "full"]))
    def close(self, file, path, at, size, fault):
        known = self.known_files.get(file)
        contents = contents_of(file_row(), path=path, end_at=at, size_bytes=size, duration_ms=4_000)
        start_at = at - 4.0 if known is None or known.start_at is None else known.start_at
        future = self.index.failed(file, fault, contents) if fault else self.index.closed(file, contents)
        fields = {"state": "closed", "start_at": start_at, "fault": fault} | asdict(contents)
        self.change(file, {"reserved", "open", "closed"}, future, **fields)

    @rule(file=files, never_made=st.booleans())
    def discard(self, file, never_made):
        future = self.index.failed(file, "why", None) if never_made else self.index.discard(file)
        if self.change(file, {"reserved", "open"}, future):
            del self.known_files[file]

    @rule(file=files)
    def condemn(self, file):
        possible = file in self.known_files and self.known_files[file].state == "closed"
        assert answer(self.index.condemn([file])) == ((file,) if possible else (),)
        if possible:
            self.known_files[file] = replace(self.known_files[file], state="removing")

    @rule(file=files)
    def remove(self, file):
        possible = file in self.known_files and self.known_files[file].state in {"closed", "removing"}
        assert answer(self.index.remove([file])) == (int(possible),)
        if possible:
            del self.known_files[file]

    @rule(recording=recordings, at=TIMES, how=st.sampled_from(["wait", "resumed", "ended", "next_sequence"]))
    def change_recording(self, recording, at, how):
        row = self.known_recordings.get(recording)
        result = answer(getattr(self.index, how)(recording, *([at] if how in {"wait", "ended"} else [])))
        assert (result is not None) == (row is not None and row.state != "ended")
        if result is None:
            return
        changes = {
            "wait": {"state": "waiting", "waiting_since": at},
            "resumed": {"state": "running", "waiting_since": None},
            "ended": {"state": "ended", "waiting_since": None, "ended_at": at},
            "next_sequence": {"last_sequence": row.last_sequence + 1},
        }
        self.known_recordings[recording] = replace(row, **changes[how])

    @rule(before=TIMES)
    def prune(self, before):
        used = {file.recording_id for file in self.known_files.values()}
        gone = [
            recording_id
            for recording_id, row in self.known_recordings.items()
            if row.state == "ended" and row.ended_at < before and recording_id not in used
        ]
        assert answer(self.index.prune(before)) == (len(gone),)
        for recording_id in gone:
            del self.known_recordings[recording_id]

    @invariant()
    def lists_what_the_model_has(self):
        shown = [file for file in self.known_files.values() if file.state != "removing"]
        newest_first = [Entry(self.known_recordings[file.recording_id], file) for file in reversed(shown)]
        assert self.index.list(Query()).result() == tuple(newest_first)

    @invariant()
    def counts_what_the_model_has(self):
        sizes = [file.size_bytes for file in self.known_files.values() if file.state in {"closed", "removing"}]
        assert self.index.totals().result() == Totals(len(sizes), sum(sizes))
        assert [file.end_at for file in self.index.oldest_closed(99).result()] == sorted(
            file.end_at for file in self.known_files.values() if file.state == "closed"
        )

    @invariant()
    def finds_what_is_unfinished(self):
        written = {}
        for file in self.known_files.values():
            if file.state in {"reserved", "open"}:
                written.setdefault(file.recording_id, []).append(file)
        expected = {
            recording_id: Unfinished(row, tuple(written.get(recording_id, ())))
            for recording_id, row in self.known_recordings.items()
            if row.state != "ended" or recording_id in written
        }
        assert {each.recording.recording_id: each for each in self.index.unfinished().result()} == expected


TestIndexAgainstModel = IndexAgainstModel.TestCase
TestIndexAgainstModel.settings = settings(settings(), stateful_step_count=30)
