"""
What is wrong with a file, in the terms of the hosted service's event 341; equal things are one finding that counts.

What a muxer counts is told of the file that lacks it. That a change forced a new file is seen by comparing the tracks
of two files that follow each other: no muxer knows of the file before it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from muxers.formats import FORMATS
from rtmpd.store.rows import Contents, FileRow, RecordingRow

Tracks = tuple[Mapping[str, Any], ...]
_LEVELS = ("info", "warning", "error")


class Kind(NamedTuple):
    """A kind of finding."""

    number: int
    """The hosted service's type."""
    level: str
    """info: nothing is lost; warning: something may look odd; error: something is lost."""


AUDIO_JUMP = Kind(-8, "warning")
VIDEO_JUMP = Kind(-9, "warning")
LOST = Kind(-16, "error")
"""Media that the recording could not get from the stream in time."""
NO_AUDIO = Kind(-17, "warning")
NO_VIDEO = Kind(-18, "warning")
NEW_RESOLUTION = Kind(-100, "info")
NOT_WRITTEN = Kind(-104, "error")
NEW_CODEC = Kind(-120, "info")
LEFT_OUT = Kind(-130, "warning")


class Finding(NamedTuple):
    """Something that is wrong with a file."""

    kind: Kind
    occurs: int
    """How often, at least 1."""
    text: str
    """One line for people."""


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What only the recording knows of a file."""

    announced: frozenset[str] = frozenset()
    """Kinds of tracks that the stream's headers speak of: "video", "audio"."""
    before: Tracks = ()
    """Tracks of the file before it, of the same format; none for the first."""
    fault: str | None = None
    """Why it ended before its feed."""


def find(recording: RecordingRow, file: FileRow, contents: Contents, around: Circumstances) -> tuple[Finding, ...]:
    """
    Say what is wrong with a file.

    Args:
        recording: it belongs to.
        file: that is complete, or has failed.
        contents: what it holds.
        around: what else is known.

    Returns:
        Findings, each of another kind; none where all is well.
    """
    frames = {"video": contents.video_frames, "audio": contents.audio_frames}
    kinds = {kind for kind, count in frames.items() if count}
    expected = set(around.announced)
    if recording.record_type == "audio" or FORMATS[file.file_format].audio_only:
        expected.discard("video")
    jump = VIDEO_JUMP if "video" in kinds else AUDIO_JUMP
    lost_s = contents.gap_ms / 1000
    found = [
        (LOST, contents.gaps, f"{lost_s:.3f} s of media are missing: the recording could not keep up"),
        (jump, contents.jumps, "the publisher's timestamps leap; the file goes on without a gap"),
        (LEFT_OUT, contents.left_out, "frames that the format could not carry are left out"),
        (NO_AUDIO, int("audio" in expected - kinds), "sound was announced and never came"),
        (NO_VIDEO, int("video" in expected - kinds), "pictures were announced and never came"),
        (NOT_WRITTEN, int(around.fault is not None), around.fault or ""),
    ]
    findings = [Finding(kind, occurs, text) for kind, occurs, text in found if occurs]
    return (*findings, *_changes(around.before, contents.tracks))


def level_of(findings: Iterable[Finding]) -> str:
    """Name the gravest level among findings, of which there is at least one."""
    return max((each.kind.level for each in findings), key=_LEVELS.index)


def _changes(before: Tracks, after: Tracks) -> tuple[Finding, ...]:
    """Compare what two files have in common; a track that is only in one of them is no change."""
    codecs, sizes = [], []
    known = {(track["kind"], track["track_id"]): track for track in before}
    for track in after:
        old = known.get((track["kind"], track["track_id"]))
        if old is None:
            continue
        if old["codec"] != track["codec"]:
            codecs.append(f"{old['codec']} became {track['codec']}")
        elif _size(old) != _size(track) and all((*_size(old), *_size(track))):
            sizes.append("{}x{} became {}x{}".format(*_size(old), *_size(track)))
    return tuple(
        Finding(kind, len(texts), ", ".join(texts))
        for kind, texts in ((NEW_CODEC, codecs), (NEW_RESOLUTION, sizes))
        if texts
    )


def _size(track: Mapping[str, Any]) -> tuple[int, int]:
    return track["width"], track["height"]
