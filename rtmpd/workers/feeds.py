"""
A feed as the server knows it: what was asked for, what the worker has confirmed, and the events that tell.

A recording is fed to a worker through one `Feed` at a time. A feed's end is final: what goes on after a worker's death
is a new one with the same recording id and the next sequence number.
"""

from __future__ import annotations

import enum
import socket
from dataclasses import dataclass
from typing import TypeAlias

from rtmpd.workers.protocol import FileFacts, Output


class FeedState(enum.Enum):
    """Where a feed is; the last two are final."""

    STARTING = "starting"
    """Handed to a worker that has not opened a file yet."""
    RUNNING = "running"
    """At least one file is open, or was."""
    ENDED = "ended"
    """Every file is closed, or failed."""
    LOST = "lost"
    """The worker died; the files open as they are, up to what it had written."""


@dataclass(frozen=True, slots=True)
class FeedRequest:
    """What to record."""

    recording_id: str
    """The caller's; stays the same when the recording goes on in a new feed."""
    sequence: int
    """Number of the feed within the recording, from 1; never used twice."""
    outputs: tuple[Output, ...]
    """At least one, each of another format; all are written from the one feed."""
    memory_bytes: int = 0
    """What the worker may come to need for it besides its queue: an open MP4 keeps its index in memory."""


class Feed:
    """One feed into a media worker, and what is known of its files."""

    __slots__ = ("feed_bytes", "open_files", "queued_bytes", "request", "socket", "state", "worker")

    def __init__(self, request: FeedRequest, feed: socket.socket, worker: int) -> None:
        """
        Begin.

        Args:
            request: what was asked for.
            feed: the server's end; owned by the caller of `Supervisor.start` from now on.
            worker: index of the worker that writes it.
        """
        self.request = request
        self.socket = feed
        """Takes a 13-byte FLV header and then whole FLV tags; non-blocking. Closing it finishes the files."""
        self.worker = worker
        """Index of the worker that writes it."""
        self.state = FeedState.STARTING
        self.feed_bytes = 0
        """Bytes of the feed, its FLV header included, up to the last tag that is in every file that is open."""
        self.queued_bytes = 0
        """Bytes that wait in the worker for the disk, by its last report."""
        self.open_files: dict[str, str] = {}
        """File ids of what is being written, by format; the newest of each."""

    @property
    def key(self) -> tuple[str, int]:
        """What names this feed: recording id and sequence."""
        return self.request.recording_id, self.request.sequence

    @property
    def active(self) -> bool:
        """Whether the worker still has files of it to finish."""
        return self.state in {FeedState.STARTING, FeedState.RUNNING}

    def finish(self) -> None:
        """Close the feed: the worker writes what is in it and completes the files. Harmless when called again."""
        self.socket.close()


@dataclass(frozen=True, slots=True)
class FileOpened:
    """A file is open: its format needs a grant for the one after it."""

    feed: Feed
    file_format: str
    file_id: str


@dataclass(frozen=True, slots=True)
class FeedProgress:
    """More of the feed is in the files; at most five times a second for a feed. The figures are in it."""

    feed: Feed


@dataclass(frozen=True, slots=True)
class FileClosed:
    """A file is complete; an empty one was removed (`facts["empty"]`)."""

    feed: Feed
    file_format: str
    file_id: str
    facts: FileFacts


@dataclass(frozen=True, slots=True)
class FileFailed:
    """A file ended before its feed did: a full disk, a codec that the format cannot carry. Other formats go on."""

    feed: Feed
    file_format: str
    file_id: str
    reason: str
    """One line."""
    errno: int
    """The operating system's number of the error (ENOSPC, EROFS, ...); 0 for any other kind."""
    facts: FileFacts | None
    """What the file has all the same; None when it was never opened."""


@dataclass(frozen=True, slots=True)
class FeedEnded:
    """The last event of a feed whose worker lived: every file was reported. Let go of the socket."""

    feed: Feed


@dataclass(frozen=True, slots=True)
class WorkerDied:
    """
    A media worker died; a new one is started by itself.

    Each recording is to be continued by `Supervisor.start` with the next sequence number, fed from the key frame at
    or before its `feed_bytes`. That may be done while this event is handled.
    """

    pid: int
    reason: str
    """"killed by signal 9", "exit code 1"."""
    feeds: tuple[Feed, ...]


FeedEvent: TypeAlias = FileOpened | FeedProgress | FileClosed | FileFailed | FeedEnded | WorkerDied
