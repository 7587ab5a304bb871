"""A recording as the server knows it."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from rtmpd.workers.recording import OutputRequest, Recording, RecordingRequest, RecordingState

REQUEST = RecordingRequest("r", 2, (OutputRequest("flv", Path("/x.flv")),))


@pytest.fixture
def recording():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield Recording(REQUEST, ours, 0)


def test_a_recording_is_named_by_its_id_and_sequence(recording):
    assert recording.key == ("r", 2)


@pytest.mark.parametrize(
    ("state", "active"),
    [
        (RecordingState.STARTING, True),
        (RecordingState.RUNNING, True),
        (RecordingState.ENDED, False),
        (RecordingState.LOST, False),
    ],
)
def test_a_recording_is_active_until_it_has_ended_or_is_lost(recording, state, active):
    recording.state = state

    assert recording.active is active


def test_finishing_again_is_harmless(recording):
    recording.finish()
    recording.finish()

    assert recording.feed.fileno() == -1
