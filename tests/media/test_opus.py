from __future__ import annotations

import pytest

from rtmpd.errors import MediaError
from rtmpd.media.opus import parse_opus
from tests.corpus.media.make import HERE, read_tags

STEREO = read_tags((HERE / "opus-48000-stereo.flv").read_bytes())[0].body[5:]
SURROUND = read_tags((HERE / "opus-48000-5.1.flv").read_bytes())[0].body[5:]


def test_heads_of_libopus_are_read():
    assert parse_opus(STEREO) == ("Opus", 48_000, 2, "", "opus")
    assert parse_opus(SURROUND).channels == 6


def test_the_rate_is_the_decoders_whatever_the_sound_once_had():
    assert parse_opus(STEREO[:12] + (16_000).to_bytes(4, "little") + STEREO[16:]).sample_rate == 48_000


@pytest.mark.parametrize("head", [STEREO, SURROUND])
def test_a_head_cut_anywhere_is_a_media_error(head):
    for size in range(len(head)):
        with pytest.raises(MediaError):
            parse_opus(head[:size])


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (b"OpusTags" + STEREO[8:], "no OpusHead"),
        (STEREO[:8] + b"\x10" + STEREO[9:], "version 16"),
        (STEREO[:9] + b"\0" + STEREO[10:], "0 channels"),
        (STEREO[:9] + b"\3" + STEREO[10:], "no mapping"),
        (STEREO[:18] + b"\1", "inside the mapping"),
        (SURROUND[:9] + b"\xff" + SURROUND[10:], "inside the mapping of 255"),
    ],
)
def test_a_hostile_head_is_a_media_error(head, message):
    with pytest.raises(MediaError, match=message):
        parse_opus(head)
