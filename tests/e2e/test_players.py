"""Players that come early, late, or do not read."""

from __future__ import annotations

import io
import statistics
import time

import av
import pytest

from rtmpd.wire.flv import encode_file_header, encode_tag
from rtmpd.wire.messages import AUDIO, DATA_AMF0, VIDEO
from tests.helpers.clients import pyav_look, pyav_player
from tests.helpers.media import HEIGHT, WIDTH, is_frame, is_key_frame
from tests.helpers.rtmp_client import LivePublisher, Player
from tests.helpers.server import Server

pytestmark = pytest.mark.e2e

CONFIG = "[apps.live]\n[players]\nwait_s = 1\n[limits]\nlinger_s = 0.1\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Server(tmp_path_factory.mktemp("server"), CONFIG) as server:
        yield server


@pytest.fixture(scope="module")
def publisher(server, sources):
    """A stream that is in the middle of its second group of pictures."""
    with LivePublisher(server.address, "running", sources.tags("long")) as publisher:
        publisher.wait_until_sent(1_500)
        yield publisher


def as_flv(messages):
    tags = [encode_tag(message.type_id, message.timestamp_ms, message.body) for message in messages]
    return io.BytesIO(encode_file_header(audio=True, video=True) + b"".join(tags))


def test_a_late_player_gets_the_headers_and_then_a_key_frame(server, publisher):
    with Player(server.address, "running") as player:
        player.wait_for_media(40)
        got = player.media[:40]
    publisher.wait_until_sent(got[-1].timestamp_ms + 1)  # what has been sent is noted a moment later

    first = next(index for index, message in enumerate(got) if is_frame(message))
    assert player.codes[:2] == ["NetStream.Play.Reset", "NetStream.Play.Start"]
    assert {message.type_id for message in got[:first]} == {AUDIO, VIDEO, DATA_AMF0}
    assert got[0].type_id == DATA_AMF0
    assert is_key_frame(got[first])
    frames = [(tag.type_id, tag.timestamp_ms, tag.body) for tag in list(publisher.sent) if is_frame(tag)]
    start = frames.index((VIDEO, got[first].timestamp_ms, got[first].body))
    assert [(each.type_id, each.timestamp_ms, each.body) for each in got[first:]] == frames[start:][: len(got[first:])]


def test_a_late_player_of_a_sound_without_picture_gets_the_header_and_then_sound(server, sources):
    with LivePublisher(server.address, "sound", sources.tags("audio only")) as publisher:
        publisher.wait_until_sent(1_500)
        with Player(server.address, "sound") as player:
            player.wait_for_media(30)
            got = player.media[:30]
        publisher.finish()

    assert [message.type_id for message in got[:2]] == [DATA_AMF0, AUDIO]
    assert [is_frame(message) for message in got] == [False, False, *[True] * 28]
    sent = [tag.body for tag in publisher.sent]
    start = sent.index(got[2].body)
    assert [message.body for message in got[2:]] == sent[start : start + 28]


def test_a_late_player_starts_with_a_picture_that_can_be_decoded(server, publisher):
    with Player(server.address, "running") as player:
        player.wait_until(lambda: sum(map(is_frame, list(player.media))) >= 10, "some frames")
        with av.open(as_flv(player.media), format="flv") as container:
            picture = next(container.decode(video=0))

    assert (picture.width, picture.height, picture.key_frame) == (WIDTH, HEIGHT, True)
    assert pyav_look(server.url("live/running")) == (WIDTH, HEIGHT, True)


def test_a_late_player_gets_its_first_key_frame_soon(server, publisher, prove):
    waits_ms = []
    for _ in range(50 if prove else 3):
        with Player(server.address, "running") as player:
            player.wait_until(lambda: any(map(is_key_frame, list(player.media))), "a key frame")
        waits_ms.append((player.first_frame_s - player.asked_s) * 1000)

    print(f"first key frame after {statistics.median(waits_ms):.1f} ms, at most {max(waits_ms):.1f} ms")  # noqa: T201
    assert not prove or statistics.median(waits_ms) < 50


def test_a_player_that_nobody_publishes_for_is_told_so(server):
    with Player(server.address, "nobody") as player:
        player.wait_for_status("NetStream.Play.StreamNotFound")
        waited_s = time.monotonic() - player.asked_s
        player.wait_for_end()

    assert waited_s > 0.9
    assert not player.media
    server.wait_for("closed", stream="live/nobody")


def test_a_real_player_that_nobody_publishes_for_fails(server):
    with pyav_player(server.url("live/nobody")) as player:
        assert player.wait() != 0

    assert not player.packets()
