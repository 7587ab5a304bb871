"""Recorded files on the disk: what is taken away, and that nothing else is, wherever a path or a link leads."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rtmpd.workers import removal

SEGMENTS = ["init-001.mp4", "00000.m4s", "00001.m4s", "12345678.m4s.part", "init-002.mp4.part", "00007.ts"]


@pytest.fixture
def directory(tmp_path):
    path = tmp_path / "recordings"
    path.mkdir()
    return path


def write(path, size=10):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(size))
    return path


def names(directory):
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*"))


def make_hls(directory, path="live/demo/a.b.m3u8", segments=SEGMENTS):
    playlist = write(directory / path)
    for name in segments:
        write(playlist.with_suffix("") / name)
    return path


def test_a_file_is_removed_and_its_neighbours_stay(directory):
    for name in ("f.flv", "f~2.flv", "f.mp4", "f/00000.m4s"):
        write(directory / "live" / name)
    removal.remove(directory, "live/f.flv", "flv")

    assert names(directory) == ["live", "live/f", "live/f.mp4", "live/f/00000.m4s", "live/f~2.flv"]


def test_of_hls_the_playlist_and_its_folder_are_removed(directory):
    write(directory / "live/demo/a.flv")
    removal.remove(directory, make_hls(directory), "hls")

    assert names(directory) == ["live", "live/demo", "live/demo/a.flv"]


def test_what_others_have_put_into_a_folder_of_segments_stays(directory):
    path = make_hls(directory)
    strangers = ["x.flv", "1.flv", "00000.m3u8", "init-001.flv", "1.mp4", "sub/00000.m4s"]
    for name in strangers:
        write(directory / "live/demo/a.b" / name)
    removal.remove(directory, path, "hls")

    left = [f"live/demo/a.b/{name}" for name in [*strangers, "sub"]]
    assert names(directory) == sorted(["live", "live/demo", "live/demo/a.b", *left])


@pytest.mark.parametrize("file_format", ["flv", "hls"])
def test_what_is_gone_counts_as_removed(directory, file_format):
    write(directory / "file")
    for path in ("never/there.m3u8", "gone.m3u8", "file/below.m3u8"):
        removal.remove(directory, path, file_format)

    assert names(directory) == ["file"]


def test_a_removal_that_was_interrupted_is_finished(directory):
    path = make_hls(directory)
    (directory / path).unlink()
    (directory / "live/demo/a.b/00000.m4s").unlink()
    removal.remove(directory, path, "hls")

    assert names(directory) == ["live", "live/demo"]


@pytest.mark.parametrize("path", ["../secret", "a/../../secret", "/etc/secret", "link/secret", "", ".", "..", "a/.."])
def test_nothing_outside_is_removed_whatever_the_path_is(directory, path):
    outside = directory.parent / "outside"
    for secret in (outside / "secret", directory.parent / "secret", directory / "a" / "b"):
        write(secret)
    (directory / "link").symlink_to(outside)
    before = names(directory.parent)

    with pytest.raises(OSError, match="out of the recordings directory"):
        removal.remove(directory, path, "hls")
    assert removal.size_of(directory, path, "hls") == 0
    removal.remove_if_empty(directory, path)
    assert names(directory.parent) == before


def test_a_link_that_stays_inside_is_followed_and_one_in_the_place_of_the_file_is_not(directory):
    write(directory / "real/f.flv")
    outside = write(directory.parent / "outside.flv")
    (directory / "live").symlink_to(directory / "real")
    (directory / "g.flv").symlink_to(outside)
    for path in ("live/f.flv", "g.flv"):
        removal.remove(directory, path, "flv")

    assert names(directory) == ["live", "real"]
    assert outside.exists()


def test_segments_are_not_looked_for_behind_a_link(directory):
    outside = directory.parent / "outside"
    write(outside / "00000.m4s")
    write(directory / "a.m3u8")
    (directory / "a").symlink_to(outside)

    assert removal.size_of(directory, "a.m3u8", "hls") == 10
    with pytest.raises(PermissionError):
        removal.remove(directory, "a.m3u8", "hls")
    assert names(outside) == ["00000.m4s"]


def test_what_is_no_file_is_not_removed(directory):
    (directory / "folder.flv").mkdir()

    with pytest.raises(OSError, match="directory"):
        removal.remove(directory, "folder.flv", "flv")
    assert names(directory) == ["folder.flv"]


def test_only_what_is_certainly_not_there_is_gone(directory):
    write(directory / "live/f.flv")
    (directory / "dangling").symlink_to("nowhere")
    (directory / "loop").symlink_to("loop")

    assert not removal.is_gone(directory, "live/f.flv")
    assert not removal.is_gone(directory, "dangling")
    assert not removal.is_gone(directory, "loop/f.flv")
    assert removal.is_gone(directory, "live/g.flv")
    assert removal.is_gone(directory, "live/f.flv/g.flv")
    assert removal.is_gone(directory, "other/f.flv")


def test_sizes_are_those_of_all_that_was_written(directory):
    write(directory / "f.flv", 1000)
    path = make_hls(directory)

    assert removal.size_of(directory, "f.flv", "flv") == 1000
    assert removal.size_of(directory, path, "hls") == 10 * (1 + len(SEGMENTS))
    assert removal.size_of(directory, "missing.flv", "flv") == 0


def test_folders_come_from_the_deepest_to_the_highest():
    assert removal.folders_above(["x/h.flv", "a/b/c/f.flv", "i.flv", "a/b/g.flv"]) == ["a/b/c", "a/b", "a", "x"]


def test_only_an_empty_folder_is_removed(directory):
    write(directory / "full/f.flv")
    (directory / "empty").mkdir()
    for folder in ("full", "empty", "missing", "full/f.flv"):
        removal.remove_if_empty(directory, folder)

    assert names(directory) == ["full", "full/f.flv"]


def test_the_folders_of_what_was_removed_are_synced(directory, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(Path(f"/proc/self/fd/{descriptor}").readlink()))
    (directory / "a").mkdir()
    removal.sync_folders(directory, ["a/f.flv", "a/g.flv", "h.flv", "missing/i.flv"])

    assert sorted(synced) == [directory, directory / "a"]
