"""A window as viewers see it."""

from __future__ import annotations

import gzip

from rtmpd.web.hls_view import View
from tests.helpers.live_window import FIRST, Feed

EDITION = "0123456789abcdef"


def lines_of(view):
    return view.playlist().plain.decode().splitlines()


def test_the_playlist_has_what_the_window_has():
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


def test_after_a_break_nothing_is_hinted_at_and_the_list_stays():
    feed = Feed()
    view = View(feed.window, EDITION)
    feed.group(parts=3)
    feed.window.break_off()

    lines = lines_of(view)

    assert lines[-1] == f"{EDITION}/{FIRST}.m4s"
    assert "#EXT-X-ENDLIST" not in lines


def test_it_is_written_and_compressed_once_for_each_version():
    feed = Feed()
    view = View(feed.window, EDITION)
    feed.part(key=True)

    first = view.playlist()
    assert view.playlist() is first
    assert first.compressed is first.compressed
    assert gzip.decompress(first.compressed) == first.plain
    feed.part()
    assert view.playlist().plain != first.plain


def test_a_player_can_begin_with_a_second_or_with_a_whole_segment():
    feed = Feed()
    view = View(feed.window, EDITION)
    feed.group(parts=4)
    assert not view.has_enough
    feed.part()
    assert view.has_enough

    short = Feed()
    view = View(short.window, EDITION)
    short.part(key=True)
    short.window.break_off()
    assert view.has_enough


def test_a_view_that_is_closed_listens_no_more():
    feed = Feed()
    view = View(feed.window, EDITION)
    View(feed.window, EDITION)
    view.close()

    assert len(feed.window.listeners) == 1
