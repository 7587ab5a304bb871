"""Commands that nobody knows, that are answers, and that come again and again where they are not legal."""

from __future__ import annotations

import pytest

from rtmpd.session.events import PublishEnded, Terminated
from tests.helpers.transcript import Transcript, command


@pytest.fixture
def script():
    with Transcript() as transcript:
        yield transcript


def test_unknown_commands_fail_if_they_want_an_answer(script):
    script.connects()
    script.received(command("set\nPlaylist", 7, None, 1), command("onSomething", 0, None))
    script.sent("_error 7 error NetConnection.Call.Failed")


def test_answers_of_clients_to_what_other_servers_ask_are_not_answered(script):
    script.connects()
    for name in ("_result", "_error", "onStatus"):
        script.received(command(name, 3, None, 0))


def test_repeated_illegal_commands_end_the_session(script):
    script.publishes()
    script.received(*[command("connect", 0, {"app": "live"})] * 9)
    reason = "order: more than 8 faulty commands; the last: connect is not legal in state connected"
    script.reported(PublishEnded(1, clean=False, reason=reason), Terminated(reason))
