"""The verbs that answers are made of."""

from __future__ import annotations

import pytest

from rtmpd.errors import LimitExceeded, OutOfOrder
from rtmpd.session.dialogue import NOT_RECEIVING, Dialogue, NetStream
from rtmpd.session.limits import Limits
from rtmpd.session.replies import result
from rtmpd.session.states import ConnectionState


@pytest.fixture
def dialogue():
    dialogue = Dialogue(Limits(), 0.0)
    dialogue.enter("handshake", 0.0)
    dialogue.enter("connect", 1.0)
    return dialogue


def stream_of(dialogue, number, *commands):
    stream = dialogue.streams[number] = NetStream(number)
    for command in ("create", *commands):
        dialogue.move(stream, command, 2.0)
    return stream


def test_messages_are_cut_into_the_chunks_that_the_peer_knows_of(dialogue):
    dialogue.send(result(1, "x" * 200))
    assert dialogue.out[12 + 128] == 0xC3
    dialogue.announce_chunk_size()
    dialogue.out = b""
    dialogue.send(result(1, "x" * 200))
    assert dialogue.out.endswith(b"x" * 200)


def test_message_stream_0_means_the_only_stream(dialogue):
    assert dialogue.find(0) is None
    first = stream_of(dialogue, 1)
    assert dialogue.find(0) is first
    assert dialogue.find(1) is first
    assert dialogue.find(2) is None
    stream_of(dialogue, 2)
    assert dialogue.find(0) is None


def test_the_wait_for_a_command_begins_anew_when_a_stream_has_ended(dialogue):
    stream = stream_of(dialogue, 1, "play")
    assert dialogue.since == 1.0
    dialogue.move(stream, "closeStream", 5.0)
    assert dialogue.since == 5.0
    dialogue.move(stream, "closeStream", 6.0)
    assert dialogue.since == 5.0


def test_one_publishing_stream_is_known_by_its_number(dialogue):
    first = stream_of(dialogue, 1, "publish", "accept_publish")
    stream_of(dialogue, 2, "publish", "accept_publish")
    assert dialogue.receiving_id == 1
    dialogue.move(first, "end_publish", 3.0)
    assert dialogue.receiving_id == 2
    dialogue.terminate("over", 4.0)
    assert dialogue.receiving_id == NOT_RECEIVING


def test_leaving_waits_for_the_other_streams(dialogue):
    stream = stream_of(dialogue, 1, "play")
    dialogue.leave("refused", 3.0)
    assert dialogue.state is ConnectionState.CONNECTED
    dialogue.move(stream, "refuse_play", 3.0)
    dialogue.leave("refused", 3.0)
    assert (dialogue.state, dialogue.closing_reason) == (ConnectionState.LINGERING, "refused")


def test_what_is_not_legal_changes_nothing(dialogue):
    stream = stream_of(dialogue, 1, "play")
    with pytest.raises(OutOfOrder):
        dialogue.move(stream, "publish", 3.0)
    assert dialogue.has_active_stream


def test_counters_raise_when_they_are_exceeded():
    dialogue = Dialogue(Limits(commands_per_s=1, plays_per_s=1, stray_bytes=1, tolerated_faults=1), 0.0)
    counters = (
        (lambda: dialogue.count_command(0.0), LimitExceeded),
        (lambda: dialogue.count_play(0.0), LimitExceeded),
        (lambda: dialogue.count_stray(1), LimitExceeded),
        (lambda: dialogue.count_fault("x"), OutOfOrder),
    )
    for count, error in counters:
        count()
        with pytest.raises(error, match="more than 1"):
            count()
