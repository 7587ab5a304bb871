"""
The hostile cases of protocol.md, section 8.2, against a real server: the handshake, and chunks (cases 1 to 27).

AMF (28 to 40) is in test_hostile_amf, commands (41 to 53) are in test_hostile_commands, media (54 to 67) in
test_hostile_media, load (9, 68 to 73) in test_hostile_load. Each test's id names its cases: `test_7_8_...`, or `[26 type 255]` where it is a row of a table; the
first test here sees that none of the 73 is missing. Whatever is sent, the session must end with a line in the log that
says why, and where, or go on and be answered; a witness (tests.helpers.attack) must see every frame in time; and at the
end of each file, memory, descriptors and connections are as they were.
"""

from __future__ import annotations

import contextlib
import re
import threading
import time
from importlib import import_module
from pathlib import Path

import pytest

from rtmpd.wire.messages import (
    ABORT,
    PING_REQUEST,
    SET_CHUNK_SIZE,
    SET_PEER_BANDWIDTH,
    Message,
    encode_acknowledgement,
    encode_set_peer_bandwidth,
    encode_user_control,
    encode_window_acknowledgement_size,
)
from tests.helpers.attack import DEADLINE_S, PLAYING, Arena, Attack, table, wire
from tests.helpers.chunks import FreeChunkWriter, abort, basic_header, header, set_chunk_size
from tests.helpers.processes import wait_until
from tests.helpers.transcript import HANDSHAKE, audio, command, video

pytestmark = pytest.mark.e2e

CASES = range(1, 74)
CALL = command("_checkbw", 9)
CALLED = ("_result 9",)
LONG_CALL = command("createStream", 9, None, "x" * 300)
LONG_CALLED = ("_result 9 2",)
LONG_CHUNKS = list(FreeChunkWriter().chunks(LONG_CALL._replace(chunk_stream_id=9)))
EMPTY_FAULTS = (1, 2, 4, 5, 6, 17, 20)
"""Types of which an empty message cannot be."""
NO_HANDSHAKE = f"timeout: no handshake within {DEADLINE_S} s"
BEFORE = wire(CALL)
"""Something in front of a fault, so that its offset means something."""


@pytest.fixture(scope="module")
def arena(tmp_path_factory):
    with Arena(tmp_path_factory.mktemp("arena")) as arena:
        yield arena


@pytest.fixture(autouse=True)
def nobody_else_is_harmed(request):
    yield
    if "arena" in request.fixturenames:
        request.getfixturevalue("arena").check()


def numbers_of(test):
    """The cases in a test's name, and those that its rows begin with."""
    rows = [row for mark in getattr(test, "pytestmark", ()) if mark.name == "parametrize" for row in mark.args[1]]
    named = [re.match(r"(\d+_)*", test.__name__.removeprefix("test_"))[0]]
    named += [re.match(r"(\d+_?)+ |", getattr(row, "id", None) or "")[0] for row in rows]
    return {int(number) for each in named for number in re.findall(r"\d+", each)}


def test_every_case_has_a_test():
    names = [f"tests.e2e.{path.stem}" for path in Path(__file__).parent.glob("test_hostile*.py")]
    tests = [each for name in names for key, each in vars(import_module(name)).items() if key.startswith("test_")]
    found = set().union(*map(numbers_of, tests))
    assert len(names) == 5
    assert found >= set(CASES), f"no test for {sorted(set(CASES) - found)}"


# Handshake


def test_1_4_5_a_handshake_that_does_not_go_on_is_closed_after_its_limit(arena):
    answers = {0: 0, 1: 0, 1536: 0, 1537: 3073, 3072: 3073}
    with contextlib.ExitStack() as stack:
        attackers = {size: stack.enter_context(arena.attacker()) for size in answers}
        for size, attacker in attackers.items():
            attacker.send(HANDSHAKE[:size])
        for size, attacker in attackers.items():
            assert attacker.ended()["reason"] == NO_HANDSHAKE
            assert attacker.received_bytes == answers[size]


def test_2_a_byte_now_and_then_does_not_prolong_the_handshake(arena):
    with arena.attacker() as attacker:

        def is_closed_after_another_byte():
            attacker.send(HANDSHAKE[:1])
            return arena.server.found("closed", address=attacker.source)

        wait_until(is_closed_after_another_byte, "the end of a handshake that goes on")
        assert attacker.ended()["reason"] == NO_HANDSHAKE


