"""Streams: what a name publishes, over publishers that come and go."""

from __future__ import annotations

import pytest

from rtmpd.live.stream import StreamState
from rtmpd.live.subscription import Cursor
from rtmpd.wire.chunk_reader import ChunkReader
from rtmpd.wire.chunk_writer import OUT_CHUNK_SIZE
from rtmpd.wire.flv import TagReader, encode_file_header
from rtmpd.wire.messages import AUDIO, DATA_AMF0, VIDEO, Message
from tests.helpers.live import (
    PRIVATE,
    audio_frame,
    audio_header,
    inter_frame,
    key_frame,
    metadata,
    new_stream,
    publish,
    video_header,
)


class Watcher:
    def __init__(self):
        self.heard = []

    def stream_started(self, stream):
        self.heard.append("started")

    def stream_ended(self, stream, reason):
        self.heard.append(reason)


def read(stream, log=None):
    """What a player that joins now would get, as messages."""
    log = log or stream.log
    cursor = Cursor()
    cursor.join(log)
    data = bytearray()
    while (part := cursor.next_bytes()) is not None:
        data += part
        cursor.advance(len(part))
    cursor.detach()
    if log is not stream.log:
        return TagReader().feed(bytes(data))
    reader = ChunkReader(body_limits=[1 << 24] * 256)
    reader.chunk_size = OUT_CHUNK_SIZE
    messages = []
    reader.feed(bytes(data), messages)
    return messages


def summary(messages):
    return [(message.type_id, message.timestamp_ms, bytes(message.body[:2])) for message in messages]


def test_first_player_gets_everything_from_the_first_message_on_as_it_came():
    stream = new_stream()
    publication = publish(stream)
    sent = [metadata(width=320), video_header(), audio_header(), audio_frame(7), key_frame(10), inter_frame(40)]
    cursor = Cursor()
    cursor.join(stream.log)
    for message in sent:
        publication.append(message, 0.0)
    data = bytearray()
    while (part := cursor.next_bytes()) is not None:
        data += part
        cursor.advance(len(part))

    reader = ChunkReader(body_limits=[1 << 24] * 256)
    reader.chunk_size = OUT_CHUNK_SIZE
    received = []
    reader.feed(bytes(data), received)
    assert [(m.type_id, m.timestamp_ms, m.body) for m in received] == [
        (m.type_id, m.timestamp_ms, m.body) for m in sent
    ]


def test_late_player_gets_metadata_headers_and_the_newest_key_frame():
    stream = new_stream()
    publication = publish(stream)
    for message in [metadata(width=320), video_header(), audio_header(), key_frame(0), inter_frame(40)]:
        publication.append(message, 0.0)
    publication.append(key_frame(2000), 2.0)
    publication.append(audio_frame(2010), 2.0)

    assert summary(read(stream)) == [
        (DATA_AMF0, 0, b"\x02\x00"),
        (VIDEO, 2000, b"\x17\x00"),
        (AUDIO, 2000, b"\xaf\x00"),
        (VIDEO, 2000, b"\x17\x01"),
        (AUDIO, 2010, b"\xaf\x01"),
    ]


def test_headers_stamped_zero_in_the_middle_do_not_take_the_clock_back():
    stream = new_stream()
    publication = publish(stream)
    publication.append(video_header(), 0.0)
    publication.append(key_frame(100_000), 0.0)
    publication.append(video_header(body=b"\x17\0\0\0\0new", timestamp_ms=0), 0.0)
    publication.append(inter_frame(100_040), 0.0)

    assert [message.timestamp_ms for message in read(stream)][-2:] == [100_000, 100_040]


def test_each_key_frame_keeps_the_headers_that_were_in_force():
    stream = new_stream()
    publication = publish(stream)
    publication.append(video_header(body=b"\x17\0\0\0\0old"), 0.0)
    publication.append(key_frame(0), 0.0)
    publication.append(video_header(body=b"\x17\0\0\0\0new"), 0.0)

    assert read(stream)[0].body.endswith(b"old")


