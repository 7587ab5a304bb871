"""
The database: one SQLite connection in a thread of its own, which any callback of the event loop may give work.

Rule: a future is done only when what it stands for is on the disk (WAL, synchronous=FULL). Works run one at a time in
the order in which they were submitted. Those that wait together are committed together, as one sync of the disk serves
all of them; each has a savepoint, so that a work that fails undoes itself and no other.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self, TypeVar

from rtmpd.errors import StoreError, UsageError
from rtmpd.store import schema

WAITING_LIMIT = 10_000
"""Works that may wait; a disk that hangs must not fill the memory."""
GROUP_LIMIT = 256
"""Works that share a commit at most, so that the first of them does not wait for a whole backlog."""
BUSY_TIMEOUT_S = 5.0
"""For another program that looks into the database and holds a lock."""

T = TypeVar("T")


class _Job(NamedTuple):
    work: Callable[[sqlite3.Connection], Any]
    future: asyncio.Future[Any]


class _Outcome(NamedTuple):
    future: asyncio.Future[Any]
    result: Any
    error: Exception | None


class Database:
    """A database that is open; made by `open`."""

    def __init__(self, path: Path) -> None:
        """
        Prepare; use `open`.

        Args:
            path: of the database's file.
        """
        self.path = path
        self.on_change: list[Callable[[], None]] = []
        """Called in the event loop after each commit that may have changed rows; each is cheap and raises nothing."""
        self._loop = asyncio.get_running_loop()
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._waiting = 0
        self._closing = False
        self._ended = asyncio.Event()
        # A daemon: whoever forgets `close` loses nothing that was acknowledged, and the program still ends.
        self._thread = threading.Thread(target=self._serve, name="store", daemon=True)

    @classmethod
    async def open(cls, path: Path) -> Self:
        """
        Open a database; one that is missing is made, an old one is brought to the newest version.

        Args:
            path: of the database's file; its folder exists, and nobody else writes to it.

        Returns:
            The database; to be ended by `close`.

        Raises:
            StoreError: it cannot be opened, is damaged, or belongs to a newer or another program; one line says which.
        """
        database = cls(path)
        opening = _Job(lambda _: None, database._loop.create_future())
        database._take_in(opening)
        database._thread.start()
        try:
            await opening.future
        except BaseException:
            await database.close()
            raise
        return database

    @property
    def waiting(self) -> int:
        """Works that were submitted and are not done."""
        return self._waiting

    def submit(self, work: Callable[[sqlite3.Connection], T]) -> asyncio.Future[T]:
        """
        Hand over a work; call it in the event loop's thread. Nothing here waits.

        Args:
            work: runs in the database's thread, inside a transaction that it neither begins nor ends. It returns plain
                values, no cursor, and it may not block on anything but the database.

        Returns:
            The result, once it is committed; or what the work raised, when it and only it was undone. A `StoreError`
            is what SQLite refused, a commit that failed with all of its works, or WAITING_LIMIT works that wait
            already. Cancelling the future does not stop the work.

        Raises:
            UsageError: after `close`.
        """
        if self._closing:
            raise UsageError("the database is closed")
        future: asyncio.Future[T] = self._loop.create_future()
        if self._waiting >= WAITING_LIMIT:
            reason = f"{self.path}: {WAITING_LIMIT} works wait already"
            future.set_exception(
                StoreError(reason, cause="SQLITE_BUSY")
            )  # what SQLite would say; it passes as that does
        else:
            self._take_in(_Job(work, future))
        return future

    async def close(self) -> None:
        """Finish what was submitted and close the file; harmless when called again."""
        if not self._closing:
            self._closing = True
            self._jobs.put(None)
        await self._ended.wait()
        self._thread.join()

    def _take_in(self, job: _Job) -> None:
        self._waiting += 1
        self._jobs.put(job)

    def _serve(self) -> None:
        """Run the thread: every group that waits, until the end."""
        try:
            connection = _connect(self.path)
        except Exception as error:  # noqa: BLE001 - whoever opens it hears of everything
            self._refuse_all(error)
        else:
            with contextlib.closing(connection):
                while group := self._next_group():
                    changes = connection.total_changes
                    outcomes = _commit(connection, group)
                    self._tell(self._settle, outcomes, connection.total_changes != changes)
        self._tell(self._ended.set)

    def _refuse_all(self, error: Exception) -> None:
        while group := self._next_group():
            self._tell(self._settle, [_Outcome(job.future, None, error) for job in group])

    def _next_group(self) -> list[_Job]:
        """Wait for a work and take those that wait with it; none at the end."""
        group: list[_Job] = []
        job = self._jobs.get()
        while job is not None:
            group.append(job)
            if len(group) == GROUP_LIMIT or self._jobs.empty():
                return group
            job = self._jobs.get()
        if group:
            self._jobs.put(None)  # nothing comes after the end, so it is the next again
        return group

    def _tell(self, callback: Callable[..., object], *arguments: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop was closed before us: nobody is left to tell
            self._loop.call_soon_threadsafe(callback, *arguments)

    def _settle(self, outcomes: Sequence[_Outcome], changed: bool = False) -> None:  # noqa: FBT001, FBT002 - no keywords
        self._waiting -= len(outcomes)
        for future, result, error in outcomes:
            if future.done():  # cancelled by whoever waited
                continue
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)
        if changed:
            for tell in self.on_change:
                tell()


def _connect(path: Path) -> sqlite3.Connection:
    """Open, check and migrate the file."""
    try:
        # The query strings of publish URLs are in it, and with them keys. SQLite gives its other files the same mode.
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None)
    except (OSError, sqlite3.Error) as error:
        raise StoreError(f"{path}: {error}") from error
    try:
        _set_up(connection)
    except BaseException as error:
        connection.close()
        if isinstance(error, sqlite3.Error):
            error = _store_error(error)
        if isinstance(error, StoreError):
            raise StoreError(f"{path}: {error}", cause=error.cause) from error
        raise
    return connection


def _set_up(connection: sqlite3.Connection) -> None:
    connection.row_factory = sqlite3.Row
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise StoreError(f"the file system does not allow a write-ahead log (it gives {mode})")
    connection.execute("PRAGMA synchronous = FULL")
    # A damaged page is better known now than when a recording ends.
    (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise StoreError(f"damaged: {' '.join(verdict.split())}")
    schema.migrate(connection)
    connection.execute("PRAGMA foreign_keys = ON")


def _commit(connection: sqlite3.Connection, group: Sequence[_Job]) -> list[_Outcome]:
    """Run a group of works in one transaction."""
    try:
        connection.execute("BEGIN IMMEDIATE")
        outcomes = [_attempt(connection, job) for job in group]
        connection.execute("COMMIT")
    except Exception as error:  # noqa: BLE001 - whatever it was, nobody may wait for ever
        with contextlib.suppress(sqlite3.Error):  # SQLite may have rolled back by itself
            connection.execute("ROLLBACK")
        return [_Outcome(job.future, None, _presentable(error)) for job in group]
    return outcomes


def _attempt(connection: sqlite3.Connection, job: _Job) -> _Outcome:
    connection.execute("SAVEPOINT work")
    try:
        result = job.work(connection)
    except Exception as error:
        if isinstance(error, sqlite3.Error) and not connection.in_transaction:
            raise  # a full disk or a failed read can make SQLite undo the works before it as well
        connection.execute("ROLLBACK TO work")
        connection.execute("RELEASE work")
        return _Outcome(job.future, None, _presentable(error))
    connection.execute("RELEASE work")
    return _Outcome(job.future, result, None)


def _presentable(error: Exception) -> Exception:
    if isinstance(error, sqlite3.Error):
        return _store_error(error)
    if isinstance(error, StopIteration):  # a future does not take one
        return RuntimeError("a work raised StopIteration")
    return error


def _store_error(error: sqlite3.Error) -> StoreError:
    # Only errors that SQLite itself reported have a name. It says more than the text: "disk I/O error" may be a full disk.
    cause = getattr(error, "sqlite_errorname", "")
    fault = StoreError(f"{error} ({cause})" if cause else str(error), cause=cause)
    fault.__cause__ = error
    return fault
