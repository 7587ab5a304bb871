"""The chunk reader against RTMP 1.0 section 5.3.1, the habits of real peers, and hostile ones."""

from __future__ import annotations

import time

import pytest

from rtmpd.errors import ChunkError, LimitExceeded
from rtmpd.wire.chunk_reader import LARGEST_CHUNK_SIZE, LONGEST_HEADER_BYTES, ChunkReader
from rtmpd.wire.messages import ABORT, SET_CHUNK_SIZE, Message
from tests.helpers.chunks import (
    NO_LIMITS,
    VECTORS,
    FreeChunkWriter,
    abort,
    basic_header,
    header,
    read,
    read_in_all_ways,
    set_chunk_size,
)


def video(body, timestamp_ms=0, csid=6, msid=1):
    return Message(9, timestamp_ms, msid, bytes(body), csid)


def pattern(size):
    return bytes(index % 251 for index in range(size))


@pytest.mark.parametrize(("wire", "message"), VECTORS)
def test_hand_made_vectors_are_read(wire, message):
    assert read_in_all_ways(wire).messages == [message]


def test_a_regression_written_as_a_delta_of_almost_2_to_the_32_goes_back():
    wire = header(0, 4, timestamp=1000, length=3, msid=1) + b"abc"
    wire += bytes.fromhex("44 ffffff 000003 09 ffffffec") + b"def"
    assert read_in_all_ways(wire).messages == [video(b"abc", 1000, 4), video(b"def", 980, 4)]


# Header forms.


@pytest.mark.parametrize("csid", [2, 3, 63, 64, 319, 320, 65599])
@pytest.mark.parametrize("long_form", [False, True])
@pytest.mark.parametrize("size", [0, 1, 128, 129, 1000])
def test_each_form_of_the_basic_header_is_understood(csid, long_form, size):
    writer = FreeChunkWriter()
    first, second = video(pattern(size), 40, csid), video(pattern(size), 80, csid)
    wire = writer.write(first, long_form=long_form) + writer.write(second, fmt=3, long_form=long_form)
    assert read_in_all_ways(wire).messages == [first, second]


def test_a_truncated_header_is_waited_for():
    wire = header(0, 65599, timestamp=0xFFFFFF, length=1, extension=b"\1\0\0\0")
    assert len(wire) == LONGEST_HEADER_BYTES
    for size in range(len(wire)):
        reader = ChunkReader(body_limits=NO_LIMITS)
        assert read(wire[:size], reader=reader).messages == []
        assert len(reader._header) == size
        assert read(wire[size:] + b"x", reader=reader).messages == [video(b"x", 0x1000000, 65599, msid=0)]


def test_fmt_1_on_a_fresh_chunk_stream_starts_from_zero():
    wire = header(1, 2, timestamp=5, length=6, type_id=4) + bytes(6)
    assert read_in_all_ways(wire).messages == [Message(4, 5, 0, bytes(6), 2)]


@pytest.mark.parametrize("fmt", [2, 3])
@pytest.mark.parametrize("csid", [5, 64, 400])
def test_fmt_2_or_3_on_a_fresh_chunk_stream_is_an_error_at_its_first_byte(fmt, csid):
    before = header(0, 4, length=2, msid=1) + b"ok"
    outcome = read_in_all_ways(before + header(fmt, csid, timestamp=1) + b"rest", offset=3073)
    assert outcome.messages == [video(b"ok", 0, 4)]
    assert (outcome.error, outcome.offset) == (ChunkError, 3073 + len(before))


@pytest.mark.parametrize("fmt", [0, 1, 2])
@pytest.mark.parametrize("length", [200, 300, 10])
def test_a_new_header_in_mid_message_is_an_error(fmt, length):
    before = header(0, 4, length=200, msid=1) + bytes(128)
    outcome = read_in_all_ways(before + header(fmt, 4, length=length) + bytes(200))
    assert outcome.messages == []
    assert (outcome.error, outcome.offset) == (ChunkError, len(before))


def test_fmt_2_keeps_length_type_and_message_stream():
    wire = header(0, 4, timestamp=10, length=2, type_id=8, msid=7) + b"ab" + header(2, 4, timestamp=5) + b"cd"
    assert read_in_all_ways(wire).messages == [Message(8, 10, 7, b"ab", 4), Message(8, 15, 7, b"cd", 4)]


# Timestamps.


