"""Fragmented MP4 taken apart: the same pieces in any split, cut where it was planned, and no garbage does harm."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muxers import hls_run
from muxers.fragments import FragmentSplitter, TrackHead, read_fragment, read_tracks, starts_run, walk, whole_bytes
from muxers.pieces import Cut, Part, StreamError
from tests.helpers.containers import container
from tests.helpers.splits import mutated, splits

STREAM = container("mp4", tuple(hls_run._FMP4.items()))
MEDIA = STREAM[next(box.start for box in walk(STREAM) if box.kind == b"moof") :]
INIT = STREAM[: -len(MEDIA)]
VIDEO, AUDIO = 0, 1
KEY_FRAMES_MS = [21, 1021, 2021]


def pieces_of(data, cuts=(), init=None):
    splitter = FragmentSplitter(init)
    for cut in cuts:
        splitter.plan(cut)
    return splitter.feed(data)


def test_the_pieces_are_the_stream_and_each_is_a_whole_fragment():
    splitter = FragmentSplitter()
    pieces = splitter.feed(STREAM)

    assert splitter.init == INIT
    assert splitter.rest_bytes == 0
    assert splitter.kinds == {VIDEO: "video", AUDIO: "audio"}
    assert b"".join(piece.data for piece in pieces) == MEDIA
    assert all([box.kind for box in walk(piece.data)] == [b"moof", b"mdat"] for piece in pieces)


def test_a_piece_says_what_it_holds():
    pieces = pieces_of(STREAM)

    assert sum(piece.parts[VIDEO].frames for piece in pieces) == 75
    assert sum(piece.key_frames for piece in pieces) == 3
    assert [piece.start_ms for piece in pieces if piece.video_at_key] == [0, *KEY_FRAMES_MS[1:]]
    assert [piece.starts_run for piece in pieces] == [True] + [False] * (len(pieces) - 1)
    assert pieces[0].parts[AUDIO] == Part(24, 490)
    assert pieces[-1].end_ms == 3021


def test_fragments_are_no_longer_than_half_a_second_and_a_frame():
    pieces = pieces_of(STREAM)

    assert all(piece.end_ms - piece.start_ms <= 550 for piece in pieces)


def test_a_segment_begins_with_the_key_frame_that_a_cut_was_planned_for():
    pieces = pieces_of(STREAM, [Cut(1021, VIDEO), Cut(2021, VIDEO)])

    starts = [piece for piece in pieces if piece.starts_segment]
    assert [piece.start_ms for piece in starts] == [0, 1021, 2021]
    assert all(piece.video_at_key for piece in starts)


def test_a_cut_for_any_track_takes_the_first_fragment_that_has_one_there():
    pieces = pieces_of(STREAM, [Cut(600, None), Cut(700, None)])

    assert [piece.start_ms for piece in pieces if piece.starts_segment] == [0, 1021]


def test_a_fragment_without_the_leading_track_begins_no_segment():
    stream = container("mp4", tuple(hls_run._FMP4.items()), None)

    assert [piece.starts_segment for piece in pieces_of(stream, [Cut(0, 7)])].count(True) == 1


@given(splits(STREAM))
def test_any_split_of_the_bytes_gives_the_same_pieces(parts):
    splitter = FragmentSplitter()
    splitter.plan(Cut(1021, VIDEO))

    pieces = [piece for part in parts for piece in splitter.feed(part)]

    assert pieces == pieces_of(STREAM, [Cut(1021, VIDEO)])


def test_a_segment_is_read_with_the_initialisation_section_of_its_run():
    assert pieces_of(MEDIA, init=INIT) == pieces_of(STREAM)


@given(st.integers(0, len(MEDIA)))
def test_what_is_whole_of_a_torn_segment_ends_with_its_last_whole_fragment(length):
    whole = whole_bytes(MEDIA[:length])

    ends = [0]
    for piece in pieces_of(STREAM):
        ends.append(ends[-1] + len(piece.data))
    assert whole == max(end for end in ends if end <= length)


def test_what_follows_garbage_is_not_whole():
    first = len(pieces_of(STREAM)[0].data)

    assert whole_bytes(MEDIA[:first] + b"\0\0\0\1mdat" + MEDIA[first:]) == first
    assert whole_bytes(b"\0\0\0\0mdat") == 0


def test_a_segment_tells_whether_its_container_begins_with_it():
    second = MEDIA[len(pieces_of(STREAM)[0].data) :]

    assert starts_run(MEDIA)
    assert not starts_run(second)


def test_tracks_and_their_timescales_are_read():
    assert read_tracks(INIT) == {1: TrackHead("video", 16_000), 2: TrackHead("audio", 48_000)}


def large(kind, body):
    return b"\0\0\0\1" + kind + (16 + len(body)).to_bytes(8) + body


def test_lengths_of_64_bits_are_read():
    (box,) = walk(large(b"mdat", b"12345"))

    assert box == (b"mdat", 0, 16, 21)
    assert list(walk(large(b"mdat", b"12345")[:12])) == []


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\0\0\0\7free", "a box b'free' of 7 bytes"),
        (b"\xff\0\0\0moof", "of 4278190080 bytes"),
        (b"\0\0\0\1mdat\xff\0\0\0\0\0\0\0", "of 18374686479671623680 bytes"),
        (b"\0\0\0\x08moov", "no tracks"),
        (b"\0\0\0\x10moov\0\0\0\x08trak", "cannot be read"),
        (b"\0\0\0\x08mdat", "cannot be read"),
        (b"\0\0\0\x08moof\0\0\0\x08mdat", "cannot be read"),
    ],
)
def test_what_is_no_fragmented_mp4_is_refused_with_the_reason(data, reason):
    with pytest.raises(StreamError, match=reason):
        FragmentSplitter().feed(data)


@pytest.mark.parametrize("reader", [read_tracks, read_fragment, starts_run, whole_bytes, pieces_of])
@given(data=mutated(st.sampled_from([STREAM, INIT, MEDIA, MEDIA[:600]])))
def test_broken_bytes_are_read_or_refused_and_nothing_else(reader, data):
    try:
        reader(data)
    except StreamError:
        return
