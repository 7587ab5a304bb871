"""The database: acknowledged means committed, one fault undoes one work, and the loop never waits."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sqlite3
import stat
import sys
import threading

import pytest

from rtmpd.errors import RtmpdError, StoreError, UsageError
from rtmpd.store import database as database_module
from rtmpd.store import schema
from rtmpd.store.database import Database
from tests.helpers.processes import Program
from tests.helpers.store import HoldUp


@pytest.fixture
async def database(tmp_path):
    database = await Database.open(tmp_path / "rtmpd.db")
    await database.submit(lambda connection: connection.execute("CREATE TABLE t (x INTEGER UNIQUE)").close())
    yield database
    await database.close()


def insert(value):
    return lambda connection: connection.execute("INSERT INTO t VALUES (?)", (value,)).rowcount


def values(connection):
    return [x for (x,) in connection.execute("SELECT x FROM t ORDER BY x")]


def as_others_see_it(database):
    with contextlib.closing(sqlite3.connect(database.path)) as connection:
        return values(connection)


def failing(error):
    def work(connection):
        insert(-1)(connection)
        raise error

    return work


async def test_a_work_gives_its_result_once_it_is_committed(database):
    future = database.submit(insert(1))
    seen = []
    future.add_done_callback(lambda _: seen.append(as_others_see_it(database)))

    assert await future == 1
    await asyncio.sleep(0)
    assert seen == [[1]]


async def test_every_commit_is_synced_to_the_disk(database):
    def read(connection):
        pragmas = ("journal_mode", "synchronous", "foreign_keys")
        return [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in pragmas]

    assert await database.submit(read) == ["wal", 2, 1]


async def test_works_run_one_at_a_time_in_the_order_of_their_submission(database):
    order, at_once = [], []

    def work(number):
        def run(connection):
            at_once.append(number)
            assert at_once == [number]
            order.append((number, threading.current_thread().name))
            at_once.remove(number)

        return run

    await asyncio.gather(*[database.submit(work(number)) for number in range(1000)])

    assert order == [(number, "store") for number in range(1000)]


async def test_works_that_wait_together_share_one_commit(database):
    statements = []
    await database.submit(lambda connection: connection.set_trace_callback(statements.append))
    hold_up = HoldUp(database)
    waiting = [database.submit(insert(number)) for number in range(100)]
    hold_up.release()
    await asyncio.gather(*waiting)

    await database.submit(lambda connection: connection.set_trace_callback(None))
    assert statements.count("COMMIT") <= 4
    assert as_others_see_it(database) == list(range(100))


async def test_a_group_has_a_limit(database, monkeypatch):
    monkeypatch.setattr(database_module, "GROUP_LIMIT", 10)
    statements = []
    await database.submit(lambda connection: connection.set_trace_callback(statements.append))
    hold_up = HoldUp(database)
    waiting = [database.submit(insert(number)) for number in range(25)]
    hold_up.release()
    await asyncio.gather(*waiting)

    await database.submit(lambda connection: connection.set_trace_callback(None))
    sizes = [group.count("RELEASE work") for group in " ".join(statements).split("COMMIT")]
    assert sum(sizes) >= 25
    assert max(sizes) <= 10


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (ValueError("no"), ValueError),
        (UsageError("no"), UsageError),
        (sqlite3.OperationalError("no"), StoreError),
        (StopIteration(), RuntimeError),
    ],
    ids=["any", "ours", "SQLite's", "one that no future takes"],
)
async def test_a_work_that_fails_undoes_itself_and_no_other(database, error, raised):
    hold_up = HoldUp(database)
    before, failed, after = [database.submit(work) for work in (insert(1), failing(error), insert(2))]
    hold_up.release()

    assert (await before, await after) == (1, 1)
    with pytest.raises(raised):
        await failed
    assert as_others_see_it(database) == [1, 2]


async def test_a_broken_rule_of_the_tables_is_told_by_its_name(database):
    await database.submit(insert(1))

    with pytest.raises(StoreError, match=r"UNIQUE constraint failed: t\.x") as caught:
        await database.submit(insert(1))
    assert caught.value.cause == "SQLITE_CONSTRAINT_UNIQUE"
    assert not caught.value.disk_full
    assert isinstance(caught.value, RtmpdError)


async def test_when_the_commit_fails_all_of_its_works_fail_and_leave_nothing(database):
    def owes_a_parent(connection):
        connection.execute("PRAGMA defer_foreign_keys = ON")
        connection.execute("INSERT INTO child VALUES (99)")

    await database.submit(
        lambda connection: connection.execute("CREATE TABLE child (x REFERENCES t (x))").close(),
    )
    hold_up = HoldUp(database)
    waiting = [database.submit(work) for work in (insert(1), owes_a_parent, insert(2))]
    hold_up.release()
    results = await asyncio.gather(*waiting, return_exceptions=True)

    assert [type(each) for each in results] == [StoreError] * 3
    assert {str(each) for each in results} == {"FOREIGN KEY constraint failed (SQLITE_CONSTRAINT_FOREIGNKEY)"}
    assert len({id(each) for each in results}) == 3
    assert as_others_see_it(database) == []
    assert await database.submit(insert(3)) == 1


async def test_when_sqlite_gives_up_the_transaction_all_of_its_works_fail(database):
    def lose(connection):
        connection.execute("ROLLBACK")
        raise sqlite3.OperationalError("disk I/O error")

    hold_up = HoldUp(database)
    waiting = [database.submit(work) for work in (insert(1), lose, insert(2))]
    hold_up.release()
    results = await asyncio.gather(*waiting, return_exceptions=True)

    assert [str(each) for each in results] == ["disk I/O error"] * 3
    assert as_others_see_it(database) == []
    assert await database.submit(insert(3)) == 1


async def test_a_full_disk_is_recognised_and_survived(database):
    def limit(connection):
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages}").close()
        connection.execute("CREATE TABLE IF NOT EXISTS blobs (x BLOB)").close()

    def fill(connection):
        connection.execute("INSERT INTO t VALUES (7)")
        connection.execute("INSERT INTO blobs VALUES (zeroblob(1000000))")

    await database.submit(lambda connection: connection.execute("CREATE TABLE blobs (x BLOB)").close())
    await database.submit(limit)
    with pytest.raises(StoreError, match="full") as caught:
        await database.submit(fill)
    assert caught.value.disk_full
    assert caught.value.cause == "SQLITE_FULL"
    assert as_others_see_it(database) == []

    await database.submit(lambda connection: connection.execute("PRAGMA max_page_count = 1000000").close())
    await database.submit(fill)
    assert as_others_see_it(database) == [7]


async def test_shared_memory_that_finds_no_room_is_a_full_disk_too():
    assert StoreError("", cause="SQLITE_IOERR_SHMSIZE").disk_full
    assert not StoreError("").disk_full


async def test_a_work_goes_on_when_whoever_waits_for_it_is_cancelled(database):
    hold_up = HoldUp(database)
    future = database.submit(insert(1))
    waiter = asyncio.ensure_future(future)
    waiter.cancel()
    hold_up.release()
    await database.submit(insert(2))

    assert future.cancelled()
    assert as_others_see_it(database) == [1, 2]
    assert database.waiting == 0


async def test_what_may_wait_is_bounded(database, monkeypatch):
    monkeypatch.setattr(database_module, "WAITING_LIMIT", 3)
    hold_up = HoldUp(database)
    waiting = [database.submit(insert(number)) for number in range(2)]
    refused = database.submit(insert(99))

    assert database.waiting == 3
    assert refused.done()
    with pytest.raises(StoreError, match="3 works wait already") as raised:
        await refused
    assert raised.value.passes
    hold_up.release()
    await asyncio.gather(*waiting)
    await database.submit(insert(2))
    assert as_others_see_it(database) == [0, 1, 2]


async def test_the_loop_goes_on_while_a_work_takes_its_time(database):
    hold_up = HoldUp(database)
    turns = 0
    while turns < 100:
        await asyncio.sleep(0)
        turns += 1
    assert not hold_up.done.done()
    hold_up.release()
    await hold_up.done


async def test_close_finishes_what_was_submitted_and_may_be_called_again(database):
    waiting = [database.submit(insert(number)) for number in range(50)]
    await asyncio.gather(database.close(), database.close())

    assert await asyncio.gather(*waiting) == [1] * 50
    assert as_others_see_it(database) == list(range(50))
    assert not database._thread.is_alive()


async def test_a_closed_database_takes_nothing(database):
    await database.close()

    with pytest.raises(UsageError):
        database.submit(insert(1))


async def test_what_was_stored_is_there_when_it_is_opened_again(database):
    await database.submit(insert(5))
    await database.close()

    again = await Database.open(database.path)
    assert await again.submit(values) == [5]
    await again.close()


async def test_nobody_else_may_read_the_files(database):
    await database.submit(insert(1))

    names = {path.name for path in database.path.parent.iterdir()}
    assert names == {"rtmpd.db", "rtmpd.db-wal", "rtmpd.db-shm"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in database.path.parent.iterdir()} == {0o600}


async def test_a_loop_that_is_closed_without_the_database_disturbs_nobody(tmp_path):
    left = []

    async def leave():
        left.append(await Database.open(tmp_path / "rtmpd.db"))
        left.append(HoldUp(left[0]))

    await asyncio.to_thread(asyncio.run, leave())
    database, hold_up = left
    assert database._thread.daemon
    hold_up.release()
    database._jobs.put(None)
    await asyncio.to_thread(database._thread.join)


def store_threads():
    """Those of all databases: a test that failed may have left one."""
    return {thread for thread in threading.enumerate() if thread.name == "store"}


class TestOpening:
    """What cannot be opened is refused in one line, and nothing of it is changed."""

    async def refused(self, path, match):
        before, others = path.read_bytes() if path.is_file() else None, store_threads()
        with pytest.raises(StoreError, match=match) as caught:
            await Database.open(path)
        assert str(caught.value).startswith(f"{path}: ")
        assert "\n" not in str(caught.value)
        assert store_threads() <= others
        if before is not None:
            assert path.read_bytes() == before
        return caught.value

    async def test_a_folder_that_is_missing(self, tmp_path):
        await self.refused(tmp_path / "missing" / "rtmpd.db", "No such file")

    async def test_a_folder_in_the_place_of_the_file(self, tmp_path):
        await self.refused(tmp_path, "directory")

    async def test_a_file_that_is_no_database(self, tmp_path):
        path = tmp_path / "rtmpd.db"
        path.write_bytes(b"what a user keeps under this name" * 100)

        assert (await self.refused(path, "not a database")).cause == "SQLITE_NOTADB"

    async def test_a_damaged_database(self, database):
        await database.submit(lambda connection: [insert(number)(connection) for number in range(5_000)])
        await database.close()
        data = bytearray(database.path.read_bytes())
        data[-8192:-4096] = b"\x55" * 4096
        database.path.write_bytes(data)

        await self.refused(database.path, "damaged|malformed")

    async def test_a_database_of_a_newer_program(self, database):
        await database.close()
        with contextlib.closing(sqlite3.connect(database.path)) as connection:
            connection.execute(f"PRAGMA user_version = {len(schema.STEPS) + 1}")

        await self.refused(database.path, "newer")

    async def test_a_program_that_holds_a_lock_for_too_long(self, database, monkeypatch):
        monkeypatch.setattr(database_module, "BUSY_TIMEOUT_S", 0.01)
        await database.close()
        with contextlib.closing(sqlite3.connect(database.path, isolation_level=None)) as other:
            other.execute("PRAGMA locking_mode = EXCLUSIVE")
            other.execute("BEGIN EXCLUSIVE")
            await self.refused(database.path, "locked")

    async def test_a_bug_is_told_as_it_is(self, tmp_path, monkeypatch):
        def broken(connection):
            raise ZeroDivisionError

        monkeypatch.setattr(schema, "migrate", broken)

        with pytest.raises(ZeroDivisionError):
            await Database.open(tmp_path / "rtmpd.db")

    async def test_who_no_longer_waits_leaves_no_thread(self, tmp_path):
        others = store_threads()
        opening = asyncio.ensure_future(Database.open(tmp_path / "rtmpd.db"))
        await asyncio.sleep(0)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening

        assert store_threads() <= others


WRITER = """
import asyncio, pathlib, sys
from rtmpd.store.database import Database