def test_fmt_3_after_fmt_0_adds_the_timestamp_itself():
    wire = header(0, 4, timestamp=1000, length=1, msid=1) + b"a" + basic_header(3, 4) + b"b"
    assert [message.timestamp_ms for message in read_in_all_ways(wire).messages] == [1000, 2000]


@pytest.mark.parametrize("fmt", [1, 2])
def test_fmt_3_repeats_the_last_delta(fmt):
    wire = header(0, 4, timestamp=1000, length=1, msid=1) + b"a" + header(fmt, 4, timestamp=21, length=1) + b"b"
    wire += (basic_header(3, 4) + b"c") * 2
    assert [message.timestamp_ms for message in read_in_all_ways(wire).messages] == [1000, 1021, 1042, 1063]


def test_a_continuation_does_not_add_the_delta():
    wire = FreeChunkWriter().write(video(pattern(500), 1000)) + header(1, 6, timestamp=1, length=1) + b"b"
    assert [message.timestamp_ms for message in read_in_all_ways(wire).messages] == [1000, 1001]


@pytest.mark.parametrize("edge", [1 << 24, 1 << 31, 1 << 32])
@pytest.mark.parametrize("size", [100, 200])
@pytest.mark.parametrize("formats", [(0, 1, 1, 1), (0, 1, 2, 2), (0, 1, 3, 3)])
def test_timestamps_add_up_across_wraps(edge, size, formats):
    writer = FreeChunkWriter()
    sent = [video(pattern(size), (edge - 50 + 20 * step) % (1 << 32)) for step in range(4)]
    wire = b"".join(writer.write(message, fmt=fmt) for message, fmt in zip(sent, formats, strict=True))
    assert read_in_all_ways(wire).messages == sent


def test_an_extended_timestamp_may_hold_a_small_value():
    writer = FreeChunkWriter()
    sent = [video(pattern(300), 5), video(pattern(300), 9)]
    wire = writer.write(sent[0], force_extension=True) + writer.write(sent[1], fmt=2, force_extension=True)
    assert read_in_all_ways(wire).messages == sent


def test_a_chunk_stream_leaves_its_extended_timestamp_with_the_next_full_header():
    sent = [video(pattern(300), 0xFFFFFFF0), video(pattern(300), 4), video(pattern(300), 24)]
    writer = FreeChunkWriter()
    wire = b"".join(writer.write(message, fmt=fmt) for message, fmt in zip(sent, (0, 2, 3), strict=True))
    assert read_in_all_ways(wire).messages == sent


# Extended timestamps that are repeated, or not.


@pytest.mark.parametrize("size", [129, 130, 131, 132, 300])
@pytest.mark.parametrize("repeats", [True, False])
def test_both_habits_are_recognised_whatever_the_last_chunk_holds(size, repeats):
    writer = FreeChunkWriter(repeats_within=repeats, repeats_at_start=repeats)
    sent = [video(b"\x55" * size, 0x20000000), video(b"\x55" * size, 0x40000000)]
    wire = writer.write(sent[0]) + writer.write(sent[1], fmt=3)
    assert read_in_all_ways(wire).messages == sent


@pytest.mark.parametrize("size", [129, 131, 400])
def test_payload_that_equals_the_timestamp_is_payload_once_the_peer_was_seen_not_repeating(size):
    stamp = 0x01010101
    writer = FreeChunkWriter(repeats_within=False, repeats_at_start=False)
    sent = [video(b"\x55" * 200, stamp, 4), video(b"\1" * size, stamp, 6), video(b"\1" * size, 2 * stamp, 6)]
    wire = b"".join(writer.write(message, fmt=fmt) for message, fmt in zip(sent, (0, 0, 3), strict=True))
    assert read_in_all_ways(wire).messages == sent


def test_payload_that_begins_like_the_timestamp_only_delays_the_decision():
    head = header(0, 6, timestamp=0xFFFFFF, length=130, msid=1, extension=b"\1\2\3\4")
    reader = ChunkReader(body_limits=NO_LIMITS)
    assert read(head + b"\x55" * 128 + b"\xc6\1\2", reader=reader).messages == []
    following = header(0, 4, length=1, msid=1) + b"x"
    outcome = read(following, range(len(following)), reader=reader)
    assert outcome.messages == [video(b"\x55" * 128 + b"\1\2", 0x01020304), video(b"x", 0, 4)]


