"""
Cuts an MP3 file behind its last whole frame.

ISO/IEC 11172-3 section 2.4.1.3 and, for the low rates, ISO/IEC 13818-3; MPEG-2.5 halves those once more.
"""

from __future__ import annotations

import mmap
import os
from pathlib import Path
from typing import NamedTuple

from muxers.base import FileFacts, TrackFacts

_KBITS_1 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_KBITS_2 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_RATES = (44_100, 48_000, 32_000)
_RATE_DIVISORS = {3: 1, 2: 2, 0: 4}
"""By version: MPEG-1, MPEG-2, MPEG-2.5."""
_LAYER_III = 1
_MONO = 3
HEADER_BYTES = 4
"""Of a frame's header."""


class Mp3Frame(NamedTuple):
    """What a frame's header says."""

    size: int
    """Bytes with the header."""
    samples: int
    sample_rate: int
    channels: int


def read_header(data: bytes) -> Mp3Frame | None:
    """
    Read the header of a Layer III frame.

    Args:
        data: its first four bytes, or more.

    Returns:
        None for anything else, and for free format, which says no length.
    """
    if len(data) < HEADER_BYTES or data[0] != 0xFF or data[1] & 0xE0 != 0xE0:
        return None
    version, layer = data[1] >> 3 & 3, data[1] >> 1 & 3
    bit_rate, rate = data[2] >> 4, data[2] >> 2 & 3
    divisor = _RATE_DIVISORS.get(version)
    if divisor is None or layer != _LAYER_III or not 0 < bit_rate < 15 or rate == 3:
        return None
    samples = 1152 if version == 3 else 576
    sample_rate = _RATES[rate] // divisor
    kbits = (_KBITS_1 if version == 3 else _KBITS_2)[bit_rate]
    size = samples * kbits * 125 // sample_rate + (data[2] >> 1 & 1)
    return Mp3Frame(size, samples, sample_rate, 1 if data[3] >> 6 == _MONO else 2)


def repair_mp3(descriptor: int, path: Path) -> FileFacts | None:
    """
    Cut off what is behind the last whole frame; what stands between frames stays.

    Args:
        descriptor: of the file, locked, for reading and writing; stays open.
        path: its name.

    Returns:
        What is in it; None when there is no frame.

    Raises:
        OSError: the disk fails.
    """
    size = os.fstat(descriptor).st_size
    if not size:
        return None
    frames, end, duration_s, last = 0, 0, 0.0, None
    with mmap.mmap(descriptor, size, access=mmap.ACCESS_READ) as data:
        position = 0
        while 0 <= position <= size - HEADER_BYTES:
            frame = read_header(data[position : position + HEADER_BYTES])
            if frame is None:
                position = data.find(b"\xff", position + 1)
                continue
            position += frame.size
            if position <= size:
                frames, end, last = frames + 1, position, frame
                duration_s += frame.samples / frame.sample_rate
    if last is None:
        return None
    if end < size:
        os.ftruncate(descriptor, end)
        os.fsync(descriptor)
    return FileFacts(
        path=str(path),
        file_format="mp3",
        size_bytes=end,
        duration_ms=round(duration_s * 1000),
        start_ms=0,
        video_frames=0,
        audio_frames=frames,
        key_frames=0,
        tracks=(TrackFacts("audio", 0, ".mp3", sample_rate=last.sample_rate, channels=last.channels),),
        gaps=0,
        gap_ms=0,
        jumps=0,
        left_out=0,
        empty=False,
    )
