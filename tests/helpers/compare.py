"""
Whether a recording holds what was sent: nothing lost, doubled, altered or moved, whatever its format.

FLV, MP4 and HLS with fMP4 carry the payloads of FLV as they are, so their packets are compared; MPEG-TS spells pictures
in another way, so what a decoder makes of them is, and puts a header before each AAC frame, which is taken off. Sound is
not decoded: noise that an AAC decoder makes up depends on where it began. Times are compared from the first packet of the recording, on one line
for all tracks: tracks that have moved against each other differ.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import av
from av.video.frame import VideoFrame

_TEMPORAL_DELIMITER = b"\x12\x00"
"""AV1: begins each FLV packet of ffmpeg's, and is not allowed in MP4."""
_ADTS_SYNC = 0xFFF
_WHOLE = {"mov,mp4,m4a,3gp,3g2,mj2": {"advanced_editlist": "0"}}
"""Options by format. An MP4 names samples that a player need not present, and the demuxer would drop their packets."""


class Unit(NamedTuple):
    """A packet, or the picture that was decoded from one."""

    dts_ms: float
    """Of a decoded picture the same as pts."""
    pts_ms: float
    is_key: bool
    digest: str


class _Run(NamedTuple):
    """Where in the source a track of a recording lies."""

    start: int
    offset_ms: float
    """From a time of the recording to that of the source."""


def assert_same_packets(source: Path, recorded: Path, tolerance_ms: float = 1, *, to_end: bool = False) -> None:
    """
    See that the packets of a recording are a contiguous run of the source's, track by track.

    Args:
        source: what was sent, in any format but MPEG-TS.
        recorded: a file or playlist of any format but MPEG-TS.
        tolerance_ms: for what the formats' clocks round.
        to_end: the run has to last to the end of each track of the source.
    """
    found = read_packets(recorded)
    for kind, units in found.items():
        assert units[0].is_key, f"{recorded.name}: {kind} does not begin with a key frame"
    _assert_run(read_packets(source), found, tolerance_ms, to_end=to_end)


def assert_same_pictures(source: Path, recorded: Path, tolerance_ms: float = 1, *, to_end: bool = False) -> None:
    """
    See that the pictures and sounds of a recording are a contiguous run of the source's, track by track.

    Args:
        source: what was sent.
        recorded: a file or playlist of any format.
        tolerance_ms: for what the formats' clocks round.
        to_end: the run has to last to the end of each track of the source.
    """
    _assert_run(read_frames(source), read_frames(recorded), tolerance_ms, to_end=to_end)


def assert_joined_equals(source: Path, files: Iterable[Path]) -> None:
    """
    See that the payloads of files, one after the other, are those of the source, and that each file can be decoded.

    Args:
        source: what was sent.
        files: in their order, of any format but MPEG-TS.
    """
    joined: dict[str, list[Unit]] = {}
    for path in files:
        for kind, units in read_packets(path).items():
            assert units[0].is_key, f"{path.name}: {kind} does not begin with a key frame"
            joined.setdefault(kind, []).extend(units)
    expected = read_packets(source)
    assert joined.keys() == expected.keys()
    for kind, units in joined.items():
        assert len(_starts(expected[kind], units)) == 1, _difference(kind, expected[kind], units)
        assert len(units) == len(expected[kind]), f"{kind}: {len(units)} packets of {len(expected[kind])}"


def read_packets(path: Path) -> dict[str, list[Unit]]:
    """
    Read a recording's packets.

    Args:
        path: a file or playlist.

    Returns:
        By track (`video`, `audio`, then `audio1`, ...) the packets in their order, without AV1 temporal delimiters
        and ADTS headers.
    """
    return _read(path, lambda packet: [_packet_unit(packet)] if packet.size else [])


def read_frames(path: Path) -> dict[str, list[Unit]]:
    """
    Decode a recording's pictures, and read its sounds.

    Args:
        path: a file or playlist.

    Returns:
        By track the pictures in the order of their presentation, and sounds as `read_packets` has them.
    """

    def units_of(packet: av.Packet) -> list[Unit]:
        if packet.stream.type == "video":
            return [_picture_unit(picture) for picture in packet.decode()]
        return [_packet_unit(packet)] if packet.size else []

    return _read(path, units_of)


def _read(path: Path, units_of: Callable[[av.Packet], list[Unit]]) -> dict[str, list[Unit]]:
    with av.open(str(path)) as container:
        options = _WHOLE.get(container.format.name)
    with av.open(str(path), options=options) as container:
        names = _names(container)
        found: dict[str, list[Unit]] = {name: [] for name in names.values()}
        for packet in container.demux(*(container.streams[index] for index in names)):
            try:
                found[names[packet.stream_index]] += units_of(packet)
            except av.FFmpegError as error:
                kind = names[packet.stream_index]
                raise AssertionError(f"{kind}: number {len(found[kind])} cannot be decoded: {error}") from error
    empty = [kind for kind, units in found.items() if not units]
    assert found, f"{path.name} has no track"
    assert not empty, f"{path.name} has tracks without a packet: {empty}"
    return found