def test_a_peer_that_repeats_may_not_stop_in_mid_message():
    writer = FreeChunkWriter()
    before = writer.write(video(b"\x55" * 200, 0x20000000)) + header(
        0, 6, timestamp=0xFFFFFF, length=200, msid=1, extension=b"\x21\0\0\0"
    )
    outcome = read_in_all_ways(before + b"\x55" * 128 + b"\xc6" + b"\x55" * 72)
    assert outcome.messages == [video(b"\x55" * 200, 0x20000000)]
    assert (outcome.error, outcome.offset) == (ChunkError, len(before) + 128)


def test_a_repetition_where_a_message_begins_says_nothing_about_mid_message():
    writer = FreeChunkWriter(repeats_within=False)
    sent = [video(b"a", 0x20000000), video(b"b", 0x40000000), video(b"\x55" * 300, 0x50000000)]
    wire = b"".join(writer.write(message, fmt=fmt) for message, fmt in zip(sent, (0, 3, 0), strict=True))
    assert read_in_all_ways(wire).messages == sent


def test_a_peer_that_repeats_may_leave_it_out_where_a_message_begins_as_librtmp_does():
    writer = FreeChunkWriter(repeats_at_start=False)
    sent = [video(b"\x55" * 200, 100), video(b"\x55" * 200, 80), video(b"\x55" * 200, 60), video(b"\x55" * 200, 40)]
    wire = b"".join(writer.write(message, fmt=fmt) for message, fmt in zip(sent, (0, 2, 3, 3), strict=True))
    assert read_in_all_ways(wire).messages == sent


# Runs of chunks.


@pytest.mark.parametrize("chunk_size", [128, 129, 1000, 4096, 65536])
@pytest.mark.parametrize("size", [0, 1, 127, 128, 129, 255, 256, 257, 4095, 4096, 4097, 100_000])
def test_bodies_of_any_size_come_out_whole(chunk_size, size):
    writer = FreeChunkWriter(chunk_size)
    sent = [video(pattern(size), 40 * index) for index in range(3)]
    wire = set_chunk_size(chunk_size) + b"".join(writer.write(message) for message in sent)
    assert read(wire).media == sent
    assert read(wire, range(1, len(wire), 977)).media == sent


def test_every_cut_of_a_message_in_chunks_gives_the_same():
    writer = FreeChunkWriter()
    sent = [video(b"\xc6" * 700, 10), video(b"\xc6" * 700, 20)]
    wire = writer.write(sent[0]) + writer.write(sent[1], fmt=3)
    for cut in range(len(wire)):
        assert read(wire, [cut, cut + 1]).messages == sent


def test_chunks_of_two_messages_may_alternate():
    writer = FreeChunkWriter()
    first, second = video(pattern(1000), 1, 6), Message(8, 2, 1, pattern(600), 4)
    ways = [writer.chunks(first), writer.chunks(second)]
    wire = b""
    while ways:
        way = ways.pop(0)
        chunk = next(way, None)
        if chunk is not None:
            wire += chunk
            ways.append(way)
    assert read_in_all_ways(wire).messages == [second, first]


def test_another_chunk_stream_may_break_a_run_anywhere():
    for broken_after in range(1, 6):
        writer = FreeChunkWriter()
        chunks = list(writer.chunks(video(pattern(700), 1)))
        audio = Message(8, 2, 1, b"\xaf\1abc", 4)
        wire = b"".join([*chunks[:broken_after], writer.write(audio), *chunks[broken_after:]])
        assert read_in_all_ways(wire).messages == [audio, video(pattern(700), 1)]


def test_a_new_chunk_size_holds_for_the_rest_of_a_message_under_way():
    writer = FreeChunkWriter()
    message = video(pattern(5000), 7)
    way = writer.chunks(message)
    wire = next(way) + next(way) + set_chunk_size(1000)
    writer.chunk_size = 1000
    wire += next(way) + set_chunk_size(300)
    writer.chunk_size = 300
    wire += b"".join(way)
    assert read_in_all_ways(wire).media == [message]


# Protocol control messages.


@pytest.mark.parametrize("size", [128, 1 << 16, (1 << 24) - 1, 1 << 24, (1 << 31) - 1])
def test_chunk_sizes_are_taken_and_clamped_to_what_a_message_can_fill(size):
    reader = ChunkReader(body_limits=NO_LIMITS)
    body = pattern(3000)
    chunks = FreeChunkWriter(size).write(video(body))
    outcome = read(set_chunk_size(size) + chunks, reader=reader)
    assert reader.chunk_size == min(size, LARGEST_CHUNK_SIZE)
    assert outcome.messages == [Message(SET_CHUNK_SIZE, 0, 0, size.to_bytes(4, "big"), 2), video(body)]


