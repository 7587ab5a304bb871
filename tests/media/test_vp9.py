from __future__ import annotations

import pytest

from rtmpd.errors import MediaError
from rtmpd.media.vp9 import parse_vp9
from tests.corpus.media.make import HERE, read_tags

RECORD = read_tags((HERE / "vp9-51x37.flv").read_bytes())[0].body[5:]


def test_a_record_of_libvpx_is_read_with_and_without_the_head_of_a_box():
    expected = ("vp09", 0, 0, "Profile 0", "1.0", "vp09.00.10.08", 0)
    assert parse_vp9(RECORD) == expected
    assert parse_vp9(RECORD[4:]) == expected


def test_depth_and_level_are_read():
    configuration = parse_vp9(bytes.fromhex("02 00 a2 010101 0000"))
    assert (configuration.profile, configuration.level, configuration.codec_string) == (
        "Profile 2",
        "",
        "vp09.02.00.10",
    )


def test_vp8_has_the_same_record():
    assert parse_vp9(RECORD, "vp08").codec_string == "vp08.00.10.08"


@pytest.mark.parametrize("size", range(len(RECORD)))
def test_a_record_cut_anywhere_is_a_media_error(size):
    with pytest.raises(MediaError):
        parse_vp9(RECORD[:size])


@pytest.mark.parametrize("record", ["00 0a 90 020202 0000", "00 0a 82 020202 ffff"])
def test_a_hostile_record_is_a_media_error(record):
    with pytest.raises(MediaError):
        parse_vp9(bytes.fromhex(record))
