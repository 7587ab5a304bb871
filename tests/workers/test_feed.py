"""Feeds: which log position each byte came from, over preambles and jumps."""

from __future__ import annotations

import socket

import pytest

from rtmpd.live.subscription import NOWHERE
from rtmpd.wire import amf0
from rtmpd.wire.flv import TagReader
from rtmpd.wire.messages import DATA_AMF0
from rtmpd.workers.feed import FeedSink
from tests.helpers.live import inter_frame, key_frame, new_stream, publish, video_header


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
    stream.join(feed, log)
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
    stream.join(feed, log)
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
