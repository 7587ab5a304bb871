"""Whole connections of real clients, replayed in several splits (see tests/corpus/session/README.md)."""

from __future__ import annotations

from pathlib import Path

import pytest

from rtmpd.session.events import (
    Capabilities,
    Connected,
    PlayEnded,
    PlayRequested,
    PublishEnded,
    PublishRequested,
    Terminated,
)
from rtmpd.wire.messages import AUDIO, DATA_AMF0, VIDEO, Message
from tests.helpers.transcript import START, new_session

CORPUS = Path(__file__).parent.parent / "corpus" / "session"
TC_URL = "rtmp://127.0.0.1:19350/live"
FFMPEG = "FMLE/3.0 (compatible; Lavf59.27.100)"
FFMPEG_8 = "FMLE/3.0 (compatible; Lavf62.12.102)"
PLAYER = Capabilities(video_function=1)
PUBLISHED = PublishEnded(1, clean=True, reason="deleteStream")

# Messages by type: data, audio, video.
CAPTURES = {
    "ffmpeg-5.1-publish": (FFMPEG, Capabilities(), PublishRequested(1, "live", "s", "k=v"), (1, 10, 7), PUBLISHED),
    "ffmpeg-8.1-publish-hevc": (FFMPEG_8, Capabilities(), PublishRequested(1, "live", "s", ""), (1, 0, 7), PUBLISHED),
    "librtmp-2.4-publish": ("", Capabilities(), PublishRequested(1, "live", "s", ""), (1, 10, 7), PUBLISHED),
    "gstreamer-1.22-publish": (
        "LNX 10,0,32,18",
        Capabilities(),
        PublishRequested(1, "live", "s", ""),
        (1, 10, 7),
        PUBLISHED,
    ),
    "ffmpeg-5.1-play": ("LNX 9,0,124,2", PLAYER, PlayRequested(1, "live", "s", ""), (0, 0, 0), PlayEnded(1)),
    "ffmpeg-8.1-play-enhanced": (
        "LNX 9,0,124,2",
        Capabilities(video_function=1, four_ccs=("av01", "hvc1", "vp09")),
        PlayRequested(1, "live", "s", ""),
        (0, 0, 0),
        PlayEnded(1),
    ),
    "gstreamer-1.22-play": ("LNX 10,0,32,18", PLAYER, PlayRequested(1, "live", "s", ""), (0, 0, 0), PlayEnded(1)),
    "rtmpdump-2.4-play": ("LNX 10,0,32,18", PLAYER, PlayRequested(1, "live", "s", ""), (0, 0, 0), PlayEnded(1)),
}


def pieces(received, size):
    return [received[start : start + size] for start in range(0, len(received), size)]


def replay(received, size):
    """Feed a capture, accept what it asks for, and return what it led to."""
    session = new_session()
    events = []
    for piece in pieces(received, size):
        for event in session.receive_data(piece, START):
            events.append(event)
            if isinstance(event, PublishRequested):
                session.accept_publish(event.message_stream_id, START)
            elif isinstance(event, PlayRequested):
                session.accept_play(event.message_stream_id, START)
        session.data_to_send()
    return events + session.receive_eof(START)


@pytest.mark.parametrize("name", CAPTURES)
def test_a_real_client_is_understood_to_its_last_byte(name):
    flash_version, capabilities, request, counts, end = CAPTURES[name]

    # 128 bytes at a time: before it asks, no client sends anything together with what needs the answer.
    events = replay((CORPUS / f"{name}.bin").read_bytes(), 128)

    media = [event for event in events if isinstance(event, Message)]
    assert counts == tuple(sum(message.type_id == kind for message in media) for kind in (DATA_AMF0, AUDIO, VIDEO))
    assert [event for event in events if not isinstance(event, Message)] == [
        Connected("live", TC_URL, flash_version, capabilities),
        request,
        end,
        Terminated("peer closed"),
    ]


@pytest.mark.parametrize("name", CAPTURES)
def test_a_real_client_is_understood_in_any_split(name):
    received = (CORPUS / f"{name}.bin").read_bytes()

    expected = replay(received, 128)

    assert expected == replay(received, 1)
    assert expected == replay(received, 101)


def test_every_capture_is_replayed():
    assert {path.stem for path in CORPUS.glob("*.bin")} == set(CAPTURES)
