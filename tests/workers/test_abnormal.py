"""What is wrong with a file: what its muxer counted, what it lacks, and how it differs from the file before it."""

from __future__ import annotations

import pytest

from rtmpd.workers import abnormal
from rtmpd.workers.abnormal import Circumstances, find, level_of
from tests.helpers.store import contents_of, file_row, recording_row

BOTH = frozenset({"video", "audio"})


def track(kind="video", codec="avc1", width=64, height=48, track_id=0):
    size = {"width": width, "height": height} if kind == "video" else {"width": 0, "height": 0}
    return {"kind": kind, "track_id": track_id, "codec": codec, "sample_rate": 0, "channels": 0} | size


def findings(file_format="flv", record_type="video", announced=(), before=(), fault=None, **contents):
    file = file_row(file_format=file_format)
    contents = contents_of(file, **{"video_frames": 1, "audio_frames": 1} | contents)
    around = Circumstances(frozenset(announced), before, fault)
    found = find(recording_row(record_type=record_type), file, contents, around)
    return {each.kind: (each.occurs, each.text) for each in found}


def test_a_file_that_has_everything_is_not_abnormal():
    assert findings(announced=BOTH, tracks=(track(),), before=(track(),)) == {}


@pytest.mark.parametrize(
    ("fact", "kind"),
    [("gaps", abnormal.LOST), ("jumps", abnormal.VIDEO_JUMP), ("left_out", abnormal.LEFT_OUT)],
)
def test_what_a_muxer_counts_is_one_finding_with_its_count(fact, kind):
    found = findings(**{fact: 4})

    assert list(found) == [kind]
    assert found[kind][0] == 4


def test_a_leap_where_there_is_no_picture_is_one_of_the_sound():
    assert list(findings(jumps=1, video_frames=0)) == [abnormal.AUDIO_JUMP]


def test_a_fault_is_told_in_its_own_words():
    assert findings(fault="No space left on device") == {abnormal.NOT_WRITTEN: (1, "No space left on device")}


@pytest.mark.parametrize(("lacks", "kind"), [("video_frames", abnormal.NO_VIDEO), ("audio_frames", abnormal.NO_AUDIO)])
def test_a_track_that_was_announced_and_never_came_is_missing(lacks, kind):
    assert list(findings(announced=BOTH, **{lacks: 0})) == [kind]
    assert findings(**{lacks: 0}) == {}


@pytest.mark.parametrize(("file_format", "record_type"), [("flv", "audio"), ("m4a", "video"), ("mp3", "video")])
def test_pictures_are_not_missed_where_sound_alone_was_wanted(file_format, record_type):
    assert findings(file_format, record_type, announced=BOTH, video_frames=0) == {}


def test_another_codec_than_in_the_file_before_is_named():
    found = findings(before=(track(), track("audio", "mp4a")), tracks=(track(codec="hvc1"), track("audio", ".mp3")))

    assert found == {abnormal.NEW_CODEC: (2, "avc1 became hvc1, mp4a became .mp3")}


def test_another_size_than_in_the_file_before_is_named():
    found = findings(before=(track(width=1280, height=720),), tracks=(track(width=1920, height=1080),))

    assert found == {abnormal.NEW_RESOLUTION: (1, "1280x720 became 1920x1080")}


def test_tracks_that_cannot_be_compared_are_no_change():
    assert findings(before=(track(width=0, height=0),), tracks=(track(),)) == {}
    assert findings(before=(track(),), tracks=(track(width=32, track_id=1), track("audio", "mp4a"))) == {}


def test_the_gravest_finding_gives_the_level():
    def level(**facts):
        contents = contents_of(file_row(), **{"video_frames": 1} | facts)
        around = Circumstances(before=(track(width=32),))
        return level_of(find(recording_row(), file_row(), contents, around))

    changed = (track(width=64),)
    assert level(tracks=changed) == "info"
    assert level(tracks=changed, jumps=1) == "warning"
    assert level(tracks=changed, jumps=1, gaps=1) == "error"
