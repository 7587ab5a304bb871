"""One fragment, read back by the reader of the recordings' fragments."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muxers.fragments import TrackRun, read_fragment, walk
from muxers.moof import Frame, TrackFrames, _mdat_head, encode_fragment

frames = st.builds(
    Frame,
    st.binary(min_size=1, max_size=20),
    st.integers(0, 2**32 - 1),
    st.integers(-(2**31), 2**31 - 1),
    st.booleans(),
)
tracks = st.builds(
    TrackFrames,
    st.integers(1, 2**32 - 1),
    st.booleans(),
    st.integers(0, 2**63),
    st.lists(frames, min_size=1, max_size=5),
)


def payloads_of(data):
    """The payload of every frame, found as a player does: by the offset of each run and the sizes in it."""
    found = []
    (moof, mdat) = walk(data)
    for traf in walk(data, moof.body, moof.end):
        if traf.kind != b"traf":
            continue
        (trun,) = [box for box in walk(data, traf.body, traf.end) if box.kind == b"trun"]
        flags, count, offset = struct.unpack_from(">III", data, trun.body)
        entry_bytes = 16 if flags & 0x400 else 8
        for index in range(count):
            (size,) = struct.unpack_from(">I", data, trun.body + 12 + index * entry_bytes + 4)
            found.append(data[moof.start + offset : moof.start + offset + size])
            offset += size
    return found, data[mdat.body : mdat.end]


@given(st.integers(1, 2**32 - 1), st.lists(tracks, min_size=1, max_size=2))
def test_a_fragment_says_what_is_in_it_and_where(number, written):
    data = encode_fragment(number, written)

    found, mdat = payloads_of(data)
    assert found == [frame.payload for track in written for frame in track.frames]
    assert mdat == b"".join(found)
    read = read_fragment(data)
    assert read.number == number
    for run, track in zip(read.runs, written, strict=True):
        durations = [frame.duration for frame in track.frames]
        keys = [frame.is_key or not track.is_video for frame in track.frames]
        assert run == TrackRun(
            track.track_id,
            track.start,
            track.start + sum(durations[:-1]),
            track.start + sum(durations),
            len(durations),
            sum(keys),
            keys[0],
        )


def test_composition_offsets_are_signed_and_offsets_count_from_the_moof():
    data = encode_fragment(1, [TrackFrames(1, True, 5, [Frame(b"x", 40, -80, False)])])

    trun = data.index(b"trun") + 4
    version_and_flags, count, offset, duration, size, flags, composition = struct.unpack_from(">6Ii", data, trun)
    assert (version_and_flags, count, duration, size) == (0x01000F01, 1, 40, 1)
    assert data[offset:] == b"x"
    assert (flags, composition) == (0x01010000, -80)
    tfhd = data.index(b"tfhd") + 4
    assert struct.unpack_from(">II", data, tfhd) == (0x020020, 1)


@pytest.mark.parametrize(
    ("size", "head"),
    [
        (0, b"\0\0\0\x08mdat"),
        (2**32 - 9, b"\xff\xff\xff\xffmdat"),
        (2**32 - 8, b"\0\0\0\x01mdat\0\0\0\x01\0\0\0\x08"),
    ],
)
def test_a_box_that_is_too_long_for_32_bits_has_64(size, head):
    assert _mdat_head(size) == head
