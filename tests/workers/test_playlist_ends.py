"""Where playlists go on: behind what was announced, or far away where nobody knows how far they came."""

from __future__ import annotations

import asyncio

import pytest

from rtmpd.errors import StoreError
from rtmpd.store.database import Database
from rtmpd.store.playlists import KEPT_S, PlaylistBook
from rtmpd.workers.playlist_ends import PlaylistEnds
from tests.helpers.live_window import FIRST, INIT, Feed
from tests.helpers.studio import logger_to

NOW = FIRST + 100.0
PATH = ("live", "cam")


class Shelf:
    """The ends, and what is written of them."""

    def __init__(self, rows=()):
        self.rows = []
        self.lines = []
        self.fault = None
        self.ends = PlaylistEnds(rows, self._write, logger_to(self.lines))

    def _write(self, row):
        written = asyncio.get_running_loop().create_future()
        if self.fault is None:
            self.rows.append(row)
            written.set_result(None)
        else:
            written.set_exception(self.fault)
        return written

    def note(self, feed, now=NOW, path=PATH):
        self.ends.note(*path, feed.window, now)


@pytest.fixture
async def shelf():
    return Shelf()


async def test_a_first_playlist_is_numbered_by_the_time_of_day(shelf):
    assert shelf.ends.following(*PATH, 1_800_000_000.9) == (1_800_000_000, 0, False)


async def test_a_playlist_goes_on_behind_what_was_announced_whoever_reads_the_book(tmp_path, shelf):
    database = await Database.open(tmp_path / "rtmpd.db")
    first = await PlaylistEnds.load(PlaylistBook(database), shelf.ends._log)
    feed = Feed(first_discontinuity=0)
    feed.group(parts=3)
    feed.window.break_off()
    first.note(*PATH, feed.window, NOW)
    assert first.following(*PATH, NOW) == (FIRST + 1, 1, False)
    await database.close()

    database = await Database.open(tmp_path / "rtmpd.db")
    second = await PlaylistEnds.load(PlaylistBook(database), shelf.ends._log)
    assert second.following(*PATH, NOW) == (FIRST + 1, 1, True)
    assert second.following("live", "other", NOW) == (int(NOW), 0, False)
    await database.close()


async def test_a_playlist_that_was_cut_off_goes_on_at_a_later_number_behind_a_gap_in_the_same_discontinuity(shelf):
    feed = Feed(first_discontinuity=0)
    feed.group(parts=3)
    feed.window.break_off()
    shelf.note(feed)
    feed.window.begin(INIT, NOW)
    feed.part(key=True)
    shelf.note(feed)

    assert Shelf(shelf.rows).ends.following(*PATH, NOW) == (int(NOW) + 1, 2, True)


async def test_a_gap_is_told_of_until_something_was_packaged(shelf):
    feed = Feed(first_discontinuity=0)
    feed.group(parts=3)
    feed.window.break_off()
    shelf.note(feed)

    restarted = Shelf(shelf.rows)
    number, discontinuity_sequence, is_behind_gap = restarted.ends.following(*PATH, NOW)
    again = Feed(first_number=number, first_discontinuity=discontinuity_sequence, gap_ms=2000)
    restarted.note(again)
    assert is_behind_gap
    assert restarted.ends.following(*PATH, NOW) == (FIRST + 1, 1, True)
    again.group(parts=3)
    restarted.note(again)
    again.window.break_off()
    restarted.note(again)

    assert restarted.ends.following(*PATH, NOW) == (FIRST + 2, 2, False)


async def test_nothing_is_missing_where_nothing_was_announced(shelf):
    shelf.note(Feed(first_discontinuity=0, begun=False))

    assert Shelf(shelf.rows).ends.following(*PATH, NOW) == (FIRST, 0, False)


async def test_nothing_is_written_of_a_playlist_that_only_grows(shelf):
    feed = Feed(first_discontinuity=0)
    for _ in range(3):
        feed.group()
        shelf.note(feed)

    assert [(row.next_number, row.discontinuities, row.noted_at) for row in shelf.rows] == [(None, 0, NOW)]


async def test_ends_are_forgotten_after_a_day(shelf):
    feed = Feed(first_discontinuity=0)
    feed.part(key=True)
    feed.window.break_off()
    shelf.note(feed)
    shelf.note(feed, NOW + KEPT_S, ("live", "other"))
    assert shelf.ends.following(*PATH, NOW) == (FIRST + 1, 1, False)
    shelf.note(feed, NOW + KEPT_S + 1, ("live", "third"))

    assert shelf.ends.following(*PATH, NOW) == (int(NOW), 0, False)


async def test_an_end_that_cannot_be_stored_is_told_and_known_until_the_server_ends(shelf):
    shelf.fault = StoreError("database or disk is full", cause="SQLITE_FULL")
    feed = Feed(first_discontinuity=0)
    feed.part(key=True)
    feed.window.break_off()
    shelf.note(feed)
    await asyncio.sleep(0)

    ((level, line),) = shelf.lines
    assert (level, line["event"], line["stream"]) == ("warning", "playlist's end not stored", "live/cam")
    assert shelf.ends.following(*PATH, NOW) == (FIRST + 1, 1, False)
