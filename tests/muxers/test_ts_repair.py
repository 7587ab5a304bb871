"""An MPEG-TS file is cut behind its last whole frame, and nothing else in it changes."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muxers.transport_stream import PACKET_BYTES
from muxers.ts import TsMuxer
from muxers.ts_repair import repair_ts
from tests.helpers.footage import footage, tags_of, tracks_of


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    """A whole file; not its bytes, which Hypothesis would print."""
    path = tmp_path_factory.mktemp("whole") / "recording.ts"
    muxer = TsMuxer(path)
    muxer.open()
    muxer.write(tags_of(footage(reordered=2)))
    muxer.close()
    return path


@pytest.fixture
def whole(recording):
    return recording.read_bytes()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "recording.ts"


def repaired(path):
    descriptor = os.open(path, os.O_RDWR)
    try:
        return repair_ts(descriptor, path)
    finally:
        os.close(descriptor)


def test_a_whole_file_stays_as_it_is_and_is_described(path, whole):
    path.write_bytes(whole)

    facts = repaired(path)

    assert path.read_bytes() == whole
    assert (facts.video_frames, facts.audio_frames, facts.key_frames) == (75, 141, 3)
    assert facts.duration_ms == pytest.approx(3_066, abs=2)
    assert [track.codec for track in facts.tracks] == ["avc1", "mp4a"]
    assert (facts.file_format, facts.size_bytes, facts.empty) == ("ts", len(whole), False)


@given(share=st.floats(0, 0.999), rest=st.integers(1, PACKET_BYTES - 1))
def test_what_is_left_is_whole_packets_of_whole_frames(tmp_path_factory, recording, share, rest):
    whole = recording.read_bytes()
    path = tmp_path_factory.mktemp("torn") / "recording.ts"
    cut = int(len(whole) // PACKET_BYTES * share) * PACKET_BYTES + rest
    path.write_bytes(whole[:cut])

    facts = repaired(path)

    left = path.read_bytes()
    if facts is None:
        assert cut < 20 * PACKET_BYTES
        return
    assert whole.startswith(left)
    assert len(left) % PACKET_BYTES == 0
    assert cut - len(left) < 8_000
    expected, found = tracks_of(whole), tracks_of(left)
    for name, packets in found.items():
        assert [packet.payload for packet in packets] == [packet.payload for packet in expected[name][: len(packets)]]
    assert sum(map(len, found.values())) == facts.video_frames + facts.audio_frames
    assert repaired(path) == facts


@pytest.mark.parametrize(
    "size", [0, 1, *range(PACKET_BYTES - 1, 5 * PACKET_BYTES, PACKET_BYTES), 2 * PACKET_BYTES, 3 * PACKET_BYTES]
)
def test_tables_without_a_frame_are_nothing(path, whole, size):
    path.write_bytes(whole[:size])

    assert repaired(path) is None


def test_what_is_no_transport_stream_stays_as_it_is(path):
    path.write_bytes(b"export const answer = 42;\n" * 100)

    assert repaired(path) is None
    assert path.read_bytes().startswith(b"export")


def test_packets_that_hold_no_frame_are_nothing(path):
    path.write_bytes((b"\x47\x40" + bytes(PACKET_BYTES - 2)) * 10)

    assert repaired(path) is None
