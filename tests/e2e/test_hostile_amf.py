"""Hostile AMF against a real server: cases 28 to 40 of protocol.md, section 8.2 (see test_hostile)."""

from __future__ import annotations

import math
import struct

import pytest

from rtmpd.wire.amf import UNDEFINED, Date, EcmaArray, TypedObject, Xml
from rtmpd.wire.messages import COMMAND_AMF0, Message
from tests.helpers.attack import PLAYING, Arena, Attack, refused, table, wire
from tests.helpers.chunks import set_chunk_size
from tests.helpers.transcript import GREETING, command
from tests.helpers.witness import WITNESS

pytestmark = pytest.mark.e2e

CONNECT = command("connect", 1, {"app": "live"})
CREATE = command("createStream", 2)
PUBLISH = command("publish", 3, None, "mine", "live", msid=1)
FAILED = "error NetConnection.Call.Failed"
TOO_LONG = r"limit: message of type 20 with \d{7} bytes; the limit is 65536 at byte \d+ .+"


@pytest.fixture(scope="module")
def arena(tmp_path_factory):
    with Arena(tmp_path_factory.mktemp("arena")) as arena:
        yield arena


@pytest.fixture(autouse=True)
def nobody_else_is_harmed(arena):
    yield
    arena.check()


def raw(*parts):
    """A command of any bytes, in one chunk."""
    return set_chunk_size(65_536) + wire(Message(COMMAND_AMF0, 0, 0, b"".join(parts), 3), chunk_size=65_536)


def nested(opening, levels):
    return opening * levels + b"\x05"


def properties(count):
    return b"".join(struct.pack(">HH", 2, number) + b"\x05" for number in range(1, count + 1))


OBJECT = b"\x03\0\x01a"
ARRAY = b"\x0a\0\0\0\x01"
ECMA = b"\x08\0\0\0\x01\0\x01a"
TYPED = b"\x10\0\x01T\0\x01a"
AMF3_ARRAY = b"\x09\x03\x01"
AMF3_OBJECT = b"\x0a\x0b\x01\x03a"
MANY = b"\xff\xff\xff\xff"
TEN_TIMES = b"\x0a\0\0\0\x0a" + b"\x0a\0\0\0\x0a" + b"\x05" * 10
"""An array of ten arrays, the first of ten nulls; what follows are references."""

