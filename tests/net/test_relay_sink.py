"""What a target is sent of a log, whatever message stream it gave."""

from __future__ import annotations

import pytest

from rtmpd.live.subscription import MAX_PRIVATE_BYTES
from rtmpd.net import relay_sink
from rtmpd.net.relay_sink import RelaySink
from rtmpd.net.sink import NOBODY
from rtmpd.wire import amf0
from rtmpd.wire.messages import DATA_AMF0
from tests.helpers.chunks import NO_LIMITS, set_chunk_size
from tests.helpers.chunks import read as read_chunks
from tests.helpers.live import audio_frame, inter_frame, key_frame, metadata, new_stream, publish, video_header

NUMBERS = (1, 7, 1000)


class Target:
    """A sink without a socket, and what it is to be sent."""

    def __init__(self, stream, number):
        self.sink = RelaySink(3, len, NOBODY, patience_s=1, settle=None)
        self.sink.follow(stream.log, number)
        self.sent = bytearray()

    def take(self, most=1 << 30):
        while data := self.sink.next_bytes():
            size = min(len(data), most)
            self.sent += data[:size]
            self.sink.advance(size)

    @property
    def messages(self):
        return read_chunks(set_chunk_size(65536) + self.sent, body_limits=NO_LIMITS).messages[1:]


def published(*messages, **retention):
    stream = new_stream(**retention)
    publication = publish(stream)
    for message in messages:
        publication.append(message, 0.0)
    return stream, publication


def plain(messages):
    return [(m.type_id, m.timestamp_ms, m.body) for m in messages]


@pytest.mark.parametrize("number", NUMBERS)
def test_a_target_begins_at_the_newest_key_frame_with_metadata_to_keep_and_headers(number):
    stream, _ = published(
        metadata(width=2), video_header(), key_frame(0), inter_frame(40), key_frame(1000), audio_frame(1010)
    )
    target = Target(stream, number)

    target.take()

    kept = (DATA_AMF0, 0, amf0.encode("@setDataFrame") + metadata(width=2).body)
    expected = [kept, *plain([video_header(timestamp_ms=1000), key_frame(1000), audio_frame(1010)])]
    assert plain(target.messages) == expected
    assert {message.message_stream_id for message in target.messages} == {number}


@pytest.mark.parametrize("number", NUMBERS)
def test_without_a_key_frame_a_target_waits_for_the_first_one(number):
    stream, publication = published(metadata(width=2), video_header(), inter_frame(0))
    target = Target(stream, number)
    target.take()
    assert not target.sent

    publication.append(key_frame(40), 0.0)
    target.take()

    assert [message.timestamp_ms for message in target.messages] == [0, 40, 40]


@pytest.mark.parametrize("number", NUMBERS)
def test_a_target_that_waited_gets_all_from_the_first_key_frame_on_though_several_come_at_once(number):
    stream, publication = published(video_header())
    target = Target(stream, number)
    target.take()

    frames = [key_frame(0), inter_frame(40), key_frame(1000), inter_frame(1040)]
    publication.extend(frames, 0.0)
    target.take()

    assert plain(target.messages)[-4:] == plain(frames)


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("most", [1, 1000, 1 << 30])
def test_long_and_many_messages_come_whole_and_in_order_however_they_are_taken(number, most, monkeypatch):
    monkeypatch.setattr(relay_sink, "REFRAMED_BYTES", 500)
    stream, publication = published(video_header(), key_frame(0, size=200_000 if most > 1 else 300))
    target = Target(stream, number)
    sent = []
    for round_ in range(3):
        target.take(most)
        sent += [inter_frame(40 * round_ + step, size=90) for step in range(20)]
        for message in sent[-20:]:
            publication.append(message, 0.0)
    target.take(most)

    assert plain(target.messages[2:]) == plain(sent)


@pytest.mark.parametrize("number", NUMBERS)
def test_control_messages_go_between_messages(number):
    stream, publication = published(video_header(), key_frame(0))
    target = Target(stream, number)
    target.take()
    publication.append(inter_frame(40, size=300), 0.0)
    data = target.sink.next_bytes()
    target.sent += data[:100]
    target.sink.advance(100)

    target.sink.insert(bytes.fromhex("02 000000 000004 03 00000000 00000005"))
    target.take()

    assert [message.type_id for message in target.messages] == [9, 9, 9, 3]


@pytest.mark.parametrize("number", NUMBERS)
def test_a_target_that_falls_out_goes_on_at_a_key_frame_with_headers(number):
    stream, publication = published(video_header(), key_frame(0), bytes_=20_000)
    target = Target(stream, number)
    target.take()
    for time_ms in range(40, 2000, 40):
        publication.append(inter_frame(time_ms, size=2000), 0.0)
    publication.append(key_frame(2000), 0.0)
    publication.append(inter_frame(2040), 0.0)
    stream.log.trim(0.0)
    assert target.sink.fell_out

    target.take()

    assert [message.timestamp_ms for message in target.messages][-3:] == [2000, 2000, 2040]
    assert target.sink.skipped_ms


def test_a_long_message_that_was_framed_again_is_no_debt_of_control_messages():
    stream, publication = published(video_header(), key_frame(0))
    target = Target(stream, 7)
    target.take()
    publication.append(inter_frame(40, size=2 * MAX_PRIVATE_BYTES), 0.0)

    target.sink.next_bytes()

    assert not target.sink.overdrawn
    target.sink.advance(10)
    assert not target.sink.overdrawn


def test_times_beyond_32_bits_wrap():
    stream, publication = published(video_header(), key_frame(0xFFFFFFFF - 10))
    target = Target(stream, 7)
    publication.append(inter_frame(5), 0.0)

    target.take()

    assert [message.timestamp_ms for message in target.messages] == [0xFFFFFFFF - 10, 0xFFFFFFFF - 10, 5]
