"""Feeds: which log position each byte came from, over preambles and jumps."""

from __future__ import annotations

import socket

import pytest

from muxers.marks import ON_RESUME
from rtmpd.live.subscription import NOWHERE
from rtmpd.wire import amf0
from rtmpd.wire.flv import TagReader
from rtmpd.wire.messages import DATA_AMF0
from rtmpd.workers import feed_sink
from rtmpd.workers.feed_sink import FeedSink
from tests.helpers.live import audio_frame, inter_frame, key_frame, new_stream, publish, video_header


@pytest.fixture
def feed():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield FeedSink(ours, owner=None)


def take(sink):
    data = bytearray()
    while (part := sink.next_bytes()) is not None:
        data += part
        sink.advance(len(part))
    return bytes(data)


def test_bytes_of_a_feed_are_traced_to_the_log_behind_header_and_preamble(feed):
    stream = new_stream()
    publication = publish(stream)
    for message in [video_header(), key_frame(0), inter_frame(40)]:
        publication.append(message, 0.0)
    log = stream.flv_log()
    feed.join(log)
    publication.append(inter_frame(80), 0.0)
    data = take(feed)
    start = log.newest_key_frame.position
    preamble = len(data) - (log.end - start)

    assert feed.position_of(len(data)) == log.end
    assert feed.position_of(preamble) == start
    assert feed.position_of(0) == start
    assert data[preamble:] == log.slice(start, log.end)


def test_feed_that_never_started_has_no_position(feed):
    assert feed.position_of(0) == NOWHERE


def test_jump_is_named_in_the_feed_and_traced(feed):
    stream = new_stream(bytes_=300)
    publication = publish(stream)
    publication.append(video_header(), 0.0)
    publication.append(key_frame(0), 0.0)
    log = stream.flv_log()
    feed.join(log)
    first = take(feed)
    for number in range(1, 20):
        publication.append(key_frame(1000 * number), 0.0)
        log.trim_if_due(0.0)
    publication.append(inter_frame(19_040), 0.0)
    second = take(feed)

    tags = TagReader().feed(first + second)
    (gap,) = [amf0.decode(tag.body) for tag in tags if tag.type_id == DATA_AMF0]
    assert gap == ["onGap", {"from_ms": 1000.0, "to_ms": 19_000.0}]
    assert feed.gaps == [(1000, 19_000)]
    assert feed.position_of(len(first) + len(second)) == log.end
    assert feed.position_of(len(first)) == feed._starts[0].position + len(first) - feed._starts[0].feed_bytes


def fed(publication, *messages):
    for message in messages:
        publication.append(message, 0.0)


def times(data):
    return [tag.timestamp_ms if tag.body != ON_RESUME else "mark" for tag in TagReader().feed(data)]


def test_a_feed_from_the_beginning_has_what_comes_before_the_first_key_frame(feed):
    stream = new_stream()
    publication = publish(stream)
    log = stream.flv_log()
    fed(publication, audio_frame(0), audio_frame(20), video_header(), key_frame(40))
    feed.begin(log, 0)

    assert times(take(feed)) == [0, 20, 20, 40]


def test_a_feed_goes_on_at_the_key_frame_before_a_position(feed):
    stream = new_stream()
    publication = publish(stream)
    log = stream.flv_log()
    fed(publication, video_header(), key_frame(0), inter_frame(40), key_frame(80))
    position = log.end
    fed(publication, inter_frame(120), key_frame(160))
    feed.begin(log, position)

    assert times(take(feed)) == [80, 80, 120, 160]


def test_a_feed_that_had_nothing_to_begin_with_waits_for_a_key_frame(feed):
    stream = new_stream(seconds=0.0)
    publication = publish(stream)
    log = stream.flv_log()
    fed(publication, inter_frame(0), inter_frame(40))
    log.trim(100.0)
    feed.begin(log, NOWHERE)
    fed(publication, inter_frame(80), video_header(), key_frame(120))

    assert times(take(feed)) == [120, 120]


def test_another_publisher_of_the_same_life_is_marked_where_it_begins(feed):
    stream = new_stream()
    first = publish(stream)
    fed(first, video_header(), key_frame(0), inter_frame(40))
    log = stream.flv_log()
    feed.begin(log, 0)
    stream.lose(1e9)
    second = publish(stream)
    feed.cross_over(log)
    fed(second, key_frame(0))

    assert times(take(feed)) == [0, 0, 40, "mark", 41]
    assert feed.position == log.end


def test_a_feed_crosses_over_into_the_streams_next_life_with_nothing_left_behind(feed):
    stream = new_stream()
    first = publish(stream)
    old = stream.flv_log()
    fed(first, video_header(), key_frame(0), inter_frame(40))
    feed.begin(old, 0)
    taken = feed.next_bytes()[:20]
    feed.advance(len(taken))
    head = bytes(taken)
    stream.end("done")
    second = publish(stream)
    new = stream.flv_log()
    feed.cross_over(new)
    fed(second, video_header(), key_frame(7))

    data = head + take(feed)
    assert times(data) == [0, 0, 40, "mark", 0, 7]
    assert feed not in old.cursors
    assert feed.position_of(len(data)) == new.end


def test_what_a_slow_worker_is_owed_of_a_log_that_ended_is_bounded_and_the_gap_named(feed, monkeypatch):
    monkeypatch.setattr(feed_sink, "OWED_BYTES", 100)
    stream = new_stream()
    first = publish(stream)
    fed(first, video_header(), key_frame(0), *[inter_frame(40 * number, size=50) for number in range(1, 20)])
    feed.begin(stream.flv_log(), 0)
    stream.end("done")
    second = publish(stream)
    feed.cross_over(stream.flv_log())
    fed(second, video_header(), key_frame(7))

    data = take(feed)
    assert feed.gaps == [(0, 760)]
    assert times(data) == [0, 760, "mark", 0, 7]  # the first is a header
    assert not feed.overdrawn
