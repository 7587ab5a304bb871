"""
Makes an MP4 whole that was left in fragments: cuts the torn tail, then writes it anew as an ordinary file.

The new file grows beside the old one and takes its name when it is on the disk. Where there is no room for it the
fragmented file stays: it plays, only its index is in pieces. ISO/IEC 14496-12 sections 4.2 and 8.8.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from muxers._pyav import Contents, copy, inspect
from muxers.base import FileFacts, MuxError

SPARE_BYTES = 16 * 1024 * 1024
"""What is left free on the disk besides the copy."""
SUFFIX = ".repairing"

_HEADER = struct.Struct(">I4s")
_LARGE_SIZE = struct.Struct(">Q")


class _Box(NamedTuple):
    kind: bytes
    end: int


class _Layout(NamedTuple):
    is_plain: bool
    """It has its media in one piece, and the index of it."""
    fragments_end: int
    """Where the last whole fragment ends; 0 where there is none."""


def repair_mp4(descriptor: int, path: Path, file_format: str) -> FileFacts | None:
    """
    Make a file whole.

    Args:
        descriptor: of the file, locked, for reading and writing; stays open.
        path: its name.
        file_format: "mp4" or "m4a", for the facts.

    Returns:
        What is in it, without what only its writer knew (the publisher's time, gaps, jumps); None when there is no
        whole fragment.

    Raises:
        MuxError: FFmpeg cannot read it.
        OSError: the disk fails; the file is as good as before.
    """
    layout = _read_layout(descriptor)
    if layout.is_plain:
        return facts_of(path, file_format, inspect(path))
    if not layout.fragments_end:
        return None
    if layout.fragments_end < os.fstat(descriptor).st_size:
        os.ftruncate(descriptor, layout.fragments_end)
        os.fsync(descriptor)
    if _has_room(path, layout.fragments_end):
        try:
            return facts_of(path, file_format, rewrite(path, {}))
        except (OSError, MuxError):
            pass  # what could not be copied can still be played
    return facts_of(path, file_format, inspect(path))


def rewrite(path: Path, options: Mapping[str, str]) -> Contents:
    """
    Replace a file by an ordinary MP4 of the same frames.

    Args:
        path: is there, complete, until its successor is on the disk.
        options: of FFmpeg's MP4 muxer.

    Raises:
        MuxError: FFmpeg cannot read it; nothing has changed.
        OSError: the disk did not take it; nothing has changed.
    """
    target = path.with_name(path.name + SUFFIX)
    try:
        contents = copy(path, target, options)
        _synchronise(target, os.O_WRONLY)
        target.replace(path)
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    _synchronise(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    return contents


def facts_of(path: Path, file_format: str, contents: Contents) -> FileFacts:
    """
    Make the facts of a repaired file.

    Args:
        path: of the file.
        file_format: a key of `muxers.formats.FORMATS`.
        contents: what was read in it.
    """
    return FileFacts(
        path=str(path),
        file_format=file_format,
        size_bytes=path.stat().st_size,
        duration_ms=contents.duration_ms,
        start_ms=0,
        video_frames=contents.video_frames,
        audio_frames=contents.audio_frames,
        key_frames=contents.key_frames,
        tracks=contents.tracks,
        gaps=0,
        gap_ms=0,
        jumps=0,
        left_out=0,
        empty=False,
    )


def _read_layout(descriptor: int) -> _Layout:
    fragments_end, moof, has_media, has_index = 0, False, False, False
    for box in _whole_boxes(descriptor):
        if box.kind == b"mdat":
            if moof:
                fragments_end = box.end
            else:
                has_media = True
        has_index = has_index or box.kind == b"moov"
        moof = box.kind == b"moof"
    return _Layout(has_media and has_index, fragments_end)


def _whole_boxes(descriptor: int) -> Iterator[_Box]:
    position, size = 0, os.fstat(descriptor).st_size
    while True:
        head = os.pread(descriptor, _HEADER.size + _LARGE_SIZE.size, position)
        if len(head) < _HEADER.size:
            return
        length, kind = _HEADER.unpack_from(head)
        if length == 1 and len(head) == _HEADER.size + _LARGE_SIZE.size:
            (length,) = _LARGE_SIZE.unpack_from(head, _HEADER.size)
        if length < _HEADER.size or position + length > size:
            return
        position += length
        yield _Box(kind, position)


def _has_room(path: Path, size: int) -> bool:
    disk = os.statvfs(path.parent)
    return disk.f_bavail * disk.f_frsize >= size + SPARE_BYTES


def _synchronise(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
