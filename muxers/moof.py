"""
One fragment of an MP4: a `moof` that describes the frames of each track, and the `mdat` that holds them.

Written by us, because a part must end exactly where we say and as soon as it can: FFmpeg holds the last frame of each
track until the next one comes, and ends fragments by a rule of its own. What needs to know a codec, the initialisation
section, is FFmpeg's (`init_section`).

ISO/IEC 14496-12 sections 8.8.4 to 8.8.8, 8.8.12 and 8.1.1; byte stream format of MSE: offsets count from the `moof`.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

_BOX = struct.Struct(">I4s")
_BOX_64 = struct.Struct(">I4sQ")
_MFHD = struct.Struct(">I4sII")
_TFHD = struct.Struct(">I4sIII")
_TFDT = struct.Struct(">I4sIQ")
_TRUN = struct.Struct(">I4sIII")
_LONGEST_SMALL_BOX = 0xFFFF_FFFF

_DEFAULT_FLAGS, _BASE_IS_MOOF = 0x20, 0x20000
_DATA_OFFSET, _DURATION, _SIZE, _FLAGS, _COMPOSITION = 0x1, 0x100, 0x200, 0x400, 0x800
_VERSION_1 = 1 << 24
"""Of a `tfdt`: times of 64 bits. Of a `trun`: signed composition offsets, as frames may be shown before their time."""
_SOUND_RUN = _DATA_OFFSET | _DURATION | _SIZE
_PICTURE_RUN = _VERSION_1 | _DATA_OFFSET | _DURATION | _SIZE | _FLAGS | _COMPOSITION
_INDEPENDENT = 0x0200_0000
"""Depends on no other frame; decoding can start here."""
_DEPENDENT = 0x0101_0000
"""Depends on others; decoding cannot start here."""
_MASK = 0xFFFF_FFFF


class Frame(NamedTuple):
    """A frame as MP4 has it."""

    payload: bytes
    duration: int
    """To the next frame of its track, in the track's timescale; 0 .. 2**32 - 1."""
    composition: int
    """Presentation time minus decoding time, in the same; signed, of 32 bits."""
    is_key: bool


class TrackFrames(NamedTuple):
    """The frames of one track in a fragment."""

    track_id: int
    """As the initialisation section has it."""
    is_video: bool
    start: int
    """Decoding time of the first one, in the track's timescale; 0 .. 2**64 - 1."""
    frames: Sequence[Frame]
    """At least one."""


def encode_fragment(number: int, tracks: Sequence[TrackFrames]) -> bytes:
    """
    Write a fragment.

    Args:
        number: of the fragment, from 1, rising by 1 within a container.
        tracks: those that have frames in it; their payloads follow each other in this order.

    Returns:
        `moof` and `mdat`.
    """
    moof_bytes = _BOX.size + _MFHD.size + sum(_traf_bytes(track) for track in tracks)
    payload_bytes = sum(len(frame.payload) for track in tracks for frame in track.frames)
    mdat_head = _mdat_head(payload_bytes)
    offset = moof_bytes + len(mdat_head)
    boxes = [_BOX.pack(moof_bytes, b"moof"), _MFHD.pack(_MFHD.size, b"mfhd", 0, number & _MASK)]
    for track in tracks:
        boxes.append(_encode_traf(track, offset))
        offset += sum(len(frame.payload) for frame in track.frames)
    boxes.append(mdat_head)
    boxes += [frame.payload for track in tracks for frame in track.frames]
    return b"".join(boxes)


def _mdat_head(payload_bytes: int) -> bytes:
    size = _BOX.size + payload_bytes
    if size <= _LONGEST_SMALL_BOX:
        return _BOX.pack(size, b"mdat")
    return _BOX_64.pack(1, b"mdat", _BOX_64.size + payload_bytes)


def _traf_bytes(track: TrackFrames) -> int:
    return _BOX.size + _TFHD.size + _TFDT.size + _trun_bytes(track)


def _trun_bytes(track: TrackFrames) -> int:
    return _TRUN.size + (16 if track.is_video else 8) * len(track.frames)


def _encode_traf(track: TrackFrames, data_offset: int) -> bytes:
    default_flags = _DEPENDENT if track.is_video else _INDEPENDENT
    fields: list[int] = []
    for payload, duration, composition, is_key in track.frames:
        if track.is_video:
            flags = _INDEPENDENT if is_key else _DEPENDENT
            fields += (duration, len(payload), flags, composition & _MASK)
        else:
            fields += (duration, len(payload))
    return b"".join(
        (
            _BOX.pack(_traf_bytes(track), b"traf"),
            _TFHD.pack(_TFHD.size, b"tfhd", _BASE_IS_MOOF | _DEFAULT_FLAGS, track.track_id, default_flags),
            _TFDT.pack(_TFDT.size, b"tfdt", _VERSION_1, track.start),
            _TRUN.pack(
                _trun_bytes(track),
                b"trun",
                _PICTURE_RUN if track.is_video else _SOUND_RUN,
                len(track.frames),
                data_offset,
            ),
            struct.pack(f">{len(fields)}I", *fields),
        )
    )