def test_empty_messages_are_not_passed_on():
    stream = new_stream()
    publication = publish(stream)
    for message in [Message(VIDEO, 0, 1, b""), Message(AUDIO, 0, 1, b"\xaf\x00"), Message(AUDIO, 0, 1, b"")]:
        publication.append(message, 0.0)

    assert stream.log.end == 0


def test_player_of_an_audio_only_stream_starts_at_most_a_second_back():
    stream = new_stream()
    publication = publish(stream)
    publication.append(audio_header(), 0.0)
    for number in range(200):
        publication.append(audio_frame(number * 25), number * 0.025)

    times = [message.timestamp_ms for message in read(stream)]
    assert 4975 - 1025 <= times[1] <= 4975
    assert times[-1] == 4975


def test_audio_of_a_stream_with_video_is_no_place_to_start():
    stream = new_stream()
    publication = publish(stream)
    publication.append(video_header(), 0.0)
    publication.append(key_frame(0), 0.0)
    for number in range(200):
        publication.append(audio_frame(number * 25), number * 0.025)

    assert summary(read(stream))[1] == (VIDEO, 0, b"\x17\x01")


def test_flv_form_is_filled_from_the_oldest_key_frame_and_then_kept_up():
    stream = new_stream()
    publication = publish(stream)
    for message in [video_header(), key_frame(0), inter_frame(40), key_frame(1000), inter_frame(1040)]:
        publication.append(message, 0.0)
    log = stream.flv_log()
    publication.append(inter_frame(1080), 0.0)

    tags = read(stream, log)
    assert [tag.timestamp_ms for tag in tags] == [1000, 1000, 1040, 1080]  # a player starts at the newest
    assert [entry.timestamp_ms for entry, _ in log.messages(0)] == [0, 40, 1000, 1040, 1080]
    assert stream.logs == (stream.log, log)
    assert stream.flv_log() is log


def test_returning_publisher_goes_on_where_the_wall_clock_says():
    stream = new_stream()
    first = publish(stream)
    first.append(video_header(), 0.0)
    first.append(key_frame(500_000), 10.0)
    stream.lose(20.0)
    assert stream.state is StreamState.GRACE

    second = publish(stream)
    second.append(video_header(), 13.0)
    second.append(key_frame(0), 13.0)
    second.append(audio_frame(5), 13.0)

    assert [message.timestamp_ms for message in read(stream)][-2:] == [503_000, 503_005]


def test_time_never_goes_back_when_a_publisher_is_replaced_at_once():
    stream = new_stream()
    first = publish(stream)
    first.append(key_frame(1000), 1.0)
    second = publish(stream)
    second.append(key_frame(0), 1.0)

    assert [message.timestamp_ms for message in read(stream)] == [1001]
    assert not first.current
    assert second.current


@pytest.mark.parametrize("boundary", [0xFFFFFF, 1 << 31, 1 << 32])
def test_stream_past_a_boundary_of_the_clock_goes_on_without_a_jump(boundary):
    stream = new_stream()
    publication = publish(stream)
    for step in range(-3, 4):
        publication.append(key_frame((boundary + 40 * step) % (1 << 32)), 0.0)

    times = [entry.timestamp_ms for entry, _ in stream.log.messages(0)]
    assert times == [boundary + 40 * step for step in range(-3, 4)]
    assert publication.take_jump() is None


def test_31_bit_wrap_of_ffmpeg_and_obs_is_no_jump():
    stream = new_stream()
    publication = publish(stream)
    for step in range(-3, 4):
        publication.append(key_frame(((1 << 31) + 40 * step) % (1 << 31)), 0.0)

    times = [entry.timestamp_ms for entry, _ in stream.log.messages(0)]
    assert times == [(1 << 31) + 40 * step for step in range(-3, 4)]


