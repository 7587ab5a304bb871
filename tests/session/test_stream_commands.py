"""Commands of a message stream, and what the owner decides about them."""

from __future__ import annotations

import pytest

from rtmpd.errors import Refused, UsageError
from rtmpd.session.events import PauseChanged, PlayEnded, PlayRequested, PublishEnded, PublishRequested, Terminated
from tests.helpers.transcript import Transcript, audio, command, video

TAKEN = Refused("NetStream.Publish.BadName", "live/s is being published")
GONE = Refused("NetStream.Play.StreamNotFound", "nobody publishes live/s")
PUBLISH = command("publish", 3, None, "s", "live", msid=1)
PLAY = command("play", 3, None, "s", msid=1)
STARTED = "1: onStatus 0 status NetStream.Publish.Start"


@pytest.fixture
def script():
    with Transcript() as transcript:
        yield transcript


def test_nothing_is_said_until_the_owner_decides_however_long_that_takes(script):
    script.connects()
    script.received(PUBLISH)
    script.reported(PublishRequested(1, "live", "s", ""))
    assert script.session.next_deadline() is None
    script.passes(1000)
    script.sent()
    script.decides("accept_publish", 1)
    script.sent(STARTED)
    assert script.session.next_deadline() == script.now + 20


def test_a_refused_publisher_hears_why_and_has_a_moment_to_leave(script):
    script.connects()
    script.received(PUBLISH)
    script.reported(PublishRequested(1, "live", "s", ""))
    script.decides("refuse_publish", 1, TAKEN)
    script.sent("1: onStatus 0 error NetStream.Publish.BadName")
    script.received(video(), PUBLISH, b"\xff" * 100)
    assert script.session.next_deadline() == script.now + 0.5
    script.waits_for_deadline()
    script.reported(Terminated("refused: NetStream.Publish.BadName: live/s is being published"))


def test_a_refused_player_that_leaves_first_has_the_same_reason(script):
    script.connects()
    script.received(PLAY)
    script.reported(PlayRequested(1, "live", "s", ""))
    script.decides("refuse_play", 1, GONE)
    script.sent("1: onStatus 0 error NetStream.Play.StreamNotFound")
    script.closes()
    script.reported(Terminated("refused: NetStream.Play.StreamNotFound: nobody publishes live/s"))


def test_a_refusal_does_not_end_what_else_the_connection_does(script):
    script.publishes()
    script.received(command("createStream", 4), command("publish", 5, None, "s", "live", msid=2))
    script.sent("_result 4 2")
    script.reported(PublishRequested(2, "live", "s", ""))
    script.decides("refuse_publish", 2, TAKEN)
    script.sent("2: onStatus 0 error NetStream.Publish.BadName")
    script.received(video())
    script.reported(video())
    script.received(command("publish", 6, None, "t", "live", msid=2))
    script.reported(PublishRequested(2, "live", "t", ""))


def test_two_publishes_on_one_connection_are_kept_apart(script):
    script.publishes()
    script.received(command("createStream", 4), command("publish", 5, None, "t", "live", msid=2))
    script.reported(PublishRequested(2, "live", "t", ""))
    script.decides("accept_publish", 2)
    script.sent("_result 4 2", "2: onStatus 0 status NetStream.Publish.Start")
    mixed = (video(msid=1), video(msid=2), audio(msid=2), audio(msid=1), audio(msid=3))
    script.received(*mixed)
    script.reported(*mixed[:4])
    script.received(command("deleteStream", 6, None, 1), video(msid=2), video(msid=1))
    script.reported(PublishEnded(1, clean=True, reason="deleteStream"), video(msid=2))


def test_a_publisher_whose_publish_is_ended_is_told_and_closed(script):
    script.publishes()
    script.decides("end_publish", 1, refused=Refused("NetStream.Publish.Denied", "taken over"))
    script.sent("1: onStatus 0 error NetStream.Publish.Denied")
    script.received(video())
    script.waits_for_deadline()
    script.reported(Terminated("refused: NetStream.Publish.Denied: taken over"))


