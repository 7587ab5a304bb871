"""
What the index of recordings keeps, as values, and how they become rows of SQLite and values again.

Rule: a column is named like its field. A tuple is stored as a JSON array, a truth value as 0 or 1, everything else as
it is.
"""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal, Protocol, TypeAlias, TypeVar

Origin: TypeAlias = Literal["auto", "manual"]
RecordType: TypeAlias = Literal["video", "audio"]
RecordingState: TypeAlias = Literal["running", "waiting", "ended"]
FileState: TypeAlias = Literal["reserved", "open", "closed", "removing"]
Told: TypeAlias = Literal[
    "",
    "record_start_failed",
    "record_start_succeeded",
    "record_paused",
    "record_resumed",
    "record_ended",
]
SqlValue: TypeAlias = str | int | float | None

_JSON = frozenset({"formats", "tags", "tracks"})
_TRUTH = frozenset({"push"})


@dataclass(frozen=True, slots=True)
class RecordingRow:
    """One recording: everything that one request, or one automatic start, has recorded of a stream."""

    recording_id: str
    """Unique."""
    app: str
    """The application of the stream."""
    stream: str
    """The stream's name within its application."""
    origin: Origin
    """Whether the configuration or a request began it."""
    started_at: float
    """Unix seconds."""
    formats: tuple[str, ...]
    """The formats that it is written in."""
    task_id: str | None = None
    """What a request was answered with; None for automatic ones."""
    record_type: RecordType = "video"
    """"video" has sound as well."""
    tags: tuple[str, ...] = ()
    """The caller's words."""
    ended_at: float | None = None
    """Unix seconds; None until it has ended."""
    state: RecordingState = "running"
    """A waiting one goes on when its publisher comes back in time."""
    waiting_since: float | None = None
    """Unix seconds: when its publisher was lost; None unless it waits."""
    last_sequence: int = 1
    """The newest number that one of its feeds was given."""
    stream_param: str = ""
    """The query of the publish URL."""
    fault: str | None = None
    """Why it ended, if it was not by its stream's end or a request."""
    file_name: str = ""
    """What its files are called; empty where the application's template names them."""
    push: bool = False
    """Whether it belongs to a push, and ends with it."""
    ends_at: float | None = None
    """Unix seconds: when it has lasted as long as it may; None for no such time."""
    ending_at: float | None = None
    """Unix seconds: when it was told to end; from then on it does not go on with a publisher that returns."""
    turns: int = 0
    """How many of its turns were told, over all servers."""
    told: Told = ""
    """What was told last of its life, see `rtmpd.store.turns`; empty before the first turn."""
    record_id: int | None = None
    """The number that whoever started its push gave it."""


@dataclass(frozen=True, slots=True)
class FileRow:
    """One file of a recording, from its reservation on; `Contents` describes what is measured at its end."""

    file_id: str
    """Unique, and final: callbacks and URLs name it."""
    recording_id: str
    """The recording it belongs to."""
    sequence: int
    """Its number among the recording's files of its format, from 1."""
    file_format: str
    """"flv", "mp4", "hls", ..."""
    path: str
    """Relative to the recordings directory, with "/"; no two files have the same. Of HLS it is the playlist."""
    state: FileState = "reserved"
    """Reserved: nothing is written yet. Removing: retention has condemned it, its bytes may be gone already."""
    start_at: float | None = None
    """Unix seconds of its first frame; None while it is reserved."""
    end_at: float | None = None
    """Unix seconds of its end; None until it is closed."""
    size_bytes: int = 0
    duration_ms: int = 0
    start_ms: int = 0
    video_frames: int = 0
    audio_frames: int = 0
    key_frames: int = 0
    tracks: tuple[dict[str, Any], ...] = ()
    gaps: int = 0
    gap_ms: int = 0
    jumps: int = 0
    left_out: int = 0
    fault: str | None = None
    """Why it ended before its feed."""


@dataclass(frozen=True, slots=True)
class Contents:
    """What a file holds at its end: the muxer's `FileFacts`, as far as the index keeps them."""

    path: str
    """As `FileRow.path`; said again, so that the name it got when it was opened cannot be lost."""
    end_at: float
    """Unix seconds of its end."""
    size_bytes: int
    """All of its files together, for HLS."""
    duration_ms: int
    """From the first frame to the end of the last one."""
    start_ms: int = 0
    """The publisher's time of the first frame."""
    video_frames: int = 0
    audio_frames: int = 0
    key_frames: int = 0
    tracks: tuple[dict[str, Any], ...] = ()
    """One JSON object each: kind, track_id, codec, width, height, sample_rate (Hz), channels."""
    gaps: int = 0
    """Places where media was lost before it reached the muxer."""
    gap_ms: int = 0
    """Media time lost in them."""
    jumps: int = 0
    """Leaps of the publisher's timestamps."""
    left_out: int = 0
    """Frames that the format could not carry."""


class _Row(Protocol):
    """Any of the dataclasses above."""

    __dataclass_fields__: ClassVar[dict[str, Any]]


R = TypeVar("R", bound=_Row)


def to_columns(row: _Row) -> dict[str, SqlValue]:
    """
    Take a row apart.

    Args:
        row: one of the dataclasses of this module.

    Returns:
        Its values as SQLite takes them, by column.
    """
    values = {field.name: getattr(row, field.name) for field in fields(row)}
    return {name: json.dumps(value) if name in _JSON else value for name, value in values.items()}


def from_columns(kind: type[R], row: sqlite3.Row) -> R:
    """
    Put a row together.

    Args:
        kind: RecordingRow or FileRow.
        row: has a column for each of its fields; others are ignored.
    """
    values = {field.name: row[field.name] for field in fields(kind)}
    return kind(**{name: _from_column(name, value) for name, value in values.items()})


def _from_column(name: str, value: Any) -> Any:
    if name in _JSON:
        return tuple(json.loads(value))
    return bool(value) if name in _TRUTH else value
