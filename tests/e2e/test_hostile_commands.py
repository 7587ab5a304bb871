"""Hostile commands against a real server: cases 41 to 53 of protocol.md, section 8.2 (see test_hostile)."""

from __future__ import annotations

import math
import re

import pytest

from rtmpd.wire.amf import UNDEFINED
from rtmpd.wire.messages import (
    LIMIT_HARD,
    PING_REQUEST,
    SET_BUFFER_LENGTH,
    encode_set_peer_bandwidth,
    encode_user_control,
)
from tests.helpers.attack import DEADLINE_S, PLAYING, Arena, Attack, refused, table, wire
from tests.helpers.chunks import set_chunk_size
from tests.helpers.transcript import GREETING, audio, command, data, video
from tests.helpers.witness import WITNESS

pytestmark = pytest.mark.e2e

CONNECT = command("connect", 1, {"app": "live"})
CREATE = command("createStream", 2)
PUBLISH = command("publish", 3, None, "mine", "live", msid=1)
PLAY = command("play", 3, None, WITNESS, msid=1)
CALL = command("_checkbw", 9)
PAUSES = [command("pause", 0, None, paused, 0, msid=1) for paused in (True, False)]
FAILED = "error NetConnection.Call.Failed"
BAD_NAME = "1: onStatus 0 error NetStream.Publish.BadName"
PLAY_FAILED = "1: onStatus 0 error NetStream.Play.Failed"
START = "1: onStatus 0 status NetStream.Publish.Start"
START_OF_2 = START.replace("1", "2", 1)
PAUSED = "1: onStatus 0 status NetStream.Pause.Notify"
TOO_MANY = "limit: more than 50 commands a second"
TOO_MANY_PLAYS = "limit: more than 5 plays a second"
GROUP_BYTES = 25 * 20_000


@pytest.fixture(scope="module")
def arena(tmp_path_factory):
    with Arena(tmp_path_factory.mktemp("arena")) as arena:
        yield arena


@pytest.fixture(autouse=True)
def nobody_else_is_harmed(arena):
    yield
    arena.check()


def rows_of_early_commands():
    """Case 41."""
    failed = f"_error 4 {FAILED}"
    early = {
        "publish": (PUBLISH, BAD_NAME),
        "play": (PLAY, PLAY_FAILED),
        "createStream": (CREATE, f"_error 2 {FAILED}"),
        "deleteStream": (command("deleteStream", 4, None, 1), failed),
        "pause": (command("pause", 4, None, True, 0, msid=1), failed),
        "closeStream": (command("closeStream", 4, msid=1), failed),
    }
    for name, (sent, answer) in early.items():
        yield Attack("41", f"{name} before connect", "shaken", wire(sent), answers=(answer,))
    for sent, answer in ((PUBLISH, BAD_NAME), (PLAY, PLAY_FAILED)):
        name = f"{answer.rpartition('.')[2]} before createStream"
        yield Attack("41", name, "shaken", wire(CONNECT, sent), answers=(*GREETING, answer))


def rows_of_repetitions():
    """What was done before, or contradicts it, and what is meant for a stream that is not there: cases 42 to 50."""
    for state in ("connected", "publishing", "playing"):
        again = wire(command("connect", 4, {"app": "other"}))
        yield Attack("42", f"connect again when {state}", state, again, answers=(f"_error 4 {FAILED}",))
    yield Attack("43", "publish again", "publishing", wire(PUBLISH), answers=(BAD_NAME,))
    yield Attack("44", "play what publishes", "publishing", wire(PLAY), answers=(PLAY_FAILED,))
    yield Attack("44", "publish what plays", "playing", wire(PUBLISH), answers=(BAD_NAME,))
    targets = (7.0, 0.0, -1.0, math.nan, math.inf, 1.5, 1e300, "other", None, {}, UNDEFINED)
    deletes = [command("deleteStream", 4, None, target) for target in targets]
    # It still publishes if it may not begin to.
    sent = wire(*deletes, command("deleteStream", 4), PUBLISH)
    yield Attack("47", "delete what is not there", "publishing", sent, answers=(BAD_NAME,))
    for msid in (0, 2, (1 << 32) - 1):
        strays = video(msid=msid), audio(msid=msid), data(b"\x02\0\x01x", msid=msid)
        sent = wire(command("createStream", 4), *strays)
        yield Attack("48", f"media on {msid}", "publishing", sent, answers=("_result 4 2",))
        yield Attack("48", f"media on {msid} before publish", "connected", wire(*strays))
    sent = wire(CREATE, command("FCPublish", 2, None, "s"), CREATE)
    yield Attack("50", "the same id", "connected", sent, answers=("_result 2 2", "_result 2", "_result 2 3"))


