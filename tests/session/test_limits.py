"""Every bound of a session, one by one, and the bucket that counts rates."""

from __future__ import annotations

from dataclasses import fields

import pytest

from rtmpd.session.dialogue import EARLY_MESSAGE_BYTES
from rtmpd.session.events import PauseChanged, PlayEnded, PlayRequested, PublishRequested, Terminated
from rtmpd.session.limits import CONTROL_BODY_BYTES, Limits, TokenBucket, body_limits
from rtmpd.wire import amf0, messages
from rtmpd.wire.chunk_writer import encode_message
from rtmpd.wire.messages import Message
from tests.helpers.transcript import START, Transcript, audio, command, data, video


def last_event(prepare, received, **limits):
    """Bring a session with these limits somewhere, let it receive something, and return the last event."""
    script = Transcript(limits=Limits(**limits))
    getattr(script, prepare)()
    events = script.session.receive_data(b"".join(encode_message(message, 128) for message in received), START)
    return events[-1] if events else None


def is_over(event):
    return isinstance(event, Terminated) and event.reason.startswith(("limit: ", "order: "))


FAR = command("createStream", 0)
DEEP = FAR._replace(body=FAR.body + b"\x0a\0\0\0\x01" * 3 + b"\x05")
WIDE = FAR._replace(body=FAR.body + b"\x0a\0\0\0\x08" + b"\x05" * 8)
DATA_AMF3 = Message(messages.DATA_AMF3, 0, 1, b"\0" + amf0.encode("onMetaData", [1] * 8), 4)
PAUSE = command("pause", 0, None, True, 0, msid=1)
UNPAUSE = command("pause", 0, None, False, 0, msid=1)
PUBLISH = command("publish", 0, None, "sss", "live", msid=1)

# For each field: a value, what is just allowed, and what is one too much.
CASES = {
    "message_bytes": (1000, "publishes", [video(bytes(1000))], [video(bytes(1001))]),
    "command_bytes": (1000, "shakes_hands", [Message(21, 0, 0, bytes(1000), 3)], [Message(21, 0, 0, bytes(1001), 3)]),
    "data_bytes": (1000, "publishes", [data(bytes(1000))], [data(bytes(1001))]),
    "chunk_streams": (
        3,
        "publishes",
        [video(csid=csid) for csid in (3, 4, 5)],
        [video(csid=csid) for csid in (3, 4, 5, 6)],
    ),
    "incomplete_bytes": (1000, "publishes", [video(bytes(1000))], [video(bytes(1001))]),
    "stray_bytes": (1000, "plays", [video(bytes(988))], [video(bytes(989))]),
    "output_bytes": (400, "connects", [command("_checkbw", 1)] * 12, [command("_checkbw", 1)] * 13),
    "commands_per_s": (5, "connects", [command("x", 0)] * 3, [command("x", 0)] * 4),
    "plays_per_s": (2, "plays", [PAUSE, UNPAUSE], [PAUSE, UNPAUSE, PAUSE, UNPAUSE]),
    "tolerated_faults": (3, "shakes_hands", [FAR] * 3, [FAR] * 4),
}


@pytest.mark.parametrize("name", CASES)
def test_what_reaches_a_limit_passes_and_what_exceeds_it_ends_the_session(name):
    value, prepare, allowed, too_much = CASES[name]

    assert not is_over(last_event(prepare, allowed, **{name: value}))
    assert is_over(last_event(prepare, too_much, **{name: value}))


@pytest.mark.parametrize("prepare", ["shakes_hands", "connects", "plays"])
def test_who_does_not_publish_may_leave_no_more_unfinished_than_a_command_or_data_message_may_have(prepare):
    for name in ("command_bytes", "data_bytes"):
        limits = {"command_bytes": 500, "data_bytes": 500} | {name: 1000}
        assert not is_over(last_event(prepare, [video(bytes(1000))], **limits))
        assert is_over(last_event(prepare, [video(bytes(1001))], **limits))


def test_streams_of_a_connection_are_limited():
    with Transcript(limits=Limits(streams_per_connection=2)) as script:
        script.connects()
        script.received(command("createStream", 3), command("createStream", 4))
        script.sent("_result 3 2", "_error 4 error NetConnection.Call.Failed")


@pytest.mark.parametrize(("name", "value", "broken"), [("amf_depth", 2, DEEP), ("command_elements", 8, WIDE)])
def test_values_of_commands_are_limited(name, value, broken):
    limits = {name: value, "tolerated_faults": 0}
    assert is_over(last_event("connects", [broken], **limits))
    assert not is_over(last_event("connects", [broken], tolerated_faults=0))


def test_values_of_converted_data_are_limited():
    assert last_event("publishes", [DATA_AMF3]) is not None
    assert last_event("publishes", [DATA_AMF3], data_elements=8) is None