def test_a_player_whose_stream_ends_hears_it_in_the_words_of_every_client(script):
    script.plays()
    script.decides("finish_play", 1, reason="the publisher has left")
    script.sent("1: onStatus 0 status NetStream.Play.UnpublishNotify", "stream eof 1")
    script.waits_for_deadline()
    script.reported(Terminated("play finished: the publisher has left"))


def test_a_paused_player_can_be_finished(script):
    script.plays()
    script.received(command("pause", 0, None, True, 0, msid=1))
    script.reported(PauseChanged(1, paused=True))
    script.decides("finish_play", 1, reason="over")
    script.sent(
        "1: onStatus 0 status NetStream.Pause.Notify",
        "1: onStatus 0 status NetStream.Play.UnpublishNotify",
        "stream eof 1",
    )
    script.closes()
    script.reported(Terminated("play finished: over"))


def test_only_message_stream_1_can_play(script):
    script.publishes()
    script.received(command("createStream", 4), command("play", 5, None, "s", msid=2))
    script.sent("_result 4 2", "2: onStatus 0 error NetStream.Play.Failed")
    script.received(video())
    script.reported(video())


def test_closing_a_stream_keeps_it_and_the_connection(script):
    script.publishes()
    script.received(command("closeStream", 0, None, msid=1), video())
    script.sent("1: onStatus 0 status NetStream.Unpublish.Success")
    script.reported(PublishEnded(1, clean=True, reason="closeStream"))
    script.received(PLAY)
    script.reported(PlayRequested(1, "live", "s", ""))
    script.received(command("closeStream", 0, None, msid=1))
    script.reported(PlayEnded(1))
    script.waits_for_deadline()
    script.reported(Terminated("timeout: neither publish nor play within 20 s"))


def test_a_request_that_is_withdrawn_ends_like_a_publish(script):
    script.connects()
    script.received(PUBLISH, command("closeStream", 0, None, msid=1))
    script.reported(
        PublishRequested(1, "live", "s", ""),
        PublishEnded(1, clean=True, reason="closeStream"),
    )


@pytest.mark.parametrize("value", [True, None, 1.0, "false"])
def test_a_pause_is_one_unless_it_says_false(script, value):
    script.plays()
    script.received(command("pause", 0, None, value, 0, msid=1), command("pause", 0, None, False, 0, msid=1))
    script.sent("1: onStatus 0 status NetStream.Pause.Notify", "1: onStatus 0 status NetStream.Unpause.Notify")
    script.reported(PauseChanged(1, paused=True), PauseChanged(1, paused=False))


def test_receiving_audio_or_video_is_accepted_without_effect(script):
    script.plays()
    for name in ("receiveAudio", "receiveVideo"):
        script.received(command(name, 0, None, False, msid=1))


@pytest.mark.parametrize(
    ("prepare", "verb", "arguments"),
    [
        ("connects", "accept_publish", ()),
        ("connects", "accept_play", ()),
        ("publishes", "accept_publish", ()),
        ("publishes", "refuse_publish", (TAKEN,)),
        ("plays", "accept_play", ()),
        ("plays", "refuse_play", (GONE,)),
        ("plays", "end_publish", ()),
        ("connects", "finish_play", ()),
    ],
)
def test_deciding_what_was_not_asked_is_our_mistake(script, prepare, verb, arguments):
    getattr(script, prepare)()
    keywords = {"end_publish": {"refused": TAKEN}, "finish_play": {"reason": "x"}}.get(verb, {})
    with pytest.raises(UsageError, match=f"{verb} for message stream 1: {verb} is not legal"):
        getattr(script.session, verb)(1, *arguments, now=script.now, **keywords)


def test_deciding_after_the_end_is_our_mistake():
    script = Transcript()
    script.connects()
    script.received(PUBLISH)
    script.closes()
    with pytest.raises(UsageError, match="does not exist"):
        script.session.accept_publish(1, script.now)


def test_a_session_says_whether_it_plays(script):
    assert not script.session.plays
    script.plays()
    assert script.session.plays
    script.decides("finish_play", 1, reason="over")
    assert not script.session.plays
    script.sent("1: onStatus 0 status NetStream.Play.UnpublishNotify", "stream eof 1")
    script.closes()
    script.reported(Terminated("play finished: over"))