def rows_of_harmless_floods():
    """Much that is not worth an answer: cases 51 and 52."""
    sent = wire(encode_user_control(SET_BUFFER_LENGTH, 1, (1 << 32) - 1)) * 20_000
    yield Attack("51", "buffer lengths", "playing", sent)
    sent = wire(encode_set_peer_bandwidth(5_000_000, LIMIT_HARD)) * 1000
    yield Attack("51", "the same bandwidth", "playing", sent, answers=("window acknowledgement size 5000000",))
    yield Attack("52", "pauses of what is paused", "playing", wire(PAUSES[0]) * 20, answers=(PAUSED,) * 20)


def rows_of_floods():
    """Much that would be answered, or dropped, one by one: cases 46, 48 and 51 to 53."""
    yield Attack("46", "1000000 createStreams", "connected", wire(CREATE) * 1_000_000, f"{TOO_MANY}|order: .+")
    flooding = {
        "ping": encode_user_control(PING_REQUEST, 7),
        "_checkbw": CALL,
        "unknown command": command("nonsense", 9),
        "unanswered command": command("nonsense", 0),
        "seek": command("seek", 9, None, 0, msid=1),
        "getStreamLength": command("getStreamLength", 9, None, "s"),
    }
    for name, each in flooding.items():
        yield Attack("51", f"{name} flood", "playing", wire(each) * 20_000, TOO_MANY)
    changes = wire(*(encode_set_peer_bandwidth(size, LIMIT_HARD) for size in range(1000)))
    yield Attack("51", "bandwidth flood", "playing", changes, TOO_MANY)
    yield Attack("52", "pause flood", "playing", wire(*PAUSES) * 1000, TOO_MANY_PLAYS)
    plays = wire(PLAY, command("deleteStream", 0, None, 1), CREATE) * 1000
    yield Attack("52", "play and delete flood", "connected", plays, TOO_MANY_PLAYS)
    connects = wire(command("connect", 1, {"app": "live"}, *[None] * 10_000)) * 9
    yield Attack("53", "connects with 10000 arguments", "shaken", connects, "order: more than 8 faulty commands; .+")
    stray = "limit: more than 200000 bytes of media that was not to be published"
    for state in ("shaken", "connected", "playing"):
        yield Attack("48", f"media when {state}", state, wire(video(bytes(1000)), audio(bytes(1000))) * 120, stray)
    yield Attack("48", "empty media when shaken", "shaken", wire(audio(b"")) * 20_000, stray)
    name = wire(command("publish", 3, None, "x" * (1 << 20), msid=1))
    yield Attack("49", "1 MB", "connected", name, "limit: message of type 20 with .+")


@table([*rows_of_early_commands(), *rows_of_repetitions(), *rows_of_harmless_floods()])
def test_the_session_goes_on(attack, arena):
    arena.goes_on(attack)


@table(rows_of_floods())
def test_the_session_ends_with_a_line_that_says_why(attack, arena):
    arena.ends(attack)


# Names

REFUSED = {
    "empty": "",
    "dot": ".",
    "dots": "..",
    "up": "../../etc/passwd",
    "up inside": "a/../../b",
    "NUL": "a\0b",
    "newline": "a\nlevel=error",
    "escape": "\x1b[31mred",
    "delete": "a\x7fb",
    "right to left": "\u202eevil",
    "bad UTF-8": "a\ufffdb",
    "question mark": "?",
    "query only": "?key=x",
    "1025 bytes": "x" * 1025,
}


@pytest.mark.parametrize("verb", ["publish", "play"])
@pytest.mark.parametrize("name", [pytest.param(name, id=f"31_49 {what}") for what, name in REFUSED.items()])
def test_a_name_that_must_not_exist_is_refused_and_the_log_line_is_one_line(name, verb, arena):
    line = refused(arena, verb, name)
    assert all(str(value).isprintable() for value in line.values())


