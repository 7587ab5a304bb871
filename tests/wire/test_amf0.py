import math
import struct
import tracemalloc
from enum import IntEnum
from types import MappingProxyType

import pytest

from rtmpd.errors import AmfError, UsageError
from rtmpd.wire.amf import MAX_ELEMENTS
from rtmpd.wire.amf0 import (
    UNDEFINED,
    Date,
    EcmaArray,
    TypedObject,
    Xml,
    decode,
    decode_prefix,
    encode,
)
from tests.helpers.amf import shape

# Value and bytes, in both directions.
VECTORS = [
    (0.0, "00 0000000000000000"),
    (-2000.0, "00 c09f400000000000"),
    (math.inf, "00 7ff0000000000000"),
    (-math.inf, "00 fff0000000000000"),
    (math.nan, "00 7ff8000000000000"),
    (1e300, "00 7e37e43c8800759c"),
    (True, "01 01"),
    (False, "01 00"),
    ("", "02 0000"),
    ("live", "02 0004 6c697665"),
    ("ä\0\n", "02 0004 c3a4000a"),
    ({}, "03 000009"),
    ({"a": 1.0, "": "x"}, "03 0001 61 00 3ff0000000000000 0000 02 0001 78 000009"),
    (None, "05"),
    (UNDEFINED, "06"),
    (EcmaArray(), "08 00000000 000009"),
    (EcmaArray(duration=0.0), "08 00000001 0008 6475726174696f6e 00 0000000000000000 000009"),
    ([], "0a 00000000"),
    (["avc1", None], "0a 00000002 02 0004 61766331 05"),
    (Date(1000.0, -60), "0b 408f400000000000 ffc4"),
    ("x" * 65_536, "0c 00010000" + "78" * 65_536),
    (Xml("<a/>"), "0f 00000004 3c612f3e"),
    (TypedObject("C", {"a": None}), "10 0001 43 0001 61 05 000009"),
    (b"\x01\x02", "11 0c 05 0102"),
]
VECTOR_NAMES = [repr(value)[:30] for value, _ in VECTORS]


@pytest.mark.parametrize(("value", "expected"), VECTORS, ids=VECTOR_NAMES)
def test_values_encode_to_the_bytes_of_the_specification(value, expected):
    assert encode(value) == bytes.fromhex(expected)


@pytest.mark.parametrize(("value", "data"), VECTORS, ids=VECTOR_NAMES)
def test_bytes_decode_to_the_values_of_the_specification(value, data):
    (decoded,) = decode(bytes.fromhex(data))

    assert shape(decoded) == shape(value)


@pytest.mark.parametrize(("value", "data"), VECTORS, ids=VECTOR_NAMES)
def test_a_value_that_is_cut_anywhere_is_refused_or_ends_an_object_early(value, data):
    whole = bytes.fromhex(data)

    for size in range(1, min(len(whole), 300)):
        try:
            (decoded,) = decode(whole[:size])
        except AmfError:
            continue
        assert isinstance(decoded, dict)
        assert decoded.items() <= value.items()


def test_a_body_is_its_values_in_order():
    create_stream_result = bytes.fromhex("02 0007 5f726573756c74 00 4010000000000000 05 00 3ff0000000000000")

    assert decode(create_stream_result) == ["_result", 4.0, None, 1.0]
    assert encode("_result", 4, None, 1) == create_stream_result


def test_an_empty_body_has_no_values():
    assert decode(b"") == []
    assert encode() == b""


def test_a_prefix_leaves_what_follows_unread_even_if_it_is_broken():
    body = encode("play", 5) + b"\xff\xff"

    assert decode_prefix(body, 2) == (["play", 5.0], len(body) - 2)
    with pytest.raises(AmfError, match="marker 0xff"):
        decode_prefix(body, 3)


def test_a_prefix_may_hold_fewer_values_than_wanted():
    assert decode_prefix(b"\x05", 5) == ([None], 1)


def test_numbers_of_every_python_kind_are_doubles():
    class Level(IntEnum):
        HIGH = 2

    assert decode(encode(1, 1.0, Level.HIGH)) == [1.0, 1.0, 2.0]


def test_read_only_kinds_of_dict_and_list_are_encoded_too():
    assert decode(encode(MappingProxyType({"a": 1}), ("b",))) == [{"a": 1.0}, ["b"]]


