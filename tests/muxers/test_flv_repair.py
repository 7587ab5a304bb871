"""What a crash leaves of an FLV file becomes what closing would have made of it."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muxers.flv import FlvMuxer
from muxers.flv_repair import repair_flv
from rtmpd.wire import amf0
from rtmpd.wire.flv import FlvTag, TagReader, encode_file_header
from tests.helpers.flv import tags as any_tags
from tests.helpers.footage import demux, feed_of, footage, metadata_of, relative, tags_of


@pytest.fixture
def path(tmp_path):
    return tmp_path / "recording.flv"


def repaired(path):
    descriptor = os.open(path, os.O_RDWR)
    try:
        return repair_flv(descriptor, path)
    finally:
        os.close(descriptor)


def killed(path, tags, index_entries=1_800):
    """A file as its writer leaves it when it dies, and as it would have closed it."""
    muxer = FlvMuxer(path, index_entries=index_entries)
    muxer.open()
    muxer.write(tags)
    left = path.read_bytes()
    facts = muxer.close()
    closed = path.read_bytes()
    path.write_bytes(left)
    return closed, facts


@pytest.mark.parametrize(
    "torn", [b"", b"\x09", b"\x09\0\1\0\0\0\0\0\0\0\0torn", bytes(5000), b"\x08\0\0\1\0\0\0\0\0\0\0x\0\0\0\1"]
)
@pytest.mark.parametrize("case", [{"reordered": 2}, {"video": None}, {"audio": None}])
def test_a_repaired_file_is_the_closed_one(path, case, torn):
    closed, facts = killed(path, tags_of(footage(**case)))
    path.write_bytes(path.read_bytes() + torn)

    assert repaired(path) == replace(facts, start_ms=0)
    assert path.read_bytes() == closed


@pytest.mark.parametrize("lost", [1, 3, 5, 100, 5_000, 9_000])
def test_a_file_torn_anywhere_has_every_whole_tag(path, lost):
    source = footage()
    killed(path, tags_of(source))
    left = path.read_bytes()[:-lost]
    path.write_bytes(left)
    whole = TagReader().feed(left)[1:]

    facts = repaired(path)

    assert tags_of(path.read_bytes())[1:] == whole
    assert facts.size_bytes == path.stat().st_size == metadata_of(path.read_bytes())["filesize"]
    survived = demux(path)
    assert survived == relative(demux(source))[: len(survived)]
    assert len(survived) == facts.video_frames + facts.audio_frames


def test_a_complete_file_is_not_touched(path):
    closed, _ = killed(path, tags_of(footage()))
    path.write_bytes(closed)
    before = path.stat()

    facts = repaired(path)

    assert facts.video_frames == 75
    assert path.read_bytes() == closed
    assert path.stat().st_mtime_ns == before.st_mtime_ns


def test_repairing_again_changes_nothing(path):
    killed(path, tags_of(footage()))
    first, once = repaired(path), path.read_bytes()

    assert repaired(path) == first
    assert path.read_bytes() == once


def test_an_index_that_was_small_stays_small(path):
    closed, _ = killed(path, tags_of(footage(seconds=12)), index_entries=5)

    repaired(path)

    assert path.read_bytes() == closed
    assert len(metadata_of(closed)["keyframes"]["times"]) <= 5


def test_a_file_of_somebody_else_is_cut_and_keeps_its_metadata(path):
    source = footage()
    path.write_bytes(source + b"\x09torn")

    facts = repaired(path)

    assert path.read_bytes()[5:] == source[5:]
    assert facts.video_frames == 75


def test_a_whole_file_of_another_program_is_only_read(path):
    path.write_bytes(encode_file_header(audio=True, video=True) + feed_of(tags_of(footage(audio=None)))[13:])
    before = path.read_bytes(), path.stat().st_mtime_ns

    assert repaired(path).video_frames == 75

    assert (path.read_bytes(), path.stat().st_mtime_ns) == before


@pytest.mark.parametrize("data", [b"", b"FLV", b"not a file of ours", encode_file_header(audio=True, video=True)])
def test_nothing_is_none(path, data):
    path.write_bytes(data)

    assert repaired(path) is None


def test_a_file_without_frames_is_none(path):
    muxer = FlvMuxer(path)
    muxer.open()
    muxer.write([FlvTag(8, 0, b"\xaf\0\x11\x90"), FlvTag(18, 0, amf0.encode("onCuePoint", {}))])

    assert repaired(path) is None
    muxer.close()


def test_gaps_are_found_again(path):
    gap = FlvTag(18, 0, amf0.encode("onGap", {"from_ms": 0.0, "to_ms": 400.0}))
    killed(path, [*tags_of(footage()), gap])

    facts = repaired(path)

    assert (facts.gaps, facts.gap_ms) == (1, 400)


@given(st.lists(any_tags, max_size=8), st.binary(max_size=30), st.integers(0, 60))
def test_any_file_is_cut_to_whole_tags(tmp_path_factory, tags, rest, lost):
    path = tmp_path_factory.mktemp("any") / "x.flv"
    muxer = FlvMuxer(path, index_entries=2)
    muxer.open()
    muxer.write([FlvTag(9, 0, b"\x12key"), *tags])
    left = path.read_bytes()
    path.write_bytes(left[: len(left) - lost] + rest)

    facts = repaired(path)

    if facts is not None:
        reader = TagReader()
        reader.feed(path.read_bytes())
        assert reader.position == path.stat().st_size == facts.size_bytes
    muxer.close()