BROKEN = {
    "28 17 objects": nested(OBJECT, 17),
    "28 17 arrays": nested(ARRAY, 17),
    "28 17 ECMA arrays": nested(ECMA, 17),
    "28 17 typed objects": nested(TYPED, 17),
    "28 17 AMF3 arrays": b"\x11" + nested(AMF3_ARRAY, 17),
    "28 9 arrays in 8 objects": OBJECT * 9 + nested(ARRAY, 8),
    "28 9 AMF3 arrays in 8 objects": OBJECT * 8 + b"\x11" + nested(AMF3_ARRAY, 9),
    "28 1000 objects": nested(OBJECT, 1000),
    "28 1000 arrays": nested(ARRAY, 1000),
    "28 1000 AMF3 objects": b"\x11" + nested(AMF3_OBJECT, 1000),
    "29 array": b"\x0a" + MANY + b"\x05" * 100,
    "29 long string": b"\x0c" + MANY + b"x" * 100,
    "29 XML": b"\x0f" + MANY,
    "29 AMF3 array": b"\x11\x09" + MANY + b"\x01",
    "29 AMF3 vectors": b"\x11\x0d" + MANY + b"\0",
    "29 AMF3 vector of objects": b"\x11\x10" + MANY + b"\0\x01" + b"\x01" * 100,
    "29 AMF3 dictionary": b"\x11\x11" + MANY + b"\0" + b"\x01" * 100,
    "29 AMF3 traits": b"\x11\x0a" + MANY + b"\x01",
    "30 string": b"\x02\xff\xffshort",
    "30 key": b"\x03\xff\xffshort",
    "30 class name": b"\x10\xff\xffshort",
    "30 number": b"\0\0\0",
    "30 marker": b"\xff",
    "30 reserved markers": b"\x04\x0e",
    "33 object that ends in a key": b"\x03\0\x05ab",
    "33 object that ends before a value": b"\x03\0\x01a",
    "35 reference to nothing": b"\x07\0\x09",
    "35 reference forward": b"\x07\0\x01\x0a\0\0\0\0",
    "35 reference to itself": b"\x0a\0\0\0\x01\x07\0\0",
    "35 reference to what encloses it": b"\x03\0\x01a\x03\0\x01b\x07\0\0",
    "35 references that multiply": TEN_TIMES + b"\x07\0\x01" * 9 + b"\x07\0\0" * 60,
    "36 AMF3 array in itself": b"\x11\x09\x03\x01\x09\0",
    "36 AMF3 object in itself": b"\x11\x0a\x0b\x01\x03a\x0a\0\x01",
    "36 AMF3 reference forward": b"\x11\x09\x04",
    "36 AMF3 string that was not": b"\x11\x06\x02",
    "36 AMF3 traits that were not": b"\x11\x0a\x05",
    "36 U29 cut": b"\x11\x04\xff\xff",
    "36 AMF3 length cut": b"\x11\x06\xff\xff\xff\xff",
    "36 AMF3 bytes of length -1": b"\x11\x0c\xff\xff\xff\xff",
    "36 AMF3 string of length -1": b"\x11\x06\xff\xff\xff\xffx",
    "36 AMF3 double cut": b"\x11\x05\0\0",
    "36 AMF3 externalizable": b"\x11\x0a\x07\x01",
    "36 AMF3 marker": b"\x11\x12",
    "37 4097 keys": b"\x03" + properties(4_097) + b"\0\0\x09",
    "37 12000 keys": b"\x08\0\0\0\0" + properties(12_000) + b"\0\0\x09",
    "53 40 arguments": b"\x05" * 40,
}
READ = {
    "28 16 objects": nested(OBJECT, 16),
    "28 16 arrays": nested(ARRAY, 16),
    "29 ECMA array with a count that lies": b"\x08" + MANY + b"\0\x01a\x05\0\0\x09",
    "31 strings of anything": b"\x02\0\x08\xff\xfe\0\n\r\x1b\x80\xc0" * 4,
    "33 object without end": b"\x03\0\x01a\x05",
    "34 a key twice": b"\x03" + b"\0\x01a\x05\0\x01a\x02\0\x01b" * 100 + b"\0\0\x09",
    "35 reference": b"\x0a\0\0\0\x01\x05" + b"\x07\0\0" * 20,
    "38 typed object": b"\x10\0\x06Object\0\x01a\x05\0\0\x09",
    "39 undefined, date, unsupported": b"\x06\x0b" + bytes(10) + b"\x0d",
}


def rows_of_values():
    """Values that a command may hold, and those that it may not: it is answered either way, before connect as well."""
    in_connect = {"35"}  # not this one: references count from the first object, which in connect is another one
    for key, rest in BROKEN.items():
        cases, _, name = key.partition(" ")
        yield Attack(cases, name, "connected", raw(CREATE.body, rest), answers=(f"_error 2 {FAILED}",))
        if cases not in in_connect:
            in_connect.add(cases)
            yield Attack(
                cases, f"{name} in connect", "shaken", raw(CONNECT.body, rest), answers=(f"_error 1 {FAILED}",)
            )
    for key, rest in READ.items():
        cases, _, name = key.partition(" ")
        yield Attack(cases, name, "connected", raw(CREATE.body, rest), answers=("_result 2 2",))
        yield Attack(cases, f"{name} in connect", "shaken", raw(CONNECT.body, rest), answers=GREETING)


def rows_of_connects():
    """What a connect may hold."""
    twice = b"\x03" + b"\0\x03app\x02\0\x01x" + b"\0\x03app\x02\0\x04live" + b"\0\0\x09"
    unended = b"\x03" + b"\0\x03app\x02\0\x04live"
    head = CONNECT.body[: CONNECT.body.index(b"\x03")]
    yield Attack("33", "connect without an end", "shaken", raw(head, unended), answers=GREETING)
    yield Attack("34", "app twice", "shaken", raw(head, twice), answers=GREETING)
    typed = TypedObject("Any", {"app": "live"})
    yield Attack("38", "connect of a class", "shaken", wire(command("connect", 1, typed)), answers=GREETING)
    array = EcmaArray({"app": "live"})
    yield Attack("38", "connect of an array", "shaken", wire(command("connect", 1, array)), answers=GREETING)
    anything = {
        "app": "live",
        "fourCcList": [1.0, None, "avc1", ["x"], {}],
        "capsEx": math.nan,
        "videoFunction": math.inf,
        "videoFourCcInfoMap": "*",
        "objectEncoding": -1e300,
    }
    greeting = (
        *GREETING[:-1],
        "_result 1 {fmsVer, capabilities, capsEx, fourCcList, videoFourCcInfoMap} status NetConnection.Connect.Success",
    )
    yield Attack("32", "capabilities of odd types", "shaken", wire(command("connect", 1, anything)), answers=greeting)


