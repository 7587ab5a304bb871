"""Repair: what a crash left becomes a whole recording, however often and wherever the repair itself is interrupted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from muxers.base import MuxError
from muxers.hls import HlsMuxer
from muxers.hls_repair import recording_of, repair
from muxers.playlist import parse, render
from tests.helpers.footage import footage, shifted, tags_of
from tests.helpers.hls import copy_recording, duration_of, read, record, segments_of, watched

BOTH = pytest.mark.parametrize("segment_type", ["fmp4", "ts"])


@pytest.fixture
def path(tmp_path):
    return tmp_path / "recording.m3u8"


def killed(path, segment_type="fmp4", seconds=5):
    """What a process leaves that is killed, having been fed so much."""
    tags = tags_of(footage(seconds=seconds))
    muxer = HlsMuxer(path, segment_type=segment_type)
    muxer.open()
    muxer.write(tags)
    copy_recording(path, path.parent / "copy")
    muxer.close()
    for name in ("recording.m3u8", "recording"):
        target = path.parent / name
        if target.is_dir():
            for file in target.iterdir():
                file.unlink()
            target.rmdir()
        else:
            target.unlink()
        (path.parent / "copy" / name).rename(target)
    (path.parent / "copy").rmdir()


def names(path):
    return sorted(file.name for file in path.with_suffix("").iterdir())


@BOTH
def test_the_growing_part_becomes_a_segment_with_its_real_duration(path, segment_type):
    killed(path, segment_type)
    before = parse(path.read_text())
    assert sum(name.endswith(".part") for name in names(path)) == 1

    facts = repair(path)

    playlist = segments_of(path)
    assert playlist.segments[:-1] == before.segments
    assert (playlist.playlist_type, playlist.ended) == ("VOD", True)
    assert facts.duration_ms == pytest.approx(5000, abs=600)
    assert duration_of(path) == pytest.approx(facts.duration_ms, abs=25)
    assert len(read(path)) == facts.video_frames + facts.audio_frames
    assert facts.size_bytes == sum(file.stat().st_size for file in path.parent.rglob("*") if file.is_file())
    assert not any(name.endswith(".part") for name in names(path))


@BOTH
def test_a_second_repair_changes_nothing(path, segment_type):
    killed(path, segment_type)
    facts = repair(path)
    before = [(file.name, file.stat().st_mtime_ns) for file in sorted(path.parent.rglob("*"))]

    assert repair(path) == facts
    assert [(file.name, file.stat().st_mtime_ns) for file in sorted(path.parent.rglob("*"))] == before


@BOTH
def test_a_recording_that_is_whole_stays_as_it_is_and_has_the_same_facts(path, segment_type):
    facts = record(path, tags_of(footage()), segment_type=segment_type)
    text = path.read_text()

    found = repair(path)

    assert path.read_text() == text
    assert replace(found, duration_ms=0) == replace(facts, duration_ms=0)
    assert found.duration_ms == pytest.approx(facts.duration_ms, abs=25)


@pytest.mark.parametrize(
    ("video", "audio", "segment_type"),
    [
        ("libx265", "aac", "ts"),
        ("libsvtav1", "libopus", "fmp4"),
        ("libvpx-vp9", "flac", "fmp4"),
        ("libx264", "libmp3lame", "ts"),
        ("libx264", "libmp3lame", "fmp4"),
        ("libx264", "ac3", "ts"),
        (None, "eac3", "fmp4"),
        ("libx264", None, "ts"),
    ],
)
def test_tracks_are_read_from_the_segments(path, video, audio, segment_type):
    facts = record(path, tags_of(footage(video, audio)), segment_type=segment_type)

    assert repair(path).tracks == facts.tracks != ()


@BOTH
def test_a_repair_that_is_killed_anywhere_is_done_again(path, segment_type, monkeypatch, tmp_path):
    killed(path, segment_type)
    with (path.with_suffix("") / "playlist.part").open("w") as file:
        file.write("#EXTM3U\n#EXT")
    copies = []

    with watched(monkeypatch, lambda _name, _: copies.append(copy_recording(path, tmp_path / str(len(copies))))):
        facts = repair(path)

    assert len(copies) > 5
    for copy in copies:
        assert replace(repair(copy), path=facts.path) == facts
        assert copy.read_text() == path.read_text()
        assert names(copy) == names(path)


@BOTH
@pytest.mark.parametrize("left", [None, "", "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDU", "ü"])
def test_a_playlist_that_is_lost_or_broken_is_made_anew_from_the_folder(path, segment_type, left):
    record(path, tags_of(footage()), segment_type=segment_type)
    second = [*tags_of(footage()), *shifted(tags_of(footage("libx264", "aac", 3, width=96)), 3100)]
    record(path, second, segment_type=segment_type, resume=True)
    playlist = parse(path.read_text())
    path.unlink()
    if left is not None:
        path.write_text(left)

    repair(path)

    made = segments_of(path)
    assert [(each.uri, each.map_uri, each.discontinuity) for each in made.segments] == [
        (each.uri, each.map_uri, each.discontinuity) for each in playlist.segments
    ]
    assert [each.duration_ms for each in made.segments] == pytest.approx(
        [each.duration_ms for each in playlist.segments], abs=25
    )
    assert replace(made, segments=(), target_duration_s=2) == replace(playlist, segments=(), target_duration_s=2)


def test_a_recording_that_was_renamed_is_found_again(path):
    record(path, tags_of(footage()))
    path.with_suffix("").rename(path.with_name("other"))
    path.rename(path.with_name("other.m3u8"))

    facts = repair(path.with_name("other.m3u8"))

    playlist = segments_of(path.with_name("other.m3u8"))
    assert [segment.uri for segment in playlist.segments] == ["other/00000.m4s", "other/00001.m4s"]
    assert facts.video_frames == 75


def test_it_can_be_left_open_to_be_continued(path):
    killed(path)

    repair(path, finish=False)

    playlist = segments_of(path)
    assert (playlist.playlist_type, playlist.ended, playlist.target_duration_s) == ("EVENT", False, 12)


def test_a_finished_recording_is_not_opened_again_for_nothing(path):
    record(path, tags_of(footage()))
    text = path.read_text()

    repair(path, finish=False)

    assert path.read_text() == text


def test_what_is_still_being_written_is_left_alone(path):
    muxer = HlsMuxer(path)
    muxer.open()
    muxer.write(tags_of(footage()))
    before = names(path)

    with pytest.raises(BlockingIOError):
        repair(path)

    assert names(path) == before
    muxer.close()


def test_there_must_be_something_to_repair(path):
    with pytest.raises(FileNotFoundError):
        repair(path)


@pytest.mark.parametrize(
    "left", ["init-001.mp4", "00000.m4s.part", "playlist.part", "00000.ts.part", "init-001.mp4.part"]
)
def test_what_holds_no_frame_is_removed(path, left):
    path.with_suffix("").mkdir()
    (path.with_suffix("") / left).write_bytes(b"torn")
    path.write_text("#EXTM3U\n")

    assert repair(path) is None
    assert list(path.parent.iterdir()) == []


def test_files_of_others_are_never_touched(path):
    path.with_suffix("").mkdir()
    others = ["notes.txt", "0.m4s", "00000.m4s.bak", "init.mp4", "notes.part"]
    for name in others:
        (path.with_suffix("") / name).write_text("mine")

    assert repair(path) is None
    assert names(path) == sorted(others)


@pytest.mark.parametrize(
    "text", ["#EXTM3U\n#EXTINF:182,A song\nrecording/song.mp3\n", "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nlow.m3u8\n"]
)
def test_a_playlist_of_others_is_never_removed(path, text):
    path.write_text(text)
    path.with_suffix("").mkdir()

    with pytest.raises(MuxError, match="no HLS of ours"):
        repair(path)

    assert path.read_text() == text
    assert path.with_suffix("").is_dir()


def test_a_playlist_of_ours_whose_segments_are_gone_is_removed(tmp_path):
    path = tmp_path / "a stream é.m3u8"
    record(path, tags_of(footage(seconds=1)))
    for file in path.with_suffix("").iterdir():
        file.unlink()

    assert repair(path) is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("names", "has_playlist", "is_one"),
    [
        (["00000.m4s", "init-001.mp4"], True, True),
        (["00000.m4s", "init-001.mp4"], False, True),
        (["00000.ts", "00001.ts.part"], False, True),
        (["playlist.part"], False, True),
        (["00000.ts", "thumbnail.jpg"], True, True),
        (["00000.ts", "notes.txt"], False, False),
        (["song.mp3"], True, False),
        ([], True, False),
    ],
)
def test_a_folder_is_known_by_its_files(tmp_path, monkeypatch, names, has_playlist, is_one):
    folder = tmp_path / "my.recording"
    folder.mkdir()
    for name in names:
        (folder / name).touch()
    playlist = tmp_path / "my.recording.m3u8"
    if has_playlist:
        playlist.touch()
    monkeypatch.chdir(folder)

    assert recording_of(folder) == recording_of(Path()) == (playlist if is_one else None)


def test_a_segment_that_nothing_can_be_made_of_is_removed(path):
    record(path, tags_of(footage()))
    (path.with_suffix("") / "00002.m4s").write_bytes(b"garbage that is no box")

    facts = repair(path)

    assert facts.video_frames == 75
    assert names(path) == ["00000.m4s", "00001.m4s", "init-001.mp4"]


def test_a_listed_segment_that_cannot_be_read_stays_listed(path):
    record(path, tags_of(footage()))
    (path.with_suffix("") / "00000.m4s").write_bytes(b"garbage that is no box")
    text = path.read_text()

    facts = repair(path)

    assert path.read_text() == text
    assert 0 < facts.video_frames < 75


def test_a_listed_segment_that_is_gone_leaves_a_discontinuity(path):
    record(path, tags_of(footage(seconds=6)))
    (path.with_suffix("") / "00001.m4s").unlink()

    repair(path)

    playlist = parse(path.read_text())
    assert [segment.uri[-9:] for segment in playlist.segments] == ["00000.m4s", "00002.m4s"]
    assert [segment.discontinuity for segment in playlist.segments] == [False, True]


def test_a_playlist_leads_to_no_file_outside_its_folder(path):
    record(path, tags_of(footage()))
    outside = path.parent / "00000.m4s"
    outside.write_bytes(b"mine")
    playlist = parse(path.read_text())
    first = replace(playlist.segments[0], uri="../00000.m4s")
    path.write_text(render(replace(playlist, segments=(first, *playlist.segments[1:]))))

    repair(path)

    assert outside.read_bytes() == b"mine"
    assert [segment.uri for segment in parse(path.read_text()).segments] == [
        "recording/00000.m4s",
        "recording/00001.m4s",
    ]
