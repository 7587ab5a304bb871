"""
A recording as the server knows it: what was asked for, what the worker has confirmed, and the events that tell.

One `Recording` is one feed. Its end is final: what goes on after a worker's death, or in the next file, is a new one
with the same recording id and the next sequence number.
"""

from __future__ import annotations

import enum
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from rtmpd.workers.protocol import FileFacts


class RecordingState(enum.Enum):
    """Where a recording is; the last two are final."""

    STARTING = "starting"
    """Handed to a worker that has not opened a file yet."""
    RUNNING = "running"
    """At least one file is open, or was."""
    ENDED = "ended"
    """Every file is closed, or failed."""
    LOST = "lost"
    """The worker died; the files open as they are, up to what it had written."""


@dataclass(frozen=True, slots=True)
class OutputRequest:
    """One file that a recording is to write."""

    file_format: str
    """"flv"; more formats come with their muxers."""
    path: Path
    """Absolute. If the name is taken, the file gets a numbered one: `RecordingStarted.path` tells."""


@dataclass(frozen=True, slots=True)
class RecordingRequest:
    """What to record."""

    recording_id: str
    """The caller's; stays the same when the recording goes on in a new feed."""
    sequence: int
    """Number of the feed within the recording, from 1; never used twice."""
    outputs: tuple[OutputRequest, ...]
    """At least one, each of another format; all are written from the one feed."""


class Recording:
    """One feed into a media worker, and what is known of its files."""

    __slots__ = ("feed", "feed_bytes", "open_paths", "queued_bytes", "request", "state", "worker")

    def __init__(self, request: RecordingRequest, feed: socket.socket, worker: int) -> None:
        """
        Begin a recording.

        Args:
            request: what was asked for.
            feed: the server's end; owned by the caller of `Supervisor.start_recording` from now on.
            worker: index of the worker that writes it.
        """
        self.request = request
        self.feed = feed
        """Takes a 13-byte FLV header and then whole FLV tags; non-blocking. Closing it finishes the files."""
        self.worker = worker
        """Index of the worker that writes it."""
        self.state = RecordingState.STARTING
        self.feed_bytes = 0
        """Bytes of the feed, its FLV header included, up to the last tag that is in every file that has not failed."""
        self.queued_bytes = 0
        """Bytes that wait in the worker for the disk, by its last report."""
        self.open_paths: dict[str, Path] = {}
        """Files that are being written, by format."""

    @property
    def key(self) -> tuple[str, int]:
        """What names this feed: recording id and sequence."""
        return self.request.recording_id, self.request.sequence

    @property
    def active(self) -> bool:
        """Whether the worker still has files of it to finish."""
        return self.state in {RecordingState.STARTING, RecordingState.RUNNING}

    def finish(self) -> None:
        """Close the feed: the worker writes what is in it and completes the files. Harmless when called again."""
        self.feed.close()


@dataclass(frozen=True, slots=True)
class RecordingStarted:
    """A file is open."""

    recording: Recording
    file_format: str
    path: Path
    """The name that the file really got."""


@dataclass(frozen=True, slots=True)
class RecordingProgress:
    """More of the feed is in the files; at most five times a second for a recording. The figures are in it."""

    recording: Recording


@dataclass(frozen=True, slots=True)
class RecordingClosed:
    """A file is complete; an empty one was removed (`facts["empty"]`)."""

    recording: Recording
    file_format: str
    facts: FileFacts


@dataclass(frozen=True, slots=True)
class RecordingFailed:
    """A file ended before its feed did: a full disk, a codec that the format cannot carry. Other formats go on."""

    recording: Recording
    file_format: str
    reason: str
    """One line."""
    errno: int
    """The operating system's number of the error (ENOSPC, EROFS, ...); 0 for any other kind."""
    feed_bytes: int
    """Bytes of the feed up to the last tag that is wholly in this file."""
    facts: FileFacts | None
    """What the file has all the same; None when it was never opened."""


@dataclass(frozen=True, slots=True)
class RecordingEnded:
    """The last event of a recording whose worker lived: every file was reported. Let go of the feed."""

    recording: Recording


@dataclass(frozen=True, slots=True)
class WorkerDied:
    """
    A media worker died; a new one is started by itself.

    Each recording is to be continued by `start_recording` with the next sequence number, fed from the key frame at or
    before its `feed_bytes`. That may be done while this event is handled.
    """

    pid: int
    reason: str
    """"killed by signal 9", "exit code 1"."""
    recordings: tuple[Recording, ...]


RecordingEvent: TypeAlias = (
    RecordingStarted | RecordingProgress | RecordingClosed | RecordingFailed | RecordingEnded | WorkerDied
)