PROTOCOLS = {
    0x16: "TLS on the plain RTMP port",
    0x47: r"HTTP on the RTMP port \(first byte 'G'\)",
    0x50: r"HTTP on the RTMP port \(first byte 'P'\)",
    6: r"RTMPE \(version 6\), which is not supported",
    8: r"RTMPE \(version 8\), which is not supported",
    9: r"RTMPE \(version 9\), which is not supported",
} | {other: f"no RTMP: version {other} where 3 is due" for other in (0, 2, 32, 0xFF)}


@pytest.mark.parametrize("sent", [1, 4000], ids=lambda sent: f"{sent} bytes")
@pytest.mark.parametrize("first", [pytest.param(first, id=f"3 first byte {first:#04x}") for first in PROTOCOLS])
def test_another_protocol_is_named_at_its_first_byte(first, sent, arena):
    with arena.attacker() as attacker:
        attacker.send(bytes((first,)) + bytes(sent - 1))
        reason = attacker.ended()["reason"]
    assert re.fullmatch(rf"handshake: {PROTOCOLS[first]} at byte 0 \({first:02x}( 00)*\)", reason)
    assert attacker.received_bytes == 0


@pytest.mark.parametrize("size", [1, 1000, 1536, 1537, 3072])
def test_4_5_a_handshake_that_breaks_off_ends_with_it(size, arena):
    with arena.attacker() as attacker:
        attacker.send(HANDSHAKE[:size])
        attacker.stop_sending()
        line = attacker.ended()
    assert line["reason"] == "peer closed before the end of the handshake"
    assert line["bytes_in"] == size


def test_6_an_echo_that_is_none_does_not_matter(arena):
    with arena.attacker() as attacker:
        attacker.send(HANDSHAKE[:1537] + b"\xff" * 1536 + wire(command("connect", 1, {"app": "live"})))
        attacker.receive_exactly(len(HANDSHAKE))
        attacker.ping()


EVERYTHING = HANDSHAKE + wire(
    command("connect", 1, {"app": "live"}),
    command("createStream", 2),
    command("publish", 3, None, "everything", "live", msid=1),
)


@pytest.mark.parametrize("step", [len(EVERYTHING), 1], ids=["in one segment", "byte by byte"])
def test_7_8_everything_up_to_publish_may_come_in_one_segment_or_byte_by_byte(step, arena):
    frame = video(timestamp_ms=40)
    with arena.attacker() as player, arena.attacker() as attacker:
        player.play("everything")
        for start in range(0, len(EVERYTHING), step):
            attacker.send(EVERYTHING[start : start + step])
        attacker.receive_exactly(len(HANDSHAKE))
        attacker.wait_for("1: onStatus 0 status NetStream.Publish.Start")
        rest = wire(frame, command("FCUnpublish", 4, None, "everything"), command("deleteStream", 0, None, 1))
        for start in range(0, len(rest), step):
            attacker.send(rest[start : start + step])
        attacker.wait_for("_result 4")
        player.wait_for("stream eof 1")
        attacker.ping()
        assert [(each.timestamp_ms, each.body) for each in player.media] == [(40, frame.body)]


# Chunks


def rows_of_headers():
    """Headers of every legal form: cases 10 and 11."""
    for csid, long_form in ((64, False), (319, False), (320, False), (65599, False), (64, True), (319, True)):
        sent = FreeChunkWriter().write(CALL._replace(chunk_stream_id=csid), long_form=long_form)
        yield Attack("10", f"chunk stream {csid}{' in the long form' * long_form}", "connected", sent, answers=CALLED)
    for csid in (2, 3, 64):
        sent = header(1, csid, length=len(CALL.body), type_id=20) + CALL.body
        yield Attack("11", f"fmt 1 first on chunk stream {csid}", "connected", sent, answers=CALLED)


def chunk_sizes_change(first, second):
    """Two messages in turn; the chunk size changes after the first chunks, and again after the second ones."""
    writer = FreeChunkWriter()
    long, short = writer.chunks(LONG_CALL._replace(chunk_stream_id=9)), writer.chunks(CALL._replace(chunk_stream_id=10))
    sent = next(long)
    for size in (first, second):
        sent += set_chunk_size(size)
        writer.chunk_size = size
        sent += next(long, b"")
    return sent + b"".join(long) + b"".join(short)