@pytest.mark.parametrize("size", [0, 1, 127, 1 << 31, (1 << 32) - 1])
def test_chunk_sizes_that_nobody_needs_are_refused(size):
    wire = set_chunk_size(size)
    outcome = read_in_all_ways(wire + b"more")
    assert (outcome.messages, outcome.error, outcome.offset) == ([], ChunkError, len(wire))


@pytest.mark.parametrize("type_id", [SET_CHUNK_SIZE, ABORT])
@pytest.mark.parametrize("size", [0, 3, 5, 200])
def test_control_bodies_of_another_length_than_4_are_refused(type_id, size):
    wire = FreeChunkWriter().write(Message(type_id, 0, 0, bytes(size), 2))
    outcome = read_in_all_ways(wire + b"more")
    assert (outcome.messages, outcome.error, outcome.offset) == ([], ChunkError, len(wire))


def test_abort_drops_the_message_under_way_and_keeps_its_timestamp_as_base():
    start = header(0, 4, timestamp=1000, length=300, msid=1) + bytes(128)
    wire = start + abort(4) + header(1, 4, timestamp=10, length=2) + b"ok"
    assert read_in_all_ways(wire).media == [video(b"ok", 1010, 4)]


def test_after_an_abort_fmt_3_begins_a_new_message():
    start = header(0, 4, timestamp=1000, length=130, msid=1) + bytes(128)
    wire = start + abort(4) + basic_header(3, 4) + b"x" * 128 + basic_header(3, 4) + b"yz"
    assert read_in_all_ways(wire).media == [video(b"x" * 128 + b"yz", 2000, 4)]


@pytest.mark.parametrize("of_csid", [0, 2, 4, 77, 0xFFFFFFFF])
def test_abort_of_a_chunk_stream_without_a_message_does_nothing(of_csid):
    writer = FreeChunkWriter()
    first, second = video(b"a", 10, 4), video(b"b", 30, 4)
    wire = writer.write(first) + abort(of_csid) + writer.write(second, fmt=2)
    outcome = read_in_all_ways(wire)
    assert outcome.media == [first, second]
    assert len(outcome.messages) == 3


# Limits.


def test_a_body_longer_than_its_type_allows_is_refused_at_its_header():
    limits = list(NO_LIMITS)
    limits[9] = 1000
    before = FreeChunkWriter().write(video(bytes(1000)))
    allowed = Message(8, 0, 1, bytes(1001), 4)
    before += FreeChunkWriter().write(allowed)
    outcome = read_in_all_ways(before + header(0, 6, length=1001), body_limits=limits)
    assert outcome.messages == [video(bytes(1000)), allowed]
    assert (outcome.error, outcome.offset) == (LimitExceeded, len(before))


def test_a_whole_body_longer_than_its_type_allows_is_refused_too():
    limits = [10] * 256
    wire = header(0, 6, length=5) + b"short" + header(0, 6, length=11) + b"longer body"
    outcome = read_in_all_ways(wire, body_limits=limits)
    assert [message.body for message in outcome.messages] == [b"short"]
    assert (outcome.error, outcome.offset) == (LimitExceeded, 17)


def test_chunk_stream_ids_are_counted():
    wire = b"".join(header(0, csid, length=0) for csid in range(2, 34))
    assert read_in_all_ways(wire, max_chunk_streams=32).error is None
    outcome = read_in_all_ways(wire + header(0, 34, length=0), max_chunk_streams=32)
    assert len(outcome.messages) == 32
    assert (outcome.error, outcome.offset) == (LimitExceeded, len(wire))


def test_messages_under_way_are_limited_together():
    opened = [header(0, csid, length=1000) + bytes(128) for csid in range(4, 7)]
    assert read_in_all_ways(b"".join(opened), max_incomplete_bytes=3000).error is None
    outcome = read_in_all_ways(b"".join(opened), max_incomplete_bytes=2999)
    assert (outcome.error, outcome.offset) == (LimitExceeded, len(opened[0]) * 2)


def test_the_room_for_messages_under_way_may_change_while_there_are_some():
    opened = [header(0, csid, length=1000) + bytes(128) for csid in range(4, 7)]
    reader = ChunkReader(body_limits=NO_LIMITS, max_incomplete_bytes=1000)
    assert read(opened[0], reader=reader).error is None
    for _ in range(2):
        reader.allow_incomplete(2000)
    assert read(opened[1], reader=reader).error is None
    outcome = read(opened[2], reader=reader)
    assert (outcome.error, outcome.offset) == (LimitExceeded, 2 * len(opened[0]))


