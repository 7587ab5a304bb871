"""Every format is repaired under its lock."""

from __future__ import annotations

import fcntl
import subprocess
import sys

import pytest

from muxers import repair as module
from muxers.base import MuxError
from muxers.flv import FlvMuxer
from muxers.formats import FORMATS, FormatOptions
from muxers.mp4 import Mp4Muxer
from muxers.repair import faststart, repair
from tests.helpers.footage import assert_same_media, footage, tags_of, tracks_of
from tests.helpers.media import remux
from tests.muxers.test_mp4 import boxes

FILES = ["flv", "mp4", "m4a", "mp3", "ts"]
PAGE = b"<!DOCTYPE html><title>Not found</title>"


def begun(tmp_path, name):
    """A recording that is being written."""
    path = tmp_path / f"recording.{FORMATS[name].suffix}"
    muxer = FORMATS[name].make(path, FormatOptions())
    muxer.open()
    muxer.write(tags_of(footage(audio="libmp3lame")))
    return path, muxer


@pytest.mark.parametrize("name", FILES)
def test_a_recording_that_died_is_made_whole(tmp_path, name):
    path, muxer = begun(tmp_path, name)
    left = path.read_bytes()
    muxer.close()
    path.write_bytes(left + b"\0\0torn")

    facts = repair(path, name)

    assert facts.file_format == name
    assert facts.path == str(path)
    assert facts.size_bytes == path.stat().st_size
    assert facts.audio_frames == len(tracks_of(path)["audio 0"]) > 70
    assert repair(path, name) == facts


@pytest.mark.parametrize("name", FILES)
def test_a_recording_that_lives_is_left_alone(tmp_path, name):
    path, muxer = begun(tmp_path, name)
    before = path.read_bytes()

    with pytest.raises(BlockingIOError):
        repair(path, name)

    assert path.read_bytes() == before
    muxer.close()


@pytest.mark.parametrize("name", FILES)
def test_a_recording_of_nothing_is_removed(tmp_path, name):
    path = tmp_path / "recording"
    path.write_bytes(b"")

    assert repair(path, name) is None
    assert not path.exists()


@pytest.mark.parametrize("name", FILES)
def test_a_recording_that_died_before_its_first_frame_was_whole_is_removed(tmp_path, name):
    path, muxer = begun(tmp_path, name)
    left = path.read_bytes()
    muxer.close()

    for size in (1, 4, 5, 40, 70):
        path.write_bytes(left[:size])
        assert repair(path, name) is None
        assert not path.exists()


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("content", [PAGE, PAGE * 20, b"a", bytes(1_000)], ids=["page", "long page", "letter", "zeros"])
def test_a_file_that_no_muxer_began_is_never_removed(tmp_path, name, content):
    path = tmp_path / f"recording.{name}"
    path.write_bytes(content)

    with pytest.raises(MuxError, match=f"no {FORMATS[name].title} of ours"):
        repair(path, name)

    assert path.read_bytes() == content


def test_another_writers_mp4_without_an_index_is_never_removed(tmp_path):
    path = tmp_path / "recording.mp4"
    source, muxer = begun(tmp_path, "flv")
    muxer.close()
    remux(source, path)
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b"moov") - 4])

    with pytest.raises(MuxError, match="no MP4 of ours"):
        repair(path, "mp4")

    assert path.exists()


@pytest.mark.parametrize("name", FILES)
def test_the_lock_is_held_while_it_is_repaired_and_not_longer(tmp_path, name, monkeypatch):
    path, muxer = begun(tmp_path, name)
    muxer.close()
    real = module._repair_file

    def look(descriptor, *arguments):
        with path.open("rb") as other, pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return real(descriptor, *arguments)

    monkeypatch.setattr(module, "_repair_file", look)
    repair(path, name)

    with path.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_file_that_was_replaced_before_it_was_locked_is_not_the_one_that_is_repaired(tmp_path, monkeypatch):
    path, muxer = begun(tmp_path, "flv")
    muxer.close()
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(b"the old one")
    real = fcntl.flock

    def replace(descriptor, operation):
        if path.read_bytes() == b"the old one":
            (tmp_path / "new").write_bytes(data)
            (tmp_path / "new").replace(path)
        real(descriptor, operation)

    monkeypatch.setattr(module.fcntl, "flock", replace)

    assert repair(path, "flv").video_frames == 75


def test_what_an_interrupted_repair_left_is_removed(tmp_path):
    path, muxer = begun(tmp_path, "mp4")
    muxer.close()
    path.with_name(path.name + ".repairing").write_bytes(b"half")

    repair(path, "mp4")

    assert list(tmp_path.iterdir()) == [path]


def test_a_format_that_nobody_knows_is_refused(tmp_path):
    path = tmp_path / "x.avi"
    path.write_bytes(b"RIFF")

    with pytest.raises(MuxError, match="avi"):
        repair(path, "avi")

    assert path.read_bytes() == b"RIFF"


def test_what_is_not_there_is_not_found(tmp_path):
    with pytest.raises(FileNotFoundError):
        repair(tmp_path / "x.flv", "flv")


@pytest.mark.parametrize("case", [{"reordered": 2}, {"video": "libx265", "audio": "libopus"}])
def test_faststart_puts_the_index_first_and_changes_no_frame(tmp_path, case):
    path = tmp_path / "recording.mp4"
    muxer = Mp4Muxer(path)
    muxer.open()
    muxer.write(tags_of(footage(**case)))
    muxer.close()
    before = tracks_of(path)

    faststart(path)

    assert boxes(path.read_bytes()) == (["ftyp", "moov", "free", "mdat"], True)
    assert_same_media(tracks_of(path), before)
    assert list(tmp_path.iterdir()) == [path]


def test_faststart_leaves_a_file_that_is_being_written_alone(tmp_path):
    path, muxer = begun(tmp_path, "mp4")

    with pytest.raises(BlockingIOError):
        faststart(path)

    muxer.close()


def test_repairing_flv_never_loads_ffmpeg():
    program = "import sys, muxers.repair\nassert 'av' not in sys.modules\n"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_writer_that_lives_on_after_a_refused_repair_goes_on(tmp_path):
    path = tmp_path / "x.flv"
    muxer = FlvMuxer(path)
    muxer.open()
    tags = tags_of(footage())
    muxer.write(tags[:100])
    with pytest.raises(BlockingIOError):
        repair(path, "flv")

    muxer.write(tags[100:])

    assert muxer.close().video_frames == 75
