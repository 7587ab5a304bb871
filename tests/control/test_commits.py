"""Commits: what follows one, who waits for one, and what becomes of those that come too late."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing

import pytest

from rtmpd.control.commits import Commits
from rtmpd.errors import NotPossible, StoreError
from tests.helpers.passing_time import pass_time
from tests.helpers.studio import logger_to, until

LONG_S = 20.0


class ByHand:
    """A database whose commits come when the test says so."""

    def __init__(self):
        self.waiting = []
        self.worked = []

    def submit(self, work):
        future = asyncio.get_running_loop().create_future()
        self.waiting.append((work, future))
        return future

    def work(self):
        """Do what waits, without committing it."""
        for work, future in self.waiting:
            try:
                self.worked.append((future, work(None), None))
            except StoreError as error:
                self.worked.append((future, None, error))
        self.waiting = []

    def commit(self, error=None):
        """Commit what was done, or fail to."""
        self.work()
        for future, result, refused in self.worked:
            if (error or refused) is not None:
                future.set_exception(error or refused)
            else:
                future.set_result(result)
        self.worked = []


class Heard:
    """What a change was told."""

    def __init__(self):
        self.then, self.late = [], []

    def change(self, commits, work=lambda _connection: "result"):
        async def change():
            async with commits.turn() as turn:
                return await turn.commit(work, lambda result: self.then.append(result) or "answer", self.late.append)

        return asyncio.ensure_future(change())


@pytest.fixture
def database():
    return ByHand()


@pytest.fixture
def heard():
    return Heard()


def commits_of(database, lines=None):
    return Commits(database, logger_to([] if lines is None else lines), timeout_s=LONG_S, retry_s=0.001)


async def begun(database):
    await until(lambda: database.waiting)


async def test_an_answer_and_what_it_means_follow_the_commit(database, heard):
    change = heard.change(commits_of(database))
    await begun(database)
    database.work()
    await asyncio.sleep(0)
    assert (heard.then, change.done()) == ([], False)

    database.commit()

    assert await change == "answer"
    assert (heard.then, heard.late) == (["result"], [])


async def test_a_database_that_refuses_leaves_nothing_done(database, heard):
    change = heard.change(commits_of(database))
    await begun(database)
    database.commit(StoreError("disk full", cause="SQLITE_FULL"))

    with pytest.raises(NotPossible, match="nothing was done: disk full") as raised:
        await change
    assert raised.value.kind == "unavailable"
    assert (heard.then, heard.late) == ([], [])


async def test_what_nobody_waits_for_any_more_is_not_begun(database, heard):
    change = heard.change(commits_of(database))
    await begun(database)
    pass_time(LONG_S)
    with pytest.raises(NotPossible, match="does not answer"):
        await change
    database.commit()
    await asyncio.sleep(0)

    assert (heard.then, heard.late) == ([], [])


async def test_a_commit_that_comes_too_late_is_set_right(database, heard):
    change = heard.change(commits_of(database))
    await begun(database)
    database.work()
    pass_time(LONG_S)
    with pytest.raises(NotPossible, match="does not answer"):
        await change
    database.commit()
    await asyncio.sleep(0)

    assert (heard.then, heard.late) == ([], ["result"])


async def test_what_a_commit_means_is_done_when_its_caller_has_gone(database, heard):
    change = heard.change(commits_of(database))
    await begun(database)
    change.cancel()
    with pytest.raises(asyncio.CancelledError):
        await change
    database.commit()
    await asyncio.sleep(0)

    assert (heard.then, heard.late) == (["result"], [])


async def test_changes_take_turns_and_none_waits_for_its_turn_for_ever(database, heard):
    commits = commits_of(database)
    first, second = heard.change(commits), Heard().change(commits)
    await begun(database)
    await asyncio.sleep(0)
    assert len(database.waiting) == 1

    pass_time(LONG_S)
    with pytest.raises(NotPossible, match="does not answer"):
        await first
    with pytest.raises(NotPossible, match="does not answer"):
        await second
    third = heard.change(commits)
    await until(lambda: len(database.waiting) > 1)
    database.commit()
    assert await third == "answer"


async def test_a_fault_in_what_a_commit_means_is_the_operations(database):
    async def change():
        async with commits_of(database).turn() as turn:
            await turn.commit(lambda _: 0, lambda zero: 1 // zero, lambda _: None)

    changing = asyncio.ensure_future(change())
    await begun(database)
    database.commit()

    with pytest.raises(ZeroDivisionError):
        await changing


@pytest.fixture
async def writing(database):
    lines = []
    commits = commits_of(database, lines=lines)
    commits.lines = lines
    task = asyncio.ensure_future(commits.run())
    yield commits
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_notes_are_written_in_their_order_and_only_the_newest_of_each_matter(database, writing):
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("CREATE TABLE notes (text)")
        for key, text in [("a", "1"), ("b", "2"), ("a", "3")]:
            writing.note(key, lambda _, text=text: connection.execute("INSERT INTO notes VALUES (?)", (text,)))
        await begun(database)
        database.commit()
        assert await writing.flush(LONG_S)

        assert [text for (text,) in connection.execute("SELECT text FROM notes")] == ["2", "3"]


async def test_notes_are_written_again_until_the_disk_takes_them_and_the_log_says_so_once(database, writing):
    tries = []
    writing.note("a", tries.append)
    for _ in range(3):
        await begun(database)
        database.commit(StoreError("disk full", cause="SQLITE_FULL"))
        await asyncio.sleep(0)
    assert not await writing.flush(0.0)
    await begun(database)
    database.commit()

    assert await writing.flush(LONG_S)
    assert len(tries) == 4
    assert [values["event"] for _, values in writing.lines] == ["pushes not written"]


async def test_a_note_that_replaces_one_on_its_way_is_written_too(database, writing):
    written = []
    writing.note("a", lambda _: written.append(1))
    await begun(database)
    writing.note("a", lambda _: written.append(2))
    database.commit()
    await begun(database)
    database.commit()

    assert await writing.flush(LONG_S)
    assert written == [1, 2]


@pytest.mark.parametrize("bug", [ZeroDivisionError(), StoreError("no such push", cause="SQLITE_CONSTRAINT_FOREIGNKEY")])
async def test_a_note_that_can_never_be_written_is_given_up_alone(database, writing, bug):
    written = []
    writing.note("a", lambda _: None)
    await begun(database)
    database.commit(bug)
    writing.note("b", written.append)
    await begun(database)
    database.commit()

    assert await writing.flush(LONG_S)
    assert written == [None]
    assert [values["event"] for _, values in writing.lines] == ["push not written"]
