"""
Makes interrupted recordings whole, whatever their format.

Rule: only who holds a file's lock changes it, so a repair never meets a writer, and one that is itself interrupted can
be run again: at every moment the file holds all that it held.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from muxers.base import FileFacts, MuxError
from muxers.flv_repair import repair_flv
from muxers.mp3_repair import repair_mp3


def repair(path: Path, file_format: str) -> FileFacts | None:
    """
    Make a recording whole; harmless for one that is.

    Args:
        path: of the file, or of an HLS recording's playlist.
        file_format: "flv", "mp4", "m4a", "mp3" or "hls".

    Returns:
        What is in it; None when nothing was, and it is removed.

    Raises:
        BlockingIOError: somebody is writing it.
        FileNotFoundError: there is none.
        MuxError: it cannot be read, or nobody knows the format.
        OSError: the disk fails.
    """
    if file_format == "hls":
        from muxers.hls import repair as repair_hls  # noqa: PLC0415 - PyAV

        return repair_hls(path)
    with _locked(path) as descriptor:
        facts = _repair_file(descriptor, path, file_format)
        if facts is None:
            path.unlink()
        return facts


def faststart(path: Path) -> None:
    """
    Move the index of a finished MP4 to its front, so that it plays while it is loaded.

    Raises:
        BlockingIOError: somebody is writing it.
        MuxError: it cannot be read; nothing has changed.
        OSError: the disk has no room for a second one; nothing has changed.
    """
    from muxers.mp4_repair import rewrite  # noqa: PLC0415 - PyAV

    with _locked(path):
        rewrite(path, {"movflags": "faststart"})


def _repair_file(descriptor: int, path: Path, file_format: str) -> FileFacts | None:
    if file_format == "flv":
        return repair_flv(descriptor, path)
    if file_format == "mp3":
        return repair_mp3(descriptor, path)
    if file_format not in ("mp4", "m4a"):
        raise MuxError(f"nobody repairs {file_format}")
    from muxers.mp4_repair import SUFFIX, repair_mp4  # noqa: PLC0415 - PyAV

    path.with_name(path.name + SUFFIX).unlink(missing_ok=True)
    return repair_mp4(descriptor, path, file_format)


@contextmanager
def _locked(path: Path) -> Iterator[int]:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Another repair may have put a new file in this one's place before the lock was free.
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                yield descriptor
                return
        finally:
            os.close(descriptor)
