from __future__ import annotations

import pytest

from rtmpd.errors import MediaError
from rtmpd.media.avc import parse_avc
from tests.corpus.media.make import HERE, encode_video, read_tags
from tests.helpers.bit_writer import BitWriter

RECORD = read_tags((HERE / "h264-high-50x38.flv").read_bytes())[0].body[5:]


def avcc(sps, *, profile=100, constraints=0, level=40):
    return bytes([1, profile, constraints, level, 0xFF, 0xE1]) + len(sps).to_bytes(2) + sps + b"\1\0\0"


def sps(*, width_mbs=8, height_mbs=4, crop=None, profile=100, chroma=1, scaling=(), order=(0, 0), progressive=True):
    writer = BitWriter().u((0x67, 8), (profile, 8), (0, 8), (40, 8)).ue(0)
    if profile == 100:
        writer.ue(chroma)
        if chroma == 3:
            writer.u((0, 1))
        writer.ue(0, 0).u((0, 1), (1 if scaling else 0, 1))
        for entry in scaling:
            writer.u((0, 1)) if entry is None else writer.u((1, 1)).se(*entry)
    writer.ue(0, order[0])
    if order[0] == 0:
        writer.ue(order[1])
    elif order[0] == 1:
        writer.u((1, 1)).se(-3, 4).ue(len(order[1])).se(*order[1])
    writer.ue(2).u((0, 1)).ue(width_mbs - 1, height_mbs - 1)
    writer.u((1, 1)) if progressive else writer.u((0, 1), (1, 1))
    writer.u((1, 1))
    writer.u((1, 1)).ue(*crop) if crop else writer.u((0, 1))
    return writer.u((0, 1), (1, 1)).bytes()


def size_of(**fields):
    configuration = parse_avc(avcc(sps(**fields)))
    return configuration.width, configuration.height


@pytest.mark.parametrize(
    ("name", "size", "profile", "level", "codec_string"),
    [
        ("h264-high-50x38", (50, 38), "High", "1.0", "avc1.64000a"),
        ("h264-baseline-320x180", (320, 180), "Constrained Baseline", "1.2", "avc1.42c00c"),
        ("h264-422-interlaced-50x76", (50, 76), "High 4:2:2", "2.1", "avc1.7a0015"),
        ("h264-444-51x37", (51, 37), "High 4:4:4 Predictive", "1.0", "avc1.f4000a"),
    ],
)
def test_records_of_x264_are_read(name, size, profile, level, codec_string):
    record = read_tags((HERE / f"{name}.flv").read_bytes())[0].body[5:]
    assert parse_avc(record) == ("avc1", *size, profile, level, codec_string, 4)


@pytest.mark.parametrize(("width", "height"), [(2, 2), (16, 16), (18, 30), (426, 240), (854, 480), (1920, 1080)])
def test_whatever_size_is_encoded_is_read_back(width, height):
    data = encode_video("libx264", width, height, {"preset": "ultrafast"}, frames=1)
    configuration = parse_avc(read_tags(data)[0].body[5:])
    assert (configuration.width, configuration.height) == (width, height)


def test_cropping_counts_in_units_of_the_chroma_format():
    assert size_of() == (128, 64)
    assert size_of(crop=(1, 2, 3, 0)) == (122, 58)
    assert size_of(crop=(1, 2, 3, 0), chroma=2) == (122, 61)
    assert size_of(crop=(1, 2, 3, 0), chroma=3) == (125, 61)
    assert size_of(crop=(1, 2, 3, 0), chroma=0) == (125, 61)


def test_field_coded_pictures_are_twice_as_high():
    assert size_of(progressive=False) == (128, 128)
    assert size_of(progressive=False, crop=(0, 0, 0, 2)) == (128, 120)


def test_scaling_lists_are_skipped_up_to_where_they_repeat():
    assert size_of(scaling=[None, [1] * 16, [-8], None, None, None, [0] * 64, None]) == (128, 64)


def test_the_picture_order_types_are_skipped():
    assert size_of(order=(1, [5, -5, 9])) == (128, 64)
    assert size_of(order=(2, None), profile=66) == (128, 64)


def test_the_length_size_of_nal_units_is_read():
    assert parse_avc(RECORD[:4] + b"\xfd" + RECORD[5:]).nal_length_size == 2


@pytest.mark.parametrize(
    ("head", "profile", "level"),
    [
        ((66, 0x00, 30), "Baseline", "3.0"),
        ((66, 0xC0, 31), "Constrained Baseline", "3.1"),
        ((77, 0x10, 11), "Main", "1b"),
        ((100, 0x10, 11), "High", "1.1"),
        ((100, 0x00, 9), "High", "1b"),
        ((99, 0x00, 52), "profile 99", "5.2"),
    ],
)
def test_profiles_and_levels_have_names(head, profile, level):
    configuration = parse_avc(bytes([1, *head, 0xFF, 0xE0, 0]))
    assert (configuration.profile, configuration.level) == (profile, level)


def test_a_record_without_parameter_sets_leaves_the_size_open():
    assert parse_avc(bytes.fromhex("01 64001f ff e0 00"))[:3] == ("avc1", 0, 0)


@pytest.mark.parametrize("size", range(len(RECORD) - 4))
def test_a_record_cut_anywhere_is_a_media_error(size):
    """The last four bytes are FFmpeg's chroma extension, which nothing here needs."""
    with pytest.raises(MediaError):
        parse_avc(RECORD[:size])


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (bytes.fromhex("00000001 67 64001f"), "version 0"),
        (bytes.fromhex("01 64001f ff ff 0000"), "ends early"),
        (bytes.fromhex("01 64001f ff e1 ffff 67"), "ends early: 65535 bytes wanted, 1 left"),
        (bytes.fromhex("01 64001f ff e1 0000 01 ffff"), "ends early"),
        (bytes.fromhex("01 64001f ff e1 0000 00"), "something else"),
        (avcc(b"\x68\x64\0\x1f"), "something else"),
        (avcc(b"\x67\x64\0\x1f"), "ends early"),
        (avcc(b"\x67\x64\0\x1f" + bytes(100)), "ends early"),
        (avcc(sps(chroma=4)), "chroma format 4"),
        (avcc(sps(crop=(32, 32, 0, 0))), "0 x 64 pixels"),
        (avcc(sps(width_mbs=2**32 - 2)), "pixels"),
        (avcc(sps(order=(1, [0] * 256))), "cycle of 256"),
    ],
)
def test_a_hostile_record_is_a_media_error(record, message):
    with pytest.raises(MediaError, match=message):
        parse_avc(record)