def rows_of_numbers():
    """Case 32: numbers that nothing can be done with."""
    for number in (math.nan, math.inf, -math.inf, 1e300, -1.0):
        odd = wire(command("getStreamLength", number, None, "s"), command("deleteStream", 0, None, number))
        yield Attack("32", f"number {number}", "connected", odd, answers=(f"_result {number:g} 0",))
        odd = wire(command("seek", number, None, number, msid=1), command("pause", 0, None, True, number, msid=1))
        said = ("1: onStatus 0 status NetStream.Seek.Notify", "1: onStatus 0 status NetStream.Pause.Notify")
        yield Attack("32", f"number {number} in seek and pause", "playing", odd, answers=said)


def rows_of_fatal_commands():
    """Commands that no answer could be given to."""
    for body in (b"", b"\0", b"\x02\0\x01", b"\x05\x05", b"\0" + bytes(8) + b"\x02\0\x01x", b"\x02\0\x01x\x02\0\x01y"):
        for state in ("shaken", "connected"):
            yield Attack("40", f"body {body.hex()} when {state}", state, raw(body), "(message|AMF): .+")
    yield Attack("28", "1000000 arrays", "connected", raw(CREATE.body, ARRAY * 1_000_000), TOO_LONG)
    yield Attack("37", "1000000 keys", "connected", raw(CREATE.body, b"\x03", properties(50_000) * 20), TOO_LONG)
    broken = raw(command("createStream", 0).body, b"\xff") * 9
    reason = "order: more than 8 faulty commands; the last: createStream: AMF .+"
    yield Attack("28_30", "nine times", "connected", broken, reason)


@table([*rows_of_values(), *rows_of_connects(), *rows_of_numbers()])
def test_the_session_goes_on(attack, arena):
    arena.goes_on(attack)


@table(rows_of_fatal_commands())
def test_the_session_ends_with_a_line_that_says_why(attack, arena):
    arena.ends(attack)


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf, 1e300, -2000.0])
def test_32_a_play_may_start_and_end_at_any_number(number, arena):
    with arena.attacker("connected") as attacker:
        attacker.send(wire(command("play", number, None, WITNESS, number, number, number, msid=1)))
        attacker.wait_for(PLAYING)
        attacker.ping()


NO_STRINGS = {
    "undefined": UNDEFINED,
    "date": Date(0.0),
    "number": 1.0,
    "true": True,
    "object": {},
    "array": ["s"],
    "XML": Xml("s"),
}


@pytest.mark.parametrize("verb", ["publish", "play"])
@pytest.mark.parametrize("value", [pytest.param(value, id=f"39 {what}") for what, value in NO_STRINGS.items()])
def test_a_name_that_is_no_string_is_refused(value, verb, arena):
    assert refused(arena, verb, value)["reason"].endswith("The stream name is not a string")


@pytest.mark.parametrize("field", ["app", "tcUrl", "flashVer"])
def test_31_39_odd_texts_of_connect_are_refused_or_told_in_one_line(field, arena):
    for value in ("\0\n\x1b[2J\u202e\ufffd", "x" * 5000, 1.0, None, {"a": "b"}):
        with arena.attacker("shaken") as attacker:
            properties = {"app": "live"} | {field: value}
            attacker.send(wire(command("connect", 1, properties), CREATE, PUBLISH))
            attacker.send(wire(command("\x1b\n\0", 9), command("\u202e", 9, None, "\n" * 40)))
            attacker.stop_sending()
            line = attacker.ended()
        assert all(str(value).isprintable() for value in line.values())


def test_nothing_is_left_of_it(arena):
    arena.check_for_leaks()
