from __future__ import annotations

import pytest

from rtmpd.errors import MediaError
from rtmpd.media.bits import MAX_CONFIGURATION_BYTES, BitCursor, checked_size, unescape
from tests.helpers.bit_writer import BitWriter


def test_fields_are_read_in_order():
    data = BitWriter().u((5, 3), (1, 1)).ue(0, 1, 7, 255).se(0, 1, -1, 13).u((1, 1)).bytes()
    cursor = BitCursor(data + b"\xab\xcd", "test")
    assert cursor.unsigned(3) == 5
    assert cursor.flag() is True
    assert [cursor.exp_golomb() for _ in range(4)] == [0, 1, 7, 255]
    assert [cursor.signed_exp_golomb() for _ in range(4)] == [0, 1, -1, 13]
    assert cursor.flag() is True
    cursor.align()
    assert cursor.take(2) == b"\xab\xcd"
    cursor.align()
    assert cursor.remaining == 0


@pytest.mark.parametrize(
    "read",
    [
        lambda cursor: cursor.unsigned(9),
        lambda cursor: cursor.take(2),
        lambda cursor: cursor.skip(9),
        lambda cursor: cursor.exp_golomb(),
        lambda cursor: cursor.signed_exp_golomb(),
        lambda cursor: (cursor.skip(8), cursor.flag()),
    ],
)
def test_reading_behind_the_end_is_a_media_error_that_names_the_structure(read):
    with pytest.raises(MediaError, match="test structure ends early"):
        read(BitCursor(b"\0", "test structure"))


def test_a_number_of_more_bits_than_any_field_has_is_refused():
    largest = BitWriter().ue(2**32 - 2).bytes()
    assert BitCursor(largest, "test").exp_golomb() == 2**32 - 2
    for code in (BitWriter().ue(2**32).bytes(), bytes(1_000) + b"\1" + bytes(2_000)):
        with pytest.raises(MediaError, match="a number of"):
            BitCursor(code, "test").exp_golomb()


def test_a_configuration_of_megabytes_is_refused_unread():
    BitCursor(bytes(MAX_CONFIGURATION_BYTES), "test")
    with pytest.raises(MediaError, match="test of 65537 bytes"):
        BitCursor(bytes(MAX_CONFIGURATION_BYTES + 1), "test")


def test_emulation_prevention_bytes_are_taken_out():
    assert unescape(bytes.fromhex("67 000003 00 000003 01 0003 03")) == bytes.fromhex("67 0000 00 0000 01 0003 03")
    assert unescape(bytes.fromhex("000003 000003")) == bytes(4)


@pytest.mark.parametrize("size", [(0, 1), (1, 0), (-16, 16), (65_537, 1), (1, 2**32)])
def test_pictures_that_cannot_be_are_refused(size):
    with pytest.raises(MediaError, match="test of"):
        checked_size(*size, "test")


def test_pictures_that_can_be_pass():
    assert checked_size(1, 65_536, "test") == (1, 65_536)
