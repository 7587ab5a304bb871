"""An MP3 file ends behind a whole frame."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muxers.mp3_repair import Mp3Frame, read_header, repair_mp3
from tests.helpers.footage import demux, footage

FRAMES = [packet.payload for packet in demux(footage(None, "libmp3lame"))]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "recording.mp3"


def repaired(path):
    descriptor = os.open(path, os.O_RDWR)
    try:
        return repair_mp3(descriptor, path)
    finally:
        os.close(descriptor)


@pytest.mark.parametrize(
    ("header", "frame"),
    [
        ("fffb9064", Mp3Frame(417, 1152, 44_100, 2)),
        ("fffb9264", Mp3Frame(418, 1152, 44_100, 2)),
        ("fffb94c4", Mp3Frame(384, 1152, 48_000, 1)),
        ("fff388c4", Mp3Frame(288, 576, 16_000, 1)),
        ("ffe340c4", Mp3Frame(72 * 32_000 // 11_025, 576, 11_025, 1)),
    ],
)
def test_a_header_tells_the_length_of_its_frame(header, frame):
    assert read_header(bytes.fromhex(header)) == frame


@pytest.mark.parametrize(
    "header", ["fffd9064", "fff99064", "fffbf064", "fffb0064", "fffb9c64", "ffeb9064", "fe", "fffb90"]
)
def test_what_is_no_header_of_layer_iii_is_none(header):
    assert read_header(bytes.fromhex(header)) is None


def test_the_lengths_are_those_of_an_encoder():
    assert [read_header(frame).size for frame in FRAMES] == [len(frame) for frame in FRAMES]


@pytest.mark.parametrize("torn", [0, 1, 3, 100, 400])
def test_a_torn_frame_is_cut_off(path, torn):
    path.write_bytes(b"".join(FRAMES) + FRAMES[5][:torn])

    facts = repaired(path)

    assert path.read_bytes() == b"".join(FRAMES)
    assert facts.audio_frames == len(FRAMES)
    assert facts.size_bytes == path.stat().st_size
    assert facts.duration_ms == pytest.approx(len(FRAMES) * 1152 / 44.1, abs=1)
    assert [(track.codec, track.sample_rate, track.channels) for track in facts.tracks] == [(".mp3", 44_100, 2)]


def test_what_stands_between_frames_stays(path):
    path.write_bytes(b"\xff" + FRAMES[0] + b"noise\xff\xff" + FRAMES[1] + b"noise")

    assert repaired(path).audio_frames == 2
    assert path.read_bytes() == b"\xff" + FRAMES[0] + b"noise\xff\xff" + FRAMES[1]


@pytest.mark.parametrize("data", [b"", b"noise", FRAMES[0][:-1]])
def test_nothing_is_none(path, data):
    path.write_bytes(data)

    assert repaired(path) is None


@given(st.binary(max_size=300))
def test_any_bytes_are_cut_once(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("any") / "x.mp3"
    path.write_bytes(data)

    if repaired(path) is not None:
        once = path.read_bytes()
        assert data.startswith(once)
        assert repaired(path).size_bytes == len(once) == path.stat().st_size