@pytest.mark.parametrize("name", ["/etc/passwd", "a/b/c"])
def test_49_a_name_with_slashes_is_an_application(name, arena):
    with arena.attacker("connected") as attacker:
        attacker.send(wire(command("publish", 3, None, name, msid=1)))
        reason = attacker.ended()["reason"]
    app = f"live/{name}".rpartition("/")[0].replace("//", "/")
    assert reason == f"refused: NetStream.Publish.Denied: there is no application '{app}' on this server"


@pytest.mark.parametrize(
    "name", ["%2e%2e%2fx", "CON", "nul.txt", "😀", "/s", "-rf", "~", "a" * 1000, "{app}", "a:b|c*"]
)
def test_49_an_odd_name_is_only_a_name_and_its_recording_where_it_belongs(name, arena):
    with arena.attacker() as attacker:
        attacker.publish(name, app="recorded")
        attacker.send(wire(video(b"\x17\x01\0\0\0picture"), command("deleteStream", 0, None, 1)))
        attacker.ping()
    path = f"recorded/{name.removeprefix('/')}"
    arena.server.wait_for("recording closed", stream=path)
    started = arena.server.wait_for("recording started", stream=path)
    root = arena.server.data / "recordings" / "recorded"
    assert re.fullmatch(rf"{re.escape(str(root))}/[!-~]{{1,255}}/[!-~]{{1,255}}", started["path"])
    assert ".." not in started["path"].split("/")


# Several streams of one connection


def own_streams(arena, state="connected"):
    """A connection with two streams."""
    attacker = arena.attacker(state)
    attacker.send(wire(command("createStream", 4)))
    attacker.wait_for("_result 4 2")
    return attacker


def test_43_the_same_key_on_two_streams_leaves_nothing_behind(arena):
    with own_streams(arena) as attacker:
        attacker.send(wire(command("publish", 5, None, "twice", "live", msid=1)))
        attacker.wait_for(START)
        attacker.send(wire(command("publish", 6, None, "twice", "live", msid=2)))
        attacker.stop_sending()
        attacker.ended()
    with arena.attacker() as other:
        other.publish("twice")


def test_43_the_same_key_on_two_streams_leaves_nothing_behind_when_both_come_at_once(arena):
    with own_streams(arena) as attacker:
        attacker.send(wire(*(command("publish", 5, None, "at once", "live", msid=msid) for msid in (1, 2))))
        attacker.wait_for(START)
        attacker.stop_sending()
        attacker.ended()
    with arena.attacker() as other:
        other.publish("at once")


def test_43_two_publishes_that_come_at_once_are_both_answered(arena):
    with own_streams(arena) as attacker:
        attacker.send(wire(*(command("publish", 5, None, f"one of {msid}", "live", msid=msid) for msid in (1, 2))))
        attacker.wait_for(START)
        attacker.wait_for(START_OF_2)


def test_43_44_a_request_that_its_neighbour_outlives_does_not_keep_the_connection(arena):
    """The deadline for a next command must run, whatever became of the first request."""
    with own_streams(arena) as attacker:
        attacker.send(wire(*(command("publish", 5, None, f"left {msid}", "live", msid=msid) for msid in (1, 2))))
        attacker.wait_for(START_OF_2)
        attacker.send(wire(*(command("deleteStream", 0, None, msid) for msid in (2, 1))))
        assert attacker.ended()["reason"] == f"timeout: neither publish nor play within {DEADLINE_S} s"


@pytest.mark.parametrize("order", [(1, 2), (2, 1)])
def test_44_45_play_and_publish_of_one_connection_may_come_at_once(order, arena):
    requests = {1: command("play", 5, None, "both", msid=1), 2: command("publish", 6, None, "both", "live", msid=2)}
    with own_streams(arena) as attacker:
        attacker.send(wire(*(requests[msid] for msid in order)))
        attacker.wait_for(START_OF_2)
        attacker.wait_for(PLAYING)
        attacker.send(wire(video(msid=2)))
        attacker.receive_until(lambda: attacker.media, "its own picture")


def watches_itself(arena, name):
    """A connection that publishes on stream 2 what it plays on stream 1."""
    attacker = own_streams(arena)
    attacker.send(wire(command("publish", 5, None, name, "live", msid=2)))
    attacker.wait_for(START_OF_2)
    attacker.send(wire(command("play", 6, None, name, msid=1), video(msid=2)))
    attacker.receive_until(lambda: attacker.media, "its own picture")
    attacker.said.clear()
    return attacker


