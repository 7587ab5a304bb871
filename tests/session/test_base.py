"""Bytes and time in, events and bytes out: what the owner of a session relies on, whichever end of a connection it is."""

from __future__ import annotations

import pytest

from rtmpd.session.events import PublishEnded, Terminated
from rtmpd.wire import messages
from rtmpd.wire.chunk_writer import encode_message
from tests.helpers.transcript import START, Transcript, audio, command, data, video


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


def test_an_early_timer_is_harmless():
    with Transcript() as script:
        script.publishes()
        script.passes(1)
