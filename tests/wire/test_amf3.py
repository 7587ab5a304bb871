import struct
import tracemalloc

import pytest

from rtmpd.errors import AmfError, UsageError
from rtmpd.wire import amf0
from rtmpd.wire.amf import UNDEFINED, AmfReader, Date, EcmaArray, TypedObject, Xml
from rtmpd.wire.amf3 import decode_value, encode_byte_array
from tests.helpers.amf import shape


def decode(data, **limits):
    reader = AmfReader(bytes.fromhex(data) if isinstance(data, str) else data, **limits)
    value = decode_value(reader, 0)
    assert reader.at_end
    return value


VECTORS = [
    ("00", UNDEFINED),
    ("01", None),
    ("02", False),
    ("03", True),
    ("04 00", 0.0),
    ("04 7f", 127.0),
    ("04 8100", 128.0),
    ("04 ff7f", 16383.0),
    ("04 818000", 16384.0),
    ("04 80c08000", 2.0**21),
    ("04 bfffffff", 2.0**28 - 1),
    ("04 c0808000", -(2.0**28)),
    ("04 ffffffff", -1.0),
    ("05 3ff8000000000000", 1.5),
    ("06 01", ""),
    ("06 07 c3a462", "äb"),
    ("07 09 3c612f3e", Xml("<a/>")),
    ("0b 09 3c612f3e", Xml("<a/>")),
    ("08 01 408f400000000000", Date(1000.0)),
    ("09 01 01", []),
    ("09 05 01 03 04 01", [True, 1.0]),
    ("09 05 03 61 01 01 03 02", EcmaArray({"a": None, "0": True, "1": False})),
    ("0a 0b 01 03 61 03 01", {"a": True}),
    ("0a 13 01 03 61 03", {"a": True}),
    ("0a 1b 05 4320 03 61 03 03 62 02 01", TypedObject("C ", {"a": True, "b": False})),
    ("0c 05 0102", b"\x01\x02"),
    ("0d 05 00 ffffffff 00000001", [-1.0, 1.0]),
    ("0e 05 01 ffffffff 00000001", [2.0**32 - 1, 1.0]),
    ("0f 03 00 3ff8000000000000", [1.5]),
    ("10 05 00 01 03 01", [True, None]),
    ("11 05 00 04 01 06 03 61 03 09 01 01", [[1.0, "a"], [True, []]]),
]


@pytest.mark.parametrize(("data", "value"), VECTORS)
def test_bytes_decode_to_the_values_of_the_specification(data, value):
    assert shape(decode(data)) == shape(value)


@pytest.mark.parametrize(("data", "value"), VECTORS)
def test_a_value_that_is_cut_anywhere_is_refused(data, value):
    whole = bytes.fromhex(data)

    for size in range(len(whole)):
        with pytest.raises(AmfError):
            decode(whole[:size])


@pytest.mark.parametrize("size", [0, 1, 63, 64, 8191, 8192, 2**20 - 1, 2**20])
def test_a_byte_array_of_any_length_is_written_and_read(size):
    data = bytes(size)

    assert decode(encode_byte_array(data)) == data


def test_a_byte_array_beyond_the_format_is_our_mistake():
    with pytest.raises(UsageError, match="no form for 268435456 bytes"):
        encode_byte_array(bytes(1 << 28))


def test_strings_refer_to_strings_and_the_empty_one_has_no_number():
    assert decode("09 09 01 06 01 06 03 61 06 03 62 06 02") == ["", "a", "b", "b"]


def test_names_and_strings_share_one_table():
    assert decode("0a 0b 01 03 61 06 00 01") == {"a": "a"}


def test_objects_refer_to_traits_of_objects_before_them():
    assert decode("09 05 01 0a 13 03 43 03 61 03 0a 01 02") == [{"a": True}, {"a": False}]


def test_every_kind_of_object_has_a_number():
    date, byte_array, xml = "08 01 0000000000000000", "0c 03 55", "0b 03 78"
    references = "08 02 0c 04 0b 06 09 00"

    with pytest.raises(AmfError, match="refers to AMF3 object 0, which is not complete"):
        decode(f"09 0f 01 {date} {byte_array} {xml} {references}")
    assert decode(f"09 0d 01 {date} {byte_array} {xml} {references[:-6]}") == [Date(0.0), b"\x55", Xml("x")] * 2


def test_the_tables_begin_anew_with_every_switch():
    with pytest.raises(AmfError, match="refers to string 0 of 0"):
        amf0.decode(bytes.fromhex("11 06 03 61 11 06 00"))


DEEPER = {
    "array": bytes.fromhex("09 03 01"),
    "associative array": bytes.fromhex("09 01 03 61"),
    "object": bytes.fromhex("0a 0b 01 03 61"),
    "sealed object": bytes.fromhex("0a 13 01 03 61"),
    "vector of objects": bytes.fromhex("10 03 00 01"),
    "dictionary": bytes.fromhex("11 03 00"),
    "all of them": bytes.fromhex("09 03 01 0a 0b 01 03 61 10 03 00 01 11 03 00"),
}


@pytest.mark.parametrize("level", DEEPER.values(), ids=DEEPER.keys())
@pytest.mark.parametrize("levels", [17, 1_000, 1_000_000])
def test_28_nesting_beyond_the_depth_is_refused(level, levels):
    with pytest.raises(AmfError, match="deeper than 16 levels"):
        decode(level * levels)


