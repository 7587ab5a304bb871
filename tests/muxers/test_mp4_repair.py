"""What a crash leaves of an MP4 becomes an ordinary one, and nothing on the way there loses it."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest

from muxers import growing_file, mp4_repair
from muxers.base import MuxError, TrackFacts
from muxers.mp4 import Mp4Muxer
from muxers.mp4_repair import SUFFIX, repair_mp4, rewrite
from tests.helpers.footage import assert_same_media, footage, tags_of, tracks_of
from tests.muxers.test_mp4 import CASES, boxes, in_flv

PLAIN = ["ftyp", "free", "mdat", "moov"]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "recording.mp4"


def repaired(path):
    descriptor = os.open(path, os.O_RDWR)
    try:
        return repair_mp4(descriptor, path, "mp4")
    finally:
        os.close(descriptor)


def killed(path, **case):
    """A file as its writer leaves it when it dies."""
    muxer = Mp4Muxer(path)
    muxer.open()
    muxer.write(tags_of(footage(**case)))
    left = path.read_bytes()
    muxer.close()
    path.write_bytes(left)
    return left


@pytest.mark.parametrize("case", CASES)
def test_a_repaired_file_is_an_ordinary_one_of_the_same_frames(path, case):
    left = killed(path, **case)

    facts = repaired(path)

    found = tracks_of(path)
    assert_same_media(found, tracks_of(left))
    assert boxes(path.read_bytes()) == (PLAIN, True)
    assert facts.video_frames == sum(len(packets) for name, packets in found.items() if name.startswith("video"))
    assert facts.audio_frames == sum(len(packets) for name, packets in found.items() if name.startswith("audio"))
    assert facts.size_bytes == path.stat().st_size
    assert facts.duration_ms == pytest.approx(len(found.get("video 0", ())) * 40 or facts.duration_ms, abs=600)
    assert list(path.parent.iterdir()) == [path]


def test_the_tracks_are_named_as_the_muxer_names_them(path):
    killed(path, video="libx265", audio="libopus")

    facts = repaired(path)

    assert facts.tracks == (
        TrackFacts("video", 0, "hvc1", width=64, height=48),
        TrackFacts("audio", 0, "Opus", sample_rate=48_000, channels=2),
    )
    assert facts.key_frames == 3
    assert b"hvc1" in path.read_bytes()


@pytest.mark.parametrize("lost", range(1, 9_000, 397))
def test_a_file_torn_anywhere_has_every_whole_fragment(path, lost):
    left = killed(path, reordered=2)
    wanted = tracks_of(left)
    path.write_bytes(left[:-lost])
    whole, is_whole = boxes(left[:-lost])
    pairs = (len(whole) - 4 - (not is_whole)) // 2

    facts = repaired(path)

    assert (facts is None) == (pairs <= 0)
    if facts is not None:
        survived = tracks_of(path)
        assert_same_media(survived, {name: wanted[name][: len(packets)] for name, packets in survived.items()})


def test_a_crash_between_the_index_and_the_change_that_hides_the_fragments_is_mended(path, monkeypatch):
    states = []
    muxer = Mp4Muxer(path)
    muxer.open()
    muxer.write(tags_of(footage()))
    monkeypatch.setattr(growing_file.os, "fsync", lambda _descriptor: states.append(path.read_bytes()))
    muxer.close()
    path.write_bytes(states[0])

    repaired(path)

    assert_same_media(tracks_of(path), in_flv(tags_of(footage())))
    assert boxes(path.read_bytes()) == (PLAIN, True)


def test_an_ordinary_file_is_not_touched(path):
    muxer = Mp4Muxer(path)
    muxer.open()
    muxer.write(tags_of(footage()))
    closed = muxer.close()
    data, before = path.read_bytes(), path.stat()

    facts = repaired(path)

    assert (facts.video_frames, facts.audio_frames, facts.key_frames, facts.tracks) == (
        closed.video_frames,
        closed.audio_frames,
        closed.key_frames,
        closed.tracks,
    )
    assert path.read_bytes() == data
    assert path.stat().st_ino == before.st_ino


@pytest.mark.parametrize("data", [b"", b"\0\0", b"garbage " * 20, bytes(100)])
def test_nothing_is_none(path, data):
    path.write_bytes(data)

    assert repaired(path) is None


def test_a_file_killed_before_its_first_fragment_is_none(path):
    left = killed(path)
    kinds, _ = boxes(left)
    assert kinds[:4] == ["ftyp", "free", "free", "moov"]
    for count in (88, left.index(b"moof") - 4, left.index(b"moof") + 20):
        path.write_bytes(left[:count])
        assert repaired(path) is None


def test_without_room_for_a_copy_the_fragments_stay(path, monkeypatch):
    left = killed(path)
    path.write_bytes(left + b"\0\0\1\0moof")
    disk = SimpleNamespace(f_bavail=1, f_frsize=len(left) + mp4_repair.SPARE_BYTES - 1)
    monkeypatch.setattr(mp4_repair.os, "statvfs", lambda _path: disk)

    facts = repaired(path)

    assert path.read_bytes() == left
    assert facts.video_frames == len(tracks_of(left)["video 0"])


def test_a_disk_that_fills_up_during_the_copy_leaves_the_fragments(path, monkeypatch):
    left = killed(path)

    def fail(_source, target, _options):
        target.write_bytes(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(mp4_repair, "copy", fail)

    facts = repaired(path)

    assert path.read_bytes() == left
    assert facts.video_frames == len(tracks_of(left)["video 0"])
    assert list(path.parent.iterdir()) == [path]


def test_the_old_file_is_whole_until_the_new_one_is_on_the_disk(path, monkeypatch):
    left = killed(path)
    seen = []

    def look(name, flags):
        seen.append((name.name, path.read_bytes() == left))

    monkeypatch.setattr(mp4_repair, "_synchronise", look)

    repaired(path)

    assert seen == [(path.name + SUFFIX, True), (path.parent.name, False)]


def test_what_cannot_be_read_is_not_replaced(path):
    path.write_bytes(b"garbage")

    with pytest.raises(MuxError):
        rewrite(path, {})

    assert path.read_bytes() == b"garbage"
    assert list(path.parent.iterdir()) == [path]


def test_a_full_disk_is_an_oserror_with_its_number(path):
    killed(path)

    with pytest.raises(OSError, match="No space") as caught:
        mp4_repair.copy(path, type(path)("/dev/full"), {})

    assert caught.value.errno == 28
