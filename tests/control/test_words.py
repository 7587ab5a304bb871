"""The hosted service's numbers and names mean the same."""

from __future__ import annotations

from typing import get_args

import pytest

from rtmpd.control import words


@pytest.mark.parametrize(
    ("mask", "formats"),
    [
        (0, ()),
        (1, ("hls",)),
        (2, ("flv",)),
        (3, ("hls", "flv")),
        (4, ("mp4",)),
        (7, ("hls", "flv", "mp4")),
        (16, ("mp3",)),
    ],
)
def test_a_record_file_type_is_a_mask_of_formats(mask, formats):
    assert words.record_formats(mask) == formats


def test_each_name_of_a_record_file_type_is_its_number():
    names = get_args(words.RecordFileName)

    assert [words.record_mask(name) for name in names] == [0, 1, 2, 3, 4, 5, 6, 7, 16]


def test_hls_and_rtmp_is_two_outputs_and_everything_else_one():
    assert words.outputs(words.HLS_AND_RTMP) == {1, 5}
    assert [words.outputs(number) for number in (1, 2, 4, 5, 7)] == [{1}, {2}, {4}, {5}, {7}]


def test_every_encode_name_has_its_number():
    assert set(words.ENCODE_TYPES) == set(get_args(words.EncodeName))
    assert set(words.ENCODE_TYPES.values()) == set(get_args(words.EncodeNumber))