def test_jump_of_the_timestamps_is_passed_on_and_reported():
    stream = new_stream()
    publication = publish(stream)
    publication.append(key_frame(0), 0.0)
    publication.append(key_frame(60_000), 0.0)

    jump = publication.take_jump()
    assert (jump.kind, jump.from_ms, jump.to_ms) == ("forward", 0, 60_000)
    assert publication.take_jump() is None
    assert stream.last_timestamp_ms == 60_000


def test_members_do_not_hear_of_a_takeover():
    stream = new_stream()
    watcher = Watcher()
    stream.members[watcher] = None
    publish(stream)
    publish(stream)

    assert watcher.heard == ["started"]


def test_members_hear_of_start_and_end_but_not_of_a_return_within_the_grace_time():
    stream = new_stream()
    watcher = Watcher()
    stream.members[watcher] = None
    publish(stream)
    stream.lose(10.0)
    publish(stream)
    stream.end("over")

    assert watcher.heard == ["started", "over"]
    assert stream.state is StreamState.IDLE
    assert stream.log.end == 0


def test_private_stream_is_shown_to_those_who_wait_when_it_is_revealed_and_to_nobody_before():
    stream, watcher = new_stream(), Watcher()
    stream.members[watcher] = None
    publish(stream, terms=PRIVATE)

    assert not stream.is_watchable
    assert watcher.heard == []
    stream.reveal()
    stream.reveal()
    assert stream.is_watchable
    assert watcher.heard == ["started"]


def test_hidden_stream_ends_for_its_players_and_goes_on_for_its_publisher():
    stream, watcher = new_stream(), Watcher()
    publication = publish(stream)
    stream.members[watcher] = None
    stream.hide("push stopped")
    stream.hide("push stopped")
    publication.append(key_frame(0), 0.0)

    assert watcher.heard == ["push stopped"]
    assert not stream.members
    assert publication.current
    assert stream.log.newest_key_frame is not None


def test_end_of_a_private_stream_is_kept_from_those_who_wait_for_it():
    stream, watcher = new_stream(), Watcher()
    publish(stream, terms=PRIVATE)
    stream.members[watcher] = None
    stream.end("gone")
    assert watcher.heard == []

    publish(stream)
    assert watcher.heard == ["started"]


def test_returned_publisher_finds_the_stream_as_public_as_it_was():
    stream = new_stream()
    publish(stream, terms=PRIVATE)
    stream.reveal()
    stream.lose(10.0)
    publish(stream, terms=PRIVATE)

    assert stream.is_watchable


def test_jumps_are_counted_by_direction():
    publication = publish(new_stream())
    for timestamp_ms in (0, 100_000, 40, 200_000):
        publication.append(inter_frame(timestamp_ms), 0.0)
        publication.take_jump()

    assert (publication.jumps, publication.jumps_back) == (2, 1)


@pytest.mark.parametrize(
    ("sent", "announced"),
    [
        ([], (True, True)),
        ([metadata(width=320)], (True, True)),
        ([video_header(), key_frame(0)], (False, True)),
        ([audio_header(), audio_frame(0)], (True, False)),
        ([video_header(), audio_header(), key_frame(0)], (True, True)),
    ],
    ids=["nothing yet", "metadata alone", "video", "audio", "both"],
)
def test_flv_announces_the_tracks_that_there_are_as_browsers_wait_for_one_that_never_comes(sent, announced):
    stream = new_stream()
    publication = publish(stream)
    for message in sent:
        publication.append(message, 0.0)
    cursor = Cursor()

    cursor.join(stream.flv_log())

    audio, video = announced
    assert bytes(cursor.private).startswith(encode_file_header(audio=audio, video=video))


def test_frames_and_the_pictures_among_them_are_counted_and_headers_are_neither():
    publication = publish(new_stream())
    publication.extend([key_frame(0), audio_frame(0), video_header(), inter_frame(40), audio_frame(20)], now=0.0)
    publication.extend([audio_frame(60)], now=0.1)

    assert (publication.frames, publication.pictures) == (5, 2)