def rows_of_control():
    """Control messages that are obeyed or ignored: cases 15 to 20."""
    for size in (128, 1 << 24, (1 << 31) - 1):
        sent = set_chunk_size(size) + wire(LONG_CALL, chunk_size=size)
        yield Attack("15", f"chunk size {size}", "connected", sent, answers=LONG_CALLED)
    for sizes in ((256, 128), (1000, 128), (128, 1000), (1 << 24, 1 << 24)):
        name = f"chunk sizes {sizes} in mid-message"
        yield Attack("16", name, "connected", chunk_sizes_change(*sizes), answers=(*LONG_CALLED, *CALLED))
    for csid in (2, 3, 99, 1 << 31):
        name = f"abort of chunk stream {csid}, idle or unknown"
        yield Attack("17", name, "connected", abort(csid) + BEFORE, answers=CALLED)
    aborted = b"".join(LONG_CHUNKS[:2]) + abort(9)
    again = header(1, 9, length=len(CALL.body), type_id=20) + CALL.body
    for name, sent in {"another": BEFORE, "another on it": again}.items():
        yield Attack("17", f"abort in mid-message, then {name}", "connected", aborted + sent, answers=CALLED)
    for value in (0, 1, 1 << 31, (1 << 32) - 1):
        sent = wire(encode_acknowledgement(value), CALL)
        yield Attack("18", f"acknowledgement of {value}", "connected", sent, answers=CALLED)
    sent = wire(encode_set_peer_bandwidth(2_500_000, 2), CALL)
    yield Attack("20", "the bandwidth that it has", "connected", sent, answers=CALLED)
    sent = wire(encode_set_peer_bandwidth(0, 0), CALL)
    yield Attack("20", "no bandwidth", "connected", sent, answers=("window acknowledgement size 0", *CALLED))


def rows_of_types():
    """Types of no use, and messages without a body: cases 14, 26 and 27."""
    harmless = [type_id for type_id in range(256) if type_id not in EMPTY_FAULTS]
    for state in ("shaken", "publishing", "playing"):
        sent = wire(*(Message(type_id, 0, 1, b"", 9) for type_id in harmless))
        yield Attack("14", f"empty messages when {state}", state, sent)
    for types in ((0, 7), (10, 11, 12, 13, 14), (21, 255)):
        sent = wire(*(Message(type_id, 0, msid, b"anything" * 8, 9) for type_id in types for msid in (0, 1)), CALL)
        yield Attack("26", f"types {types}", "publishing", sent, answers=CALLED)
    for type_id in (15, 16, 19):
        sent = wire(Message(type_id, 0, 1, b"\x01\x02\0\x01x" * 100, 9), CALL)
        yield Attack("27", f"type {type_id} with format byte 1", "publishing", sent, answers=CALLED)
    yield Attack("27", "type 17", "connected", wire(Message(17, 0, 0, b"\0" + CALL.body, 9)), answers=CALLED)


def fatal(cases, name, sent, reason, fault=None):
    """A row whose fault is behind something harmless; `fault` counts from where that ends."""
    return Attack(cases, name, "connected", BEFORE + sent, reason, None if fault is None else len(BEFORE) + fault)


def rows_of_fatal_headers():
    """Headers that no reader may guess at: cases 11, 12, 21 and 25."""
    for fmt in (2, 3):
        reason = f"chunk: fmt {fmt} header on chunk stream 9, which had none before"
        yield fatal("11", f"fmt {fmt} first", header(fmt, 9) + bytes(20), reason, 0)
    for fmt, length in ((0, 300), (0, 10), (1, 350), (1, 10), (2, 0)):
        sent = LONG_CHUNKS[0] + header(fmt, 9, length=length, type_id=20) + bytes(20)
        reason = f"chunk: fmt {fmt} header in mid-message on chunk stream 9"
        yield fatal("12", f"fmt {fmt} with length {length} in mid-message", sent, reason, len(LONG_CHUNKS[0]))
    writer = FreeChunkWriter()
    late = LONG_CALL._replace(chunk_stream_id=9, timestamp_ms=1 << 24)
    repeated = writer.write(late)
    writer.repeats_within = False
    first, second, *_ = writer.chunks(late)
    reason = "chunk: extended timestamp not repeated on chunk stream 9"
    yield fatal("21", "repeated, then not", repeated + first + second, reason, len(repeated + first))
    limits = {1: 64, 4: 64, 6: 64, 15: 1 << 20, 17: 65_536, 18: 1 << 20, 20: 65_536, 21: 65_536}
    for type_id, limit in limits.items():
        sent = header(0, 9, length=0xFFFFFF, type_id=type_id) + bytes(128)
        reason = f"limit: message of type {type_id} with 16777215 bytes; the limit is {limit}"
        yield fatal("25", f"type {type_id} of 16777215 bytes", sent, reason, 0)