def test_a_whole_message_counts_as_under_way_too():
    opened = header(0, 4, length=1000) + bytes(128)
    whole = header(0, 6, length=0) + header(0, 6, length=100) + bytes(100)
    assert read_in_all_ways(opened + whole, max_incomplete_bytes=1100).error is None
    outcome = read_in_all_ways(opened + whole, max_incomplete_bytes=1099)
    assert outcome.messages == [video(b"", 0, 6, msid=0)]
    assert (outcome.error, outcome.offset) == (LimitExceeded, len(opened) + 12)


def test_messages_that_end_or_are_aborted_make_room_for_others():
    message = video(bytes(1000))
    writer = FreeChunkWriter()
    rest = header(0, 4, length=1000) + bytes(128) + abort(4)
    wire = (writer.write(message) + rest) * 20
    assert read_in_all_ways(wire, max_incomplete_bytes=1004).media == [message] * 20


def test_sixteen_megabytes_declared_on_each_of_65_thousand_chunk_streams_cost_nothing():
    declared = [header(0, csid, length=0xFFFFFF) + bytes(128) for csid in range(2, 65600)]
    outcome = read(b"".join(declared), range(0, 10000, 1000))
    assert (outcome.error, outcome.offset) == (LimitExceeded, 2 * len(declared[0]))
    outcome = read(b"".join(declared), max_incomplete_bytes=1 << 60)
    assert (outcome.error, outcome.offset) == (LimitExceeded, sum(map(len, declared[:64])))


def test_the_longest_message_is_read():
    message = video(bytes(0xFFFFFF))
    wire = set_chunk_size(65536) + FreeChunkWriter(65536).write(message)
    assert read(wire, range(0, len(wire), 200_000)).media == [message]


def test_every_type_may_be_empty_or_unknown_but_for_the_two_that_are_obeyed():
    for type_id in set(range(256)) - {SET_CHUNK_SIZE, ABORT}:
        for body in (b"", b"12345"):
            message = Message(type_id, 3, 1, body, 4)
            assert read_in_all_ways(FreeChunkWriter().write(message)).messages == [message]


# The contract around it.


def test_bytes_received_counts_from_the_start_of_the_connection():
    reader = ChunkReader(body_limits=NO_LIMITS, offset=3073)
    wire = FreeChunkWriter().write(video(bytes(1000)))
    for size in (5, 100, 300):
        reader.feed(wire[:size], [])
        wire = wire[size:]
    assert reader.bytes_received == 3073 + 405


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_bytes_will_do(kind):
    messages = []
    ChunkReader(body_limits=NO_LIMITS).feed(kind(FreeChunkWriter().write(video(bytes(300)))), messages)
    assert messages == [video(bytes(300))]
    assert type(messages[0]) is Message
    assert type(messages[0].body) is bytes


def test_nothing_comes_of_nothing():
    assert read(b"").messages == []
    reader = ChunkReader(body_limits=NO_LIMITS)
    messages = []
    reader.feed(b"", messages)
    reader.feed(header(0, 4, length=0)[:5], messages)
    reader.feed(b"", messages)
    assert messages == []


def test_a_feed_of_single_bytes_takes_time_in_proportion():
    def seconds(size):
        wire = FreeChunkWriter().write(video(bytes(size)))
        messages, feed = [], ChunkReader(body_limits=NO_LIMITS).feed
        start = time.process_time()
        for index in range(len(wire)):
            feed(wire[index : index + 1], messages)
        assert len(messages) == 1
        return time.process_time() - start

    short = min(seconds(5_000) for _ in range(3))
    assert seconds(80_000) < 16 * short * 4


def test_interleaving_cannot_make_the_search_for_runs_expensive():
    writer = FreeChunkWriter()
    ways = [writer.chunks(video(bytes(600_000), 0, csid)) for csid in (4, 6)]
    wire = b"".join(next(way) + next(way) for _ in range(2000) for way in ways)

    def seconds(cuts):
        start = time.process_time()
        read(wire, cuts)
        return time.process_time() - start

    assert min(seconds([]) for _ in range(3)) < 4 * min(seconds(range(0, len(wire), 16_000)) for _ in range(3))
