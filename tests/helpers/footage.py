"""Real encoded input for tests of recordings: FLV made by FFmpeg in memory, and what FFmpeg reads back from a file."""

from __future__ import annotations

import functools
import io
import os
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import av.error
from av.audio.frame import AudioFrame
from av.video.frame import VideoFrame

from rtmpd.wire import amf0
from rtmpd.wire.flv import FlvTag, TagReader, encode_file_header, encode_tag

KEY_INTERVAL = 25
RATE = 25


class Packet(NamedTuple):
    """One packet as FFmpeg's demuxer sees it."""

    kind: str
    dts_ms: int
    pts_ms: int
    payload: bytes


@functools.cache
def footage(
    video: str | None = "libx264",
    audio: str | None = "aac",
    seconds: int = 3,
    *,
    reordered: int = 0,
    tracks: int = 1,
    width: int = 64,
) -> bytes:
    """
    Encode a moving picture with a key frame each second, sound, or both, as an FLV file.

    Args:
        video: encoder, or None.
        audio: encoder, or None.
        seconds: length.
        reordered: B-frames in a row.
        tracks: of each kind; those after the first in Enhanced RTMP's multitrack.
        width: of the picture, in pixels; the height is 48.
    """
    os.environ.setdefault("SVT_LOG", "1")  # the AV1 encoder's: errors only
    sink = io.BytesIO()
    with av.open(sink, "w", format="flv") as container:
        streams = []
        options = OPTIONS.get(video, {}) | {"g": str(KEY_INTERVAL), "bf": str(reordered)}
        for _ in range(tracks if video else 0):
            picture = container.add_stream(video, rate=RATE, options=options)
            picture.width, picture.height, picture.pix_fmt = width, 48, "yuv420p"
            streams.append((picture, [_picture(i, width) for i in range(RATE * seconds)]))
        for _ in range(tracks if audio else 0):
            rate = AUDIO_RATES.get(audio, 48_000)
            sound = container.add_stream(audio, rate=rate, layout="stereo")
            sound.codec_context.open()
            size = sound.codec_context.frame_size
            streams.append((sound, [_sound(i, size, rate) for i in range(rate * seconds // size)]))
        packets = [packet for stream, frames in streams for packet in encode(stream, frames)]
        for packet in sorted(packets, key=lambda packet: packet.dts * packet.time_base):
            container.mux(packet)
    return sink.getvalue()


OPTIONS = {
    "libx264": {"preset": "ultrafast"},
    "libx265": {"preset": "ultrafast", "x265-params": "log-level=none"},
    "libsvtav1": {"preset": "12"},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0"},
}
AUDIO_RATES = {"adpcm_swf": 44_100, "flac": 44_100, "libmp3lame": 44_100}


def encode(stream, frames):
    return [packet for frame in [*frames, None] for packet in stream.encode(frame)]


def _picture(index: int, width: int) -> VideoFrame:
    frame = VideoFrame(width, 48, "gray")
    plane = frame.planes[0]
    plane.update(bytes((index * 3 + offset) % 256 for offset in range(plane.buffer_size)))
    frame = frame.reformat(format="yuv420p")
    frame.pts, frame.time_base = index, Fraction(1, RATE)
    return frame


def _sound(index: int, samples: int, rate: int) -> AudioFrame:
    frame = AudioFrame("fltp", "stereo", samples)
    for plane in frame.planes:
        plane.update(bytes(plane.buffer_size))
    frame.sample_rate, frame.pts, frame.time_base = rate, index * samples, Fraction(1, rate)
    return frame


def tags_of(data: bytes) -> list[FlvTag]:
    """Take a file apart."""
    return TagReader().feed(data)


def feed_of(tags: list[FlvTag]) -> bytes:
    """Write tags the way the server feeds a recording."""
    return encode_file_header(audio=False, video=False) + b"".join(encode_tag(*tag) for tag in tags)


def shifted(tags: list[FlvTag], milliseconds: int, bits: int = 32) -> list[FlvTag]:
    """The same stream later, in a clock of so many bits; headers and metadata too, as the log sends them."""
    return [tag._replace(timestamp_ms=(tag.timestamp_ms + milliseconds) % 2**bits) for tag in tags]


def metadata_of(data: bytes) -> dict:
    """The values of the first tag of a file."""
    name, values = amf0.decode(tags_of(data)[0].body)
    assert name == "onMetaData"
    return values


def demux(source: Path | bytes, **options) -> list[Packet]:
    """Read every packet with FFmpeg."""
    with av.open(
        io.BytesIO(source) if isinstance(source, bytes) else str(source), format="flv", **options
    ) as container:
        return [
            Packet(
                packet.stream.type,
                round(packet.dts * packet.time_base * 1000),
                round(packet.pts * packet.time_base * 1000),
                bytes(packet),
            )
            for packet in container.demux()
            if packet.size
        ]


def relative(packets: list[Packet]) -> list[Packet]:
    """The same packets with times from the first one."""
    start = min(packet.dts_ms for packet in packets)
    return [packet._replace(dts_ms=packet.dts_ms - start, pts_ms=packet.pts_ms - start) for packet in packets]


AV1_TEMPORAL_DELIMITER = b"\x12\0"


def tracks_of(source: Path | bytes, file_format: str | None = None) -> dict[str, list[Packet]]:
    """
    Read every packet of every track with FFmpeg.

    Returns:
        The packets by "video 0", "video 1", "audio 0", ...; AV1 without temporal delimiters, as MP4 has it.
    """
    names: dict[int, str] = {}
    found: dict[str, list[Packet]] = {}
    with av.open(io.BytesIO(source) if isinstance(source, bytes) else str(source), format=file_format) as container:
        for packet in container.demux():
            stream = packet.stream
            if not packet.size or stream.type not in ("video", "audio"):
                continue
            if stream.index not in names:
                peers = [other.index for other in container.streams if other.type == stream.type]
                names[stream.index] = f"{stream.type} {peers.index(stream.index)}"
            payload = bytes(packet)
            if stream.codec_context.name == "libdav1d":
                payload = payload.removeprefix(AV1_TEMPORAL_DELIMITER)
            times = [float(time * packet.time_base * 1000) for time in (packet.dts, packet.pts)]
            found.setdefault(names[stream.index], []).append(Packet(stream.type, *times, payload))
    return found


def from_zero(tracks: dict[str, list[Packet]]) -> dict[str, list[Packet]]:
    """The same with times from the first packet of all."""
    start = min(packets[0].dts_ms for packets in tracks.values())
    return {
        name: [packet._replace(dts_ms=packet.dts_ms - start, pts_ms=packet.pts_ms - start) for packet in packets]
        for name, packets in tracks.items()
    }


def assert_same_media(got: dict[str, list[Packet]], wanted: dict[str, list[Packet]], within_ms: float = 1) -> None:
    """Compare payloads, and times up to so many milliseconds."""
    assert got.keys() == wanted.keys()
    for name, packets in wanted.items():
        assert [packet.payload for packet in got[name]] == [packet.payload for packet in packets], name
        for one, other in zip(got[name], packets, strict=True):
            assert abs(one.dts_ms - other.dts_ms) <= within_ms, (name, one[1:3], other[1:3])
            assert abs(one.pts_ms - other.pts_ms) <= within_ms, (name, one[1:3], other[1:3])
