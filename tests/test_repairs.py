"""`rtmpd repair`: recordings in any folder are made whole, and nothing that is none is touched."""

from __future__ import annotations

import os
import shutil
import sys

import pytest

from muxers.formats import FORMATS, FormatOptions
from rtmpd import repairs
from rtmpd.repairs import repair_all
from tests.helpers.footage import footage, tags_of, tracks_of
from tests.helpers.hls import read_runs
from tests.helpers.terminal import run_on_terminal

RECORDED = ["flv", "mp4", "m4a", "mp3", "hls"]


@pytest.fixture
def folder(tmp_path):
    """A data directory."""
    folder = tmp_path / "recordings" / "live"
    folder.mkdir(parents=True)
    (tmp_path / "rtmpd.db").write_bytes(b"index")
    return folder


@pytest.fixture
def repaired(capsys):
    def repaired(*paths):
        code = repair_all(paths)
        told, complaints = capsys.readouterr()
        return code, told.splitlines(), complaints.splitlines()

    return repaired


def begun(folder, name, tags=None):
    """A recording that is being written."""
    path = folder / f"of-{name}.{FORMATS[name].suffix}"
    muxer = FORMATS[name].make(path, FormatOptions())
    muxer.open()
    muxer.write(tags_of(footage(audio="libmp3lame")) if tags is None else tags)
    return path, muxer


def whole(folder, name, tags=None):
    path, muxer = begun(folder, name, tags)
    muxer.close()
    return path


def killed(folder, name, tags=None):
    """What its writer leaves when it dies."""
    work = folder / "work"
    work.mkdir()
    path, muxer = begun(work, name, tags)
    shutil.copytree(work, folder, dirs_exist_ok=True)
    muxer.close()
    shutil.rmtree(work)
    left = folder / path.name
    if left.suffix != ".m3u8":
        with left.open("ab") as file:
            file.write(b"\0torn")
    return left


def contents_of(folder):
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", [*RECORDED, "ts"])
def test_what_a_crash_left_is_repaired_and_then_whole(folder, repaired, name):
    path = killed(folder, name)

    code, told, complaints = repaired(path)

    assert (code, complaints) == (0, [])
    assert told[0].startswith(f"{path}: repaired, ")
    assert len(read_runs(path) if name == "hls" else tracks_of(path)["audio 0"]) > 70
    before = contents_of(folder)
    assert repaired(path)[:2] == (0, [told[0].replace("repaired", "whole")])
    assert contents_of(folder) == before


def test_a_data_directory_is_searched(tmp_path, folder, repaired):
    paths = [killed(folder, name) for name in RECORDED]
    (folder / "sub").mkdir()
    paths.append(whole(folder / "sub", "flv"))
    empty = killed(folder / "sub", "mp4", [])
    empty.write_bytes(b"")

    code, told, complaints = repaired(tmp_path)

    assert code == 0
    said = dict(line.split(": ", 1) for line in told)
    assert said.keys() == {str(path) for path in [*paths, empty]}
    assert said[str(empty)] == "empty, removed"
    assert not empty.exists()
    assert complaints == ["5 repaired, 1 whole, 1 removed"]


def test_what_is_no_recording_is_not_looked_at(tmp_path, folder, repaired):
    for name in ("notes.txt", "program.ts", "x.mp4.repairing", "noextension"):
        (folder / name).write_text("mine")
    os.mkfifo(folder / "pipe.flv")
    before = contents_of(tmp_path)

    code, told, complaints = repaired(tmp_path)

    assert (code, told) == (1, [])
    assert complaints == ["there is no recording (.flv, .mp4, .m4a, .mp3, .m3u8)"]
    assert contents_of(tmp_path) == before


def test_a_file_of_somebody_else_is_left_alone(folder, repaired):
    (folder / "page.mp4").write_text("<!DOCTYPE html>")
    good = whole(folder, "flv")

    code, told, complaints = repaired(folder)

    assert code == 1
    assert [line.split(": ")[0] for line in told] == [str(good)]
    assert complaints == [f"{folder / 'page.mp4'}: no MP4 of ours", "1 whole, 1 failed"]
    assert (folder / "page.mp4").read_text() == "<!DOCTYPE html>"


