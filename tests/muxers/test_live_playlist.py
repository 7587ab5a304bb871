"""Playlists of live streams: their text, and what hls.js reads out of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest

from muxers.live_playlist import LivePart, LivePlaylist, LiveSegment, render
from tests.helpers import hls_js

START = datetime(2026, 11, 25, 12, 0, 0, 123_456, tzinfo=UTC)


def segment_of(number, parts=10, *, whole=True, part_ms=200, init=0, is_discontinuity=False, independent=True):
    return LiveSegment(
        uri=f"e/{number}.m4s" if whole else None,
        map_uri=f"e/init-{init}.m4s",
        parts=[
            LivePart(f"e/part-{number * 10 + each}.m4s", part_ms, independent and each == 0) for each in range(parts)
        ],
        program_date_time=START + timedelta(seconds=2 * number),
        is_discontinuity=is_discontinuity,
    )


def playlist_of(*segments, **values):
    defaults = {"target_duration_s": 2, "media_sequence": 7, "discontinuity_sequence": 3, "part_ms": 200}
    return LivePlaylist(segments=segments, **{**defaults, **values})


GROWING = playlist_of(segment_of(0, 2), segment_of(1, 1, whole=False), hint_uri="e/part-11.m4s", target_duration_s=1)


def test_the_text_is_what_the_specification_wants():
    assert render(GROWING) == (
        "#EXTM3U\n"
        "#EXT-X-VERSION:7\n"
        "#EXT-X-TARGETDURATION:1\n"
        "#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=1.000,HOLD-BACK=3.000\n"
        "#EXT-X-PART-INF:PART-TARGET=0.200\n"
        "#EXT-X-MEDIA-SEQUENCE:7\n"
        "#EXT-X-DISCONTINUITY-SEQUENCE:3\n"
        "#EXT-X-INDEPENDENT-SEGMENTS\n"
        '#EXT-X-MAP:URI="e/init-0.m4s"\n'
        "#EXT-X-PROGRAM-DATE-TIME:2026-11-25T12:00:00.123Z\n"
        '#EXT-X-PART:DURATION=0.200,URI="e/part-0.m4s",INDEPENDENT=YES\n'
        '#EXT-X-PART:DURATION=0.200,URI="e/part-1.m4s"\n'
        "#EXTINF:0.400,\n"
        "e/0.m4s\n"
        "#EXT-X-PROGRAM-DATE-TIME:2026-11-25T12:00:02.123Z\n"
        '#EXT-X-PART:DURATION=0.200,URI="e/part-10.m4s",INDEPENDENT=YES\n'
        '#EXT-X-PRELOAD-HINT:TYPE=PART,URI="e/part-11.m4s"\n'
    )


def lines_of(playlist, beginning):
    return [line for line in render(playlist).splitlines() if line.startswith(beginning)]


def test_parts_are_listed_for_the_last_three_target_durations_only():
    listed = lines_of(playlist_of(*map(segment_of, range(6)), segment_of(6, 5, whole=False)), "#EXT-X-PART:")

    # 1 s is in the growing one; of 6 s, 5 lie before it, which reach into the third of three whole ones.
    assert len(listed) == 3 * 10 + 5
    assert '"e/part-30.m4s"' in listed[0]


def test_what_is_missing_is_said_to_be_missing():
    gap = LiveSegment("e/6.m4s", "e/init-0.m4s", (), START, gap_ms=2000)
    text = render(playlist_of(gap, segment_of(1, 2, is_discontinuity=True), media_sequence=6))

    assert (
        "#EXT-X-INDEPENDENT-SEGMENTS\n"
        "#EXT-X-GAP\n"
        "#EXT-X-PROGRAM-DATE-TIME:2026-11-25T12:00:00.123Z\n"
        "#EXTINF:2.000,\n"
        "e/6.m4s\n"
        "#EXT-X-DISCONTINUITY\n"
        '#EXT-X-MAP:URI="e/init-0.m4s"\n'
    ) in text


def test_longer_target_durations_list_more_parts():
    listed = lines_of(playlist_of(*map(segment_of, range(6)), target_duration_s=4), "#EXT-X-PART:")

    assert len(listed) == 60


def test_a_part_that_is_longer_than_usual_counts_while_it_is_listed():
    long = replace(segment_of(0), parts=[LivePart("e/part-0.m4s", 700)])

    assert lines_of(playlist_of(long), "#EXT-X-PART-INF") == ["#EXT-X-PART-INF:PART-TARGET=0.700"]
    assert "PART-HOLD-BACK=2.100," in render(playlist_of(long))
    others = map(segment_of, range(1, 4))
    assert lines_of(playlist_of(long, *others), "#EXT-X-PART-INF") == ["#EXT-X-PART-INF:PART-TARGET=0.200"]


def test_segments_are_called_independent_only_if_all_of_them_are():
    dependent = segment_of(1, independent=False)

    assert lines_of(playlist_of(segment_of(0), dependent), "#EXT-X-INDEPENDENT") == []


def test_a_discontinuity_names_its_initialisation_section_again():
    playlist = playlist_of(
        segment_of(0), segment_of(1, is_discontinuity=True), segment_of(2, init=1), hint_uri="e/part-30.m4s"
    )

    assert lines_of(playlist, ("#EXT-X-DISCONTINUITY", "#EXT-X-MAP", "#EXTINF"))[1:] == [
        '#EXT-X-MAP:URI="e/init-0.m4s"',
        "#EXTINF:2.000,",
        "#EXT-X-DISCONTINUITY",
        '#EXT-X-MAP:URI="e/init-0.m4s"',
        "#EXTINF:2.000,",
        '#EXT-X-MAP:URI="e/init-1.m4s"',
        "#EXTINF:2.000,",
    ]


@pytest.mark.parametrize(
    ("follows", "last"),
    [
        ({"hint_uri": "e/part-20.m4s"}, '#EXT-X-PRELOAD-HINT:TYPE=PART,URI="e/part-20.m4s"'),
        ({}, "#EXT-X-DISCONTINUITY"),
    ],
)
def test_a_playlist_ends_with_what_follows_it(follows, last):
    assert render(playlist_of(segment_of(0), segment_of(1), **follows)).splitlines()[-1] == last


def test_dates_are_written_in_utc():
    elsewhere = replace(segment_of(0), program_date_time=START.astimezone(timezone(timedelta(hours=2))))

    assert lines_of(playlist_of(elsewhere), "#EXT-X-PROGRAM-DATE-TIME") == [
        "#EXT-X-PROGRAM-DATE-TIME:2026-11-25T12:00:00.123Z"
    ]


@pytest.mark.peer("node")
@pytest.mark.peer("npm")
def test_hls_js_reads_what_was_meant(tmp_path):
    bundles = hls_js.install(tmp_path)
    moving = playlist_of(
        *map(segment_of, range(3)),
        segment_of(3, is_discontinuity=True, init=1),
        segment_of(4, 3, whole=False, init=1),
        hint_uri="e/part-43.m4s",
    )
    broken_off = playlist_of(*map(segment_of, range(3)))
    resumed = playlist_of(
        *map(segment_of, range(3)), segment_of(3, 1, whole=False, is_discontinuity=True), hint_uri="e/x"
    )

    growing, level, ended, going_on = hls_js.parse(bundles, [*map(render, (GROWING, moving, broken_off, resumed))])

    assert [each["error"] for each in (growing, level, ended)] == [None, None, None]
    assert (level["target"], level["partTarget"], level["partHoldBack"], level["holdBack"]) == (2, 0.2, 1, 6)
    assert (level["blocks"], level["live"], ended["live"], ended["hint"]) == (True, True, True, None)
    assert (ended["next"], going_on["next"]) == ([10, 4], [10, 4])
    assert [(each["number"], each["discontinuities"], each["uri"], each["init"]) for each in level["segments"]] == [
        (7, 3, "e/0.m4s", "e/init-0.m4s"),
        (8, 3, "e/1.m4s", "e/init-0.m4s"),
        (9, 3, "e/2.m4s", "e/init-0.m4s"),
        (10, 4, "e/3.m4s", "e/init-1.m4s"),
    ]
    assert [each["date"] - level["segments"][0]["date"] for each in level["segments"]] == [0, 2000, 4000, 6000]
    assert [each["duration"] for each in level["segments"]] == [2] * 4
    assert (level["lastPart"], level["lastPartIndex"], level["hint"]) == (11, 2, "e/part-43.m4s")
    assert [part["uri"] for part in level["parts"] if part["independent"]] == [
        f"e/part-{n}.m4s" for n in (10, 20, 30, 40)
    ]
    assert [part["discontinuities"] for part in level["parts"]] == [3] * 20 + [4] * 13
    assert growing["parts"][-1]["uri"] == "e/part-10.m4s"
