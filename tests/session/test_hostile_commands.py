"""
Hostile commands: cases 41 to 53 of protocol.md, section 8.2 (the others that a session decides are in test_hostile).

Each must end cleanly or go on cleanly, and what is kept and answered is bounded.
"""

from __future__ import annotations

import math

import pytest

from rtmpd.session.events import (
    Capabilities,
    Connected,
    PauseChanged,
    PlayEnded,
    PlayRequested,
    PublishRequested,
    Terminated,
)
from rtmpd.session.limits import Limits
from rtmpd.wire import messages
from rtmpd.wire.chunk_writer import encode_message
from rtmpd.wire.messages import encode_user_control
from tests.helpers.transcript import START, Transcript, audio, command, data, video

CONNECT = command("connect", 1, {"app": "live"})
CREATE = command("createStream", 2)
PUBLISH = command("publish", 3, None, "s", "live", msid=1)
PLAY = command("play", 3, None, "s", msid=1)


def wire(*received):
    return b"".join(encode_message(message, 128) for message in received)


def terminations(events):
    return [event for event in events if isinstance(event, Terminated)]


@pytest.fixture
def script():
    with Transcript() as transcript:
        yield transcript


@pytest.mark.parametrize(
    ("illegal", "answer"),
    [
        (PUBLISH, "1: onStatus 0 error NetStream.Publish.BadName"),
        (PLAY, "1: onStatus 0 error NetStream.Play.Failed"),
        (CREATE, "_error 2 error NetConnection.Call.Failed"),
        (command("deleteStream", 4, None, 1), "_error 4 error NetConnection.Call.Failed"),
        (command("pause", 4, None, True, 0, msid=1), "_error 4 error NetConnection.Call.Failed"),
    ],
)
def test_41_what_needs_a_connection_fails_before_connect_and_goes_on(script, illegal, answer):
    script.shakes_hands()
    script.received(illegal)
    script.sent(answer)
    script.received(CONNECT)
    script.reported(Connected("live", "", "", Capabilities()))
    script._said.clear()


@pytest.mark.parametrize(
    ("illegal", "answer"),
    [
        (PUBLISH, "1: onStatus 0 error NetStream.Publish.BadName"),
        (PLAY, "1: onStatus 0 error NetStream.Play.Failed"),
    ],
)
def test_41_publish_and_play_need_a_stream(script, illegal, answer):
    script.shakes_hands()
    script.received(CONNECT)
    script._said.clear()
    script._told.clear()
    script.received(illegal)
    script.sent(answer)


def test_42_a_second_connect_fails_and_changes_nothing(script):
    script.publishes()
    script.received(command("connect", 9, {"app": "other"}), video())
    script.sent("_error 9 error NetConnection.Call.Failed")
    script.reported(video())


def test_43_a_second_publish_on_a_stream_fails_and_the_first_goes_on(script):
    script.publishes()
    script.received(PUBLISH, video())
    script.sent("1: onStatus 0 error NetStream.Publish.BadName")
    script.reported(video())


def test_43_the_same_key_on_a_second_stream_is_a_request_like_any_other(script):
    script.publishes()
    script.received(command("createStream", 4), command("publish", 5, None, "s", "live", msid=2))
    script.sent("_result 4 2")
    script.reported(PublishRequested(2, "live", "s", ""))


def test_44_45_a_stream_that_publishes_cannot_play_and_one_that_plays_cannot_publish(script):
    script.publishes()
    script.received(PLAY, video())
    script.sent("1: onStatus 0 error NetStream.Play.Failed")
    script.reported(video())

    with Transcript() as player:
        player.plays()
        player.received(PUBLISH)
        player.sent("1: onStatus 0 error NetStream.Publish.BadName")


def test_46_streams_without_end_are_not_made(script):
    script.connects()
    script.received(*[CREATE] * 8)
    script.sent(*[f"_result 2 {number}" for number in range(2, 9)], "_error 2 error NetConnection.Call.Failed")
    script.passes(1)
    (event,) = script.session.receive_data(wire(*[CREATE] * 40), script.now)
    assert event.reason.startswith("order: more than 8 faulty commands")


@pytest.mark.parametrize(
    "target", [(7,), (0,), (-1,), (math.nan,), (math.inf,), (1.5,), ("other",), (None,), ({},), ()]
)
def test_47_deleting_what_does_not_exist_does_nothing(script, target):
    script.publishes()
    script.received(command("deleteStream", 4, None, *target), video())
    script.reported(video())


@pytest.mark.parametrize("msid", [0, 2, 2**32 - 1])
def test_48_media_where_nothing_is_published_are_dropped(script, msid):
    script.connects()
    script.received(PUBLISH, video(), audio(), data(b"\x02\0\x01x"))
    script.reported(PublishRequested(1, "live", "s", ""))
    script.decides("accept_publish", 1)
    script.sent("1: onStatus 0 status NetStream.Publish.Start")
    script.received(command("createStream", 2), video(msid=msid), audio(msid=msid), data(b"\x02\0\x01x", msid=msid))
    script.sent("_result 2 2")


