"""A window as viewers see it."""

from __future__ import annotations

import asyncio
import gzip

from rtmpd.web import hls_view
from rtmpd.web.hls_view import View
from tests.helpers.live_window import FIRST, Feed

EDITION = "0123456789abcdef"


def lines_of(view):
    return view.playlist().plain.decode().splitlines()


async def test_the_playlist_has_what_the_window_has():
    feed = Feed(begun=True, most_segments=3)
    view = View(feed.window, EDITION)
    feed.group()
    feed.group(parts=2)

    lines = lines_of(view)

    assert f"#EXT-X-MEDIA-SEQUENCE:{FIRST}" in lines
    assert "#EXT-X-PROGRAM-DATE-TIME:1970-01-01T00:16:45.000Z" in lines
    assert lines[-5:] == [
        f"{EDITION}/{FIRST}.m4s",
        "#EXT-X-PROGRAM-DATE-TIME:1970-01-01T00:16:47.000Z",
        f'#EXT-X-PART:DURATION=0.200,URI="{EDITION}/part-10.m4s",INDEPENDENT=YES',
        f'#EXT-X-PART:DURATION=0.200,URI="{EDITION}/part-11.m4s"',
        f'#EXT-X-PRELOAD-HINT:TYPE=PART,URI="{EDITION}/part-12.m4s"',
    ]


async def test_a_gap_is_listed_as_the_segment_before_the_first():
    feed = Feed(gap_ms=2000)
    view = View(feed.window, EDITION)
    feed.group(parts=3)

    lines = lines_of(view)

    assert f"#EXT-X-MEDIA-SEQUENCE:{FIRST - 1}" in lines
    assert f"#EXT-X-DISCONTINUITY-SEQUENCE:{FIRST - 1}" in lines
    listed = lines.index("#EXT-X-GAP")
    assert lines[listed + 1 : listed + 5] == [
        "#EXT-X-PROGRAM-DATE-TIME:1970-01-01T00:16:43.000Z",
        "#EXTINF:2.000,",
        f"{EDITION}/{FIRST - 1}.m4s",
        "#EXT-X-DISCONTINUITY",
    ]
    assert feed.window.find_segment(FIRST - 1) is None


async def test_there_is_no_gap_in_a_list_of_nothing():
    view = View(Feed(gap_ms=2000).window, EDITION)

    assert "#EXT-X-GAP" not in lines_of(view)
    assert f"#EXT-X-MEDIA-SEQUENCE:{FIRST}" in lines_of(view)


async def test_after_a_break_nothing_is_hinted_at_and_the_list_stays():
    feed = Feed()
    view = View(feed.window, EDITION)
    feed.group(parts=3)
    feed.window.break_off()

    lines = lines_of(view)

    # The discontinuity that can only follow is there at once: hls.js ends where it comes with its segment.
    assert lines[-2:] == [f"{EDITION}/{FIRST}.m4s", "#EXT-X-DISCONTINUITY"]
    assert "#EXT-X-ENDLIST" not in lines


async def test_it_is_written_and_compressed_once_for_each_version():
    feed = Feed()
    view = View(feed.window, EDITION)
    feed.part(key=True)

    first = view.playlist()
    assert view.playlist() is first
    assert first.compressed is first.compressed
    assert gzip.decompress(first.compressed) == first.plain
    feed.part()
    assert view.playlist().plain != first.plain


async def test_players_can_begin_with_a_whole_segment_and_some_with_a_second():
    feed = Feed()
    view = View(feed.window, EDITION)
    feed.group(parts=4)
    assert not view.has_parts
    feed.part()
    assert view.has_parts
    assert not view.has_segment
    feed.window.break_off()
    assert view.has_segment


async def test_a_view_that_is_closed_listens_no_more():
    feed = Feed()
    view = View(feed.window, EDITION)
    View(feed.window, EDITION)
    view.close()

    assert len(feed.window.listeners) == 1


async def test_nobody_waits_for_what_has_ended(monkeypatch):
    monkeypatch.setattr(hls_view, "TARGETS_STALLED", 1000)
    monkeypatch.setattr(hls_view, "TARGETS_BLOCKED", 1000)
    feed = Feed()
    feed.group()
    view = View(feed.window, EDITION)
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        group.create_task(view.wait_for_media(FIRST + 1, 1))
        while len(view.waiting) == 0:
            await asyncio.sleep(0)
        view.end()
        group.create_task(view.wait_for_media(FIRST + 1, 1))

    assert len(view.waiting) == 0


async def test_who_waits_for_media_is_answered_when_they_come():
    feed = Feed()
    view = View(feed.window, EDITION)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(view.wait_for_media(FIRST, 1))
        await asyncio.sleep(0)
        feed.part(key=True)
        assert len(view.waiting) == 1
        feed.part()
        assert len(view.waiting) == 0

    assert task.done()


async def test_who_waits_is_not_kept_while_nothing_comes():
    feed = Feed(segment_ms=1000)
    feed.part(key=True)
    view = View(feed.window, EDITION)
    began_s = asyncio.get_running_loop().time()

    await view.wait_for_media(FIRST, 1)

    # hls.js gives a reload up after 0.8 target durations, and itself after three of them.
    assert asyncio.get_running_loop().time() - began_s >= 0.6
    assert len(view.waiting) == 0


async def let_run():
    for _ in range(10):
        await asyncio.sleep(0)


async def test_as_long_as_something_comes_who_waits_for_more_stays(monkeypatch, clock):
    monkeypatch.setattr(asyncio.get_running_loop(), "time", clock)
    feed = Feed(segment_ms=1000)
    view = View(feed.window, EDITION)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(view.wait_for_media(FIRST, 99))
        for _ in range(4):  # of three target durations that anybody may wait
            await let_run()
            feed.part(duration_ms=1)
            clock.now += 0.55  # 0.6 without a part are a stall
            await let_run()
            assert not task.done()
        clock.now += 0.1
        await let_run()

        assert task.done()


async def test_nobody_waits_longer_than_a_few_target_durations(monkeypatch):
    monkeypatch.setattr(hls_view, "TARGETS_BLOCKED", 0.01)
    view = View(Feed().window, EDITION)

    await view.wait_for_media(FIRST, 0)
    await view.wait_for_part(0)

    assert len(view.waiting) == 0
