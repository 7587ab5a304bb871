"""Commands of the connection: connect, streams made and deleted, and calls around them."""

from __future__ import annotations

import pytest

from rtmpd.session.events import Capabilities, Connected, PlayEnded, PublishEnded, PublishRequested, Terminated
from tests.helpers.transcript import GREETING, Transcript, command, video


@pytest.fixture
def script():
    with Transcript() as transcript:
        yield transcript


def test_connect_is_answered_in_the_order_that_every_client_takes(script):
    script.shakes_hands()
    script.received(command("connect", 1, {"app": "live"}))
    script.sent(*GREETING)
    script.reported(Connected("live", "", "", Capabilities()))


def test_connect_without_an_object_has_an_empty_application(script):
    """All of the path may be in the key."""
    script.shakes_hands()
    script.received(command("connect", 1, None), command("createStream", 2))
    script.reported(Connected("", "", "", Capabilities()))
    script.sent(*GREETING, "_result 2 1")
    script.received(command("publish", 3, None, "live/s", "live", msid=1))
    script.reported(PublishRequested(1, "live", "s", ""))


@pytest.mark.parametrize(
    ("properties", "reason"),
    [
        ({"app": 1}, "app is not a string"),
        ({"app": "live", "tcUrl": {}}, "tcUrl is not a string"),
        ({"app": "x" * 4097}, "The URL is longer than 4096 characters"),
        ({"app": "live", "tcUrl": "x" * 4097}, "The URL is longer than 4096 characters"),
    ],
)
def test_a_connect_that_cannot_be_understood_is_refused_and_the_connection_closed(script, properties, reason):
    script.shakes_hands()
    script.received(command("connect", 1, properties))
    script.sent("_error 1 error NetConnection.Connect.InvalidApp")
    script.received(command("createStream", 2))
    script.waits_for_deadline()
    script.reported(Terminated(f"refused: NetConnection.Connect.InvalidApp: {reason}"))


def test_what_is_reported_of_a_connect_is_fit_for_the_log(script):
    script.shakes_hands()
    script.received(command("connect", 1, {"app": "a\nb", "tcUrl": "\x1b[2J", "flashVer": "x" * 1000}))
    script.sent(*GREETING)
    script.reported(Connected("a�b", "�[2J", "x" * 255 + "…", Capabilities()))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("releaseStream", ""),
        ("FCPublish", ""),
        ("FCUnpublish", ""),
        ("FCSubscribe", ""),
        ("FCUnsubscribe", ""),
        ("_checkbw", ""),
        ("getStreamLength", " 0"),
    ],
)
def test_calls_that_only_want_an_answer_get_one_if_they_have_a_transaction(script, name, value):
    script.connects()
    script.received(command(name, 9, None, "s"), command(name, 0, None, "s"))
    script.sent(f"_result 9{value}")


def test_streams_are_numbered_from_1_and_numbers_become_free(script):
    script.connects()
    script.received(command("createStream", 3), command("deleteStream", 4, None, 1), command("createStream", 5))
    script.sent("_result 3 2", "_result 5 1")


def test_a_stream_made_with_transaction_0_exists(script):
    script.connects()
    script.received(command("createStream", 0), command("publish", 0, None, "s", "live", msid=2))
    script.reported(PublishRequested(2, "live", "s", ""))


def test_deleting_a_stream_ends_what_it_was_used_for(script):
    script.connects()
    script.received(command("play", 3, None, "s", msid=1), command("deleteStream", 4, None, 1))
    (_, ended), script._told = script._told, []
    assert ended == PlayEnded(1)


def test_a_connection_can_publish_again_after_deleting(script):
    script.publishes()
    script.received(command("deleteStream", 4, None, 1), command("createStream", 5))
    script.received(command("publish", 6, None, "other", "live", msid=1))
    script.reported(PublishEnded(1, clean=True, reason="deleteStream"), PublishRequested(1, "live", "other", ""))
    script.sent("_result 5 1")
    script.decides("accept_publish", 1)
    script.sent("1: onStatus 0 status NetStream.Publish.Start")
    script.received(video())
    script.reported(video())


def test_fcunpublish_alone_ends_nothing_but_makes_the_end_a_clean_one(script):
    script.publishes()
    script.received(command("FCUnpublish", 0, None, "s"), video())
    script.reported(video())
    script.closes()
    script.reported(PublishEnded(1, clean=True, reason="peer closed"), Terminated("peer closed"))


def test_fcunpublish_says_nothing_about_a_later_publish(script):
    script.publishes()
    script.received(command("FCUnpublish", 0, None, "s"), command("deleteStream", 0, None, 1))
    script.received(command("createStream", 0), command("publish", 0, None, "s", "live", msid=1))
    script.decides("accept_publish", 1)
    script._told.clear()
    script._said.clear()
    script.closes()
    script.reported(PublishEnded(1, clean=False, reason="peer closed"), Terminated("peer closed"))
