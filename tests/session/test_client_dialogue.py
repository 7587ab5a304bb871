"""How a client's dialogue ends, and what it says then."""

from __future__ import annotations

import pytest

from rtmpd.session.client_dialogue import ClientDialogue
from rtmpd.session.dialogue import NetStream
from rtmpd.session.events import Ended, RefusedByServer
from rtmpd.session.limits import ClientLimits
from rtmpd.session.states import ConnectionState
from tests.helpers.client_transcript import URL


def dialogue(role="publish"):
    dialogue = ClientDialogue(URL, role, ClientLimits(), "", "00000000", 0.0)
    dialogue.enter("handshake", 0.0)
    dialogue.enter("connect", 0.0)
    return dialogue


def with_stream(role, *steps):
    made = dialogue(role)
    stream = made.streams[1] = NetStream(1)
    for step in ("create", *steps):
        made.move(stream, step, 0.0)
    return made


@pytest.mark.parametrize("role", ["publish", "play"])
def test_a_stream_counts_as_granted_from_the_grant_on(role):
    assert not dialogue(role).granted
    assert not with_stream(role, role).granted
    assert with_stream(role, role, f"accept_{role}").granted


def test_only_media_of_a_play_are_received():
    assert with_stream("play", "play", "accept_play").receiving_id == 1
    assert with_stream("publish", "publish", "accept_publish").receiving_id != 1


def test_a_refusal_is_fit_for_a_log_and_never_without_a_reason():
    made = dialogue()

    made.refuse("a\nb", "", 0.0, may_retry=True)

    assert made.events == [RefusedByServer("a�b", "the server gives no reason", may_retry=True)]
    assert made.closing_reason == "refused: a�b: the server gives no reason"
    assert made.state is ConnectionState.LINGERING


def test_the_first_end_gives_the_reason():
    made = dialogue()

    made.end("one", 0.0)
    made.conclude("two", 0.0)

    assert made.events == [Ended("one")]
    assert made.closing_reason == "ended by the server: one"


@pytest.mark.parametrize(("role", "ends"), [("publish", False), ("play", True)])
def test_the_end_of_a_file_ends_a_play_alone(role, ends):
    made = with_stream(role, role)

    made.stream_eof(0.0)

    assert bool(made.events) is ends


def test_a_server_that_made_no_stream_is_told_nothing():
    made = dialogue()

    made.give_back()

    assert made.out == b""
