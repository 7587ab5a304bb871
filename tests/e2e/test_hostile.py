"""
The hostile cases of protocol.md, section 8.2, against a real server: the handshake, and chunks (cases 1 to 27).

AMF and commands (28 to 53) are in test_hostile_commands, media (54 to 67) in test_hostile_media, load (9, 68 to 73) in
test_hostile_load. Each test's id names its cases: `test_7_8_...`, or `[26 type 255]` where it is a row of a table; the
first test here sees that none of the 73 is missing. Whatever is sent, the session must end with a line in the log that
says why, and where, or go on and be answered; a witness (tests.helpers.attack) must see every frame in time; and at the
end of each file, memory, descriptors and connections are as they were.
"""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from rtmpd.wire import messages
from rtmpd.wire.messages import (
    SET_CHUNK_SIZE,
    Message,
    encode_acknowledgement,
    encode_set_peer_bandwidth,
    encode_window_acknowledgement_size,
)
from tests.helpers.attack import Arena, Attack, table, wire
from tests.helpers.chunks import FreeChunkWriter, abort, basic_header, header, set_chunk_size
from tests.helpers.processes import ROOT
from tests.helpers.transcript import HANDSHAKE, command, video

pytestmark = pytest.mark.e2e

CASES = range(1, 74)
CALL = command("_checkbw", 9)
CALLED = ("_result 9",)
LONG_CALL = command("createStream", 9, None, "x" * 300)
LONG_CALLED = ("_result 9 2",)
LONG_CHUNKS = list(FreeChunkWriter().chunks(LONG_CALL._replace(chunk_stream_id=9)))
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


def test_every_case_has_a_test():
    files = [str(path.relative_to(ROOT)) for path in Path(__file__).parent.glob("test_hostile*.py")]
    collect = [sys.executable, "-m", "pytest", "--collect-only", "--quiet", "-p", "no:cacheprovider", *files]
    listed = subprocess.run(collect, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True).stdout
    numbers = re.findall(r"::test_((?:\d+_)+)|\[((?:\d+_?)+) ", listed)
    found = {int(number) for pair in numbers for part in pair for number in part.split("_") if number}
    assert found >= set(CASES), f"no test for {sorted(set(CASES) - found)}"


# Handshake


def test_1_who_sends_nothing_is_closed_after_the_handshake_limit(arena):
    with arena.attacker() as attacker:
        line = attacker.ended()
    assert line["reason"] == "timeout: no handshake within 1 s"
    assert attacker.received_bytes == 0


def test_2_a_byte_now_and_then_does_not_prolong_the_handshake(arena):
    with arena.attacker() as attacker:
        began_s = time.monotonic()
        while time.monotonic() - began_s < 0.9:
            attacker.send(HANDSHAKE[:1])
            threading.Event().wait(0.1)
        line = attacker.ended()
    assert line["reason"] == "timeout: no handshake within 1 s"
    assert line["seconds"] < 1.5


PROTOCOLS = {
    0x16: "TLS on the plain RTMP port",
    0x47: r"HTTP on the RTMP port \(first byte 'G'\)",
    0x50: r"HTTP on the RTMP port \(first byte 'P'\)",
    6: r"RTMPE \(version 6\), which is not supported",
    8: r"RTMPE \(version 8\), which is not supported",
    9: r"RTMPE \(version 9\), which is not supported",
} | {other: f"no RTMP: version {other} where 3 is due" for other in (0, 2, 32, 0xFF)}


@pytest.mark.parametrize("sent", [1, 1000, 4000], ids=lambda sent: f"{sent} bytes")
@pytest.mark.parametrize("first", PROTOCOLS, ids=lambda first: f"3 first byte {first:#04x}")
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


@pytest.mark.parametrize(("size", "answer"), [(1536, 0), (1537, 3073), (3072, 3073)])
def test_4_5_a_handshake_that_does_not_go_on_is_closed_after_its_limit(size, answer, arena):
    with arena.attacker() as attacker:
        attacker.send(HANDSHAKE[:size])
        attacker.receive_exactly(answer)
        assert attacker.receive_bytes() == b""
        assert attacker.log_line()["reason"] == "timeout: no handshake within 1 s"


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


