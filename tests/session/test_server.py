"""What only the server's session does: the answer to the handshake, deadlines for clients, a description for the log."""

from __future__ import annotations

import gc
import tracemalloc

from rtmpd.wire import messages
from tests.helpers.transcript import HANDSHAKE, START, Transcript, command, new_session, video


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