def rows_of_fatal_messages():
    """Control messages of the wrong size or value: cases 14, 15, 17, 20 and 27."""
    for type_id in EMPTY_FAULTS:
        for state in ("shaken", "playing"):
            sent = wire(Message(type_id, 0, 0, b"", 9))
            yield Attack("14", f"empty type {type_id} when {state}", state, sent, "(chunk|message): .+")
    for size in (0, 1, 127, 1 << 31, (1 << 32) - 1):
        sent = set_chunk_size(size)
        yield fatal("15", f"chunk size {size}", sent + bytes(20), f"chunk: chunk size {size}", len(sent))
    for cases, type_id in (("15", SET_CHUNK_SIZE), ("17", ABORT)):
        for body in (b"\0\0\x10", b"\0\0\x10\0\0"):
            sent = header(0, 2, length=len(body), type_id=type_id) + body
            reason = f"chunk: message of type {type_id} with {len(body)} bytes instead of 4"
            yield fatal(cases, f"type {type_id} of {len(body)} bytes", sent, reason, len(sent))
    for body in (b"\0\0\0\x01", b"\0\0\0\x01\x02\0", b"\0\0\0\x01\x03", b"\0\0\0\x01\xff"):
        sent = wire(Message(SET_PEER_BANDWIDTH, 0, 0, body, 2))
        yield fatal("20", f"bandwidth {body.hex()}", sent, "message: a Set Peer Bandwidth .+")
    sent = wire(Message(17, 0, 0, b"\x01" + CALL.body, 9))
    yield fatal("27", "type 17 with format byte 1", sent, "message: a message of type 17 with the format 01")


@table([*rows_of_headers(), *rows_of_control(), *rows_of_types()])
def test_the_session_goes_on(attack, arena):
    arena.goes_on(attack)


@table([*rows_of_fatal_headers(), *rows_of_fatal_messages()])
def test_the_session_ends_with_a_line_that_says_why_and_where(attack, arena):
    arena.ends(attack)


@pytest.mark.parametrize("cut", [1, 2, 3, 13, 17])
def test_10_a_header_that_is_cut_waits_for_the_rest_and_ends_with_the_connection(cut, arena):
    data = FreeChunkWriter().write(CALL._replace(chunk_stream_id=70, timestamp_ms=1 << 24), long_form=True)
    with arena.attacker("connected") as attacker:
        attacker.send(data[:cut])
        attacker.stop_sending()
        line = attacker.ended()
    assert (line["reason"], line["bytes_in"]) == ("peer closed", attacker.sent_bytes)


@pytest.mark.parametrize(("state", "allowed"), [("shaken", 0), ("playing", 0), ("publishing", 2)])
def test_13_messages_of_16_mb_on_65_000_chunk_streams_are_not_made_room_for(state, allowed, arena):
    begun = [header(0, csid, length=0xFFFFFF, type_id=9) + bytes(128) for csid in range(64, 65_600)]
    with arena.attacker(state) as attacker:
        before = attacker.sent_bytes
        attacker.send(b"".join(begun))
        reason = attacker.ended()["reason"]
    fault = before + allowed * len(begun[0])
    assert reason.startswith(f"limit: 16777215 bytes more under way than the limit allows at byte {fault} ")


def test_13_small_messages_on_65_000_chunk_streams_are_not_kept_either(arena):
    begun = [header(0, csid, length=200, type_id=9) + bytes(128) for csid in range(64, 65_600)]
    with arena.attacker("shaken") as attacker:
        before = attacker.sent_bytes
        attacker.send(b"".join(begun))
        reason = attacker.ended()["reason"]
    assert reason.startswith(f"limit: more than 64 chunk streams at byte {before + 64 * len(begun[0])} ")


def test_13_25_what_a_session_may_hold_is_given_back(arena):
    """Two messages of nearly 16 MiB that take turns, chunk by chunk, and never end; two such sessions at a time."""
    body = bytes(65_536)
    first, second = (header(0, csid, length=0xFFFF00, type_id=9) + body for csid in (9, 10))
    turns = (basic_header(3, 9) + body + basic_header(3, 10) + body) * 254
    for _ in range(2):
        with arena.attacker("publishing") as left, arena.attacker("publishing") as right:
            for each in (left, right):
                each.send(set_chunk_size(65_536) + first + second + turns)
                each.ping()


def test_25_a_frame_of_16_mb_is_passed_on_or_dropped_whole(arena):
    with arena.attacker("publishing") as attacker, arena.attacker() as player:
        player.play(attacker.source)
        player.wait_for(PLAYING)
        huge = video(b"\x17\x01\0\0\0" + bytes(0xFFFFFA))
        attacker.send(set_chunk_size(1 << 24) + wire(huge, video(b"\x17\x01\0\0\0next"), chunk_size=1 << 24))
        attacker.ping()
        player.receive_until(lambda: player.media and player.media[-1].body.endswith(b"next"), "the next frame")
        assert all(each.body in (huge.body, b"\x17\x01\0\0\0next") for each in player.media)