async def main():
    database = await Database.open(pathlib.Path(sys.argv[1]))
    await database.submit(lambda c: c.execute("CREATE TABLE IF NOT EXISTS t (x INTEGER)").close())
    number = 0
    def insert(x):
        def work(connection):
            connection.execute("INSERT INTO t VALUES (?)", (x,))
            return x
        return work
    while True:
        futures = [database.submit(insert(number + i)) for i in range(7)]
        number += 7
        for future in futures:
            print(await future, flush=True)

asyncio.run(main())
"""


@pytest.mark.parametrize("acknowledged", [1, 20, 333])
async def test_what_was_acknowledged_is_there_after_kill_9(tmp_path, acknowledged):
    path = tmp_path / "rtmpd.db"
    with Program([sys.executable, "-c", WRITER, path]) as program:
        program.wait_for_line(str(acknowledged))
        program.signal(signal.SIGKILL)
        assert program.wait() == -signal.SIGKILL
        heard = [int(line) for line in program.stdout]

    database = await Database.open(path)
    stored = await database.submit(values)
    await database.close()
    assert len(heard) > acknowledged
    assert stored[: len(heard)] == heard
    assert stored == list(range(len(stored)))


async def test_a_commit_that_changed_rows_is_told_and_one_that_only_read_is_not(database):
    told = []
    database.on_change.append(lambda: told.append(as_others_see_it(database)))

    await database.submit(values)
    assert told == []
    await database.submit(insert(1))
    assert told == [[1]]
