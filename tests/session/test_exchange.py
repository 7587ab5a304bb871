"""Messages that are no commands."""

from __future__ import annotations

import pytest

from rtmpd.errors import Refused
from rtmpd.session.events import PublishEnded, Terminated
from rtmpd.wire import amf0, messages
from rtmpd.wire.messages import Message, encode_user_control
from tests.helpers.transcript import Transcript, audio, command, data, video

PUBLISH = command("publish", 3, None, "s", "live", msid=1)


@pytest.fixture
def script():
    with Transcript() as transcript:
        yield transcript


def test_data_are_passed_on_as_they_are_without_setdataframe(script):
    script.publishes()
    bodies = (b"\xff not AMF", amf0.encode("onFi", {"sd": "x"}), amf0.encode("@clearDataFrame", "onMetaData"))
    script.received(*map(data, bodies))
    script.reported(*map(data, bodies))
    script.received(data(amf0.encode("@setDataFrame", "onMetaData", {})), data(amf0.encode("@setDataFrame")), data(b""))
    script.reported(data(amf0.encode("onMetaData", {})))


def test_amf3_data_become_amf0_data_and_unreadable_ones_nothing(script):
    script.publishes()
    readable = Message(messages.DATA_AMF3, 9, 1, b"\0" + amf0.encode("onCuePoint", 1), 4)
    script.received(
        readable,
        readable._replace(body=b"\0\xff"),
        readable._replace(body=b""),
        readable._replace(message_stream_id=7),
    )
    script.reported(Message(messages.DATA_AMF0, 9, 1, amf0.encode("onCuePoint", 1), 4))


def test_data_of_players_are_dropped(script):
    script.plays()
    script.received(data(amf0.encode("onTextData", {})))


def test_aggregates_come_unpacked(script):
    script.publishes()
    frame = b"\x17\x01\0\0\0x"
    part = (
        b"\x09"
        + len(frame).to_bytes(3, "big")
        + b"\0\0\x07\0"
        + b"\0\0\0"
        + frame
        + (11 + len(frame)).to_bytes(4, "big")
    )
    later = part[:4] + b"\0\0\x11\0" + part[8:]
    script.received(Message(messages.AGGREGATE, 1000, 1, part + later, 4))
    script.reported(video(frame, 1000, csid=4), video(frame, 1010, csid=4))


def test_aggregates_of_nobody_are_not_even_unpacked(script):
    script.plays()
    script.received(Message(messages.AGGREGATE, 1000, 1, b"\xff" * 100, 4))


def test_media_on_message_stream_0_belong_to_the_only_stream(script):
    script.publishes()
    script.received(audio(msid=0))
    script.reported(audio(msid=1))
    script.received(command("createStream", 0), audio(msid=0))


def requested(script):
    """Come as far as a publish that waits for its grant."""
    script.connects()
    script.received(PUBLISH)
    script._told.clear()


def test_media_that_do_not_wait_for_the_grant_are_reported_with_it_as_if_they_had(script):
    requested(script)
    named = data(amf0.encode("@setDataFrame", "onMetaData", {}))
    parts = Message(messages.AGGREGATE, 0, 1, b"\x08\0\0\x02\0\0\x07\0\0\0\0\xaf\1\0\0\0\x0d", 4)
    script.received(named, video(b"\x17\0"), audio(msid=0), parts)
    script.sent()
    script.reported()
    assert script.decides("accept_publish", 1) == [
        data(amf0.encode("onMetaData", {})),
        video(b"\x17\0"),
        audio(msid=1),
        audio(b"\xaf\1", csid=4),
    ]
    script.sent("1: onStatus 0 status NetStream.Publish.Start")
    script.received(video())
    script.reported(video())


def test_broken_media_from_before_the_grant_end_the_session_with_it(script):
    requested(script)
    script.received(video(), Message(messages.AGGREGATE, 0, 1, b"\x08\xff", 4))
    *media, ended, terminated = script.decides("accept_publish", 1)
    assert media == [video()]
    assert (type(ended), type(terminated)) == (PublishEnded, Terminated)
    assert terminated.reason.startswith("message: ")
    script.sent("1: onStatus 0 status NetStream.Publish.Start")


@pytest.mark.parametrize("ending", ["refuse_publish", "closeStream"])
def test_media_from_before_a_grant_that_never_came_are_nobodys(script, ending):
    requested(script)
    script.received(command("createStream", 4), command("publish", 5, None, "other", "live", msid=2), video())
    if ending == "closeStream":
        script.received(command("closeStream", 0, msid=1))
    else:
        script.decides("refuse_publish", 1, refused=Refused("NetStream.Publish.Denied", "no"))
    script.received(command("publish", 6, None, "s", "live", msid=1), audio())
    script._said.clear()
    script._told.clear()
    assert script.decides("accept_publish", 1) == [audio()]
    script._said.clear()


def test_a_ping_is_answered_and_unknown_events_are_not(script):
    script.publishes()
    script.received(encode_user_control(messages.PING_REQUEST, 5), encode_user_control(31, 1), encode_user_control(26))
    script.sent("pong 5")


def test_a_user_control_message_without_its_data_ends_the_session(script):
    script.publishes()
    script.received(Message(messages.USER_CONTROL, 0, 0, b"\0\x06\0", 2))
    reason = "message: user control event 6 has 1 bytes of data where 4 are due"
    script.reported(PublishEnded(1, clean=False, reason=reason), Terminated(reason))
