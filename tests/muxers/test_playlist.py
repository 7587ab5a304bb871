"""Playlists: what is written is read back, nothing else is, and the rules of RFC 8216 hold."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muxers.playlist import Playlist, PlaylistError, Segment, parse, render, render_segment, round_s
from tests.helpers.splits import mutated

NAMES = st.one_of(
    st.text(min_size=1, max_size=20),
    st.sampled_from(["a%2Fb/00001.m4s", "ä ö.ts", 'x"y,z', "#EXTM3U", "a?b#c", "http://x/y", "\udcff.ts", "a\nb"]),
)
MOMENTS = st.integers(-(10**12), 10**13).map(lambda ms: datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms))


@st.composite
def playlists(draw):
    names = draw(st.lists(NAMES, max_size=6))
    fmp4 = draw(st.booleans())
    maps = draw(st.lists(NAMES, min_size=1, max_size=2)) if fmp4 else [None]
    return Playlist(
        target_duration_s=10,
        segments=tuple(
            Segment(
                name,
                draw(st.integers(0, 10_499)),
                draw(st.sampled_from(maps)),
                draw(st.booleans()),
                draw(st.none() | MOMENTS),
            )
            for name in names
        ),
        version=7 if fmp4 else 3,
        media_sequence=draw(st.integers(0, 2**64)),
        discontinuity_sequence=draw(st.integers(0, 9)),
        playlist_type=draw(st.sampled_from([None, "EVENT", "VOD"])),
        independent_segments=draw(st.booleans()),
        ended=draw(st.booleans()),
    )


@given(playlists())
def test_what_is_written_is_read_back(playlist):
    text = render(playlist)

    assert parse(text) == playlist
    assert text.isascii()


@given(playlists())
def test_a_playlist_that_grows_is_the_same_text(playlist):
    maps = [None, *(segment.map_uri for segment in playlist.segments)]
    rendered = "".join(map(render_segment, playlist.segments, maps))

    assert render(replace(playlist, segments=()), rendered) == render(playlist)


@given(mutated(playlists().map(lambda playlist: render(playlist).encode())))
def test_a_text_is_refused_or_is_exactly_what_its_values_are_written_as(data):
    text = data.decode("utf-8", "replace")
    try:
        playlist = parse(text)
    except PlaylistError:
        return
    assert render(playlist) == text


def test_a_playlist_reads_as_rfc_8216_has_it():
    moment = datetime(2026, 11, 25, 16, 30, 0, 123_999, tzinfo=timezone(timedelta(hours=1)))
    playlist = Playlist(
        target_duration_s=10,
        segments=(
            Segment("x/00000.m4s", 2000, "x/init-001.mp4", program_date_time=moment),
            Segment("x/00001.m4s", 1960, "x/init-001.mp4"),
            Segment("x/00002.m4s", 40, "x/init-002.mp4", discontinuity=True),
        ),
        playlist_type="VOD",
        independent_segments=True,
        ended=True,
    )

    assert render(playlist).splitlines() == [
        "#EXTM3U",
        "#EXT-X-VERSION:7",
        "#EXT-X-TARGETDURATION:10",
        "#EXT-X-MEDIA-SEQUENCE:0",
        "#EXT-X-PLAYLIST-TYPE:VOD",
        "#EXT-X-INDEPENDENT-SEGMENTS",
        '#EXT-X-MAP:URI="x/init-001.mp4"',
        "#EXT-X-PROGRAM-DATE-TIME:2026-11-25T15:30:00.123Z",
        "#EXTINF:2.000,",
        "x/00000.m4s",
        "#EXTINF:1.960,",
        "x/00001.m4s",
        "#EXT-X-DISCONTINUITY",
        '#EXT-X-MAP:URI="x/init-002.mp4"',
        "#EXTINF:0.040,",
        "x/00002.m4s",
        "#EXT-X-ENDLIST",
    ]


def test_escapes_in_file_names_are_escaped_themselves():
    text = render(Playlist(10, (Segment("live%2Fa b/00000.ts", 2000),), version=3))

    assert "live%252Fa%20b/00000.ts\n" in text
    assert parse(text).segments[0].uri == "live%2Fa b/00000.ts"


@pytest.mark.parametrize(
    ("segments", "version", "reason"),
    [
        ([Segment("a", 10_500)], 7, "the target is 10 s"),
        ([Segment("a", -1)], 7, "lasts -1 ms"),
        ([Segment("", 1)], 7, "empty URI"),
        ([Segment("a", 1, "")], 7, "empty URI"),
        ([Segment("a", 1, "i"), Segment("b", 1)], 7, "no initialisation section"),
        ([Segment("a", 1, "i")], 3, "version 3"),
        ([Segment("a", 1, program_date_time=datetime.fromisoformat("2026-01-01"))], 7, "time zone"),
    ],
)
def test_values_that_make_no_legal_playlist_cannot_be_put_together(segments, version, reason):
    with pytest.raises(ValueError, match=reason):
        Playlist(10, tuple(segments), version=version)


def test_no_number_of_a_playlist_is_negative():
    with pytest.raises(ValueError, match="negative"):
        Playlist(10, media_sequence=-1)


GOOD = render(Playlist(10, (Segment("a", 1500, "i"), Segment("b", 1500, "i")), ended=True))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "TARGETDURATION"),
        (GOOD[:-1], "line 10 has no end"),
        (GOOD[:-5], "line 10 has no end"),
        (GOOD.replace("#EXT-X-ENDLIST", "\n"), "line 10: a segment without its duration"),
        (GOOD + "#EXT-X-ENDLIST\n", "line 11 is not what belongs there"),
        (GOOD + "x\n", "line 11: a segment without its duration"),
        (GOOD.replace("1.500", "1.5", 1), "line 6: cannot read '1.5,'"),
        (GOOD.replace("1.500", "11.500", 1), "lasts 11500 ms"),
        (GOOD.replace("#EXTM3U\n", ""), "line 1 "),
        (GOOD.replace(":7", ":07"), "line 2 "),
        (GOOD.replace(":7", ":" + "7" * 5000), "line 2: "),
        (GOOD.replace("\na", "\n%61"), "line 7 "),
        (GOOD.replace("#EXTINF", "#EXT-X-BYTERANGE:5\n#EXTINF", 1), "line 6 "),
        (GOOD.replace("#EXT-X-ENDLIST", "# comment"), "line 10: cannot read"),
        (GOOD.replace("#EXTINF", "#EXT-X-PLAYLIST-TYPE:LIVE\n#EXTINF", 1), "line 6: unknown playlist type LIVE"),
        (GOOD.replace("#EXTINF", "#EXT-X-PROGRAM-DATE-TIME:2026-13-01T00:00:00.000Z\n#EXTINF", 1), "line 6: "),
        (GOOD.replace("\n", "\r\n"), "line 1: cannot read"),
    ],
)
def test_any_other_text_is_refused_with_its_line(text, reason):
    with pytest.raises(PlaylistError, match=reason):
        parse(text)


@pytest.mark.parametrize(("duration_ms", "seconds"), [(0, 0), (499, 0), (500, 1), (1499, 1), (1500, 2), (10_499, 10)])
def test_durations_are_rounded_to_the_nearest_second(duration_ms, seconds):
    assert round_s(duration_ms) == seconds