def rows_of_goes_on():
    """The rows of attacks that the session must survive, and answer."""

    def goes_on(cases, name, data, answers=(), state="connected"):
        return Attack(cases, name, state, data, answers=answers)

    for csid, long_form in ((64, False), (319, False), (320, False), (65599, False), (64, True), (319, True)):
        data = FreeChunkWriter().write(CALL._replace(chunk_stream_id=csid), long_form=long_form)
        yield goes_on("10", f"chunk stream {csid}{' in the long form' * long_form}", data, CALLED)
    for csid in (2, 3, 9, 63, 64):
        data = header(1, csid, length=len(CALL.body), type_id=20) + CALL.body
        yield goes_on("11", f"fmt 1 first on chunk stream {csid}", data, CALLED)
    for size in (128, 1 << 24, (1 << 31) - 1):
        yield goes_on("15", f"chunk size {size}", set_chunk_size(size) + wire(LONG_CALL, chunk_size=size), LONG_CALLED)
    for sizes in ((256, 128), (1000, 128), (128, 1000), (1 << 24, 1 << 24)):
        yield goes_on("16", f"chunk sizes {sizes} in mid-message", chunk_sizes_change(*sizes), (*LONG_CALLED, *CALLED))
    for csid in (2, 3, 9, 10, 99, 1 << 31):
        yield goes_on("17", f"abort of chunk stream {csid}, idle or unknown", abort(csid) + BEFORE, CALLED)
    unfinished = b"".join(LONG_CHUNKS[:2])
    yield goes_on("17", "abort in mid-message, then another", unfinished + abort(9) + wire(CALL), CALLED)
    again = header(1, 9, length=len(CALL.body), type_id=20) + CALL.body
    yield goes_on("17", "abort in mid-message, then another on it", unfinished + abort(9) + again, CALLED)
    for value in (0, 1, 1 << 31, (1 << 32) - 1):
        yield goes_on("18", f"acknowledgement of {value}", wire(encode_acknowledgement(value), CALL), CALLED)
    yield goes_on("20", "the bandwidth that it has", wire(encode_set_peer_bandwidth(2_500_000, 2), CALL), CALLED)
    answer = "window acknowledgement size 0"
    yield goes_on("20", "no bandwidth", wire(encode_set_peer_bandwidth(0, 0), CALL), (answer, *CALLED))
    for type_id in (0, 3, *range(7, 17), 18, 19, *range(21, 256)):
        if type_id in (0, 3, 8, 9, 15, 16, 18, 19, 21, 22, 255):
            for state in ("shaken", "publishing", "playing"):
                empty = wire(Message(type_id, 0, 1, b"", 9))
                yield goes_on("14", f"empty type {type_id} when {state}", empty, state=state)
    for type_id in (0, 7, 10, 11, 12, 13, 14, 21, 255):
        unknown = wire(Message(type_id, 0, 1, b"anything" * 8, 9), Message(type_id, 9, 0, b"", 9), CALL)
        yield goes_on("26", f"type {type_id}", unknown, CALLED, "publishing")
    for type_id in (16, 19, 15):
        other = wire(Message(type_id, 0, 1, b"\x01\x02\0\x01x" * 100, 9), CALL)
        yield goes_on("27", f"type {type_id} with format byte 1", other, CALLED, "publishing")
    yield goes_on("27", "type 17", wire(Message(17, 0, 0, b"\0" + CALL.body, 9)), CALLED)


def chunk_sizes_change(first, second):
    """Two messages in turn; the chunk size changes after the first chunks, and again after the second ones."""
    writer = FreeChunkWriter()
    long, short = writer.chunks(LONG_CALL._replace(chunk_stream_id=9)), writer.chunks(CALL._replace(chunk_stream_id=10))
    data = next(long)
    for size in (first, second):
        data += set_chunk_size(size)
        writer.chunk_size = size
        data += next(long, b"")
    return data + b"".join(long) + b"".join(short)