def test_48_media_without_end_where_nothing_is_published_end_the_session():
    script = Transcript(limits=Limits(stray_bytes=10_000))
    script.plays()
    events = script.session.receive_data(wire(*[video(bytes(988))] * 10), START)
    assert events == []
    (_, event) = script.session.receive_data(wire(audio(b"")), START)
    assert event.reason == "limit: more than 10000 bytes of media that was not to be published"


@pytest.mark.parametrize(
    "name", ["", "..", "../s", "a/../b", ".", "a\0b", "a\nb", "a\x7fb", "\u202eevil", "?", "?a=b", "x" * 1025, "�"]
)
def test_49_names_that_must_not_exist_are_refused(script, name):
    script.connects()
    script.received(command("play", 3, None, name, msid=1))
    script.sent("1: onStatus 0 error NetStream.Play.StreamNotFound")
    script.waits_for_deadline()
    ((termination,), script._told) = (script._told, [])
    assert termination.reason.startswith("refused: NetStream.Play.StreamNotFound: The ")
    assert termination.reason.isprintable()


@pytest.mark.parametrize(
    ("name", "app", "stream"),
    [
        ("/etc/passwd", "live/etc", "passwd"),
        ("%2e%2e%2fx", "live", "%2e%2e%2fx"),
        ("CON", "live", "CON"),
        ("😀", "live", "😀"),
        ("/s", "live", "s"),
    ],
)
def test_49_odd_names_are_only_names(script, name, app, stream):
    script.connects()
    script.received(command("play", 3, None, name, msid=1))
    script.reported(PlayRequested(1, app, stream, ""))


def test_49_a_name_of_a_megabyte_ends_the_session(script):
    script.connects()
    huge = command("play", 3, None, "x" * (1 << 20), msid=1)
    assert terminations(script.session.receive_data(wire(huge), START))


def test_50_a_transaction_id_may_come_again(script):
    script.connects()
    script.received(command("createStream", 2), command("FCPublish", 2, None, "s"), command("_checkbw", 2))
    script.sent("_result 2 2", "_result 2", "_result 2")


@pytest.mark.parametrize(
    "flood",
    [
        encode_user_control(messages.PING_REQUEST, 7),
        command("_checkbw", 9),
        command("nonsense", 9),
        command("nonsense", 0),
        command("_result", 9),
        command("seek", 9, None, 0, msid=1),
        command("receiveAudio", 0, None, True, msid=1),
    ],
)
def test_51_floods_of_what_is_answered_end_the_session_and_what_they_make_is_bounded(flood):
    script = Transcript()
    script.plays()
    script.now += 1
    (end, event) = script.session.receive_data(wire(*[flood] * 10_000), script.now)
    assert (end, event) == (PlayEnded(1), Terminated("limit: more than 50 commands a second"))
    assert len(script.session.data_to_send()) < 20_000


def test_51_set_peer_bandwidth_is_answered_only_when_it_changes_and_bounded(script):
    script.plays()
    same = messages.encode_set_peer_bandwidth(2_500_000, messages.LIMIT_DYNAMIC)
    other = messages.encode_set_peer_bandwidth(5_000_000, messages.LIMIT_HARD)
    script.received(*[same] * 1000, *[other] * 1000)
    script.sent("window acknowledgement size 5000000")


def test_51_a_ping_is_answered(script):
    script.plays()
    script.received(encode_user_control(messages.PING_REQUEST, 1000))
    script.sent("pong 1000")


def test_51_buffer_lengths_cost_nothing(script):
    script.plays()
    script.received(*[encode_user_control(messages.SET_BUFFER_LENGTH, 1, 3000)] * 1000)


def test_51_answers_that_nobody_reads_end_the_session():
    script = Transcript(limits=Limits(output_bytes=1000, commands_per_s=1e9))
    script.plays()
    (_, event) = script.session.receive_data(wire(*[command("_checkbw", 9)] * 40), START)
    assert event.reason == "limit: more than 1000 bytes of answers were not read"


def test_52_replays_of_the_group_of_pictures_are_bounded(script):
    script.plays()
    script.passes(1)
    pair = (command("pause", 0, None, True, 0, msid=1), command("pause", 0, None, False, 0, msid=1))
    events = script.session.receive_data(wire(*pair * 6), script.now)
    assert events[-1] == Terminated("limit: more than 5 plays a second")
    assert events.count(PauseChanged(1, paused=False)) == 5


def test_52_pausing_twice_is_pausing_once(script):
    script.plays()
    script.received(*[command("pause", 0, None, False, 0, msid=1)] * 20)
    script.received(*[command("pause", 0, None, True, 0, msid=1)] * 2)
    script.reported(PauseChanged(1, paused=True))
    script._said.clear()


def test_52_play_and_delete_by_turns_is_bounded():
    script = Transcript()
    script.connects()
    script.now += 1
    turn = (PLAY, command("deleteStream", 0, None, 1), CREATE)
    events = script.session.receive_data(wire(*turn * 6), script.now)
    assert events[-1] == Terminated("limit: more than 5 plays a second")
    assert events.count(PlayRequested(1, "live", "s", "")) == 5


def test_53_a_connect_with_10_000_arguments_is_refused(script):
    script.shakes_hands()
    script.received(command("connect", 1, {"app": "live"}, *[None] * 10_000))
    script.sent("_error 1 error NetConnection.Call.Failed")
