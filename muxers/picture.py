"""
One picture of a recording or a live stream as JPEG, decoded and scaled by FFmpeg; for a process of its own.

Beside `_pyav` the only module here that imports PyAV. What it decodes was made by strangers, so it may crash or hang: whoever
calls it is ready for both. FFmpeg is given bytes and the name of their format, and so opens nothing by itself.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO, NamedTuple, cast

import av
import av.error
from av.container import InputContainer
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace
from av.video.stream import VideoStream

from muxers.base import MuxError
from muxers.playlist import Segment, parse

WIDTH = 640
"""The most; a smaller picture keeps its size."""
MOST_PIXELS = 64 * 1024 * 1024
"""Of the decoded picture: 8K has half of them."""
_DEMUXERS: Mapping[str, str] = MappingProxyType({"flv": "flv", "mp4": "mp4", "ts": "mpegts"})
"""FFmpeg's by our names; other formats have no pictures."""
_MOST_BYTES = 64 * 1024 * 1024
"""Of an HLS segment."""
_MOST_PACKETS = 500
"""Looked at for one that can be decoded."""
_SKIPPED_US = 10_000_000
"""Into a recording, or a third of it: what comes first is often black."""
_QUANTISER = "4"
"""Of JPEG, 2 to 31: 30 KB for a picture of the full width."""
_THINNEST = Fraction(1, 8)
"""What is said of pixels that are thinner, or wider than its inverse, is not believed."""
_HD_HEIGHT = 720
"""From which on pictures that say nothing of their colours have those of HD."""
_COLOURS: Mapping[int, Colorspace] = MappingProxyType(
    {
        1: Colorspace.ITU709,
        4: Colorspace.FCC,
        5: Colorspace.ITU601,
        6: Colorspace.ITU601,
        7: Colorspace.SMPTE240M,
        9: Colorspace.BT2020,
    }
)
"""Colour spaces by their numbers (ITU-T H.273, matrix coefficients)."""


class _Found(NamedTuple):
    frame: VideoFrame
    pixel: Fraction
    """Width of a pixel by its height."""


def jpeg_of(source: Path | bytes, file_format: str) -> bytes | None:
    """
    Make a JPEG of a key frame.

    Args:
        source: a recording, also one that grows, or what of a stream is to be shown.
        file_format: a key of `muxers.formats.FORMATS`.

    Returns:
        A picture at most `WIDTH` wide, with square pixels and even sizes; None where there is none to show.

    Raises:
        MuxError: FFmpeg cannot read or decode it, or it has more than `MOST_PIXELS`.
        OSError: it cannot be read.
    """
    if file_format == "hls" and isinstance(source, Path):
        segment = _segment_of(source)
        if segment is None:
            return None
        source, file_format = segment
    demuxer = _DEMUXERS.get(file_format)
    if demuxer is None:
        return None
    with io.BytesIO(source) if isinstance(source, bytes) else source.open("rb") as data:
        try:
            found = _find(data, demuxer, skips=isinstance(source, Path))
            return None if found is None else _encode(found)
        except (av.error.FFmpegError, ValueError, LookupError) as error:
            # LookupError is PyAV's, for a track that nothing announced.
            raise MuxError(f"FFmpeg refuses: {error}") from error
        except MemoryError as error:
            raise MuxError("the picture needs more memory than it may have") from error


def _segment_of(playlist: Path) -> tuple[bytes, str] | None:
    """Read a segment of an HLS recording, not far from its beginning, and say in which format it is."""
    try:
        segments = parse(playlist.read_text(encoding="ascii")).segments
    except ValueError as error:
        raise MuxError(f"no playlist of ours: {error}") from error
    if not segments:
        return None
    start_ms, chosen = 0, segments[0]
    for segment in segments[: len(segments) // 3 + 1]:
        chosen = segment
        start_ms += segment.duration_ms
        if start_ms * 1000 > _SKIPPED_US:
            break
    return _with_header(playlist.parent, chosen)


def _with_header(folder: Path, segment: Segment) -> tuple[bytes, str]:
    header = b"" if segment.map_uri is None else _read(folder / segment.map_uri)
    return header + _read(folder / segment.uri), "ts" if segment.map_uri is None else "mp4"


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_MOST_BYTES)


def _find(data: BinaryIO, demuxer: str, *, skips: bool) -> _Found | None:
    """Find a key frame some way into a recording, or its first one; FFmpeg may not come back from where it sought in vain."""
    for sought in (True, False) if skips else (False,):
        data.seek(0)
        with av.open(data, "r", format=demuxer) as container:
            found = _decode(container, sought=sought)
        if found is not None:
            return found
    return None


def _decode(container: InputContainer, *, sought: bool) -> _Found | None:
    streams = []
    for stream in container.streams.video:
        context = cast("VideoCodecContext | None", stream.codec_context)
        if context is None:  # FFmpeg has no decoder for it
            continue
        streams.append(stream)
        if context.width * context.height > MOST_PIXELS:
            raise MuxError(f"a picture of {context.width}x{context.height} is too large")
        context.options = {"max_pixels": str(MOST_PIXELS)}
        # Threads of frames would decode ahead, and hold a picture each.
        context.thread_type = "SLICE"
        context.skip_frame = "NONKEY"
    if sought:
        with suppress(av.error.FFmpegError):  # what cannot be sought in is read from its beginning
            container.seek((container.start_time or 0) + min((container.duration or 0) // 3, _SKIPPED_US))
    return next(_key_frames(container, streams), None) if streams else None


def _key_frames(container: InputContainer, streams: Sequence[VideoStream]) -> Iterator[_Found]:
    """Decode what can be decoded; one broken frame need not be the last."""
    packets = cast("Iterator[Packet[VideoStream]]", container.demux(streams))
    for number, packet in enumerate(packets):
        if number >= _MOST_PACKETS:
            return
        with suppress(av.error.InvalidDataError):
            for frame in packet.decode():
                if not frame.is_corrupt:
                    yield _Found(frame, packet.stream.codec_context.sample_aspect_ratio or Fraction(1))


def _encode(found: _Found) -> bytes:
    frame = found.frame
    width, height = _size(found)
    unsaid = Colorspace.ITU709 if frame.height >= _HD_HEIGHT else Colorspace.ITU601
    picture = frame.reformat(
        width,
        height,
        "yuvj420p",
        src_colorspace=_COLOURS.get(frame.colorspace, unsaid),
        dst_colorspace=Colorspace.ITU601,
        dst_color_range=ColorRange.JPEG,
        interpolation="AREA",
    )
    encoder = VideoCodecContext.create("mjpeg", "w")
    assert isinstance(encoder, VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuvj420p"
    encoder.time_base = Fraction(1, 1)
    encoder.options = {"qmin": _QUANTISER, "qmax": _QUANTISER}
    picture.pts = 0
    return b"".join(bytes(packet) for packet in (*encoder.encode(picture), *encoder.encode(None)))


def _size(found: _Found) -> tuple[int, int]:
    """Width and height of the picture as it is to be seen: pixels may be wider than high."""
    frame, pixel = found
    shown = frame.width * (pixel if _THINNEST < pixel < 1 / _THINNEST else 1)
    scale = min(Fraction(1), WIDTH / Fraction(shown), Fraction(WIDTH, frame.height))
    return _even(shown * scale), _even(frame.height * scale)


def _even(size: Fraction) -> int:
    return max(2, round(size / 2) * 2)
