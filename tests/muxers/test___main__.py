"""`python -m muxers`: every format, and every way in which input or output is not what it should be."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from muxers import __main__ as program
from muxers.conformance_feed import Feed
from muxers.flv import FlvMuxer
from muxers.formats import FORMATS
from tests.helpers.footage import assert_same_media, feed_of, footage, from_zero, shifted, tags_of, tracks_of
from tests.helpers.hls import read_runs
from tests.helpers.processes import ROOT, wait_until
from tests.helpers.terminal import run_on_terminal

COMMAND = [sys.executable, "-m", "muxers"]


@pytest.fixture
def run():
    def run(*arguments):
        return CliRunner().invoke(program._app, [str(each) for each in arguments], catch_exceptions=False)

    return run


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "in.flv"
    path.write_bytes(footage(audio="libmp3lame"))
    return path


def start(*arguments, **streams):
    return subprocess.Popen([*COMMAND, *map(str, arguments)], cwd=ROOT, text=False, **streams)


def two_sizes():
    """Three seconds of one size, three of another."""
    later = [tag for tag in tags_of(footage(audio=None, width=128)) if tag.type_id == 9]
    return feed_of(tags_of(footage(audio=None))[:-1] + shifted(later, 3_000))


@pytest.mark.parametrize("suffix", ["flv", "mp4", "ts", "m4a", "mp3", "m3u8"])
def test_every_format_is_written_and_described(run, source, tmp_path, suffix):
    path = tmp_path / f"out.{suffix}"

    result = run(source, path)

    assert (result.exit_code, result.stderr) == (0, "")
    sound = "audio .mp3 44100 Hz\n"
    assert result.stdout.startswith(f"{path}: 3.0")
    assert result.stdout.endswith(sound if suffix in ("m4a", "mp3") else f"video avc1 64x48, {sound}")
    if suffix == "m3u8":
        assert len(read_runs(path)) == 75 + 115
    else:
        counts = {name: len(packets) for name, packets in tracks_of(path).items()}
        assert counts == {"audio 0": 115} | ({} if suffix in ("m4a", "mp3") else {"video 0": 75})


def test_pictures_sound_and_times_are_those_of_the_source(run, source, tmp_path):
    run(source, tmp_path / "out.mp4")

    assert_same_media(from_zero(tracks_of(tmp_path / "out.mp4")), from_zero(tracks_of(source)))


def test_a_cut_begins_another_file_at_a_key_frame(run, source, tmp_path):
    result = run("--cut", 1, source, tmp_path / "out.mp4")

    names = ["out.mp4", "out~2.mp4", "out~3.mp4"]
    assert [line.split(": ")[0] for line in result.stdout.splitlines()] == [str(tmp_path / name) for name in names]
    assert [len(tracks_of(tmp_path / name)["video 0"]) for name in names] == [25, 25, 25]
    assert result.exit_code == 0


def test_another_resolution_begins_another_file(run, source, tmp_path):
    source.write_bytes(two_sizes())

    result = run(source, tmp_path / "out.mp4")

    first, second = result.stdout.splitlines()
    assert first.endswith("video avc1 64x48")
    assert second.startswith(f"{tmp_path / 'out~2.mp4'}: ")
    assert second.endswith("video avc1 128x48")
    assert len(tracks_of(tmp_path / "out~2.mp4")["video 0"]) == 75
    assert result.exit_code == 0


def test_a_later_name_that_is_taken_is_passed_over(run, source, tmp_path):
    source.write_bytes(two_sizes())
    (tmp_path / "out~2.mp4").write_bytes(b"mine")

    result = run(source, tmp_path / "out.mp4")

    assert (tmp_path / "out~2.mp4").read_bytes() == b"mine"
    assert len(tracks_of(tmp_path / "out~3.mp4")["video 0"]) == 75
    assert result.exit_code == 0


def test_an_output_that_is_there_is_left_alone_and_nothing_else_is_written(run, source, tmp_path):
    (tmp_path / "out.mp4").write_bytes(b"mine")

    result = run(source, tmp_path / "out.mp4")

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"{tmp_path / 'out.mp4'}: File exists\n"
    assert {path.name: path.stat().st_size for path in tmp_path.iterdir() if path != source} == {"out.mp4": 4}


def test_segments_of_hls_are_what_was_asked_for(run, source, tmp_path):
    run("--segment", 1, "--segment-type", "ts", source, tmp_path / "out.m3u8")

    assert sorted(path.suffix for path in (tmp_path / "out").iterdir()) == [".ts"] * 3


@pytest.mark.parametrize("name", ["out.avi", "out", ".mp4"])
def test_a_suffix_that_is_no_format_is_a_mistake_in_the_command(run, source, tmp_path, name):
    result = run(source, tmp_path / name)

    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == f"{tmp_path / name}: the suffix says the format: .flv, .mp4, .m4a, .mp3, .m3u8, .ts\n"


@pytest.mark.parametrize("arguments", [[], ["in.flv"], ["--cut", "nan", "in", "x.ts"], ["--cut", "-1", "in", "x.ts"]])
def test_a_command_line_that_is_wrong_is_told_with_exit_code_2(run, arguments):
    assert run(*arguments).exit_code == 2


def test_an_input_that_is_not_there_creates_nothing(run, tmp_path):
    result = run(tmp_path / "none.flv", tmp_path / "out.mp4")

    assert (result.exit_code, result.stderr) == (1, f"{tmp_path / 'none.flv'}: No such file or directory\n")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_no_input(run, tmp_path):
    result = run(tmp_path, tmp_path / "out.mp4")

    assert (result.exit_code, result.stderr) == (1, f"{tmp_path}: Is a directory\n")


def test_a_folder_that_is_not_there_takes_no_output(run, source, tmp_path):
    result = run(source, tmp_path / "none" / "out.mp4")

    assert (result.exit_code, result.stderr) == (1, f"{tmp_path / 'none' / 'out.mp4'}: No such file or directory\n")


@pytest.mark.parametrize("size", [0, 13, 200])
def test_an_input_without_frames_makes_no_output(run, source, tmp_path, size):
    source.write_bytes(footage()[:size])

    result = run(source, tmp_path / "out.mp4")

    assert result.exit_code == 1
    assert f"{source}: there is nothing in it for MP4\n" in result.stderr
    assert list(tmp_path.iterdir()) == [source]


def test_pictures_alone_are_nothing_for_m4a(run, source, tmp_path):
    source.write_bytes(footage(audio=None))

    result = run(source, tmp_path / "out.m4a")

    assert (result.exit_code, result.stderr) == (1, f"{source}: there is nothing in it for M4A\n")
    assert list(tmp_path.iterdir()) == [source]


def test_a_codec_that_the_format_cannot_carry_is_named_once(run, source, tmp_path):
    source.write_bytes(footage("flv", None))

    result = run(source, tmp_path / "out.mp4")

    assert (result.exit_code, result.stderr) == (1, f"{tmp_path / 'out.mp4'}: MP4 cannot carry sorenson\n")
    assert list(tmp_path.iterdir()) == [source]


def test_what_is_no_flv_is_told(run, source, tmp_path):
    source.write_bytes(b"\0\0\0\x20ftypisom" * 100)

    result = run(source, tmp_path / "out.mp4")

    assert (result.exit_code, result.stderr) == (1, f"{source}: no FLV: an FLV tag of type 0\n")


def test_a_torn_last_tag_is_told_and_costs_itself_alone(run, source, tmp_path):
    source.write_bytes(footage(audio=None)[:-9])
    last = len(footage(audio=None)) - len(feed_of(tags_of(footage(audio=None))[:-1]))

    result = run(source, tmp_path / "out.mp4")

    assert (result.exit_code, result.stderr) == (0, f"{source}: the last {last - 9} bytes are no whole tag\n")
    assert result.stdout.startswith(f"{tmp_path / 'out.mp4'}: ")


@pytest.mark.parametrize("behind", [b"", bytes(program._READ_BYTES)], ids=["at the end", "with more behind it"])
def test_a_flv_that_breaks_in_the_middle_is_written_up_to_there(run, source, tmp_path, behind):
    good = feed_of(tags_of(footage()))
    source.write_bytes(good + b"\xee" * 30 + behind)

    result = run(source, tmp_path / "out.mp4")

    assert result.exit_code == 1
    assert result.stderr == f"{source}: broken behind byte {len(good)}: an FLV tag of type 238\n"
    assert_same_media(from_zero(tracks_of(tmp_path / "out.mp4")), from_zero(tracks_of(good, "flv")))


def test_frames_that_are_left_out_and_gaps_are_counted(run, source, tmp_path):
    feed = Feed()
    feed.add_video_header()
    feed.add_frames(0, 1_000, audio=False)
    feed.add_script("onGap", {"from_ms": 71_000.0, "to_ms": 72_000.0})
    feed.add_audio_header()
    feed.add_audio(1_000)
    feed.add_audio(1_020)
    feed.add_video(1_000, key=False)
    source.write_bytes(feed_of(feed.tags))

    result = run(source, tmp_path / "out.mp4")

    assert result.stdout.endswith("video avc1 16x16, gaps: 1, frames left out: 2\n")


class FullDisk(FlvMuxer):
    """Fails with the fiftieth tag."""

    count = 0

    def write(self, tags):
        room = 50 - self.count
        self.count += len(tags)
        super().write(tags[:room])
        if room < len(tags):
            raise OSError(errno.ENOSPC, "No space left on device")
        return len(tags)


def test_a_disk_that_fills_up_ends_it_with_what_there_is(run, source, tmp_path, monkeypatch):
    full = replace(FORMATS["flv"], make=lambda path, _options: FullDisk(path))
    monkeypatch.setitem(program._BY_SUFFIX, ".flv", full)

    result = run("--cut", 1, source, tmp_path / "out.flv")

    assert (result.exit_code, result.stderr) == (1, f"{tmp_path / 'out.flv'}: No space left on device\n")
    assert result.stdout.startswith(f"{tmp_path / 'out.flv'}: ")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.flv", "out.flv"]


class Buggy(FlvMuxer):
    def write(self, tags):
        raise ZeroDivisionError


def test_a_bug_is_loud(run, source, tmp_path, monkeypatch):
    buggy = replace(FORMATS["flv"], make=lambda path, _options: Buggy(path))
    monkeypatch.setitem(program._BY_SUFFIX, ".flv", buggy)

    with pytest.raises(ZeroDivisionError):
        run(source, tmp_path / "out.flv")


def test_standard_input_is_read_to_its_end(tmp_path):
    path = tmp_path / "out.ts"
    process = start("-", path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    told, complaints = process.communicate(footage() + b"\x09\0\0")

    assert process.returncode == 0
    assert told.decode().startswith(f"{path}: 3.0")
    assert complaints.decode() == "standard input: the last 3 bytes are no whole tag\n"
    assert len(tracks_of(path)["video 0"]) == 75


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_completes_what_a_live_input_has_brought(tmp_path, number):
    path = tmp_path / "out.mp4"
    process = start("-", path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdin.write(footage()[:-9])
    process.stdin.flush()
    wait_until(lambda: path.exists() and path.stat().st_size > 10_000, "the first fragments")

    process.send_signal(number)

    assert process.wait(20) == 128 + number
    assert process.stderr.read() == b"standard input: interrupted\n"
    assert process.stdout.read().startswith(f"{path}: ".encode())
    assert b"moof" not in path.read_bytes()[:100]
    assert len(tracks_of(path)["video 0"]) > 60
    process.stdin.close()
    process.stdout.close()
    process.stderr.close()


def test_a_signal_never_comes_between_where_a_muxer_is_at_work(tmp_path):
    before = [signal.getsignal(number) for number in program._SIGNALS]
    path = tmp_path / "in.flv"
    path.write_bytes(b"tags")

    with program._opened(str(path)) as given:
        os.kill(os.getpid(), signal.SIGINT)  # as if in the middle of anything
        assert given.signal == signal.SIGINT
        assert signal.getsignal(signal.SIGINT) == signal.SIG_DFL  # who cannot wait need not
        assert given.read() == b""

    assert [signal.getsignal(number) for number in program._SIGNALS] == before


def test_the_input_is_watched_on_a_terminal_and_the_list_of_files_is_not_disturbed(tmp_path):
    """Standard error is a terminal, standard output a pipe."""
    source, path = tmp_path / "[in].flv", tmp_path / "out.ts"
    source.write_bytes(footage())

    code, told, screen = run_on_terminal([*COMMAND, "--cut", "1", source, path])

    assert code == 0
    assert [line.split(": ")[0] for line in told.splitlines()] == [
        str(tmp_path / name) for name in ("out.ts", "out~2.ts", "out~3.ts")
    ]
    assert "[in].flv" in screen
    assert "out" not in screen
    assert screen.endswith("\x1b[2K")  # nothing of the bar stays
