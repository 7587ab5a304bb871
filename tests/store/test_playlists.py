"""Where playlists ended: one row for each stream, for a day."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rtmpd.store.database import Database
from rtmpd.store.playlists import KEPT_S, PlaylistBook, PlaylistRow

ROW = PlaylistRow("live/a", "cam", 1_800_000_000, 3, 1_000.0)


@pytest.fixture
async def book(tmp_path):
    database = await Database.open(tmp_path / "rtmpd.db")
    yield PlaylistBook(database)
    await database.close()


async def test_what_was_written_last_of_a_stream_is_read(book):
    growing = replace(ROW, next_number=None, noted_at=1_002.0)
    other = replace(ROW, stream="cam2", noted_at=1_001.0)
    for row in (ROW, other, growing):
        await book.write(row)

    assert await book.read() == (other, growing)


async def test_streams_that_were_not_heard_of_for_a_day_are_forgotten(book):
    await book.write(ROW)
    await book.write(replace(ROW, stream="cam2", noted_at=ROW.noted_at + KEPT_S))
    assert len(await book.read()) == 2

    late = replace(ROW, stream="cam3", noted_at=ROW.noted_at + KEPT_S + 1)
    await book.write(late)
    assert ROW not in await book.read()
