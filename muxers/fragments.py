"""
Fragmented MP4, taken apart into its initialisation section and its fragments, each one a `moof` with its `mdat`.

Reads only what our own muxer writes and a crash leaves of it: no base offsets, one `trun` or more in each `traf`, and
defaults in `tfhd`. ISO/IEC 14496-12 sections 8.8.4 to 8.8.12; RFC 8216 section 3.3.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from muxers.pieces import Cut, Part, Piece, StreamError

_HEADER_BYTES = 8
_LARGE_HEADER_BYTES = 16
_LARGEST_HEAD_BYTES = 1 << 24
_LARGEST_BOX_BYTES = 1 << 32
"""Half a second of the fastest stream is far below; more is no length but garbage."""

_BASE_DATA_OFFSET, _DESCRIPTION, _DEFAULT_DURATION, _DEFAULT_SIZE, _DEFAULT_FLAGS = 0x1, 0x2, 0x8, 0x10, 0x20
_DATA_OFFSET, _FIRST_FLAGS, _DURATION, _SIZE, _FLAGS, _COMPOSITION = 0x1, 0x4, 0x100, 0x200, 0x400, 0x800
_NOT_SYNC = 0x10000


class Box(NamedTuple):
    """Where a box lies."""

    kind: bytes
    """Its four-character code."""
    start: int
    """Offset of its header."""
    body: int
    """Offset of what it holds."""
    end: int
    """Offset behind it."""


class TrackHead(NamedTuple):
    """What the initialisation section says of a track."""

    kind: str
    """"video" or "audio"."""
    timescale: int
    """Units a second of its times."""


class TrackRun(NamedTuple):
    """One track's part of a fragment."""

    track_id: int
    start: int
    """Decoding time of its first frame, in the track's timescale."""
    last: int
    """Decoding time of its last frame."""
    end: int
    """Where that one ends."""
    frames: int
    key_frames: int
    at_key: bool
    """Whether the first frame is a key frame."""


class Fragment(NamedTuple):
    """What the head of a fragment says."""

    number: int
    """From 1, in its container."""
    runs: tuple[TrackRun, ...]
    """Of the tracks that have frames in it."""


def walk(data: bytes | bytearray, start: int = 0, end: int | None = None) -> Iterator[Box]:
    """
    Go through the boxes that lie whole between two offsets.

    Raises:
        StreamError: a length is impossible.
    """
    end = len(data) if end is None else end
    while (box := _box_at(data, start, end)) is not None and box.end <= end:
        yield box
        start = box.end


def read_tracks(moov: bytes) -> dict[int, TrackHead]:
    """
    Read the heads of the tracks.

    Args:
        moov: bytes that hold the `moov` box among others.

    Returns:
        By the track's number in the file.

    Raises:
        StreamError: it is no usable initialisation section.
    """
    tracks = {}
    try:
        for trak in _find(moov, b"moov", b"trak"):
            (tkhd,) = _children(moov, trak, b"tkhd")
            (mdia,) = _children(moov, trak, b"mdia")
            (mdhd,) = _children(moov, mdia, b"mdhd")
            (hdlr,) = _children(moov, mdia, b"hdlr")
            # Version 1 has times of 64 bits before the number and the timescale.
            (track_id,) = struct.unpack_from(">I", moov, tkhd.body + (20 if moov[tkhd.body] else 12))
            (timescale,) = struct.unpack_from(">I", moov, mdhd.body + (20 if moov[mdhd.body] else 12))
            kind = "video" if moov[hdlr.body + 8 : hdlr.body + 12] == b"vide" else "audio"
            tracks[track_id] = TrackHead(kind, timescale)
    except (ValueError, struct.error, IndexError):
        raise StreamError("the initialisation section cannot be read") from None
    if not tracks or not all(track.timescale for track in tracks.values()):
        raise StreamError("the initialisation section has no tracks")
    return tracks


