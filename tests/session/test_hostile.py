"""
The hostile cases of protocol.md, section 8.2, as far as a session alone decides them. The numbers are those of that list.

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
    PublishEnded,
    PublishRequested,
    Terminated,
)
from rtmpd.wire import messages
from rtmpd.wire.amf import UNDEFINED, Date, TypedObject
from rtmpd.wire.chunk_writer import encode_message
from rtmpd.wire.messages import Message, encode_user_control
from tests.helpers.transcript import HANDSHAKE, START, Transcript, audio, command, data, new_session, video

CONNECT = command("connect", 1, {"app": "live"})
CREATE = command("createStream", 2)
PUBLISH = command("publish", 3, None, "s", "live", msid=1)


def control(type_id, body):
    return Message(type_id, 0, 0, body, 2)


def wire(*received):
    return b"".join(encode_message(message, 128) for message in received)


def terminations(events):
    return [event for event in events if isinstance(event, Terminated)]


@pytest.fixture
def script():
    with Transcript() as transcript:
        yield transcript


# Handshake


def test_1_a_peer_that_sends_nothing_is_closed_after_the_handshake_limit(script):
    assert script.session.next_deadline() == START + 10
    script.passes(9.99)
    script.reported()
    script.passes(0.01)
    script.reported(Terminated("timeout: no handshake within 10 s"))


def test_2_a_byte_now_and_then_does_not_prolong_the_handshake(script):
    for byte in HANDSHAKE[:9]:
        script.received(bytes((byte,)))
        script.passes(1)
    script.reported()
    script.passes(1)
    script.reported(Terminated("timeout: no handshake within 10 s"))


@pytest.mark.parametrize("first", [0, 2, 6, 8, 9, 32, 0x16, 0x47, 0x50, 0xFF])
def test_3_another_protocol_is_named_at_its_first_byte(first):
    session = new_session()
    (event,) = session.receive_data(bytes((first,)) + bytes(20), START)
    assert event.reason.startswith("handshake: ")
    assert (event.offset, event.evidence) == (0, f"{first:02x}" + " 00" * 15)
    assert session.data_to_send() == b""


def test_3_tls_and_http_are_named():
    assert "TLS" in str(new_session().receive_data(b"\x16\x03\x01", START)[0])
    assert "HTTP" in str(new_session().receive_data(b"GET / HTTP/1.1\r\n", START)[0])


def test_4_5_a_handshake_that_breaks_off_ends_with_it():
    for received in (HANDSHAKE[:1], HANDSHAKE[:1000], HANDSHAKE[:1537], HANDSHAKE[:-1]):
        session = new_session()
        assert session.receive_data(received, START) == []
        assert session.receive_eof(START) == [Terminated("peer closed before the end of the handshake")]


def test_6_an_echo_that_is_none_does_not_matter(script):
    script.received(HANDSHAKE[:1537] + b"\xff" * 1536, CONNECT)
    script.sent(
        "window acknowledgement size 2500000",
        "set peer bandwidth 2500000 dynamic",
        "set chunk size 65536",
        "_result 1 {fmsVer, capabilities} status NetConnection.Connect.Success",
    )
    script.reported(Connected("live", "", "", Capabilities()))


@pytest.mark.parametrize("piece_bytes", [None, 1])
def test_7_8_everything_up_to_publish_may_come_in_one_segment_or_byte_by_byte(piece_bytes):
    with Transcript(piece_bytes=piece_bytes) as script:
        script.received(HANDSHAKE + wire(CONNECT, CREATE, PUBLISH))
        script.reported(Connected("live", "", "", Capabilities()), PublishRequested(1, "live", "s", ""))
        script.decides("accept_publish", 1)
        script.sent(
            "window acknowledgement size 2500000",
            "set peer bandwidth 2500000 dynamic",
            "set chunk size 65536",
            "_result 1 {fmsVer, capabilities} status NetConnection.Connect.Success",
            "_result 2 1",
            "1: onStatus 0 status NetStream.Publish.Start",
        )


# Messages that carry no media


@pytest.mark.parametrize("type_id", range(256))
def test_14_an_empty_message_of_any_type_is_survived_in_any_state(type_id):
    for prepare in ("shakes_hands", "connects", "publishes", "plays"):
        script = Transcript()
        getattr(script, prepare)()
        events = script.session.receive_data(wire(Message(type_id, 0, 1, b"", 3)), START)
        assert len(terminations(events)) <= 1


@pytest.mark.parametrize("size", [0, 1, 127, 1 << 31])
def test_15_a_chunk_size_out_of_bounds_ends_the_session(script, size):
    script.connects()
    events = script.session.receive_data(wire(control(messages.SET_CHUNK_SIZE, size.to_bytes(4, "big"))), START)
    assert str(events[0]).startswith(f"chunk: chunk size {size} at byte ")


@pytest.mark.parametrize("body", [b"\0\0\x10", b"\0\0\x10\0\0"])
def test_15_a_set_chunk_size_of_another_length_ends_the_session(script, body):
    script.connects()
    assert terminations(script.session.receive_data(wire(control(messages.SET_CHUNK_SIZE, body)), START))


def test_17_an_aborted_command_is_never_seen_and_the_next_on_its_chunk_stream_is(script):
    script.connects()
    long_publish = encode_message(command("publish", 3, None, "x" * 300, "live", msid=1), 128)
    script.received(long_publish[:140], control(messages.ABORT, (3).to_bytes(4, "big")), PUBLISH)
    script.reported(PublishRequested(1, "live", "s", ""))


def test_18_acknowledgements_of_any_value_are_ignored(script):
    script.plays()
    for value in (0, 1, 2**32 - 1):
        script.received(messages.encode_acknowledgement(value))


@pytest.mark.parametrize("window", [0, 1, 2**32 - 1])
def test_19_a_tiny_window_does_not_make_an_acknowledgement_of_each_message(window):
    script = Transcript()
    script.publishes()
    script.session.receive_data(wire(messages.encode_window_acknowledgement_size(window)), START)
    frame = wire(video(bytes(6_000)))
    answers = 0
    for _ in range(100):
        script.session.receive_data(frame, START)
        answers += len(script.session.data_to_send()) > 0
    assert answers == (9 if window < 2 else 0)


@pytest.mark.parametrize("body", [b"\0\0\0\x01", b"\0\0\0\x01\x03", b"\0\0\0\x01\x02\x00"])
def test_20_a_malformed_set_peer_bandwidth_ends_the_session(script, body):
    script.connects()
    (event,) = script.session.receive_data(wire(control(messages.SET_PEER_BANDWIDTH, body)), START)
    assert event.reason.startswith("message: a Set Peer Bandwidth")


def test_21_to_25_limits_of_the_chunk_reader_end_the_session_with_an_offset():
    script = Transcript()
    script.publishes()
    (end, event) = script.session.receive_data(b"\x06\0\0\0\xff\xff\xff\x14\x01\0\0\0rest", START)
    assert end == PublishEnded(1, clean=False, reason=event.reason)
    assert event.reason.startswith("limit: ")
    assert f"at byte {event.offset} (06 00 00 00 ff ff ff 14 01 00 00 00 72 65 73 74)" in str(event)


def test_23_24_timestamps_pass_as_they_are(script):
    script.publishes()
    times = (0xFFFFFF, 2**31, 2**32 - 1, 0, 5, 3)
    script.received(*(audio(timestamp_ms=time) for time in times))
    script.reported(*(audio(timestamp_ms=time) for time in times))


@pytest.mark.parametrize("type_id", [0, 7, 10, 11, 12, 13, 14, 16, 19, 21, 23, 255])
def test_26_27_types_that_nobody_needs_are_ignored(script, type_id):
    script.publishes()
    script.received(Message(type_id, 0, 1, b"anything", 3), Message(type_id, 0, 0, b"\xff" * 40, 3), video())
    script.reported(video())


def test_27_amf3_commands_and_data_need_the_format_byte_0(script):
    script.publishes()
    script.received(Message(messages.DATA_AMF3, 0, 1, b"\x01" + data(b"x").body, 4))
    (_, event) = script.session.receive_data(
        wire(Message(messages.COMMAND_AMF3, 0, 0, b"\x01" + CREATE.body, 3)), START
    )
    assert event.reason.startswith("message: ")


# AMF in commands


@pytest.mark.parametrize("body", [b"", b"\0", b"\x02\0\x01", b"\x05\x05", b"\x00" + bytes(8) + b"\x02\0\x01x"])
def test_40_a_command_without_name_or_transaction_ends_the_session(script, body):
    script.connects()
    (event,) = script.session.receive_data(wire(Message(20, 0, 0, body, 3)), START)
    assert event.reason.startswith(("message: ", "AMF: "))


@pytest.mark.parametrize("rest", [b"\x0a" * 6, b"\x11\x0c\x05\xff", b"\x0c\xff\xff\xff\xff", b"\x03" * 40, b"\xff"])
def test_28_to_37_a_command_with_a_broken_rest_is_answered_with_an_error(script, rest):
    script.connects()
    broken = CREATE._replace(body=command("createStream", 7).body + rest)
    script.received(broken)
    script.sent("_error 7 error NetConnection.Call.Failed")


def test_28_repeated_broken_commands_end_the_session(script):
    script.connects()
    broken = CREATE._replace(body=command("createStream", 0).body + b"\xff")
    script.received(*[broken] * 8)
    script.reported()
    (event,) = script.session.receive_data(wire(broken), START)
    assert event.reason.startswith("order: more than 8 faulty commands; the last: createStream: AMF ")


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf, 1e300, -1.0])
def test_32_odd_numbers_are_repeated_or_ignored(script, odd):
    script.connects()
    script.received(
        command("getStreamLength", odd, None, "s"),
        command("play", odd, None, "s", odd, odd, msid=1),
        encode_user_control(messages.SET_BUFFER_LENGTH, 1, 2**32 - 1),
        command("deleteStream", 0, None, odd),
    )
    script.sent(f"_result {odd:g} 0")
    script.reported(PlayRequested(1, "live", "s", ""))
    script.decides("accept_play", 1)
    script.sent(
        "stream begin 1", "1: onStatus 0 status NetStream.Play.Reset", "1: onStatus 0 status NetStream.Play.Start"
    )
    script.received(command("pause", odd, None, True, odd, msid=1), command("seek", odd, None, odd, msid=1))
    script.sent("1: onStatus 0 status NetStream.Pause.Notify", "1: onStatus 0 status NetStream.Seek.Notify")
    script.reported(PauseChanged(1, paused=True))


@pytest.mark.parametrize("name", [UNDEFINED, Date(0.0), 1.0, True, {}, ["s"], TypedObject("s")])
def test_39_a_stream_name_that_is_no_string_is_refused(script, name):
    script.connects()
    script.received(command("publish", 3, None, name, "live", msid=1))
    script.sent("1: onStatus 0 error NetStream.Publish.BadName")
    script.waits_for_deadline()
    script.reported(Terminated("refused: NetStream.Publish.BadName: The stream name is not a string"))


# Media and data


def test_66_a_metadata_bomb_is_dropped_and_the_media_go_on():
    script = Transcript()
    script.publishes()
    bomb = data(b"\x02\0\x01x" + bytes(300_000))
    events = script.session.receive_data(wire(*[bomb] * 20, video()), START)
    assert [len(event.body) for event in events] == [300_004] * 3 + [len(video().body)]
    events = script.session.receive_data(wire(bomb), START + 1)
    assert len(events) == 1


def test_65_a_broken_aggregate_ends_the_session(script):
    script.publishes()
    (_, event) = script.session.receive_data(wire(Message(messages.AGGREGATE, 0, 1, b"\x09\0\0\xff", 4)), START)
    assert event.reason.startswith("message: an aggregate")


# Connections


STATES = {
    "handshake": (lambda script: None, []),
    "unconnected": (Transcript.shakes_hands, []),
    "connected": (Transcript.connects, []),
    "publish": (Transcript.publishes, [PublishEnded(1, clean=False, reason="reset")]),
    "play": (Transcript.plays, [PlayEnded(1)]),
}


@pytest.mark.parametrize("state", STATES)
def test_71_72_the_end_of_a_connection_is_reported_once_in_each_state(state):
    reach, ends = STATES[state]
    script = Transcript()
    reach(script)
    *reported, termination = script.session.receive_eof(START, "reset")
    assert reported == ends
    assert termination.reason.startswith("reset")
    assert script.session.receive_eof(START) == []
    assert script.session.handle_timer(START + 1e6) == []
    assert script.session.receive_data(HANDSHAKE, START) == []


def test_73_a_silent_publisher_is_let_go(script):
    script.publishes()
    script.passes(15)
    script.received(b"\x44")  # any byte is a sign of life
    script.passes(19)
    script.reported()
    script.passes(1)
    reason = "timeout: nothing from the publisher for 20 s"
    script.reported(PublishEnded(1, clean=False, reason=reason), Terminated(reason))


def test_73_a_silent_player_is_kept(script):
    script.plays()
    assert script.session.next_deadline() is None
    script.passes(1e6)
