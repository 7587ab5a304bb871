from __future__ import annotations

import pytest

from rtmpd.errors import MediaError
from rtmpd.media.hevc import parse_hevc
from tests.corpus.media.make import HERE, encode_video, read_tags
from tests.helpers.bit_writer import BitWriter

RECORD = read_tags((HERE / "hevc-main-50x38.flv").read_bytes())[0].body[5:]
HEAD = RECORD[:22]


def hvcc(sps, *, kind=33, head=HEAD):
    return head + bytes([1, 0x80 | kind, 0, 1]) + len(sps).to_bytes(2) + sps


def sps(*, width=128, height=64, window=None, chroma=1, planes=0, sub_layers=()):
    writer = BitWriter().u((33 << 9 | 1, 16), (0, 4), (len(sub_layers), 3), (1, 1)).u((0, 88), (93, 8))
    for profile, level in sub_layers:
        writer.u((profile, 1), (level, 1))
    if sub_layers:
        writer.u((0, 2 * (8 - len(sub_layers))))
    for profile, level in sub_layers:
        writer.u((0, 88 * profile)) if profile else None
        writer.u((0, 8 * level)) if level else None
    writer.ue(0, chroma)
    if chroma == 3:
        writer.u((planes, 1))
    writer.ue(width, height)
    writer.u((1, 1)).ue(*window) if window else writer.u((0, 1))
    nal_unit = writer.u((1, 1)).bytes()
    # The profile of zeros above would be taken for a start code: escape it as an encoder must.
    escaped = bytearray()
    for byte in nal_unit:
        if byte <= 3 and escaped.endswith(b"\0\0"):
            escaped.append(3)
        escaped.append(byte)
    return bytes(escaped)


def size_of(**fields):
    configuration = parse_hevc(hvcc(sps(**fields)))
    return configuration.width, configuration.height


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("hevc-main-50x38", ("hvc1", 50, 38, "Main", "1.0", "hvc1.1.6.L30.90", 4)),
        ("hevc-main10-1280x720", ("hvc1", 1280, 720, "Main 10", "3.1", "hvc1.2.4.L93.90", 4)),
    ],
)
def test_records_of_x265_are_read(name, expected):
    assert parse_hevc(read_tags((HERE / f"{name}.flv").read_bytes())[0].body[5:]) == expected


@pytest.mark.parametrize(("width", "height"), [(64, 64), (1920, 1080)])
def test_whatever_size_is_encoded_is_read_back(width, height):
    quiet = {"preset": "ultrafast", "x265-params": "log-level=none:pools=none:frame-threads=1"}
    data = encode_video("libx265", width, height, quiet, frames=1)
    configuration = parse_hevc(read_tags(data)[0].body[5:])
    assert (configuration.width, configuration.height) == (width, height)


def test_the_conformance_window_counts_in_units_of_the_chroma_format():
    assert size_of() == (128, 64)
    assert size_of(window=(1, 2, 3, 0)) == (122, 58)
    assert size_of(window=(1, 2, 3, 0), chroma=2) == (122, 61)
    assert size_of(window=(1, 2, 3, 0), chroma=3) == (125, 61)
    assert size_of(window=(1, 2, 3, 0), chroma=3, planes=1) == (125, 61)
    assert size_of(window=(1, 2, 3, 0), chroma=0) == (125, 61)


def test_profiles_of_sub_layers_are_skipped():
    assert size_of(sub_layers=[(1, 1)]) == (128, 64)
    assert size_of(sub_layers=[(0, 0), (1, 0), (0, 1), (1, 1), (0, 0), (1, 1)]) == (128, 64)


def test_codec_strings_leave_out_empty_constraints():
    head = bytes.fromhex("01 a4 60000000 b2 0000000001 5d") + HEAD[13:]
    assert parse_hevc(head + b"\0").codec_string == "hvc1.B4.6.H93.B2.0.0.0.0.1"
    head = bytes.fromhex("01 01 60000000 000000000000 5d") + HEAD[13:]
    assert parse_hevc(head + b"\0").codec_string == "hvc1.1.6.L93"


def test_a_record_without_parameter_sets_leaves_the_size_open():
    assert parse_hevc(HEAD + b"\0")[:3] == ("hvc1", 0, 0)
    assert parse_hevc(hvcc(b"\x44\x01", kind=34))[:3] == ("hvc1", 0, 0)


def test_the_version_may_be_left_out():
    assert parse_hevc(b"\0" + RECORD[1:]) == parse_hevc(RECORD)


@pytest.mark.parametrize("size", range(len(RECORD)))
def test_a_record_cut_anywhere_is_a_media_error(size):
    with pytest.raises(MediaError):
        parse_hevc(RECORD[:size])


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (b"\2" + RECORD[1:], "version 2"),
        (HEAD + b"\xff", "ends early"),
        (HEAD + b"\xff" + b"\xa1\xff\xff" * 255, "more than 256"),
        (HEAD + b"\xff" + b"\xa1\x00\x02\0\0\0\0" * 255, "more than 256"),
        (HEAD + b"\1\xa1\0\1\xff\xff\x42", "65535 bytes wanted"),
        (hvcc(b""), "ends early"),
        (hvcc(b"\x40\x01\0\0"), "something else"),
        (hvcc(sps(chroma=4)), "chroma format 4"),
        (hvcc(sps(width=0)), "0 x 64 pixels"),
        (hvcc(sps(window=(0, 0, 32, 1))), "pixels"),
        (hvcc(sps(height=2**32 - 2)), "pixels"),
    ],
)
def test_a_hostile_record_is_a_media_error(record, message):
    with pytest.raises(MediaError, match=message):
        parse_hevc(record)
