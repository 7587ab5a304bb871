"""
Cuts an MPEG-TS file behind its last whole frame.

Packets follow each other without anything around them, so what is in front of the cut is as good as it ever was.
"""

from __future__ import annotations

import mmap
import os
from pathlib import Path

from muxers._pyav import inspect
from muxers.base import FileFacts
from muxers.mp4_repair import facts_of
from muxers.transport_stream import PACKET_BYTES, read_start, whole_bytes


def repair_ts(descriptor: int, path: Path) -> FileFacts | None:
    """
    Make a file whole.

    Args:
        descriptor: of the file, locked, for reading and writing; stays open.
        path: its name.

    Returns:
        What is in it, without what only its writer knew (the publisher's time, gaps, jumps); None when there is no
        whole frame.

    Raises:
        MuxError: FFmpeg cannot read it.
        OSError: the disk fails.
    """
    size = os.fstat(descriptor).st_size
    if not size:
        return None
    with mmap.mmap(descriptor, size, access=mmap.ACCESS_READ) as data:
        whole = whole_bytes(data)
        if not _has_frame(data, whole):
            return None  # before FFmpeg is asked, which takes tables alone for an error
    if whole < size:
        os.ftruncate(descriptor, whole)
        os.fsync(descriptor)
    return facts_of(path, "ts", inspect(path))


def _has_frame(data: mmap.mmap, size: int) -> bool:
    offsets = range(0, size, PACKET_BYTES)
    return any(data[at + 1] & 0x40 and read_start(data[at : at + PACKET_BYTES]) for at in offsets)
