"""Cursors: whatever happens, a consumer gets whole messages, contiguous but for jumps that begin at a key frame."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from rtmpd.live.subscription import MAX_PRIVATE_BYTES, NOWHERE, Cursor
from rtmpd.wire.chunk_reader import ChunkReader
from rtmpd.wire.chunk_writer import OUT_CHUNK_SIZE, encode_message
from rtmpd.wire.messages import VIDEO, encode_user_control
from tests.helpers.live import inter_frame, key_frame, new_stream, publish, video_header


class Reader:
    """A player: takes what its cursor gives, some bytes at a time."""

    def __init__(self, cursor):
        self.cursor = cursor
        self.received = bytearray()

    def take(self, limit):
        while limit > 0 and (data := self.cursor.next_bytes()) is not None:
            part = bytes(data[:limit])
            self.cursor.advance(len(part))
            self.received += part
            limit -= len(part)

    def messages(self):
        reader = ChunkReader(body_limits=[1 << 24] * 256)
        reader.chunk_size = OUT_CHUNK_SIZE
        messages = []
        reader.feed(bytes(self.received), messages)
        return messages


def live(count=0, **retention):
    stream = new_stream(**retention)
    publication = publish(stream)
    publication.append(video_header(), 0.0)
    for number in range(count):
        publication.append(key_frame(number * 1000), float(number))
        publication.append(inter_frame(number * 1000 + 40), float(number))
    return stream, publication


def joined(stream):
    cursor = Cursor()
    cursor.join(stream.log)
    return Reader(cursor)


def test_cursor_without_a_log_gives_its_private_bytes_and_then_nothing():
    reader = Reader(Cursor())
    reader.cursor.insert(b"abc")
    reader.take(2)
    reader.take(10)

    assert bytes(reader.received) == b"abc"
    assert reader.cursor.next_bytes() is None
    assert reader.cursor.private_sent_bytes == 3


def test_private_bytes_wait_for_the_end_of_a_message_that_is_partly_sent():
    stream, _ = live(1)
    reader = joined(stream)
    reader.take(30)
    reader.cursor.insert(encode_message(encode_user_control(6, 1), OUT_CHUNK_SIZE))
    reader.take(10_000)

    types = [message.type_id for message in reader.messages()]
    assert types.count(4) == 1
    assert len(types) == 4


def test_cursor_that_falls_out_finishes_its_message_and_jumps_to_the_newest_key_frame():
    stream, publication = live(1)
    reader = joined(stream)
    reader.take(70)
    for number in range(1, 5):
        publication.append(key_frame(number * 1000), float(number))
    stream.log.trim(5.0)
    assert reader.cursor.fell_out
    reader.take(10_000)

    times = [message.timestamp_ms for message in reader.messages()]
    assert times[-2:] == [4000, 4000], "headers at the key frame's time, then the key frame"
    assert reader.cursor.skipped_ms > 0
    assert not reader.cursor.fell_out


def test_cursor_waits_where_no_key_frame_is_left_and_goes_on_at_the_next():
    stream = new_stream(seconds=1.0)
    publication = publish(stream)
    publication.append(video_header(), 0.0)
    publication.append(key_frame(0), 0.0)
    publication.append(inter_frame(5000), 5.0)
    stream.log.trim(5.0)
    reader = joined(stream)
    reader.take(10_000)
    assert reader.received == b""

    publication.append(inter_frame(5040), 5.1)
    reader.take(10_000)
    assert reader.received == b""

    publication.append(key_frame(5080), 5.2)
    reader.take(10_000)
    assert [message.body[:2] for message in reader.messages()] == [b"\x17\x00", b"\x17\x01"]


def test_detach_and_attach_keep_every_cursor_in_its_slot():
    stream, _ = live(1)
    readers = [joined(stream) for _ in range(5)]
    readers[1].cursor.detach()
    readers[4].cursor.detach()
    readers[0].cursor.detach()

    assert [cursor.slot for cursor in stream.log.cursors] == [0, 1]
    assert {id(cursor) for cursor in stream.log.cursors} == {id(readers[2].cursor), id(readers[3].cursor)}
    assert readers[1].cursor.slot == NOWHERE


def test_detach_in_the_middle_of_a_message_still_owes_the_rest_of_it():
    stream, _ = live(1)
    reader = joined(stream)
    reader.take(50)
    reader.cursor.detach()
    reader.take(10_000)

    assert [message.body[:2] for message in reader.messages()] == [b"\x17\x00", b"\x17\x01"]


def test_sent_bytes_are_counted_over_jumps():
    stream, publication = live(1)
    reader = joined(stream)
    reader.take(10_000)
    before = reader.cursor.sent_bytes
    publication.append(key_frame(1000), 1.0)
    publication.append(key_frame(2000), 2.0)
    publication.append(key_frame(3000), 3.0)
    stream.log.trim(3.0)
    frame_bytes = stream.log.end - stream.log.newest_key_frame.position
    reader.take(10_000)

    assert reader.cursor.sent_bytes == before + frame_bytes


def test_lag_is_the_media_time_that_is_still_to_be_read():
    stream, publication = live(1)
    reader = Reader(Cursor())
    assert reader.cursor.lag_ms == 0

    reader.cursor.join(stream.log)
    reader.take(1 << 20)
    assert reader.cursor.lag_ms == 0
    publication.append(inter_frame(500), 0.5)
    publication.append(inter_frame(900), 0.9)
    assert reader.cursor.lag_ms == 400


def test_a_consumer_that_is_owed_too_much_says_so():
    cursor = Cursor()
    cursor.insert(bytes(MAX_PRIVATE_BYTES))
    assert not cursor.overdrawn
    cursor.insert(b"x")
    assert cursor.overdrawn


def test_rest_of_a_large_message_is_no_control_message():
    stream, publication = live(1)
    publication.append(key_frame(5000, size=3 * MAX_PRIVATE_BYTES), 1.0)
    reader = joined(stream)
    reader.take(100)
    reader.cursor.insert(b"ping")
    assert not reader.cursor.overdrawn
    reader.cursor.insert(bytes(MAX_PRIVATE_BYTES))
    assert reader.cursor.overdrawn
    reader.take(3 * MAX_PRIVATE_BYTES)
    reader.take(100_000)
    assert not reader.cursor.overdrawn


actions = st.one_of(
    st.tuples(st.just("take"), st.integers(1, 400)),
    st.tuples(st.just("key"), st.integers(1, 300)),
    st.tuples(st.just("inter"), st.integers(1, 300)),
    st.tuples(st.just("control"), st.just(0)),
    st.tuples(st.just("trim"), st.just(0)),
    st.tuples(st.just("rejoin"), st.just(0)),
)


@given(st.lists(actions, max_size=60))
def test_whatever_happens_a_consumer_reads_whole_messages_and_jumps_only_to_headers_and_a_key_frame(script):
    """Promise 3, for any interleaving of publishing, slow reading, control messages, trimming and rejoining."""
    stream = new_stream(bytes_=1500)
    publication = publish(stream)
    publication.append(video_header(), 0.0)
    publication.append(key_frame(0), 0.0)
    reader = joined(stream)
    frames = 0
    for action, amount in script:
        match action:
            case "take":
                reader.take(amount)
            case "key" | "inter":
                frames += 1
                make = key_frame if action == "key" else inter_frame
                publication.append(make(40 * frames, amount, frames), 0.04 * frames)
            case "control":
                reader.cursor.insert(encode_message(encode_user_control(6, 1), OUT_CHUNK_SIZE))
            case "trim":
                stream.log.trim_if_due(0.04 * frames)
            case "rejoin":
                reader.cursor.detach()
                reader.cursor.join(stream.log)
    reader.take(1 << 20)

    media = [message for message in reader.messages() if message.type_id == VIDEO]
    numbers = [(message.timestamp_ms // 40, message.body[0]) for message in media if message.body[1] == 1]
    for (before, _), (number, first_byte) in pairwise(numbers):
        assert number == before + 1 or first_byte == 0x17, "a jump begins at a key frame"