def test_lone_surrogates_are_replaced_when_encoding():
    assert encode("\ud800") == bytes.fromhex("02 0001 3f")


def test_the_longest_short_string_and_the_shortest_long_string():
    assert encode("x" * 0xFFFF)[:3] == bytes.fromhex("02 ffff")
    assert encode("x" * 0x10000)[:5] == bytes.fromhex("0c 00010000")


@pytest.mark.parametrize("value", [object(), {1, 2}, 1j, {"a": [object()]}, {"k" * 65_536: 1}])
def test_what_amf0_has_no_form_for_is_our_mistake(value):
    with pytest.raises(UsageError, match="no form"):
        encode(value)


def test_a_value_without_end_is_our_mistake():
    endless = []
    endless.append(endless)

    with pytest.raises(UsageError, match="deeper than 64"):
        encode(endless)


# Hostile bodies; the numbers are those of protocol.md section 8.2.

DEEPER = {
    "strict array": bytes.fromhex("0a 00000001"),
    "object": bytes.fromhex("03 0001 61"),
    "ECMA array": bytes.fromhex("08 00000000 0001 61"),
    "typed object": bytes.fromhex("10 0001 43 0001 61"),
    "all of them": bytes.fromhex("0a 00000001 03 0001 61 08 00000000 0001 61 10 0001 43 0001 61"),
}


@pytest.mark.parametrize("level", DEEPER.values(), ids=DEEPER.keys())
@pytest.mark.parametrize("levels", [17, 1_000, 1_000_000])
def test_28_nesting_beyond_the_depth_is_refused(level, levels):
    with pytest.raises(AmfError, match="deeper than 16 levels"):
        decode(level * levels + b"\x05")


def test_28_nesting_up_to_the_depth_is_read():
    value = None
    for _ in range(16):
        value = [value]

    assert decode(encode(value)) == [value]
    with pytest.raises(AmfError, match="deeper"):
        decode(encode([value]))


@pytest.mark.parametrize("head", ["0a ffffffff", "0c ffffffff", "0f ffffffff", "0a 00010000", "0a 00000005"])
def test_29_a_count_that_the_body_does_not_hold_is_refused_without_memory_for_it(head):
    tracemalloc.start()
    try:
        with pytest.raises(AmfError, match="needs"):
            decode(bytes.fromhex(head) + b"\x05\x05")
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak_bytes < 100_000


@pytest.mark.parametrize("count", ["00000000", "00000007", "ffffffff"])
def test_29_the_count_of_an_ecma_array_is_not_believed(count):
    assert decode(bytes.fromhex(f"08 {count} 0001 61 05 000009 05")) == [{"a": None}, None]


@pytest.mark.parametrize(
    "data",
    ["02 0005 61", "0c 00000005 61", "03 0005 61", "10 0005 61", "02 ffff", "02 00", "0b 00", "00", "01", "07 00"],
)
def test_30_a_value_longer_than_the_body_is_refused(data):
    with pytest.raises(AmfError, match="needs"):
        decode(bytes.fromhex(data))


def test_31_bad_utf_8_and_control_characters_are_text():
    assert decode(bytes.fromhex("02 0005 ff 00 0a 1b 7f")) == ["\ufffd\x00\n\x1b\x7f"]
    assert decode(bytes.fromhex("03 0002 c328 05 000009")) == [{"\ufffd(": None}]


def test_31_a_name_of_bad_bytes_can_be_written_back():
    (value,) = decode(b"\x03" + struct.pack(">H", 16_383) + b"\xff" * 16_383 + b"\x05\x00\x00\x09")

    assert decode(encode(value)) == [value]


def test_31_a_name_too_long_to_be_written_back_is_refused():
    with pytest.raises(AmfError, match="name of 16384 characters"):
        decode(b"\x03" + struct.pack(">H", 16_384) + b"\xff" * 16_384 + b"\x05\x00\x00\x09")


@pytest.mark.parametrize(
    "data", ["03 0001 61 05", "08 00000001 0001 61 05", "10 0000 0001 61 05", "03 0001 61 03 0001 62 05"]
)
def test_33_an_object_may_end_with_the_body(data):
    (value,) = decode(bytes.fromhex(data))

    assert value in ({"a": None}, {"a": {"b": None}})