@pytest.mark.parametrize("order", [(1, 2), (2, 1), (2,), (1,)])
def test_45_who_plays_its_own_stream_may_delete_both_at_once(order, arena):
    with watches_itself(arena, f"own {order}") as attacker:
        attacker.send(wire(*(command("deleteStream", 0, None, msid) for msid in order)))
        attacker.ping()
        if order == (2,):
            assert attacker.said[-1] == "stream eof 1"


def test_45_who_plays_its_own_stream_may_leave_without_a_word(arena):
    with watches_itself(arena, "left") as attacker:
        attacker.stop_sending()
        assert attacker.ended()["reason"] == "peer closed"


def test_45_the_streams_of_a_connection_end_in_any_order(arena):
    """Stream 2 is older than stream 1, which plays it, and is said to end before the connection does."""
    with own_streams(arena) as attacker:
        attacker.send(wire(command("deleteStream", 0, None, 1), command("createStream", 5)))
        attacker.wait_for("_result 5 1")
        attacker.send(wire(command("publish", 5, None, "older", "live", msid=2)))
        attacker.wait_for(START_OF_2)
        attacker.send(wire(command("play", 6, None, "older", msid=1), command("FCUnpublish", 0, None, "older")))
        attacker.wait_for(PLAYING)
        attacker.stop_sending()
        assert attacker.ended()["reason"] == "peer closed"


# Amplification


@pytest.fixture
def group(arena):
    """A stream whose group of pictures has half a megabyte."""
    with arena.attacker() as publisher:
        publisher.publish("group")
        publisher.send(set_chunk_size(65_536))
        for number in range(25):
            body = bytes((0x27 if number else 0x17, 1, 0, 0, 0)) + bytes(20_000 - 5)
            publisher.send(wire(video(body, number * 40), chunk_size=65_536))
        publisher.ping()
        yield publisher


def replay_by_pause(attacker):
    attacker.send(wire(*PAUSES))
    attacker.wait_for("1: onStatus 0 status NetStream.Unpause.Notify")


def replay_by_play(attacker):
    attacker.send(wire(command("deleteStream", 0, None, 1), CREATE, command("play", 3, None, "group", msid=1)))
    attacker.wait_for(PLAYING)


def replay_until_closed(attacker, replay, done):
    """Ask for the group again and again; each time that it came is noted."""
    while True:
        attacker.said.clear()
        received = attacker.received_bytes
        replay(attacker)
        attacker.receive_until(lambda since=received: attacker.received_bytes > since + GROUP_BYTES, "a group")
        done.append(attacker.received_bytes - received)


@pytest.mark.parametrize("replay", [replay_by_pause, replay_by_play])
def test_52_replays_of_the_group_of_pictures_are_bounded(replay, group, arena):
    with arena.attacker() as attacker:
        attacker.play("group")
        attacker.wait_for(PLAYING)
        replays: list[int] = []
        with pytest.raises(AssertionError, match=TOO_MANY_PLAYS):
            replay_until_closed(attacker, replay, replays)
        line = attacker.log_line()
    allowed = 6 + 5 * line["seconds"]
    print(f"{len(replays)} replays, {line['bytes_out']} bytes in {line['seconds']} s")  # noqa: T201
    assert 4 <= len(replays) <= allowed
    assert line["bytes_out"] < (allowed + 1) * 1.1 * GROUP_BYTES


def test_51_a_flood_costs_the_server_few_answers(arena):
    with arena.attacker("playing") as attacker:
        attacker.send(wire(CALL) * 10_000)
        line = attacker.ended()
    assert line["reason"] == "limit: more than 50 commands a second"
    assert attacker.received_bytes < 100_000


def test_46_a_connection_has_no_more_than_8_streams(arena):
    with arena.attacker("connected") as attacker:
        attacker.send(wire(CREATE) * 10)
        attacker.ping()
        made = [f"_result 2 {number}" for number in range(2, 9)]
        assert attacker.said == [*made, *[f"_error 2 {FAILED}"] * 3]


def test_nothing_is_left_of_it(arena):
    arena.check_for_leaks()
