"""The metadata tag of a recorded file: one length for ever, and forms that other readers take."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from muxers.flv_metadata import FileMetadata, KeyFrameIndex, read_metadata, without_file_values
from rtmpd.wire import amf0
from rtmpd.wire.amf import EcmaArray
from tests.helpers.amf import amf_values

published = st.dictionaries(st.text(max_size=20), amf_values, max_size=5)
key_frames = st.lists(st.tuples(st.integers(0, 2**40), st.integers(0, 2**40)), max_size=60)


def index_of(frames, room):
    index = KeyFrameIndex(room)
    index.add_first(33_000)
    for position, time_ms in frames:
        index.add(position, time_ms)
    return index


@given(published, key_frames, st.integers(2, 30))
def test_the_tag_never_changes_its_length_and_is_always_readable(values, frames, room):
    metadata = FileMetadata(values, room)
    own = {"duration": 1.5, "filesize": 1e9, "hasVideo": True}
    initial = metadata.initial()

    final = metadata.final(own, index_of(frames, room), frozenset({"audio"}))

    assert len(final) == len(initial)
    assert read_metadata(initial)["duration"] == 0
    assert own.items() <= read_metadata(final).items()


@given(key_frames, st.integers(2, 30))
def test_an_index_never_outgrows_its_room_and_keeps_its_beginning(frames, room):
    index = index_of(frames, room)

    assert len(index.positions) == len(index.times_ms) <= room
    assert index.positions[0] == 33_000
    if frames:
        assert (index.positions[1], index.times_ms[1]) == frames[0]
    entries = list(zip(index.positions[1:], index.times_ms[1:], strict=True))
    steps = [frames.index(entry) for entry in entries] if len(set(frames)) == len(frames) else []
    assert len({later - earlier for earlier, later in pairwise(steps)}) <= 1


def test_a_reader_that_gives_up_at_long_strings_meets_none():
    values = {"title": "x" * 2000, "encoder": "short"}

    for body in (FileMetadata(values).initial(), FileMetadata(values).final({}, index_of([], 2), frozenset())):
        written = read_metadata(body)
        assert "title" not in written
        assert written["encoder"] == "short"
        assert max(len(text or "") for text in written["spacer"]) < 1024


def test_values_of_another_file_are_left_out_whatever_their_spelling():
    written = read_metadata(FileMetadata({"fileSize": 1.0, "DURATION": 9.0, "canSeekToEnd": True}).initial())

    assert set(written) == {"duration", "filesize", "spacer"}
    assert written["duration"] == 0


def test_a_later_tag_is_the_same_bytes_unless_it_speaks_of_a_file():
    plain = amf0.encode("onMetaData", {"width": 1.0})
    of_file = amf0.encode("onMetaData", {"width": 1.0, "duration": 0.0})

    assert without_file_values(plain) == plain
    assert without_file_values(of_file) == amf0.encode("onMetaData", EcmaArray(width=1.0))
