"""Whole connections of real servers, replayed in several splits (see tests/corpus/servers/README.md)."""

from __future__ import annotations

from pathlib import Path

import pytest

from rtmpd.session.events import Connected, Ended, Playing, Publishing, RefusedByServer, Terminated
from rtmpd.session.urls import RtmpUrl
from rtmpd.wire.messages import AUDIO, DATA_AMF0, VIDEO, Message
from tests.helpers.client_transcript import new_client
from tests.helpers.transcript import START

CORPUS = Path(__file__).parent.parent / "corpus" / "servers"
CLOSED = [Terminated("peer closed")]
UNPUBLISHED = "StreamEOF"
TAKEN = RefusedByServer("NetStream.Publish.BadName", "Already publishing", may_retry=True)

# Events but for Connected; messages by type: data, audio, video.
CAPTURES = {
    "nginx-rtmp-1.2.2-publish": ([Publishing(1), *CLOSED], (0, 0, 0)),
    "nginx-rtmp-1.2.2-publish-taken": ([TAKEN, Terminated(f"refused: {TAKEN.code}: {TAKEN.description}")], (0, 0, 0)),
    "nginx-rtmp-1.2.2-publish-denied": ([Publishing(1), *CLOSED], (0, 0, 0)),
    "nginx-rtmp-1.2.2-play": (
        [Playing(1), Ended(UNPUBLISHED), Terminated(f"ended by the server: {UNPUBLISHED}")],
        (1, 10, 7),
    ),
    "nginx-rtmp-1.2.2-play-denied": ([Playing(1), *CLOSED], (0, 0, 0)),
    "nginx-rtmp-1.2.2-no-such-application": ([Terminated("peer closed before it answered connect")], (0, 0, 0)),
    "ffmpeg-5.1-listen-publish": ([Publishing(1), *CLOSED], (0, 0, 0)),
    "ffmpeg-5.1-listen-play": ([Playing(1), *CLOSED], (1, 10, 7)),
}


def replay(name, size):
    """Feed a capture in pieces, and return what it led to."""
    role = "play" if "play" in name or "no-such" in name else "publish"
    session = new_client(role, url=RtmpUrl.parse("rtmp://127.0.0.1/live/s"))
    received = (CORPUS / f"{name}.bin").read_bytes()
    events = []
    for start in range(0, len(received), size):
        events += session.receive_data(received[start : start + size], START)
        session.data_to_send()
    return events + session.receive_eof(START)


@pytest.mark.parametrize("name", CAPTURES)
def test_a_real_server_is_understood_to_its_last_byte(name):
    expected, counts = CAPTURES[name]

    events = replay(name, 128)

    media = [event for event in events if isinstance(event, Message)]
    assert counts == tuple(sum(message.type_id == kind for message in media) for kind in (DATA_AMF0, AUDIO, VIDEO))
    assert [event for event in events if not isinstance(event, Message | Connected)] == expected


@pytest.mark.parametrize("name", CAPTURES)
def test_a_real_server_is_understood_in_any_split(name):
    expected = replay(name, 1 << 20)

    assert expected == replay(name, 1)
    assert expected == replay(name, 101)


def test_every_capture_is_replayed():
    assert {path.stem for path in CORPUS.glob("*.bin")} == set(CAPTURES)
