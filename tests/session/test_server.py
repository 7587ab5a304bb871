"""What only the server's session does: the answer to the handshake, deadlines for clients, a description for the log."""

from __future__ import annotations

import gc
import tracemalloc

import pytest

from rtmpd.errors import Refused
from rtmpd.session.events import PauseChanged, PlayRequested, PublishEnded, PublishRequested, Terminated
from rtmpd.wire import messages
from rtmpd.wire.commands import decode_command
from tests.helpers.transcript import GREETING, HANDSHAKE, START, Transcript, command, new_session, video

RECONNECT_REQUEST = "onStatus 0 status NetConnection.Connect.ReconnectRequest"
SHUT_DOWN = Refused("NetConnection.Connect.AppShutdown", "going")


def test_the_answer_to_the_handshake_is_one_write_before_the_last_block_came():
    session = new_session()
    assert session.receive_data(HANDSHAKE[:1536], START) == []
    assert session.data_to_send() == b""
    session.receive_data(HANDSHAKE[1536:1537], START)
    answer = session.data_to_send()
    assert len(answer) == len(HANDSHAKE)
    # Zero, so that ffmpeg does not look for a digest when it plays.
    assert answer[5:9] == bytes(4)
    assert session.data_to_send() == b""


def test_a_session_describes_itself_for_the_log():
    script = Transcript()
    assert script.session.description == ("", "", "", 0)
    script.plays("a/b")
    script.session.receive_eof(START)
    script.session.receive_data(b"late", START)
    role, app, stream, received = script.session.description
    assert (role, app, stream) == ("play", "live/a", "b")
    assert received > len(HANDSHAKE)


def test_deadlines_follow_the_state():
    script = Transcript()
    session = script.session
    assert session.next_deadline() == START + 10
    script.passes(1)
    script.shakes_hands()
    assert session.next_deadline() == START + 11
    script.passes(1)
    script.received(command("connect", 1, {"app": "live"}))
    assert session.next_deadline() == START + 22
    script.passes(1)
    script.received(command("createStream", 2), command("publish", 3, None, "s", msid=1))
    assert session.next_deadline() is None
    script.passes(30)
    script.decides("accept_publish", 1)
    assert session.next_deadline() == script.now + 20
    script.passes(5)
    script.received(video())
    assert session.next_deadline() == script.now + 20
    script.received(command("deleteStream", 4, None, 1))
    assert session.next_deadline() == script.now + 20
    script.closes()
    assert session.next_deadline() is None


def test_an_idle_player_costs_at_most_3_kilobytes():
    def play(number):
        script = Transcript()
        script.plays(f"stream-{number}")
        script.received(messages.encode_user_control(messages.SET_BUFFER_LENGTH, 1, 3000))
        return script.session

    play(0)
    tracemalloc.start()
    try:
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        sessions = [play(number) for number in range(200)]
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (after - before) / len(sessions) <= 3 << 10


def test_a_publisher_is_asked_to_reconnect_and_served_until_it_leaves():
    with Transcript() as script:
        script.connects(capsEx=1.0)
        assert script.decides("request_reconnect", None, "going")
        script.sent(RECONNECT_REQUEST)
        script.received(command("publish", 3, None, "s", "live", msid=1))
        assert script.decides("request_reconnect", None, "going")
        script.sent(RECONNECT_REQUEST)
        script.reported(PublishRequested(1, "live", "s", ""))
        script.decides("accept_publish", 1)
        script.sent("1: onStatus 0 status NetStream.Publish.Start")
        assert script.decides("request_reconnect", None, "going")
        script.sent(RECONNECT_REQUEST)
        script.received(video())
        script.reported(video())
        script.received(command("deleteStream", 4, None, 1))
        script.reported(PublishEnded(1, clean=True, reason="deleteStream"))


def test_a_player_is_asked_to_reconnect_and_paused_and_finished_as_before():
    with Transcript() as script:
        script.connects(capsEx=3.0)
        script.received(command("play", 3, None, "s", msid=1))
        script.reported(PlayRequested(1, "live", "s", ""))
        assert script.decides("request_reconnect", None, "going")
        script.sent(RECONNECT_REQUEST)
        script.decides("accept_play", 1)
        script._said.clear()
        script.received(command("pause", 4, None, True, 0, msid=1))
        script.sent("1: onStatus 0 status NetStream.Pause.Notify")
        assert script.decides("request_reconnect", None, "going")
        script.sent(RECONNECT_REQUEST)
        script.reported(PauseChanged(1, paused=True))


@pytest.mark.parametrize("flags", [0.0, 14.0, "1", None])
def test_a_client_that_did_not_say_that_it_can_reconnect_is_not_asked(flags):
    with Transcript() as script:
        script.connects(capsEx=flags)
        assert not script.decides("request_reconnect", None, "going")


def test_nobody_is_asked_to_reconnect_before_connect():
    with Transcript() as script:
        assert not script.decides("request_reconnect", None, "going")
        script.shakes_hands()
        assert not script.decides("request_reconnect", None, "going")


def test_nobody_is_asked_to_reconnect_after_the_last_word():
    with Transcript() as script:
        script.connects(capsEx=1.0)
        script.received(command("play", 3, None, "s", msid=1))
        script.reported(PlayRequested(1, "live", "s", ""))
        script.decides("refuse_play", 1, Refused("NetStream.Play.Failed", "no"))
        script.sent("1: onStatus 0 error NetStream.Play.Failed")
        assert not script.decides("request_reconnect", None, "going")
        script.waits_for_deadline()
        script.reported(Terminated("refused: NetStream.Play.Failed: no"))
        assert not script.decides("request_reconnect", None, "going")


@pytest.mark.parametrize(
    ("tc_url", "sent"),
    [
        ("rtmp://b.example/other?k=v", "rtmp://b.example/other?k=v"),
        ("rtmp://b.example", "rtmp://b.example/live/a?k=v"),
        ("rtmps://[2001:db8::1]:443/", "rtmps://[2001:db8::1]:443/live/a?k=v"),
        ("other", "other"),
        ("/other/", "/other/"),
        ("//b.example/live", "//b.example/live"),
    ],
)
def test_a_url_that_names_only_a_server_means_the_clients_own_application(tc_url, sent):
    script = Transcript()
    script.connects(app="live/a?k=v", capsEx=1.0)
    script.decides("request_reconnect", tc_url, "going")
    (message,) = script._said
    assert decode_command(message).arguments[0]["tcUrl"] == sent


def test_a_connect_that_is_refused_is_answered_and_the_connection_closed():
    with Transcript() as script:
        script.session.refuse_connect(SHUT_DOWN)
        script.shakes_hands()
        script.received(command("connect", 1, {"app": "live"}), command("createStream", 2))
        script.sent("_error 1 error NetConnection.Connect.AppShutdown")
        script.waits_for_deadline()
        script.reported(Terminated("refused: NetConnection.Connect.AppShutdown: going"))
    # All connections share it: what it were raised with, it would keep alive.
    assert SHUT_DOWN.__traceback__ is None


def test_a_client_that_is_connected_stays_when_connects_are_refused():
    with Transcript() as script:
        script.shakes_hands()
        script.received(command("connect", 1, {"app": "live"}))
        script.sent(*GREETING)
        script.session.refuse_connect(SHUT_DOWN)
        script.received(command("createStream", 2))
        script.sent("_result 2 1")
        script._told.clear()