def rows_of_ends():
    """The rows of attacks that the session must not survive, with the place that the log must name."""

    def ends(cases, name, data, reason, fault=None, state="connected"):
        return Attack(cases, name, state, BEFORE * (state != "shaken") + data, reason, fault)

    at = len(BEFORE)
    for fmt in (2, 3):
        reason = f"chunk: fmt {fmt} header on chunk stream 9, which had none before"
        yield ends("11", f"fmt {fmt} first", header(fmt, 9) + bytes(20), reason, at)
    for fmt, length in ((0, 300), (0, 10), (1, 350), (1, 10), (2, 0)):
        data = LONG_CHUNKS[0] + header(fmt, 9, length=length, type_id=20) + bytes(20)
        reason = f"chunk: fmt {fmt} header in mid-message on chunk stream 9"
        yield ends("12", f"fmt {fmt} with length {length} in mid-message", data, reason, at + len(LONG_CHUNKS[0]))
    for type_id in (1, 2, 4, 5, 6, 17, 20):
        for state in ("shaken", "publishing", "playing"):
            data = wire(Message(type_id, 0, 0, b"", 9))
            yield ends("14", f"empty type {type_id} when {state}", data, "(chunk|message): .+", state=state)
    for size in (0, 1, 127, 1 << 31, (1 << 32) - 1):
        data = set_chunk_size(size)
        yield ends("15", f"chunk size {size}", data + bytes(20), f"chunk: chunk size {size}", at + len(data))
    for type_id, length in ((1, 3), (1, 5), (2, 3), (2, 5)):
        data = header(0, 2, length=length, type_id=type_id) + bytes((0, 0, 16, 0, 0)[:length])
        reason = f"chunk: message of type {type_id} with {length} bytes instead of 4"
        yield ends("15" if type_id == SET_CHUNK_SIZE else "17", reason[7:], data, reason, at + len(data))
    for body in (b"\0\0\0\x01", b"\0\0\0\x01\x02\0", b"\0\0\0\x01\x03", b"\0\0\0\x01\xff"):
        data = wire(Message(messages.SET_PEER_BANDWIDTH, 0, 0, body, 2))
        yield ends("20", f"bandwidth {body.hex()}", data, "message: a Set Peer Bandwidth .+")
    for type_id, limit in ((1, 64), (4, 64), (6, 64), (17, 65536), (20, 65536), (21, 65536), (15, 1 << 20), (18, 1 << 20)):
        data = header(0, 9, length=0xFFFFFF, type_id=type_id) + bytes(128)
        reason = f"limit: message of type {type_id} with 16777215 bytes; the limit is {limit}"
        yield ends("25", f"type {type_id} of 16777215 bytes", data, reason, at)
    extended = FreeChunkWriter()
    repeated = extended.write(LONG_CALL._replace(chunk_stream_id=9, timestamp_ms=1 << 24))
    extended.repeats_within = False
    first, second, *_ = extended.chunks(LONG_CALL._replace(chunk_stream_id=9, timestamp_ms=1 << 24))
    reason = "chunk: extended timestamp not repeated on chunk stream 9"
    yield ends("21", "repeated, then not", repeated + first + second, reason, at + len(repeated + first))
    for type_id in (17,):
        data = wire(Message(type_id, 0, 0, b"\x01" + CALL.body, 9))
        yield ends("27", "type 17 with format byte 1", data, "message: a message of type 17 with the format 01")


@table(rows_of_goes_on())
def test_the_session_goes_on(attack, arena):
    arena.goes_on(attack)


@table(rows_of_ends())
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


def test_13_messages_of_16_mb_on_65_000_chunk_streams_are_not_made_room_for(arena):
    begun = [header(0, csid, length=0xFFFFFF, type_id=9) + bytes(128) for csid in range(64, 65_600)]
    with arena.attacker("connected") as attacker:
        before = attacker.sent_bytes
        attacker.send(b"".join(begun))
        reason = attacker.ended()["reason"]
    third = before + 2 * len(begun[0])
    assert reason.startswith(f"limit: 16777215 bytes more under way than the limit allows at byte {third} ")


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
        player.wait_for("1: onStatus 0 status NetStream.Play.Start")
        huge = video(b"\x17\x01\0\0\0" + bytes(0xFFFFFA))
        attacker.send(set_chunk_size(1 << 24) + wire(huge, video(b"\x17\x01\0\0\0next"), chunk_size=1 << 24))
        attacker.ping()
        player.receive_until(lambda: player.media and player.media[-1].body.endswith(b"next"), "the next frame")
        assert all(each.body in (huge.body, b"\x17\x01\0\0\0next") for each in player.media)


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
        data = b"".join(writer.write(each, fmt=fmt, force_extension=force) for each, fmt in zip(frames, fmts, strict=True))
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
