"""Who is owed the last of what it watches, and for how long that is waited for."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from rtmpd.web.farewell import Farewell
from tests.helpers.live_window import Feed


def viewer_of(window, *, parts_missing=0, versions_missing=0):
    """A viewer that was sent a window but for so much of it."""
    sent = {
        "playlist_version": window.version - versions_missing,
        "newest_part": window.next_part_number - 1 - parts_missing,
    }
    return _Viewer(**sent)


class _Viewer(SimpleNamespace):
    __hash__ = object.__hash__


@pytest.fixture
def window():
    feed = Feed()
    feed.group()
    feed.window.break_off()
    return feed.window


async def over(farewell):
    async with asyncio.timeout(10):
        await farewell.wait(1000.0)


async def test_nobody_is_waited_for_who_is_owed_nothing(window):
    farewell = Farewell()
    farewell.owe(viewer_of(window), window)
    farewell.owe(viewer_of(Feed(begun=False).window), Feed(begun=False).window)

    await over(farewell)


@pytest.mark.parametrize("missing", ["parts_missing", "versions_missing"])
async def test_who_misses_anything_is_waited_for_until_it_was_sent(window, missing):
    farewell = Farewell()
    viewers = [viewer_of(window, **{missing: 1}) for _ in range(2)]
    for each in viewers:
        farewell.owe(each, window)
    waiting = asyncio.ensure_future(over(farewell))
    for each in viewers:
        farewell.look(each)
        await asyncio.sleep(0)
        assert not waiting.done()
        each.playlist_version, each.newest_part = window.version, window.next_part_number - 1
        farewell.look(each)
        farewell.look(each)

    await waiting


async def test_what_viewers_do_that_nobody_waits_for_is_harmless(window):
    farewell = Farewell()
    farewell.look(viewer_of(window))

    await over(farewell)


async def test_the_wait_is_bounded(window):
    farewell = Farewell()
    farewell.owe(viewer_of(window, parts_missing=1), window)

    async with asyncio.timeout(10):
        await farewell.wait(0.001)
