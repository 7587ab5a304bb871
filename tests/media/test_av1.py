from __future__ import annotations

import pytest

from rtmpd.errors import MediaError
from rtmpd.media.av1 import parse_av1
from tests.corpus.media.make import HERE, read_tags
from tests.helpers.bit_writer import BitWriter

RECORD = read_tags((HERE / "av1-66x70.flv").read_bytes())[0].body[5:]
HEAD = RECORD[:4]


def av1c(payload, *, head=HEAD):
    return head + bytes([0x0A, len(payload)]) + payload


def size(writer, *, width=640, height=360, bits=10):
    return writer.u((bits - 1, 4), (bits - 1, 4), (width - 1, bits), (height - 1, bits)).bytes()


def size_of(payload):
    configuration = parse_av1(av1c(payload))
    return configuration.width, configuration.height


def test_a_record_of_svt_av1_is_read():
    assert parse_av1(RECORD) == ("av01", 66, 70, "Main", "2.0", "av01.0.00M.08", 0)


def test_a_still_picture_has_a_short_header():
    assert size_of(size(BitWriter().u((0, 3), (1, 1), (1, 1), (8, 5)))) == (640, 360)


def test_operating_points_are_skipped():
    writer = BitWriter().u((0, 3), (0, 1), (0, 1), (0, 1), (1, 1), (2, 5))
    writer.u((0x101, 12), (5, 5), (0, 1))
    writer.u((0x101, 12), (8, 5), (1, 1), (1, 1), (9, 4))
    writer.u((0x101, 12), (31, 5), (0, 1), (0, 1))
    assert size_of(size(writer)) == (640, 360)


def test_timing_without_a_decoder_model_is_skipped():
    writer = BitWriter().u((0, 3), (0, 1), (0, 1), (1, 1), (1, 32), (25, 32), (1, 1)).ue(4).u((0, 1))
    assert size_of(size(writer.u((0, 1), (0, 5), (0, 12), (5, 5)))) == (640, 360)


def test_a_decoder_model_is_skipped():
    writer = BitWriter().u((0, 3), (0, 1), (0, 1), (1, 1), (1, 32), (25, 32), (0, 1))
    writer.u((1, 1), (15, 5), (1, 32), (0, 5), (0, 5), (0, 1), (1, 5))
    writer.u((0, 12), (5, 5), (1, 1), (7, 16), (7, 16), (0, 1))
    writer.u((0, 12), (5, 5), (0, 1))
    assert size_of(size(writer)) == (640, 360)


def test_other_obus_before_the_sequence_header_are_skipped():
    others = bytes.fromhex("1200 2a8100ff 3e0801aa")
    assert parse_av1(HEAD + others + RECORD[4:]) == parse_av1(RECORD)


def test_an_obu_without_a_size_goes_to_the_end():
    assert parse_av1(HEAD + b"\x08" + RECORD[6:]) == parse_av1(RECORD)


def test_a_record_without_obus_leaves_the_size_open():
    assert parse_av1(HEAD)[:3] == ("av01", 0, 0)


@pytest.mark.parametrize(
    ("head", "profile", "level", "codec_string"),
    [
        ("81 08 0c 00", "Main", "4.0", "av01.0.08M.08"),
        ("81 2d cc 00", "High", "5.1", "av01.1.13H.10"),
        ("81 5f 6c 00", "Professional", "", "av01.2.31M.12"),
        ("81 e8 0c 00", "profile 7", "4.0", "av01.7.08M.08"),
    ],
)
def test_profiles_and_levels_have_names(head, profile, level, codec_string):
    configuration = parse_av1(bytes.fromhex(head))
    assert configuration[3:6] == (profile, level, codec_string)


@pytest.mark.parametrize("cut", range(1, len(RECORD)))
def test_a_record_cut_anywhere_is_a_media_error(cut):
    if cut != len(RECORD) - len(HEAD):
        with pytest.raises(MediaError):
            parse_av1(RECORD[:-cut])


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (b"", "ends early"),
        (bytes.fromhex("01 00 0c 00"), "begins 01"),
        (bytes.fromhex("12 00 0a 0b"), "begins 12"),
        (HEAD + b"\x0a\x7f\0", "127 bytes wanted"),
        (HEAD + b"\x0a" + b"\x80" * 8 + b"\0", "more than 8 bytes"),
        (HEAD + b"\x12\x00" * 300, "more than 256 OBUs"),
        (av1c(b""), "ends early"),
        (av1c(BitWriter().u((0, 5), (1, 1), (0, 64), (1, 1), (0, 200)).bytes()), "ticks"),
    ],
)
def test_a_hostile_record_is_a_media_error(record, message):
    with pytest.raises(MediaError, match=message):
        parse_av1(record)
