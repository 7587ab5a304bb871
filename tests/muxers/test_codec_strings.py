"""What players are told about codecs."""

from __future__ import annotations

import pytest

from muxers.codec_strings import codec_string, codec_strings
from muxers.samples import Track
from rtmpd.wire.messages import AUDIO, VIDEO

HVCC = bytes.fromhex("01 01 60000000 900000000000 5d f000 fc fd f8 f8 0000 0f 00")
AV1C = bytes.fromhex("81 04 0c 00")
VPCC = bytes.fromhex("00 1f 80 02 02 02 0000")
FLAC = bytes(10) + bytes.fromhex("0ac442f0") + bytes(20)


@pytest.mark.parametrize(
    ("type_id", "codec", "configuration", "wanted"),
    [
        (VIDEO, "avc1", bytes.fromhex("0164001f ffe0 00"), "avc1.64001f"),
        (VIDEO, "avc1", bytes.fromhex("0142c01e ffe0 00"), "avc1.42c01e"),
        (VIDEO, "hvc1", HVCC, "hvc1.1.6.L93.90"),
        (VIDEO, "av01", AV1C, "av01.0.04M.08"),
        (VIDEO, "av01", bytes.fromhex("81 0d 4c 00"), "av01.0.13M.10"),
        (VIDEO, "vp09", VPCC, "vp09.00.31.08"),
        (AUDIO, "mp4a", b"\x11\x90", "mp4a.40.2"),
        (AUDIO, "mp4a", bytes.fromhex("2b920800"), "mp4a.40.5"),
        (AUDIO, ".mp3", b"", "mp4a.40.34"),
        (AUDIO, "Opus", b"OpusHead\x01\x02" + bytes(9), "opus"),
        (AUDIO, "fLaC", FLAC, "flac"),
        (AUDIO, "ac-3", b"", "ac-3"),
        (AUDIO, "ec-3", b"", "ec-3"),
    ],
)
def test_a_codec_has_its_name(type_id, codec, configuration, wanted):
    assert codec_string(Track(type_id, 0, codec, configuration)) == wanted


@pytest.mark.parametrize("configuration", [b"", b"\xff", None])
def test_a_configuration_that_cannot_be_read_leaves_the_bare_name(configuration):
    assert codec_string(Track(VIDEO, 0, "avc1", configuration)) == "avc1"


def test_the_names_of_a_container_are_joined_in_the_order_of_its_tracks():
    pictures, sound = Track(VIDEO, 0, "av01", AV1C), Track(AUDIO, 0, ".mp3", b"")

    assert codec_strings([pictures, sound]) == "av01.0.04M.08,mp4a.40.34"