@pytest.mark.parametrize("data", ["03 0001 61 05 00", "03 0001 61 05 0000", "03 0001 61 05 0000 04", "03 0001 61"])
def test_33_an_object_may_not_end_inside_a_property(data):
    with pytest.raises(AmfError):
        decode(bytes.fromhex(data))


def test_34_of_duplicate_keys_the_last_counts():
    assert decode(bytes.fromhex("03 0001 61 05 0001 61 0101 000009")) == [{"a": True}]


def test_35_a_reference_is_the_object_or_array_of_that_number():
    data = encode([1.0], {"b": 2.0}) + bytes.fromhex("07 0001 07 0000 0a 00000001 07 0001")

    assert decode(data) == [[1.0], {"b": 2.0}, {"b": 2.0}, [1.0], [{"b": 2.0}]]


@pytest.mark.parametrize(
    "data",
    [
        "07 0000",
        "07 ffff",
        "0a 00000001 07 0000",
        "03 0001 61 07 0000 000009",
        "0a 00000002 0a 00000001 07 0000 05",
        "07 0000 0a 00000000",
    ],
)
def test_35_a_reference_to_what_is_not_complete_before_it_is_refused(data):
    with pytest.raises(AmfError, match="not complete before it"):
        decode(bytes.fromhex(data))


def test_35_references_cannot_multiply_beyond_the_budget():
    doubling = b"".join(
        bytes.fromhex("0a 00000002 07") + struct.pack(">H", i) + b"\x07" + struct.pack(">H", i) for i in range(15)
    )

    with pytest.raises(AmfError, match="more than 65536 elements"):
        decode(encode([1.0]) + doubling)
    ten_thousand = encode([None] * 10_000) + bytes.fromhex("07 0000") * 10
    with pytest.raises(AmfError, match="more than 65536 elements"):
        decode(ten_thousand)


def test_35_references_cannot_nest_beyond_the_depth():
    chain = b"".join(bytes.fromhex("0a 00000001 07") + struct.pack(">H", i) for i in range(20))

    with pytest.raises(AmfError, match="deeper than 16 levels"):
        decode(encode([None]) + chain)


def test_37_a_million_small_keys_are_refused_by_the_element_budget():
    keys = b"".join(b"\0\3" + bytes((i >> 16, i >> 8 & 255, i & 255)) + b"\x05" for i in range(1_000_000))

    with pytest.raises(AmfError, match="more than 65536 elements"):
        decode(b"\x03" + keys + b"\0\0\x09")


def test_sixteen_megabytes_of_null_are_refused_before_memory_grows():
    body = b"\x05" * (16 << 20)
    tracemalloc.start()
    try:
        with pytest.raises(AmfError, match="more than 65536 elements"):
            decode(body)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak_bytes < 2 << 20


def test_the_element_budget_holds_what_it_says():
    assert len(decode(b"\x05" * MAX_ELEMENTS)) == MAX_ELEMENTS
    assert decode(encode([None, None]), max_elements=3) == [[None, None]]
    with pytest.raises(AmfError, match="more than 2 elements"):
        decode(encode([None, None]), max_elements=2)


def test_38_a_typed_object_keeps_its_class():
    (value,) = decode(bytes.fromhex("10 0003 612e42 0001 61 05 000009"))

    assert value == {"a": None}
    assert value.class_name == "a.B"


def test_unsupported_is_undefined():
    assert decode(b"\x0d") == [UNDEFINED]


@pytest.mark.parametrize("marker", [0x04, 0x09, 0x0E, 0x12, 0x80, 0xFF])
def test_a_marker_that_starts_no_value_is_refused(marker):
    with pytest.raises(AmfError, match=f"marker {marker:#04x}"):
        decode(bytes((marker,)))


def test_the_switch_to_amf3_is_for_one_value():
    assert decode(bytes.fromhex("11 04 07 05 11 06 03 61 0101")) == [7.0, None, "a", True]


def test_the_switch_to_amf3_is_for_one_value_inside_an_object_too():
    assert decode(bytes.fromhex("03 0001 61 11 03 0001 62 05 000009")) == [{"a": True, "b": None}]