def read_fragment(moof: bytes) -> Fragment:
    """
    Read what a fragment holds.

    Args:
        moof: bytes that hold the `moof` box.

    Returns:
        Its number and its tracks.

    Raises:
        StreamError: it cannot be read.
    """
    try:
        (mfhd,) = _find(moof, b"moof", b"mfhd")
        (number,) = struct.unpack_from(">I", moof, mfhd.body + 4)
        runs = tuple(_read_track_run(moof, traf) for traf in _find(moof, b"moof", b"traf"))
    except (ValueError, struct.error, IndexError):
        raise StreamError("a fragment's head cannot be read") from None
    return Fragment(number, tuple(run for run in runs if run.frames))


def starts_run(data: bytes) -> bool:
    """
    Say whether a segment begins with the first fragment of a container.

    Raises:
        StreamError: it cannot be read.
    """
    return read_fragment(data[: next((box.end for box in walk(data)), 0)]).number == 1


def whole_bytes(data: bytes) -> int:
    """Say how many bytes of a growing segment are whole fragments, up to the first place that cannot be read."""
    whole = 0
    try:
        for box in walk(data):
            if box.kind == b"mdat":
                whole = box.end
    except StreamError:
        pass
    return whole


class FragmentSplitter:
    """Takes fragmented MP4 apart; a track's index is its number in the file less one."""

    def __init__(self, init: bytes | None = None) -> None:
        """
        Start before the first byte.

        Args:
            init: the initialisation section, for bytes that begin behind it.
        """
        self._buffer = bytearray()
        self._cuts: deque[Cut] = deque()
        self._tracks = {} if init is None else read_tracks(init)
        self._leading = 0
        self.init = init
        """`ftyp` and `moov`, once they are whole."""

    @property
    def kinds(self) -> Mapping[int, str]:
        """By the index of each track: "video" or "audio"."""
        return {track_id - 1: track.kind for track_id, track in self._tracks.items()}

    @property
    def rest_bytes(self) -> int:
        """How many of the bytes fed belong to no whole fragment yet."""
        return len(self._buffer)

    def plan(self, cut: Cut) -> None:
        """Begin a segment with the first fragment that has the leading track at or after that time."""
        self._cuts.append(cut)

    def feed(self, data: bytes) -> list[Piece]:
        """
        Take the next bytes.

        Returns:
            The fragments that became whole.

        Raises:
            StreamError: the bytes are no fragmented MP4.
        """
        self._buffer += data
        pieces = []
        # `_leading` is where the boxes end that wait for the one that completes them.
        while (box := _box_at(self._buffer, self._leading, len(self._buffer))) and box.end <= len(self._buffer):
            self._leading = box.end
            if box.kind == b"moov":
                self.init = self._take()
                self._tracks = read_tracks(self.init)
            elif box.kind == b"mdat":
                pieces.append(self._piece(self._take()))
        return pieces

    def _take(self) -> bytes:
        data = bytes(self._buffer[: self._leading])
        del self._buffer[: self._leading]
        self._leading = 0
        return data

    def _piece(self, data: bytes) -> Piece:
        fragment = read_fragment(data)
        parts, starts, end_ms = {}, {}, 0
        video: TrackRun | None = None
        for run in fragment.runs:
            track = self._tracks.get(run.track_id)
            if track is None:
                raise StreamError("a fragment of an unknown track")
            starts[run.track_id - 1] = _ms(run.start, track)
            parts[run.track_id - 1] = Part(run.frames, _ms(run.last, track))
            end_ms = max(end_ms, _ms(run.end, track))
            video = run if track.kind == "video" and video is None else video
        if not parts:
            raise StreamError("a fragment without frames")
        cut, starts_run = self._reached(starts), fragment.number == 1
        leads = starts.get(cut.track) if cut is not None and cut.track is not None else None
        return Piece(
            data=data,
            starts_run=starts_run,
            starts_segment=starts_run or cut is not None,
            start_ms=min(starts.values()) if leads is None else leads,
            end_ms=end_ms,
            parts=parts,
            video_at_key=None if video is None else video.at_key,
            key_frames=0 if video is None else video.key_frames,
        )

    def _reached(self, starts: Mapping[int, int]) -> Cut | None:
        """The last of the planned cuts that lie before these tracks' times; it and those before it are done."""
        reached = None
        while self._cuts:
            cut = self._cuts[0]
            times = starts.values() if cut.track is None else [starts.get(cut.track, cut.time_ms - 1)]
            if max(times) < cut.time_ms:
                break
            reached = self._cuts.popleft()
        return reached