def test_a_recording_that_is_being_written_is_left_alone(folder, repaired):
    path, muxer = begun(folder, "flv")
    before = path.read_bytes()

    assert repaired(path) == (1, [], [f"{path}: is being written"])

    assert path.read_bytes() == before
    muxer.close()


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("none.flv", "No such file or directory"),
        ("nowhere/none.flv", "No such file or directory"),
        ("nowhere", "No such file or directory"),
        ("notes.txt", "no recording (.flv, .mp4, .m4a, .mp3, .m3u8, .ts)"),
        ("pipe.flv", "no file"),
    ],
)
def test_what_cannot_be_repaired_is_told(folder, repaired, name, reason):
    (folder / "notes.txt").write_text("mine")
    os.mkfifo(folder / "pipe.flv")

    assert repaired(folder / name) == (1, [], [f"{folder / name}: {reason}"])


def test_the_rest_is_repaired_although_something_fails(folder, repaired):
    path = killed(folder, "flv")

    code, told, complaints = repaired(folder / "none.flv", path)

    assert code == 1
    assert told[0].startswith(f"{path}: repaired, ")
    assert complaints[-1] == "1 failed, 1 repaired"


def test_a_recording_that_is_named_twice_is_repaired_once(folder, repaired):
    path = killed(folder, "hls")

    _, told, _ = repaired(path, folder, path.with_suffix(""))

    assert [line.split(": ")[0] for line in told] == [str(path)]


@pytest.mark.parametrize("segment_type", ["fmp4", "ts"])
def test_a_lost_playlist_is_made_anew_and_no_segment_is_taken_for_a_recording(folder, repaired, segment_type):
    path = folder / "recording.m3u8"
    muxer = FORMATS["hls"].make(path, FormatOptions(hls_segment_type=segment_type))
    muxer.open()
    muxer.write(tags_of(footage()))
    muxer.close()
    packets = read_runs(path)
    segments = contents_of(path.with_suffix(""))
    path.unlink()

    code, told, _ = repaired(folder)

    assert code == 0
    assert told[0].startswith(f"{path}: repaired, ")
    assert len(told) == 1
    assert contents_of(path.with_suffix("")) == segments
    assert read_runs(path) == packets


def test_a_part_of_a_recording_is_not_repaired_by_itself(folder, repaired):
    path = whole(folder, "hls")
    parts = sorted(path.with_suffix("").iterdir())
    before = contents_of(folder)

    code, told, complaints = repaired(*parts)

    assert (code, told) == (1, [])
    assert complaints[:-1] == [f"{part}: belongs to {path}" for part in parts]
    assert contents_of(folder) == before


def test_a_folder_that_cannot_be_read_is_a_failure(folder, repaired, monkeypatch):
    path = whole(folder, "flv")
    real = os.scandir

    def refuse(place):
        if os.fspath(place).endswith("locked"):
            raise PermissionError(13, "Permission denied", place)
        return real(place)

    (folder / "locked").mkdir()
    monkeypatch.setattr(repairs.os, "scandir", refuse)

    code, told, complaints = repaired(folder)

    assert code == 1
    assert len(told) == 1
    assert told[0].startswith(f"{path}: whole, ")
    assert complaints[0] == f"{folder / 'locked'}: Permission denied"


def test_a_name_cannot_control_the_terminal(folder, repaired):
    path = whole(folder, "flv").rename(folder / "x\x1b[2J\ny.flv")

    _, (told,), _ = repaired(path)

    assert told.startswith(f"{folder}/x\\x1b[2J\\ny.flv: whole, ")


def test_many_are_watched_on_a_terminal_and_the_list_is_not_disturbed(folder):
    """Standard error is a terminal, standard output a pipe."""
    paths = [whole(folder, name) for name in ("flv", "mp3")]

    code, told, screen = run_on_terminal([sys.executable, "-m", "rtmpd", "repair", folder])

    assert code == 0
    assert [line.split(": ")[0] for line in told.splitlines()] == [str(path) for path in paths]
    assert "repairing" in screen
    assert "2/2" in screen
    assert "of-flv" not in screen
    assert screen.endswith("2 whole\r\n")