def _packet_unit(packet: av.Packet) -> Unit:
    payload = bytes(packet)
    codec = packet.stream.codec_context.codec.canonical_name
    if codec == "av1":
        payload = payload.removeprefix(_TEMPORAL_DELIMITER)
    elif codec == "aac" and int.from_bytes(payload[:2], "big") >> 4 == _ADTS_SYNC:
        payload = payload[7 if payload[1] & 1 else 9 :]
    dts_ms, pts_ms = (float(time * packet.time_base * 1000) for time in (packet.dts, packet.pts))
    return Unit(dts_ms, pts_ms, packet.is_keyframe, hashlib.md5(payload).hexdigest())


def _picture_unit(picture: VideoFrame) -> Unit:
    digest = hashlib.md5()
    sample_bytes = 2 if picture.format.components[0].bits > 8 else 1
    for plane in picture.planes:
        data = memoryview(plane)
        for line in range(plane.height):
            # what stands behind the pixels of a line is anything at all
            digest.update(data[line * plane.line_size :][: plane.width * sample_bytes])
    time_ms = float(picture.pts * picture.time_base * 1000)
    return Unit(time_ms, time_ms, picture.key_frame, digest.hexdigest())


def _names(container) -> dict[int, str]:
    """Name the tracks by stream index."""
    names: dict[int, str] = {}
    for kind in ("video", "audio"):
        for number, stream in enumerate(each for each in container.streams if each.type == kind):
            names[stream.index] = f"{kind}{number or ''}"
    return names


def _assert_run(
    source: dict[str, list[Unit]], found: dict[str, list[Unit]], tolerance_ms: float, *, to_end: bool
) -> None:
    assert found.keys() == source.keys(), f"tracks {[*found]}, not {[*source]}"
    first, *others = source
    begin = _locate(first, source[first], found[first], tolerance_ms)
    runs = {first: begin} | {
        kind: _locate(kind, source[kind], found[kind], tolerance_ms, begin.offset_ms) for kind in others
    }
    begin_ms = source[first][begin.start].dts_ms
    for kind, run in runs.items():
        before = source[kind][: run.start][-1:]
        lost = kind != first and before and before[0].dts_ms > begin_ms + tolerance_ms
        assert not lost, f"{kind}: begins too late, after {before}"
        missing = len(source[kind]) - run.start - len(found[kind])
        assert not (to_end and missing), f"{kind}: {missing} are missing at the end"


def _locate(
    kind: str, source: Sequence[Unit], found: Sequence[Unit], tolerance_ms: float, offset_ms: float | None = None
) -> _Run:
    """Find the run that a track is; with an offset, where that says: silence is the same packet again and again."""
    starts = _starts(source, found)
    assert starts, _difference(kind, source, found)
    runs = [_Run(at, source[at].dts_ms - found[0].dts_ms if offset_ms is None else offset_ms) for at in starts]
    # Times are rounded twice, so what is a tolerance apart may be a little more in floating point.
    best = min(runs, key=lambda run: _worst_ms(source, found, run))
    worst_ms = _worst_ms(source, found, best)
    assert worst_ms <= tolerance_ms + 1e-6, f"{kind}: a time is {worst_ms:g} ms away from that of the source"
    return best


def _starts(source: Sequence[Unit], found: Sequence[Unit]) -> list[int]:
    """Find where all payloads fit."""
    expected, digests = ([unit.digest for unit in units] for units in (source, found))
    last = len(expected) - len(digests)
    return [at for at in range(last + 1) if expected[at : at + len(digests)] == digests]


def _worst_ms(source: Sequence[Unit], found: Sequence[Unit], run: _Run) -> float:
    pairs = zip(source[run.start :], found, strict=False)
    return max(
        abs(theirs + run.offset_ms - ours)
        for expected, unit in pairs
        for ours, theirs in ((expected.dts_ms, unit.dts_ms), (expected.pts_ms, unit.pts_ms))
    )


def _difference(kind: str, source: Sequence[Unit], found: Sequence[Unit]) -> str:
    """Say where the longest run ends."""

    def length(at: int) -> int:
        pairs = zip(source[at:], found, strict=False)
        return next((n for n, (ours, theirs) in enumerate(pairs) if ours.digest != theirs.digest), len(source) - at)

    at = max(range(len(source)), key=length)
    number = length(at)
    return f"{kind}: number {number} of {len(found)} is not number {at + number} of the source's {len(source)}"
