"""The book of publications: one beginning and one end for each, whatever is written again or was lost before."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rtmpd.errors import StoreError
from rtmpd.store.database import Database
from rtmpd.store.outbox import Outbox, Owed
from rtmpd.store.publications import KEPT_S, PublicationBook, Told
from tests.helpers.push import begun, finished, publication_row, told
from tests.helpers.store import deliver_everything

ROW = publication_row("1")
DONE = replace(ROW, ended_at=1_005.0)


@pytest.fixture
async def database(tmp_path):
    database = await Database.open(tmp_path / "rtmpd.db")
    yield database
    await database.close()


@pytest.fixture
def book(database):
    return PublicationBook(database)


async def count_rows(database):
    work = "SELECT COUNT(*) FROM publications"
    return await database.submit(lambda connection: connection.execute(work).fetchone()[0])


async def test_a_publication_is_unfinished_from_its_beginning_to_its_end(database, book):
    await book.write([begun(ROW)])
    assert await book.unfinished() == (ROW,)

    await book.write([finished(DONE)])
    assert await book.unfinished() == ()
    assert told(database.path) == [(1, "1"), (0, "1")]


async def test_unfinished_ones_come_in_the_order_in_which_they_began(book):
    rows = [publication_row(sequence) for sequence in ("9", "3", "5")]
    await book.write([begun(row) for row in rows])

    assert await book.unfinished() == tuple(rows)


async def test_an_end_whose_beginning_was_never_written_tells_both(database, book):
    await book.write([finished(DONE)])

    assert told(database.path) == [(1, "1"), (0, "1")]
    assert await book.unfinished() == ()


@pytest.mark.parametrize(
    "facts",
    [
        [begun(ROW), begun(ROW), finished(DONE), finished(DONE)],
        [finished(DONE), begun(ROW)],
        [begun(ROW), finished(DONE), begun(ROW), finished(replace(DONE, ended_at=2_000.0))],
    ],
)
async def test_what_is_written_again_tells_nothing_again_even_if_it_was_delivered_meanwhile(database, book, facts):
    heard = []
    for fact in facts:
        await book.write([fact])
        heard += told(database.path)
        await database.submit(deliver_everything)

    assert heard == [(1, "1"), (0, "1")]
    assert await book.unfinished() == ()


async def test_facts_of_more_than_a_day_that_are_written_again_tell_nothing_again(database, book):
    group = [begun(ROW), finished(DONE), finished(publication_row("2", ended_at=DONE.ended_at + KEPT_S + 1))]
    heard = []
    for _ in range(2):  # the disk took the first one, and said that it did not
        await book.write(group)
        heard += told(database.path)
        await database.submit(deliver_everything)

    assert heard == [(1, "1"), (0, "1"), (1, "2"), (0, "2")]


async def test_facts_are_written_all_or_none(database, book):
    broken = publication_row("2", address=None)
    with pytest.raises(StoreError, match="NOT NULL"):
        await book.write([begun(ROW), begun(broken)])

    assert told(database.path) == []
    assert await book.unfinished() == ()


async def test_what_is_only_told_keeps_its_place(database, book):
    abnormal = Owed("a", 321, "live/s", {"sequence": "1"}, 1.0)
    await book.write([begun(ROW), Told((abnormal,)), finished(DONE)])

    assert told(database.path) == [(1, "1"), (321, "1"), (0, "1")]
    assert (await Outbox(database).pending(10))[1] == abnormal


async def test_ended_publications_are_forgotten_after_a_day_and_those_without_an_end_never(database, book):
    await book.write([begun(publication_row("never ends")), finished(DONE)])
    await book.write([finished(publication_row("2", ended_at=DONE.ended_at + KEPT_S))])
    assert await count_rows(database) == 3

    await book.write([finished(publication_row("3", ended_at=DONE.ended_at + KEPT_S + 1))])
    assert await count_rows(database) == 3
    assert [row.sequence for row in await book.unfinished()] == ["never ends"]
