"""The log: what goes in comes out at its position, for as long as the retention says."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rtmpd.live.forms import CHUNK_FORM, FLV_FORM
from rtmpd.live.headers import Headers
from rtmpd.live.log import ENTRY_COST_BYTES, SEGMENT_BYTES, Log, Retention
from rtmpd.media.tags import KEY_FRAME
from rtmpd.wire.chunk_reader import ChunkReader
from rtmpd.wire.chunk_writer import OUT_CHUNK_SIZE
from rtmpd.wire.flv import TagReader
from rtmpd.wire.messages import AUDIO, VIDEO

HEADERS = Headers()


def make_log(form=CHUNK_FORM, **retention):
    return Log(form, Retention(**retention))


def add(log, timestamp_ms, body=b"\x27\x01\0\0\0frame", flags=0, now=0.0, type_id=VIDEO):
    log.append(type_id, timestamp_ms, body, flags, HEADERS, now)


def read_all(log, position=None):
    position = log.start if position is None else position
    return log.slice(position, log.end)


def parse_chunks(data):
    reader = ChunkReader(body_limits=[1 << 24] * 256)
    reader.chunk_size = OUT_CHUNK_SIZE
    messages = []
    reader.feed(data, messages)
    return messages


def parse_tags(data):
    return TagReader().feed(data)


def test_rtmp_form_is_read_back_by_a_chunk_reader_as_the_same_messages():
    log = make_log()
    bodies = [b"\x17\x01" + b"k" * 70_000, b"\x27\x01" + b"i" * 100, b"\x17\x01" + b"x" * 300_000]
    for number, body in enumerate(bodies):
        add(log, 40 * number, body)

    messages = parse_chunks(read_all(log))

    assert [m.body for m in messages] == bodies
    assert [m.timestamp_ms for m in messages] == [0, 40, 80]
    assert {m.message_stream_id for m in messages} == {1}


def test_flv_form_is_read_back_as_the_same_tags():
    log = make_log(FLV_FORM)
    for number in range(3):
        add(log, 40 * number, b"\x27\x01" + bytes([number]))

    assert [(tag.timestamp_ms, tag.body[2]) for tag in parse_tags(read_all(log))] == [(0, 0), (40, 1), (80, 2)]


def test_timestamps_are_cut_to_32_bits_in_the_bytes_only():
    log = make_log()
    add(log, (1 << 32) + 5)

    assert parse_chunks(read_all(log))[0].timestamp_ms == 5
    assert log.timestamp_at(0) == (1 << 32) + 5


def test_views_stay_valid_while_the_log_grows():
    log = make_log()
    add(log, 0)
    view = log.view(0)
    before = bytes(view)
    for number in range(100):
        add(log, number, b"\x27\x01" + bytes(10_000))

    assert bytes(view) == before


def test_messages_never_span_segments_and_a_larger_one_gets_its_own():
    log = make_log()
    add(log, 0, b"\x27" * (SEGMENT_BYTES - 100))
    second = log.end
    add(log, 1, b"\x27" * 5000)
    third = log.end
    add(log, 2, b"\x27" * (2 * SEGMENT_BYTES))

    assert len(log.view(0)) == second
    assert len(log.view(second)) == third - second
    assert len(log.view(third)) == log.end - third


def test_boundary_is_the_next_message_start():
    log = make_log()
    add(log, 0)
    second = log.end
    add(log, 1)

    assert [log.boundary(position) for position in (0, 1, second, second + 1, log.end)] == [
        0, second, second, log.end, log.end,
    ]  # fmt: skip
    assert log.boundary(second) == second
    assert log.boundary(second - 1) != second - 1


def test_trim_keeps_the_key_frame_before_the_newest():
    log = make_log()
    positions = []
    for number in range(4):
        positions.append(log.end)
        add(log, 1000 * number, flags=KEY_FRAME)
        add(log, 1000 * number + 40)
    log.trim(0.0)

    assert log.start == positions[2]
    assert log.newest_key_frame.position == positions[3]
    assert log.key_frame_at_or_before(log.end).position == positions[3]
    assert log.key_frame_at_or_before(0).position == positions[2]
    assert log.key_frame_at_or_after(0).position == positions[2]
    assert log.key_frame_at_or_after(positions[2] + 1).position == positions[3]
    assert log.key_frame_at_or_after(positions[3] + 1) is None


def test_trim_drops_what_is_older_than_the_limit_even_without_key_frames():
    log = make_log(seconds=10)
    for second in range(30):
        add(log, 1000 * second, now=float(second))
    log.trim(29.0)

    assert log.timestamp_at(log.start) == 19_000
    assert log.newest_key_frame is None


def test_trim_bounds_the_bytes():
    log = make_log(bytes_=50_000)
    for number in range(100):
        add(log, number, b"\x27" * 10_000)
        log.trim_if_due(0.0)

    assert log.end - log.start <= 50_000
    assert log.boundary(log.start) == log.start


def test_trim_counts_what_the_index_costs():
    log = make_log(bytes_=50_000)
    for number in range(5000):
        add(log, number, b"\x27\x01x")
        log.trim_if_due(0.0)

    assert len(log._entries) - log._first <= 50_000 // ENTRY_COST_BYTES
    assert log.end > log.start


def test_trim_if_due_waits_a_second_while_the_log_is_small():
    log = make_log(seconds=0.5)
    add(log, 0, now=100.0)
    log.trim_if_due(100.0)
    log.trim_if_due(100.9)
    assert log.start == 0

    log.trim_if_due(101.0)
    assert log.start == log.end


def test_retain_keeps_more_for_a_recorder_than_the_key_frames_ask_for():
    log = make_log(seconds=10)
    log.retain(20)
    for second in range(30):
        add(log, 1000 * second, flags=KEY_FRAME, now=float(second))
    log.trim(29.0)
    assert log.timestamp_at(log.start) == 9_000

    log.retain(0)
    log.trim(29.0)
    assert log.timestamp_at(log.start) == 28_000


def test_memory_is_given_back_segment_by_segment():
    log = make_log(bytes_=4 * SEGMENT_BYTES)
    for number in range(3000):
        add(log, number, b"\x27" * 20_000)
        log.trim_if_due(0.0)

    assert sum(len(segment.data) for segment in log._segments) <= 6 * SEGMENT_BYTES
    assert len(log._entries) < 1500


def test_segments_are_used_again_without_showing_old_bytes():
    first = make_log(bytes_=SEGMENT_BYTES)
    for number in range(100):
        add(first, number, b"\x27\x01" + b"old" * 10_000)
        first.trim_if_due(0.0)
    second = make_log()
    for number in range(20):
        add(second, number, b"\x27\x01" + bytes([number]) * 20_000)

    assert [message.body[2] for message in parse_chunks(read_all(second))] == list(range(20))
    assert len(second.view(0)) < SEGMENT_BYTES


def test_newest_first_goes_back_to_a_position_and_not_before_the_start():
    log = make_log(seconds=10)
    positions = []
    for number in range(5):
        positions.append(log.end)
        add(log, number, now=float(number))
    assert [entry.timestamp_ms for entry in log.newest_first(0)] == [4, 3, 2, 1, 0]
    assert [entry.timestamp_ms for entry in log.newest_first(positions[3])] == [4, 3]
    assert [entry.timestamp_ms for entry in log.newest_first(positions[3] + 1)] == [4]
    assert list(log.newest_first(log.end)) == []

    log.trim(12.5)
    assert [entry.timestamp_ms for entry in log.newest_first(0)] == [4, 3]


def test_messages_reads_back_entries_with_their_bodies():
    log = make_log()
    add(log, 0, b"\x17\x01one", flags=KEY_FRAME)
    start = log.end
    add(log, 40, b"\xaf\x01two", type_id=AUDIO)
    add(log, 80, b"\x27\x01three")

    read = [(entry.type_id, entry.timestamp_ms, body) for entry, body in log.messages(start)]

    assert read == [(AUDIO, 40, b"\xaf\x01two"), (VIDEO, 80, b"\x27\x01three")]


sizes = st.one_of(st.integers(1, 300), st.sampled_from([OUT_CHUNK_SIZE, OUT_CHUNK_SIZE + 1, SEGMENT_BYTES, 70_000]))


@given(st.lists(st.tuples(sizes, st.booleans(), st.integers(0, 1 << 33)), min_size=1, max_size=30), st.data())
def test_from_every_key_frame_on_the_log_decodes_to_the_same_messages(items, data):
    log = make_log()
    written = []
    for number, (size, is_key, timestamp_ms) in enumerate(items):
        body = bytes([0x17 if is_key else 0x27, number]) + bytes(size)
        written.append((log.end, timestamp_ms & 0xFFFF_FFFF, body, is_key))
        add(log, timestamp_ms, body, flags=KEY_FRAME if is_key else 0)
    starts = [position for position, _, _, is_key in written if is_key] or [0]
    start = data.draw(st.sampled_from(starts))

    parsed = [(message.timestamp_ms, message.body) for message in parse_chunks(read_all(log, start))]

    assert parsed == [(timestamp_ms, body) for position, timestamp_ms, body, _ in written if position >= start]
