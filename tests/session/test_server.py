"""Bytes and time in, events and bytes out: what the owner of a session relies on."""

from __future__ import annotations

import gc
import tracemalloc

import pytest

from rtmpd.session.events import PublishEnded, Terminated
from rtmpd.wire import messages
from rtmpd.wire.chunk_writer import encode_message
from tests.helpers.transcript import HANDSHAKE, START, Transcript, audio, command, data, new_session, video


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


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_received_bytes_may_be_overwritten_afterwards(kind):
    with Transcript() as script:
        script.publishes()
        buffer = bytearray(encode_message(video(), 128))
        (event,) = script.session.receive_data(memoryview(buffer) if kind is memoryview else kind(buffer), script.now)
        buffer[:] = bytes(len(buffer))
        assert event == video()


def test_media_among_other_messages_are_reported_in_order():
    with Transcript() as script:
        script.publishes()
        script.received(
            audio(), data(b"\x02\0\x01x"), video(), messages.encode_acknowledgement(5), audio(timestamp_ms=9)
        )
        script.reported(audio(), data(b"\x02\0\x01x"), video(), audio(timestamp_ms=9))


def test_what_came_before_a_fault_is_reported_before_it():
    with Transcript() as script:
        script.publishes()
        script.received(video(), audio(), b"\x07\0\0\0\0\0\x00\x01\0\0\0\x01\xff\xff\xff\xff")
        script._told, (*events, end, termination) = [], script._told
        assert events == [video(), audio()]
        assert isinstance(end, PublishEnded)
        assert termination.reason.startswith("chunk: ")
        assert end.reason == termination.reason


def test_a_fault_behind_the_last_word_is_not_reported():
    with Transcript() as script:
        script.connects()
        script.received(command("publish", 3, None, "..", "live", msid=1), b"\xff" * 20)
        script.sent("1: onStatus 0 error NetStream.Publish.BadName")
        script.closes()
        script.reported(Terminated("refused: NetStream.Publish.BadName: The stream name has a segment . or .."))


def test_a_fault_names_its_offset_from_the_first_byte_of_the_connection_and_shows_bytes():
    script = Transcript()
    script.shakes_hands()
    script.session.receive_data(encode_message(command("connect", 1, {"app": "live"}), 128), START)
    before = script.session.description.bytes_received
    (event,) = script.session.receive_data(encode_message(command("x", 0), 128) + b"\xcf\x01", START)
    assert event.offset == before + len(encode_message(command("x", 0), 128))
    assert event.evidence == "cf 01"


def test_acknowledgements_are_sent_by_the_window_and_count_from_the_first_byte():
    with Transcript() as script:
        script.publishes()
        window = 100_000
        script.received(messages.encode_window_acknowledgement_size(window))
        frame = encode_message(video(bytes(9_000)), 128)
        while script.session.description.bytes_received + len(frame) < window:
            script.received(frame)
        script.sent()
        script.received(frame)
        script.sent(f"acknowledgement {script.session.description.bytes_received}")
        script.received(frame)
        script._told.clear()


def test_an_acknowledgement_is_also_sent_by_the_slow_path():
    with Transcript() as script:
        script.publishes()
        script.received(messages.encode_window_acknowledgement_size(1))
        for _ in range(70):
            script.received(messages.Message(21, 0, 0, bytes(1000), 3))
        (acknowledgement,), script._said = script._said, []
        assert acknowledgement.type_id == messages.ACKNOWLEDGEMENT


def test_acknowledgements_wrap_at_32_bits():
    script = Transcript()
    script.publishes()
    script.session._bytes_received += 2**32
    script.received(video())
    assert [messages.decode_u32(message.body) for message in script._said] == [
        script.session.description.bytes_received - 2**32
    ]


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


def test_an_early_timer_is_harmless():
    with Transcript() as script:
        script.publishes()
        script.passes(1)


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
