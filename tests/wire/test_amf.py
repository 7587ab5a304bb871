import pytest

from rtmpd.errors import AmfError, UsageError
from rtmpd.wire.amf import (
    DEPTH_CEILING,
    MAX_NAME_CHARACTERS,
    UNDEFINED,
    AmfReader,
    Date,
    EcmaArray,
    TypedObject,
    Xml,
)

READS = {
    "take": lambda reader: reader.take(9),
    "unsigned": lambda reader: reader.unsigned(9),
    "number": lambda reader: reader.number(),
    "text": lambda reader: reader.text(9),
}


@pytest.mark.parametrize("read", READS.values(), ids=READS.keys())
def test_every_read_past_the_end_is_the_same_error_and_reads_nothing(read):
    reader = AmfReader(bytes(7))

    with pytest.raises(AmfError, match=r"needs [89] bytes where 7 are left, at byte 0 of 7"):
        read(reader)

    assert reader.position == 0


def test_reads_follow_each_other():
    reader = AmfReader(bytes.fromhex("0102 4008000000000000 c3a4 05"))

    assert reader.unsigned(2) == 0x0102
    assert reader.number() == 3.0
    assert reader.text(2) == "ä"
    assert not reader.skip(0x06)
    assert not reader.at_end
    assert reader.skip(0x05)
    assert reader.at_end
    assert not reader.skip(0x05)


def test_text_that_is_not_utf_8_is_replaced():
    assert AmfReader(b"a\xff\x00\n").text(4) == "a\ufffd\x00\n"


def test_elements_are_refused_beyond_the_budget_and_not_before():
    reader = AmfReader(b"", max_elements=3)
    reader.spend(3)

    with pytest.raises(AmfError, match="more than 3 elements"):
        reader.spend(1)


def test_nesting_is_refused_beyond_the_budget_and_not_before():
    reader = AmfReader(b"", max_depth=2)

    assert reader.descend(1) == 2
    with pytest.raises(AmfError, match="nests deeper than 2 levels"):
        reader.descend(2)


def test_no_caller_may_allow_a_depth_that_python_could_not_recurse_to():
    AmfReader(b"", max_depth=DEPTH_CEILING)

    with pytest.raises(UsageError, match="65 is above 64"):
        AmfReader(b"", max_depth=DEPTH_CEILING + 1)


def test_names_are_bounded_so_that_they_can_be_written_back():
    reader = AmfReader(b"")
    longest = "\U0001f600" * MAX_NAME_CHARACTERS

    assert len(reader.name(longest).encode()) <= 0xFFFF
    with pytest.raises(AmfError, match="16384 characters"):
        reader.name(longest + "x")


REPEATED = [
    (1.0, 0),
    (UNDEFINED, 0),
    ("x" * 15, 0),
    ("x" * 160, 10),
    (b"x" * 160, 10),
    (Xml("x" * 160), 10),
    (Date(0.0), 0),
    ([1.0, [True, None]], 4),
    ({"x" * 32: 1.0}, 3),
    (TypedObject("a class", {"a": 1.0, "b": EcmaArray()}), 2),
]


@pytest.mark.parametrize(("value", "price"), REPEATED)
def test_a_repeated_value_costs_what_its_contents_would(value, price):
    reader = AmfReader(b"", max_elements=price)

    assert reader.repeat(value, 0) is value
    with pytest.raises(AmfError, match="elements"):
        reader.spend(1)


def test_a_repeated_value_counts_its_depth_where_it_is_repeated():
    reader = AmfReader(b"", max_depth=3)

    reader.repeat([[1.0]], 1)
    with pytest.raises(AmfError, match="deeper"):
        reader.repeat([[1.0]], 2)


def test_undefined_is_false_and_not_null():
    assert not UNDEFINED
    assert UNDEFINED is not None


def test_a_typed_object_is_a_dict_with_a_class_name():
    value = TypedObject("flex.Message", {"a": 1.0})

    assert value == {"a": 1.0}
    assert value.class_name == "flex.Message"
    assert TypedObject("flex.Message") == {}
