"""Streams whose clock passes what a field can hold: they play and record on without a jump."""

from __future__ import annotations

import pytest

from tests.helpers.media import from_start, is_frame, packets_of
from tests.helpers.rtmp_client import Connection, Player
from tests.helpers.server import Server

pytestmark = pytest.mark.e2e

CONFIG = '[apps.live]\nrecord = "auto"\nresume_s = 0\n[limits]\nlinger_s = 0.1\n'
BEFORE_MS = 2_000
EDGES = {"0xFFFFFF ms": 0xFFFFFF, "2^31 ms": 2**31, "2^32 ms": 2**32}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Server(tmp_path_factory.mktemp("server"), CONFIG) as server:
        yield server


def play_and_record(server, stream, tags):
    """Send tags with the times that they have; the frames that a player got, and the recorded file."""
    expected = sum(map(is_frame, tags))
    with Player(server.address, stream) as player:
        with Connection(server.address).connect().publish(stream) as publisher:
            for tag in tags:
                publisher.send_tag(tag)
            player.wait_until(lambda: sum(map(is_frame, list(player.media))) >= expected, "all frames")
            publisher.unpublish()
        player.wait_for_end()
    server.wait_for("recording closed", stream=f"live/{stream}")
    (recorded,) = server.recordings(f"live/{stream}")
    return [message for message in player.media if is_frame(message)], recorded


@pytest.mark.parametrize("edge", EDGES)
def test_a_stream_goes_on_past(edge, server, sources):
    source = sources.tags("h264+aac")
    start_ms = EDGES[edge] - BEFORE_MS
    tags = [tag._replace(timestamp_ms=(tag.timestamp_ms + start_ms) % 2**32) for tag in source]

    frames, recorded = play_and_record(server, f"past-{EDGES[edge]:x}", tags)

    sent = [(tag.type_id, tag.timestamp_ms, tag.body) for tag in tags if is_frame(tag)]
    assert sent[0][1] < EDGES[edge] <= sent[0][1] + 4_000
    assert [(frame.type_id, frame.timestamp_ms, frame.body) for frame in frames] == sent
    assert from_start(packets_of(recorded)) == from_start(packets_of(sources.flv("h264+aac")))


@pytest.mark.parametrize("bits", [24, 31])
def test_a_stream_goes_on_where_the_clock_of_its_encoder_wraps_after_bits(bits, server, sources):
    source = sources.tags("h264+aac")
    start_ms = 2**bits - BEFORE_MS
    tags = [tag._replace(timestamp_ms=(tag.timestamp_ms + start_ms) % 2**bits) for tag in source]

    frames, recorded = play_and_record(server, f"wraps-after-{bits}", tags)

    times = [tag.timestamp_ms + start_ms for tag in source if is_frame(tag)]
    assert [frame.timestamp_ms for frame in frames] == times
    assert from_start(packets_of(recorded)) == from_start(packets_of(sources.flv("h264+aac")))