def test_28_amf0_and_amf3_share_the_depth():
    value = bytes.fromhex("0a 00000001") * 15 + bytes.fromhex("11 09 03 01")

    assert amf0.decode(value + b"\x01")
    with pytest.raises(AmfError, match="deeper"):
        amf0.decode(value + bytes.fromhex("09 01 01"))


def test_28_amf0_and_amf3_share_the_elements():
    with pytest.raises(AmfError, match="more than 3 elements"):
        amf0.decode(bytes.fromhex("05 11 09 05 01 01 01"), max_elements=3)


@pytest.mark.parametrize(
    "data",
    [
        "06 ffffffff",
        "07 ffffffff",
        "09 ffffffff 01",
        "0a ffffffff",
        "0c ffffffff",
        "0d ffffffff 00",
        "0e ffffffff 00",
        "0f ffffffff 00",
        "10 ffffffff 00 01",
        "11 ffffffff 00",
    ],
)
def test_29_a_count_that_the_body_does_not_hold_is_refused_without_memory_for_it(data):
    tracemalloc.start()
    try:
        with pytest.raises(AmfError):
            decode(bytes.fromhex(data) + b"\x01\x01")
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak_bytes < 100_000


@pytest.mark.parametrize(
    "data", ["09 00", "0a 00", "0a 01", "0c 02", "08 fffffffe", "09 03 01 09 00", "0a 0b 01 03 61 0a 00 01"]
)
def test_36_a_reference_to_what_is_not_complete_before_it_is_refused(data):
    with pytest.raises(AmfError, match="refers to"):
        decode(data)


@pytest.mark.parametrize("data", ["06 02", "06 fffffffe", "0a 0b 00"])
def test_36_a_reference_to_a_string_that_was_not_is_refused(data):
    with pytest.raises(AmfError, match="refers to string"):
        decode(data)


@pytest.mark.parametrize("data", ["04", "04 80", "04 8080", "04 808080", "06 ff", "09 ffff"])
def test_36_an_integer_that_is_cut_is_refused(data):
    with pytest.raises(AmfError, match="needs 1 bytes"):
        decode(data)


def test_36_an_integer_has_no_fifth_byte():
    with pytest.raises(AmfError, match="refers to string"):
        decode("06 fffffffe ff")


@pytest.mark.parametrize("head", ["0a 07 03 43", "0a 0f 03 43"])
def test_an_externalizable_object_is_refused_because_its_length_is_unknown(head):
    with pytest.raises(AmfError, match="externalizable"):
        decode(head)


@pytest.mark.parametrize("marker", [0x12, 0x7F, 0xFF])
def test_a_marker_that_starts_no_value_is_refused(marker):
    with pytest.raises(AmfError, match=f"AMF3 marker {marker:#04x}"):
        decode(bytes((marker,)))


def u29(value):
    return struct.pack(
        ">I",
        (value >> 22 | 0x80) << 24 | (value >> 15 & 0x7F | 0x80) << 16 | (value >> 8 & 0x7F | 0x80) << 8 | value & 0xFF,
    )


def many(count, first, repeated):
    return b"\x09" + u29(count << 1 | 1) + b"\x01" + first + repeated * (count - 1)


REPEATED_TEXT = b"x" * 60_000
BOMBS = {
    "string": many(30_000, b"\x06" + u29(120_001) + REPEATED_TEXT, b"\x06\x00"),
    "byte array": many(30_000, b"\x0c" + u29(120_001) + REPEATED_TEXT, b"\x0c\x02"),
    "document": many(30_000, b"\x07" + u29(120_001) + REPEATED_TEXT, b"\x07\x02"),
    "class name": many(30_000, b"\x0a\x03" + u29(32_001) + b"x" * 16_000, b"\x0a\x01"),
    "sealed name": many(30_000, b"\x0a\x13\x01" + u29(32_001) + b"x" * 16_000 + b"\x01", b"\x0a\x01\x01"),
    "array": many(30_000, b"\x09" + u29(2001) + b"\x01" + b"\x01" * 1000, b"\x09\x02"),
    "traits": b"\x0a" + u29(0x10000 << 4 | 3) + b"\x03a" + b"\x00" * 0x10000,
}


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS.keys())
def test_37_references_cannot_multiply_beyond_the_budget(bomb):
    with pytest.raises(AmfError, match="elements"):
        decode(bomb)


def test_37_numbers_in_a_vector_count_as_elements():
    with pytest.raises(AmfError, match="more than 65536 elements"):
        decode(b"\x0d" + u29(65_536 << 1 | 1) + b"\x00" + bytes(4 * 65_536))


def test_a_long_string_referred_to_as_a_name_is_refused():
    long_string = b"\x06" + u29(40_001) + b"x" * 20_000

    with pytest.raises(AmfError, match="name of 20000 characters"):
        decode(b"\x09\x05\x01" + long_string + b"\x0a\x0b\x01\x00")


@pytest.mark.parametrize(("data", "value"), VECTORS)
def test_what_amf3_brings_in_amf0_can_write(data, value):
    assert shape(*amf0.decode(amf0.encode(decode(data)))) == shape(value)