def test_25_a_slow_player_of_large_frames_may_ping(arena):
    """It owes nothing for the rest of the frame that it is in the middle of; the server looks once a second."""
    with arena.attacker("publishing") as attacker, arena.attacker(receive_buffer_bytes=65_536) as player:
        player.play(attacker.source)
        player.wait_for(PLAYING)
        large = video(b"\x17\x01\0\0\0" + bytes(3_000_000))
        attacker.send(set_chunk_size(1 << 24) + wire(large, chunk_size=1 << 24))
        attacker.ping()
        player.send(wire(encode_user_control(PING_REQUEST, 77)))
        until_s = time.monotonic() + 1.2
        while time.monotonic() < until_s:
            player.receive(20_000)
            attacker.send(wire(audio(b"\xaf\x01x")))
            threading.Event().wait(0.02)
        player.wait_for("pong 77")
        assert player.media[0].body == large.body


@pytest.mark.parametrize(("window", "answers"), [(0, 8), (1, 8), ((1 << 32) - 1, 0)])
def test_19_a_tiny_window_does_not_make_an_acknowledgement_of_each_message(window, answers, arena):
    with arena.attacker("publishing") as attacker:
        attacker.send(wire(encode_window_acknowledgement_size(window)))
        frame = wire(video(b"\x27\x01\0\0\0" + bytes(5_000)))
        for _ in range(100):
            attacker.send(frame)
        attacker.ping()
        assert len(attacker.said) <= answers
        assert all(each.startswith("acknowledgement ") for each in attacker.said)
        assert bool(attacker.said) == bool(answers)


# Timestamps


def frame(timestamp_ms, size=40, middle=b""):
    """A picture that can be told from others; `middle` begins its second chunk of 128 bytes."""
    body = bytes((0x27, 1, 0, 0, 0)) + timestamp_ms.to_bytes(8, "big")
    body += b"." * (128 - len(body)) + middle if middle else b""
    return video(body + b"." * max(0, size - len(body)), timestamp_ms)


def rows_of_times():
    """The rows of frames with their bytes on the wire, and the times at which they must come out."""

    def row(cases, name, frames, times=None, fmts=None, *, force=False, **writing):
        writer = FreeChunkWriter(**writing)
        fmts = fmts or [0] * len(frames)
        data = b"".join(
            writer.write(each, fmt=fmt, force_extension=force) for each, fmt in zip(frames, fmts, strict=True)
        )
        return pytest.param(data, frames, times or [each.timestamp_ms for each in frames], id=f"{cases} {name}")

    far = 0x1020304
    echo = far.to_bytes(4, "big")
    frames = [frame(far, 500), frame(far + 9, 500), frame(far, 500, echo), frame(far + 40)]
    for repeats in (True, False):
        yield row("21", f"extended, {'' if repeats else 'not '}repeated", frames, repeats_within=repeats)
    small = [frame(0, 300), frame(40, 300), frame(0xFFFFFE, 300)]
    yield row("22", "extended where there is no need", small, force=True)
    back = [frame(1000), frame(980), frame(1020), frame(0)]
    yield row("23", "negative deltas", back, fmts=[0, 1, 1, 1])
    yield row("23", "negative deltas, extended and in many chunks", [frame(1000, 400), frame(980, 400)], fmts=[0, 1])
    for bits in (24, 31, 32):
        turn = 1 << bits
        around = [frame(turn - 20), frame(turn - 1), frame(19), frame(40)]
        times = [turn - 20, turn - 1, (turn + 19) % (1 << 32), (turn + 40) % (1 << 32)]
        yield row("24", f"wrap at {bits} bits", around, times)
        deltas = [frame(turn - 20), frame((turn + 20) % (1 << 32)), frame((turn + 60) % (1 << 32))]
        yield row("24", f"delta over {bits} bits", deltas, fmts=[0, 1, 3])


@pytest.mark.parametrize(("data", "frames", "times"), list(rows_of_times()))
def test_frames_come_out_whole_and_in_time(data, frames, times, arena):
    with arena.attacker() as player, arena.attacker() as attacker:
        player.play(attacker.source)
        attacker.reach("publishing")
        attacker.send(data)
        attacker.ping()
        player.receive_until(lambda: len(player.media) >= len(frames), "the frames")
        assert [each.body for each in player.media] == [each.body for each in frames]
        assert [each.timestamp_ms for each in player.media] == times


def test_nothing_is_left_of_it(arena):
    arena.check_for_leaks()
