"""The files of an HLS recording: order of creation, names, locks, and what is left when the disk refuses."""

from __future__ import annotations

import errno
import os

import pytest

from muxers.hls_folder import HlsFolder, completed, folder_of, init_name, lock_folder, require_same, segment_name
from muxers.pieces import Part, Piece
from muxers.playlist import Playlist, Segment, parse


def piece(data=b"data", start_ms=0, end_ms=2000, video_at_key=True):
    return Piece(data, False, True, start_ms, end_ms, {0: Part(1, start_ms)}, video_at_key, 1)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a%2Fb.m3u8"


@pytest.fixture
def folder(path):
    folder = HlsFolder(path, is_fmp4=True, longest_ms=12_000)
    folder.create()
    yield folder
    folder.unlock()


def names(path):
    return sorted(file.name for file in path.with_suffix("").iterdir())


def write_segment(folder, start_ms, next_start_ms=None, **options):
    folder.begin(start_ms, discontinuity=False, date=None)
    folder.append(piece(start_ms=start_ms, end_ms=start_ms + 1900, **options))
    folder.finish(next_start_ms)


def test_it_begins_with_an_empty_playlist_that_grows(path, folder):
    playlist = parse(path.read_text())

    assert playlist == Playlist(12, version=7, playlist_type="EVENT", independent_segments=True)
    assert names(path) == []
    assert folder.is_empty
    assert folder.size_bytes == path.stat().st_size


def test_a_segment_is_a_part_until_it_is_whole_and_then_named_by_the_playlist(path, folder):
    folder.add_init(b"init")
    folder.begin(0, discontinuity=True, date=None)
    folder.append(piece())
    assert names(path) == ["00000.m4s.part", "init-001.mp4"]
    assert parse(path.read_text()).segments == ()

    folder.finish(2100)

    assert names(path) == ["00000.m4s", "init-001.mp4"]
    # The first segment continues nothing, so it is no discontinuity.
    assert parse(path.read_text()).segments == (Segment("a%2Fb/00000.m4s", 2100, "a%2Fb/init-001.mp4"),)
    assert (path.with_suffix("") / "00000.m4s").read_bytes() == b"data"


def test_a_segment_lasts_until_the_next_or_its_last_frame_but_no_longer_than_was_promised(path, folder):
    write_segment(folder, 0, 2000)
    write_segment(folder, 2000)
    write_segment(folder, 4000, 99_000)
    write_segment(folder, 99_000, 98_000)

    assert [segment.duration_ms for segment in parse(path.read_text()).segments] == [2000, 1900, 12_000, 0]


def test_segments_are_independent_as_long_as_each_begins_with_a_key_frame(path, folder):
    write_segment(folder, 0, 2000, video_at_key=None)
    assert folder.independent

    folder.begin(2000, discontinuity=False, date=None)
    folder.append(piece(video_at_key=True))
    folder.append(piece(video_at_key=False))
    folder.finish()
    assert parse(path.read_text()).independent_segments

    write_segment(folder, 4000, video_at_key=False)
    assert not parse(path.read_text()).independent_segments


def test_an_end_names_what_the_longest_segment_really_lasts(path, folder):
    write_segment(folder, 0, 2000)
    folder.complete()

    playlist = parse(path.read_text())
    assert (playlist.playlist_type, playlist.ended, playlist.target_duration_s) == ("VOD", True, 2)
    assert completed(Playlist(12)).target_duration_s == 1


def test_what_never_had_a_segment_is_removed(path, folder):
    folder.add_init(b"init")

    folder.complete()

    assert list(path.parent.iterdir()) == []
    assert folder.size_bytes == 0


def test_a_file_of_somebody_else_keeps_its_folder(path, folder):
    (path.with_suffix("") / "notes.txt").write_text("mine")

    folder.complete()

    assert names(path) == ["notes.txt"]
    assert not path.exists()


def test_a_segment_that_the_disk_took_nothing_of_is_no_segment(path, folder, monkeypatch):
    folder.begin(0, discontinuity=False, date=None)

    def fail(_descriptor, _data):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", fail)
        with pytest.raises(OSError, match="No space"):
            folder.append(piece())
    folder.finish()

    assert names(path) == []
    assert folder.is_empty


def test_what_the_disk_took_in_part_is_taken_back(path, folder, monkeypatch):
    folder.begin(0, discontinuity=False, date=None)
    folder.append(piece(b"whole"))
    write = os.write

    def tear(descriptor, data):
        if bytes(data) == b"n":
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, data[:-1])

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", tear)
        with pytest.raises(OSError, match="No space"):
            folder.append(piece(b"torn"))
    folder.finish()

    assert (path.with_suffix("") / "00000.m4s").read_bytes() == b"whole"


def test_a_playlist_that_cannot_be_written_leaves_the_one_before(path, folder, monkeypatch):
    write_segment(folder, 0, 2000)
    before = path.read_text()

    def fail(_source, _target):
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", fail)
        with pytest.raises(OSError, match="Input/output"):
            write_segment(folder, 2000, 4000)
    assert path.read_text() == before

    folder.complete()
    assert len(parse(path.read_text()).segments) == 2


def test_a_recording_that_cannot_be_begun_leaves_nothing(path, monkeypatch):
    def fail(_source, _target):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", fail)
        with pytest.raises(OSError, match="No space"):
            HlsFolder(path, is_fmp4=True, longest_ms=12_000).create()

    assert list(path.parent.iterdir()) == []


def test_names_may_be_as_long_as_the_file_system_allows(tmp_path):
    path = tmp_path / ("n" * 250 + ".m3u8")
    folder = HlsFolder(path, is_fmp4=False, longest_ms=12_000)
    folder.create()

    write_segment(folder, 0)
    folder.complete()
    folder.unlock()

    assert len(parse(path.read_text()).segments) == 1


def test_files_are_numbered_and_grow_beyond_their_digits():
    assert [segment_name(7, ".ts"), segment_name(123_456, ".m4s")] == ["00007.ts", "123456.m4s"]
    assert [init_name(1), init_name(1234)] == ["init-001.mp4", "init-1234.mp4"]


def test_a_folder_is_locked_once(path, folder):
    with pytest.raises(BlockingIOError):
        lock_folder(path.with_suffix(""))

    folder.unlock()
    os.close(lock_folder(path.with_suffix("")))


def test_a_folder_that_was_replaced_is_another_one(path, folder):
    folder.require_present()
    path.with_suffix("").rename(path.with_name("elsewhere"))
    path.with_suffix("").mkdir()

    with pytest.raises(FileNotFoundError, match="removed"):
        folder.require_present()
    descriptor = os.open(path.with_name("elsewhere"), os.O_RDONLY)
    require_same(descriptor, path.with_name("elsewhere"))
    os.close(descriptor)


def test_the_folder_is_named_like_the_playlist(tmp_path):
    assert folder_of(tmp_path / "a.b.m3u8") == tmp_path / "a.b"
    with pytest.raises(ValueError, match="m3u8"):
        folder_of(tmp_path / "a.b")