def test_media_that_come_before_their_grant_are_kept_up_to_a_limit_from_the_first_on():
    one = video(bytes(1000))
    limits = Limits(early_bytes=3 * (1000 + EARLY_MESSAGE_BYTES), stray_bytes=3000)
    script = Transcript(limits=limits)
    script.connects()
    script.received(PUBLISH, *[one] * 4, audio(b""), one)
    assert script.decides("accept_publish", 1) == [one] * 3
    script.received(command("deleteStream", 0, None, 1), one)
    assert is_over(script._told[-1])  # what was not kept counts as stray


def test_data_above_its_rate_is_dropped():
    limits = {"data_bytes": 1000, "data_bytes_per_s": 10}
    script = Transcript(limits=Limits(**limits))
    script.publishes()
    whole = encode_message(data(bytes(600)), 128)
    assert len(script.session.receive_data(whole * 2, START)) == 1
    assert script.session.receive_data(whole, START + 19) == []
    assert len(script.session.receive_data(whole, START + 20)) == 1


@pytest.mark.parametrize("limits", [{"app_bytes": 3}, {"key_bytes": 2}])
def test_names_are_limited(limits):
    assert isinstance(last_event("connects", [PUBLISH]), PublishRequested)
    assert last_event("connects", [PUBLISH], **limits) is None


@pytest.mark.parametrize(
    ("name", "prepare", "reason"),
    [
        ("handshake_s", None, "timeout: no handshake within 3 s"),
        ("connect_s", "shakes_hands", "timeout: no connect within 3 s"),
        ("command_s", "connects", "timeout: neither publish nor play within 3 s"),
        ("publisher_idle_s", "publishes", "timeout: nothing from the publisher for 3 s"),
    ],
)
def test_time_is_limited(name, prepare, reason):
    script = Transcript(limits=Limits(**{name: 3}))
    if prepare:
        getattr(script, prepare)()
    assert script.session.next_deadline() == START + 3
    assert script.session.handle_timer(START + 2.9) == []
    assert script.session.handle_timer(START + 3)[-1] == Terminated(reason)


def test_lingering_is_limited():
    with Transcript(limits=Limits(linger_s=3)) as script:
        script.plays()
        script.decides("finish_play", 1, reason="over")
        script._said.clear()
        script.passes(2.9)
        script.reported()
        script.passes(0.1)
        script.reported(Terminated("play finished: over"))


def test_every_limit_has_a_test():
    elsewhere = {
        "early_bytes",
        *("streams_per_connection", "amf_depth", "command_elements", "data_elements", "data_bytes_per_s"),
        *("app_bytes", "key_bytes", "handshake_s", "connect_s", "command_s", "publisher_idle_s", "linger_s"),
    }
    assert {field.name for field in fields(Limits)} == set(CASES) | elsewhere


def test_plays_that_come_slowly_are_not_limited():
    script = Transcript(limits=Limits(plays_per_s=1))
    script.connects()
    turn = (command("play", 0, None, "s", msid=1), command("deleteStream", 0, None, 1), command("createStream", 1))
    for _ in range(10):
        script.now += 1
        script.received(*turn)
    assert script._told == [PlayRequested(1, "live", "s", ""), PlayEnded(1)] * 10
    assert PauseChanged(1, paused=True) not in script._told


def test_control_messages_are_short_and_sessions_share_one_table():
    table = body_limits(Limits())
    assert len(table) == 256
    assert table[messages.USER_CONTROL] == CONTROL_BODY_BYTES
    assert table[messages.AGGREGATE] == 16 << 20
    assert body_limits(Limits()) is table


class TestTokenBucket:
    def test_holds_its_capacity_at_first_and_refuses_what_is_above(self):
        bucket = TokenBucket(rate=1, capacity=3, now=0.0)
        assert [bucket.take(1, 0.0) for _ in range(4)] == [True, True, True, False]

    def test_fills_with_time_up_to_its_capacity(self):
        bucket = TokenBucket(rate=2, capacity=3, now=0.0)
        assert bucket.take(3, 0.0)
        assert not bucket.take(1, 0.4)
        assert bucket.take(1, 0.5)
        assert not bucket.take(4, 1000.0)
        assert bucket.take(3, 1000.0)

    def test_takes_nothing_when_it_refuses(self):
        bucket = TokenBucket(rate=0, capacity=3, now=0.0)
        assert not bucket.take(4, 0.0)
        assert bucket.take(3, 0.0)

    def test_does_not_mind_a_clock_that_goes_back(self):
        bucket = TokenBucket(rate=1, capacity=1, now=10.0)
        assert bucket.take(1, 10.0)
        assert not bucket.take(1, 5.0)
        assert bucket.take(1, 11.0)
