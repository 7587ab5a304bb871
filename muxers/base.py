"""
What a muxer is: FLV tags in, a file (or a folder of segments) out.

Rule: a tag counts as confirmed only when it is with the operating system in a form that a reader can use, so that
whatever feeds a muxer can continue from there after a crash. Muxers run in the writer threads of media workers and
know neither asyncio nor the server; they may block.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from rtmpd.wire.flv import FlvTag


class MuxError(Exception):
    """
    What the format cannot carry, or a call that comes too late.

    Errors of the disk are plain OSErrors. After either the muxer takes no more tags; `close` completes what it has.
    """


@dataclass(frozen=True, slots=True)
class TrackFacts:
    """One track with at least one frame."""

    kind: str
    """"video" or "audio"."""
    track_id: int
    """0 for the default track, others by Enhanced RTMP's multitrack."""
    codec: str
    """As `rtmpd.media.tags` names it: "avc1", "mp4a", ...; empty when it cannot be told."""
    width: int = 0
    """Pixels; 0 when unknown, or audio."""
    height: int = 0
    sample_rate: int = 0
    """Hz; 0 when unknown, or video."""
    channels: int = 0


@dataclass(frozen=True, slots=True)
class FileFacts:
    """What is known of a file, complete once it is closed."""

    path: str
    file_format: str
    size_bytes: int
    duration_ms: int
    """From the first frame to the end of the last one."""
    start_ms: int
    """The publisher's time of the first frame, unwrapped; the file's own time begins at 0."""
    video_frames: int
    audio_frames: int
    key_frames: int
    tracks: tuple[TrackFacts, ...]
    gaps: int
    """Places where the feed had lost media before it reached the muxer ("onGap")."""
    gap_ms: int
    """Media time lost in them."""
    jumps: int
    """Leaps of the publisher's timestamps by more than 5 s, either way."""
    left_out: int
    """Frames that the format could not carry where they came; other formats of the recording have them."""
    empty: bool
    """No frame ever came; there is no file any more."""


class Muxer(Protocol):
    """One output being written; not thread-safe."""

    @property
    def confirmed_tags(self) -> int:
        """How many of the tags handed over, from the first on, are readable in the output after a crash."""

    def open(self) -> None:
        """
        Create the output and lock it.

        Raises:
            FileExistsError: the path is taken; nothing was touched.
            OSError: it cannot be created.
        """

    def write(self, tags: Sequence[FlvTag]) -> int:
        """
        Append tags, in the order of the feed.

        Returns:
            How many it took. Fewer than all means that the rest belongs into a new output, as this one cannot go on: a
            changed codec configuration, a track that it was not made for. The first tag left is one to start at: a key
            frame of the default video track, or any audio frame where there is no video. This output only wants to be
            closed; whoever made it gives the next one the headers in force, then the rest.

        Raises:
            MuxError: the format cannot carry this, or an earlier call failed.
            OSError: the disk did not take it; `confirmed_tags` says what it took.
        """

    def flush(self) -> None:
        """
        Confirm as much as the format can without closing.

        Raises:
            OSError: the disk did not take it.
        """

    def facts(self) -> FileFacts:
        """Say what the output holds so far."""

    def close(self) -> FileFacts:
        """
        Complete the output; harmless when called again. An output without frames is removed.

        Raises:
            OSError: the last writes failed; the output is closed all the same, and holds what was confirmed.
        """


def create_file(path: Path) -> int:
    """
    Create a file that nobody has, locked for as long as it stays open.

    The lock tells a repair, in whatever process, that the file is still being written.

    Args:
        path: its folder exists.

    Returns:
        A descriptor for writing.

    Raises:
        FileExistsError: the name is taken.
        OSError: it cannot be created or locked.
    """
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def require_linked(descriptor: int, path: Path) -> None:
    """
    Make sure that what is being written still has a name.

    Args:
        descriptor: of the open file or folder.
        path: for the message.

    Raises:
        FileNotFoundError: it was removed; what is written to it is lost when it is closed.
    """
    if not os.fstat(descriptor).st_nlink:
        raise FileNotFoundError(errno.ENOENT, "removed while it was being recorded", str(path))
