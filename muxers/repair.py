"""
Makes interrupted recordings whole, whatever their format.

Rule: only who holds a file's lock changes it, so a repair never meets a writer, and one that is itself interrupted can
be run again: at every moment the file holds all that it held. A file without a frame is removed where a muxer of ours
has begun it, and never where it is somebody else's.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from muxers.base import FileFacts, MuxError
from muxers.flv_repair import repair_flv
from muxers.formats import FORMATS
from muxers.mp3_repair import HEADER_BYTES as MP3_HEADER_BYTES
from muxers.mp3_repair import read_header, repair_mp3

_HEAD_BYTES = 64
_FLV = b"FLV\x01"
_TS = bytes.fromhex("47401110")
"""The packet of the service description, which comes first."""


def repair(path: Path, file_format: str) -> FileFacts | None:
    """
    Make a recording whole; harmless for one that is.

    Args:
        path: of the file, or of an HLS recording's playlist.
        file_format: "flv", "mp4", "m4a", "mp3", "ts" or "hls".

    Returns:
        What is in it; None when nothing was, and it is removed.

    Raises:
        BlockingIOError: somebody is writing it.
        FileNotFoundError: there is none.
        MuxError: it cannot be read, is not what it is called, or nobody knows the format.
        OSError: the disk fails.
    """
    if file_format == "hls":
        from muxers.hls import repair as repair_hls  # noqa: PLC0415 - PyAV

        return repair_hls(path)
    with _locked(path) as descriptor:
        facts = _repair_file(descriptor, path, file_format)
        if facts is None:
            if not _begins_like_ours(os.pread(descriptor, _HEAD_BYTES, 0), file_format):
                raise MuxError(f"no {FORMATS[file_format].title} of ours")
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
    if file_format == "ts":
        from muxers.ts_repair import repair_ts  # noqa: PLC0415 - PyAV

        return repair_ts(descriptor, path)
    if file_format not in ("mp4", "m4a"):
        raise MuxError(f"nobody repairs {file_format}")
    from muxers.mp4_repair import SUFFIX, repair_mp4  # noqa: PLC0415 - PyAV

    path.with_name(path.name + SUFFIX).unlink(missing_ok=True)
    return repair_mp4(descriptor, path, file_format)


def _begins_like_ours(head: bytes, file_format: str) -> bool:
    """Say whether a muxer may have left a file that has no frame: it wrote nothing, or begins as all its files do."""
    if file_format == "flv":
        return head.startswith(_FLV[: len(head)])
    if file_format == "mp3":
        is_cut = len(head) < MP3_HEADER_BYTES
        return head.startswith(b"\xff"[: len(head)]) if is_cut else read_header(head) is not None
    if file_format == "ts":
        return head.startswith(_TS[: len(head)])
    # The boxes in which FFmpeg's hybrid mode keeps room for the final header; nobody else leaves two.
    size = int.from_bytes(head[3:4])
    begin = b"\0\0\0" + head[3:4] + b"ftyp" + head[8:size] + b"\0\0\0\x08free" + head[size + 8 : size + 12] + b"free"
    return head.startswith(begin[: len(head)])


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
