"""Every muxer passes the kit, and the kit finds what is wrong with one that should not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from muxers.conformance import CASES, ReadFrame, Subject, check_muxer
from muxers.flv import FlvMuxer
from muxers.hls import HlsMuxer, repair
from muxers.mp3 import Mp3Muxer
from muxers.mp4 import Mp4Muxer
from muxers.repair import repair as repair_any
from muxers.ts import TsMuxer
from tests.helpers.footage import tracks_of
from tests.helpers.hls import read_runs


def read(path):
    """With FFmpeg, track by track."""
    return [
        ReadFrame(packet.kind, packet.dts_ms, packet.pts_ms, packet.payload)
        for packets in tracks_of(path).values()
        for packet in packets
    ]


def read_mp3(path):
    """By the length of the kit's frames: FFmpeg does not open a file of one."""
    data = path.read_bytes()
    return [ReadFrame("audio", 0, 0, data[start : start + 417]) for start in range(0, len(data), 417)]


def read_hls(path):
    """Run by run: FFmpeg's own HLS reader keeps the first header."""
    return [ReadFrame(*packet) for packet in read_runs(path)]


def hls_ts(path):
    return HlsMuxer(path, segment_type="ts")


def m4a(path):
    return Mp4Muxer(path, audio_only=True)


SOUND = frozenset({"audio"})
SUBJECTS = {
    "flv": Subject(FlvMuxer, read, "recording.flv"),
    "flv with mp3": Subject(FlvMuxer, read, "recording.flv", audio=".mp3"),
    "mp4": Subject(Mp4Muxer, read, "recording.mp4"),
    "mp4 with mp3": Subject(Mp4Muxer, read, "recording.mp4", audio=".mp3"),
    "hls": Subject(HlsMuxer, read_hls, "recording.m3u8", mend=repair),
    "hls with mp3": Subject(HlsMuxer, read_hls, "recording.m3u8", mend=repair, audio=".mp3"),
    "hls in ts": Subject(hls_ts, read_hls, "recording.m3u8", mend=repair),
    "hls in ts with mp3": Subject(hls_ts, read_hls, "recording.m3u8", mend=repair, audio=".mp3"),
    "ts": Subject(TsMuxer, read, "recording.ts"),
    "ts with mp3": Subject(TsMuxer, read, "recording.ts", audio=".mp3"),
    "m4a": Subject(m4a, read, "recording.m4a", kinds=SOUND),
    "mp3": Subject(Mp3Muxer, read_mp3, "recording.mp3", kinds=SOUND, audio=".mp3", timed=False),
}


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("subject", SUBJECTS.values(), ids=SUBJECTS)
def test_every_muxer_conforms(subject, case, tmp_path):
    case(subject, tmp_path)


@pytest.mark.parametrize("name", SUBJECTS)
def test_what_a_crash_leaves_is_repaired(name, tmp_path):
    file_format = SUBJECTS[name].file_name.rpartition(".")[2].replace("m3u8", "hls")
    subject = replace(SUBJECTS[name], mend=lambda path: repair_any(path, file_format))

    for number, case in enumerate(case for case in CASES if "crash" in case.name or "silent" in case.name):
        (tmp_path / str(number)).mkdir()
        case(subject, tmp_path / str(number))


class Lossy(FlvMuxer):
    def write(self, tags):
        super().write([tag for tag in tags if tag.timestamp_ms % 10])
        return len(tags)


class Late(FlvMuxer):
    def write(self, tags):
        return super().write([tag._replace(timestamp_ms=tag.timestamp_ms * 2 % 2**32) for tag in tags])


class Boastful(FlvMuxer):
    """Says that it is confirmed, and keeps it in memory."""

    def __init__(self, path):
        super().__init__(path)
        self.kept = []

    @property
    def confirmed_tags(self):
        return len(self.kept)

    def write(self, tags):
        self.kept += tags
        return len(tags)

    def close(self):
        if self.kept:
            super().write(self.kept)
        return super().close()


class Forgetful(FlvMuxer):
    def flush(self):
        pass


class Hasty(FlvMuxer):
    """Ends in the middle of anything."""

    count = 0

    def write(self, tags):
        self.count += len(tags)
        return super().write(tags[:-1]) if self.count > 60 else super().write(tags)


class Mute(FlvMuxer):
    """Takes the disk's number off its errors."""

    def write(self, tags):
        try:
            return super().write(tags)
        except OSError as error:
            raise OSError(str(error)) from error


class Greedy(FlvMuxer):
    def open(self):
        self._path.unlink(missing_ok=True)
        super().open()


class Tidy(FlvMuxer):
    """Leaves an empty file behind."""

    def close(self):
        facts = super().close()
        if facts.empty:
            self._path.touch()
        return facts


@pytest.mark.parametrize(
    ("muxer", "name"),
    [
        (Lossy, "pictures and sound"),
        (Late, "pictures and sound"),
        (Boastful, "a crash at any moment"),
        (Forgetful, "an output that is removed"),
        (Hasty, "sound only"),
        (Hasty, "pictures and sound"),
        (Mute, "a full disk"),
        (Greedy, "a name that is taken"),
        (Tidy, "no frame at all"),
    ],
)
def test_the_kit_finds_what_is_wrong(muxer, name, tmp_path):
    case = next(case for case in CASES if case.name == name)

    with pytest.raises(AssertionError):
        case(Subject(muxer, read, "recording.flv"), tmp_path)


def test_all_cases_run_in_folders_of_their_own(tmp_path):
    check_muxer(SUBJECTS["mp3"], tmp_path)

    assert len(list(tmp_path.iterdir())) == len(CASES) > 20