def _ms(units: int, track: TrackHead) -> int:
    return (units * 1000 + track.timescale // 2) // track.timescale


def _box_at(data: bytes | bytearray, start: int, end: int) -> Box | None:
    """The box whose header lies whole before `end`; the box itself may not."""
    if start + _HEADER_BYTES > end:
        return None
    size, kind = struct.unpack_from(">I4s", data, start)
    header = _HEADER_BYTES
    if size == 1:
        header = _LARGE_HEADER_BYTES
        if start + header > end:
            return None
        (size,) = struct.unpack_from(">Q", data, start + _HEADER_BYTES)
    if size < header or size > (_LARGEST_BOX_BYTES if kind == b"mdat" else _LARGEST_HEAD_BYTES):
        raise StreamError(f"a box {kind!r} of {size} bytes")
    return Box(kind, start, start + header, start + size)


def _children(data: bytes, parent: Box, kind: bytes) -> list[Box]:
    return [box for box in walk(data, parent.body, parent.end) if box.kind == kind]


def _find(data: bytes, parent: bytes, kind: bytes) -> Iterator[Box]:
    for box in walk(data):
        if box.kind == parent:
            yield from _children(data, box, kind)


def _read_track_run(data: bytes, traf: Box) -> TrackRun:
    (tfhd,) = _children(data, traf, b"tfhd")
    (tfdt,) = _children(data, traf, b"tfdt")
    track_id, default_duration, default_flags = _read_tfhd(data, tfhd.body)
    (start,) = struct.unpack_from(">Q" if data[tfdt.body] else ">I", data, tfdt.body + 4)
    last = end = start
    frames = key_frames = 0
    at_key = False
    for trun in _children(data, traf, b"trun"):
        for sample_duration, flags in _read_trun(data, trun, default_duration, default_flags):
            is_key = not flags & _NOT_SYNC
            at_key = is_key if not frames else at_key
            last, end = end, end + sample_duration
            frames += 1
            key_frames += is_key
    return TrackRun(track_id, start, last, end, frames, key_frames, at_key)


def _read_tfhd(data: bytes, body: int) -> tuple[int, int, int]:
    """Track number, and the duration and flags of frames that have none of their own."""
    flags, track_id = struct.unpack_from(">II", data, body)
    offset = body + 8 + 8 * bool(flags & _BASE_DATA_OFFSET) + 4 * bool(flags & _DESCRIPTION)
    values = {}
    for flag in (_DEFAULT_DURATION, _DEFAULT_SIZE, _DEFAULT_FLAGS):
        if flags & flag:
            (values[flag],) = struct.unpack_from(">I", data, offset)
            offset += 4
    return track_id, values.get(_DEFAULT_DURATION, 0), values.get(_DEFAULT_FLAGS, 0)


def _read_trun(data: bytes, trun: Box, duration: int, flags: int) -> Iterator[tuple[int, int]]:
    """Duration and flags of each frame."""
    present, count = struct.unpack_from(">II", data, trun.body)
    offset = trun.body + 8 + 4 * bool(present & _DATA_OFFSET)
    first_flags = flags
    if present & _FIRST_FLAGS:
        (first_flags,) = struct.unpack_from(">I", data, offset)
        offset += 4
    fields = [flag for flag in (_DURATION, _SIZE, _FLAGS, _COMPOSITION) if present & flag]
    if offset + 4 * len(fields) * count > trun.end or count > trun.end:
        raise StreamError("a run of frames is longer than its box")
    for index in range(count):
        values = dict(zip(fields, struct.unpack_from(f">{len(fields)}I", data, offset), strict=True))
        offset += 4 * len(fields)
        yield values.get(_DURATION, duration), values.get(_FLAGS, flags if index else first_flags)
