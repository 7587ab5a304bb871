"""
The conformance kit's tools: a muxer to be checked, outputs of a feed, and the rule that holds for all of them.

A frame is in an output, in its place, or it is counted in `left_out` and there was a reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from muxers.base import FileFacts, Muxer
from muxers.conformance_feed import Feed, SentFrame, is_start, number_of
from rtmpd.wire.flv import FlvTag

TOLERANCE_MS = 1.01
"""A millisecond, and what floating point adds."""


class ReadFrame(NamedTuple):
    """A frame that a reader found in an output."""

    kind: str
    """"video" or "audio"."""
    dts_ms: float
    pts_ms: float
    payload: bytes


@dataclass(frozen=True)
class Subject:
    """A muxer to be checked."""

    make: Callable[[Path], Muxer]
    read: Callable[[Path], Sequence[ReadFrame]]
    """Reads an output; raises where it cannot be opened."""
    file_name: str
    kinds: frozenset[str] = frozenset({"video", "audio"})
    """What the format carries of a stream with both; the rest is not counted as left out."""
    audio: str = "mp4a"
    """The sound that the cases send: "mp4a" or ".mp3"."""
    mend: Callable[[Path], object] = lambda _path: None
    """What makes an output readable that a crash left, where it is not so by itself."""
    lost_ms: int = 1_000
    """Media that a crash may cost."""
    timed: bool = True
    """Whether the format holds the times of frames; without, only their order is checked."""


@dataclass(frozen=True)
class Case:
    """One thing that every muxer does."""

    name: str
    check: Callable[[Subject, Path], None]

    def __call__(self, subject: Subject, folder: Path) -> None:
        """Run it; `folder` is empty and stays the caller's."""
        self.check(subject, folder)

    def __str__(self) -> str:
        """Its name, as the id of a parameter."""
        return self.name


class Written(NamedTuple):
    path: Path
    facts: FileFacts


def record(subject: Subject, folder: Path, feed: Feed, batch: int = 7) -> list[Written]:
    """Write a feed into as many outputs as the muxer asks for."""
    written: list[Written] = []
    position = 0
    while True:
        assert len(written) < 20, "a new output for almost nothing"
        path = folder / f"{len(written)}-{subject.file_name}"
        muxer = subject.make(path)
        muxer.open()
        headers = feed.headers_before(position)
        assert muxer.write(headers) == len(headers), "headers alone end no output"
        begin, position = position, position + write(muxer, feed.tags[position:], batch)
        written.append(Written(path, muxer.close()))
        if position == len(feed.tags):
            return written
        assert position > begin, "an output that takes nothing of what it may begin with"
        has_video = "video" in subject.kinds and any(f.kind == "video" and f.tag < position for f in feed.frames)
        assert is_start(feed.tags[position], video=has_video), "what is left does not begin where one can start"


def write(muxer: Muxer, tags: Sequence[FlvTag], batch: int) -> int:
    for start in range(0, len(tags), batch):
        given = tags[start : start + batch]
        taken = muxer.write(given)
        assert 0 <= taken <= len(given)
        if taken < len(given):
            return start + taken
    return len(tags)


def never(_frame: SentFrame) -> bool:
    return False


def check(
    subject: Subject, feed: Feed, written: Iterable[Written], may_lack: Callable[[SentFrame], bool] = never
) -> dict[int, ReadFrame]:
    """Hold outputs to the one rule, and return the frames in them by number."""
    sent = [frame for frame in feed.frames if frame.kind in subject.kinds]
    found: dict[int, ReadFrame] = {}
    counted = 0
    for path, facts in written:
        counted += facts.video_frames + facts.audio_frames + facts.left_out
        assert facts.empty == (not path.exists())
        if facts.empty:
            continue
        frames = read(subject, path)
        assert not frames.keys() & found.keys(), "frames that are in two outputs"
        assert len(frames) <= facts.video_frames + facts.audio_frames
        start_ms = min(frame.dts_ms for frame in frames.values())
        assert not subject.timed or abs(start_ms) <= TOLERANCE_MS, "the output begins at 0"
        found |= frames
    assert counted == len(sent), "frames that are neither in an output nor counted as left out"
    lacking = [frame for frame in sent if frame.number not in found and not may_lack(frame)]
    assert not lacking, f"frames that no output has: {lacking[:3]}"
    return found


def read(subject: Subject, path: Path) -> dict[int, ReadFrame]:
    frames: dict[int, ReadFrame] = {}
    last: dict[str, int] = {}
    for frame in subject.read(path):
        number = number_of(frame.payload)
        assert number > last.get(frame.kind, -1), "frames of one kind stay in order"
        last[frame.kind] = number
        frames[number] = frame
    return frames


def check_times(subject: Subject, feed: Feed, found: dict[int, ReadFrame]) -> None:
    """Compare the times in one output with the publisher's, both from the first frame."""
    if not subject.timed:
        return
    start_ms = min(feed.frames[number].dts_ms for number in found)
    for number, frame in found.items():
        sent = feed.frames[number]
        dts_ms = sent.dts_ms - start_ms
        assert abs(frame.dts_ms - dts_ms) <= TOLERANCE_MS, f"{sent} is at {frame.dts_ms} ms"
        assert abs(frame.pts_ms - dts_ms - sent.composition_ms) <= TOLERANCE_MS, f"{sent} is shown at {frame.pts_ms} ms"


def check_continued(subject: Subject, found: dict[int, ReadFrame]) -> None:
    """Two pieces of 1.2 s are one of 2.4 s."""
    assert not subject.timed or 2_300 < max(frame.dts_ms for frame in found.values()) < 2_500


def started(subject: Subject, *, video: bool = True, audio: bool = True) -> Feed:
    """A feed that begins as encoders begin."""
    feed = Feed(subject.audio)
    feed.add_metadata(video=video, audio=audio)
    if video:
        feed.add_video_header()
    if audio:
        feed.add_audio_header()
    return feed
