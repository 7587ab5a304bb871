"""Transport streams taken apart: tables where a segment begins and nowhere else, counters that never jump."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muxers import hls_run
from muxers.pieces import Cut, StreamError
from muxers.transport_stream import PACKET_BYTES, TransportSplitter, read_start, whole_bytes
from tests.helpers.containers import container
from tests.helpers.splits import mutated, splits

OPTIONS = tuple(hls_run._TS.items())
STREAM = container("mpegts", OPTIONS)
VIDEO, AUDIO = 0, 1
PAT, PMT, VIDEO_PID = 0, 0x1000, 0x100
TURN_MS = 2**33 // 90


def pieces_of(data, cuts=(), near_ms=0):
    splitter = TransportSplitter(near_ms)
    for cut in cuts:
        splitter.plan(cut)
    return splitter.feed(data)


def segments_of(pieces):
    segments = []
    for piece in pieces:
        if piece.starts_segment:
            segments.append(b"")
        segments[-1] += piece.data
    return segments


def packets_of(data):
    return [data[start : start + PACKET_BYTES] for start in range(0, len(data), PACKET_BYTES)]


def pid_of(packet):
    return (packet[1] & 0x1F) << 8 | packet[2]


CUTS = [Cut(1021, VIDEO), Cut(2021, VIDEO)]
SEGMENTS = segments_of(pieces_of(STREAM, CUTS))


def test_each_segment_begins_with_the_tables_and_then_the_key_frame():
    assert len(SEGMENTS) == 3
    for segment in SEGMENTS:
        pat, pmt, first, *rest = packets_of(segment)
        assert [pid_of(pat), pid_of(pmt)] == [PAT, PMT]
        assert {PAT, PMT} & {pid_of(packet) for packet in [first, *rest]} == set()
    for segment in SEGMENTS[1:]:
        first = packets_of(segment)[2]
        assert pid_of(first) == VIDEO_PID
        assert read_start(first).is_key


def test_counters_go_on_from_segment_to_segment():
    last = {}
    for packet in packets_of(b"".join(SEGMENTS)):
        pid, counter = pid_of(packet), packet[3] & 15
        if pid in last:
            assert counter == (last[pid] + bool(packet[3] & 0x10)) % 16
        last[pid] = counter
    assert len(last) == 4


def test_media_passes_through_untouched():
    def media(data):
        return [packet for packet in packets_of(data) if pid_of(packet) >= VIDEO_PID and pid_of(packet) != PMT]

    assert media(b"".join(SEGMENTS)) == media(STREAM)


def test_pieces_say_what_they_hold():
    pieces = pieces_of(STREAM, CUTS)

    assert sum(piece.parts[VIDEO].frames for piece in pieces) == 75
    assert sum(piece.key_frames for piece in pieces) == 3
    assert [piece.start_ms for piece in pieces[1:]] == [1021, 2021]
    assert [piece.starts_run for piece in pieces] == [True, False, False]
    assert [piece.video_at_key for piece in pieces] == [True, True, True]
    assert pieces[-1].end_ms == 3021


def test_a_segment_that_is_read_again_continues_its_run():
    (piece,) = pieces_of(SEGMENTS[1])

    assert not piece.starts_run
    assert (piece.start_ms, piece.video_at_key) == (1021, True)


def test_the_kinds_of_tracks_are_known_once_they_have_had_a_frame():
    splitter = TransportSplitter()
    assert splitter.kinds == {}

    splitter.feed(STREAM)
    assert splitter.kinds == {VIDEO: "video", AUDIO: "audio"}


@given(splits(STREAM))
def test_any_split_of_the_bytes_gives_the_same_segments(parts):
    splitter = TransportSplitter()
    for cut in CUTS:
        splitter.plan(cut)

    pieces = [piece for part in parts for piece in splitter.feed(part)]

    assert segments_of(pieces) == SEGMENTS
    assert splitter.rest_bytes == 0


def test_times_go_on_where_the_clock_of_the_stream_turns_over():
    start_ms = TURN_MS - 1500
    stream = container("mpegts", OPTIONS, offset_ms=start_ms)

    pieces = pieces_of(stream, [Cut(start_ms + 1021, VIDEO), Cut(start_ms + 2021, VIDEO)], start_ms)

    assert [piece.start_ms for piece in pieces] == pytest.approx([start_ms + ms for ms in (0, 1021, 2021)], abs=21)
    assert pieces[-1].end_ms == pytest.approx(start_ms + 3021, abs=1)


def test_a_cut_for_any_track_takes_the_next_frame():
    pieces = pieces_of(STREAM, [Cut(600, None)])

    assert [piece.start_ms for piece in pieces][1] == pytest.approx(600, abs=22)


def test_a_table_of_several_packets_is_put_in_whole():
    pat, pmt = next(([a, b] for a, b in itertools.pairwise(packets_of(STREAM)) if pid_of(b) == PMT))
    more = bytearray(pmt)
    more[1] &= ~0x40
    media = [packet for packet in packets_of(STREAM) if pid_of(packet) >= VIDEO_PID and pid_of(packet) != PMT]

    segments = segments_of(pieces_of(pat + pmt + more + b"".join(media), CUTS))

    assert [[pid_of(packet) for packet in packets_of(segment)[:3]] for segment in segments] == [[PAT, PMT, PMT]] * 3


@given(st.integers(0, len(SEGMENTS[0])))
def test_what_is_whole_of_a_torn_segment_has_no_torn_frame(length):
    whole = whole_bytes(SEGMENTS[0][:length])

    assert whole % PACKET_BYTES == 0
    if length % PACKET_BYTES == 0:
        assert whole == length
    elif whole:
        torn = packets_of(SEGMENTS[0])[whole // PACKET_BYTES : length // PACKET_BYTES + 1]
        assert torn[0][1] & 0x40
        assert [packet[1] & 0x40 for packet in torn[1:-1]] == [0] * len(torn[1:-1])


def test_what_follows_garbage_is_not_whole():
    assert whole_bytes(SEGMENTS[0][: 20 * PACKET_BYTES] + bytes(PACKET_BYTES)) <= 20 * PACKET_BYTES


def test_what_is_no_transport_stream_is_refused():
    with pytest.raises(StreamError, match="lost the packets"):
        TransportSplitter().feed(STREAM[:-PACKET_BYTES] + bytes(PACKET_BYTES))


@pytest.mark.parametrize("reader", [pieces_of, whole_bytes])
@given(data=mutated(st.sampled_from([STREAM, *SEGMENTS])))
def test_broken_bytes_are_read_or_refused_and_nothing_else(reader, data):
    try:
        reader(data)
    except StreamError:
        return
