"""Real encoded input for tests of recordings: FLV made by FFmpeg in memory, and what FFmpeg reads back from a file."""

from __future__ import annotations

import functools
import io
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
def footage(video: str | None = "libx264", audio: str | None = "aac", seconds: int = 3) -> bytes:
    """Encode a moving picture with a key frame each second, sound, or both, as an FLV file."""
    sink = io.BytesIO()
    with av.open(sink, "w", format="flv") as container:
        streams = []
        if video:
            picture = container.add_stream(video, rate=RATE, options={"g": str(KEY_INTERVAL), "preset": PRESETS[video]})
            picture.width, picture.height, picture.pix_fmt = 64, 48, "yuv420p"
            streams.append((picture, [_picture(i) for i in range(RATE * seconds)]))
        if audio:
            sound = container.add_stream(audio, rate=48_000, layout="stereo")
            sound.codec_context.open()
            size = sound.codec_context.frame_size
            streams.append((sound, [_sound(i, size) for i in range(48_000 * seconds // size)]))
        packets = [packet for stream, frames in streams for packet in encode(stream, frames)]
        for packet in sorted(packets, key=lambda packet: packet.dts * packet.time_base):
            container.mux(packet)
    return sink.getvalue()


PRESETS = {"libx264": "ultrafast", "libx265": "ultrafast", "libsvtav1": "12"}


def encode(stream, frames):
    return [packet for frame in [*frames, None] for packet in stream.encode(frame)]


def _picture(index: int) -> VideoFrame:
    frame = VideoFrame(64, 48, "gray")
    plane = frame.planes[0]
    plane.update(bytes((index * 3 + offset) % 256 for offset in range(plane.buffer_size)))
    frame = frame.reformat(format="yuv420p")
    frame.pts, frame.time_base = index, Fraction(1, RATE)
    return frame


def _sound(index: int, samples: int) -> AudioFrame:
    frame = AudioFrame("fltp", "stereo", samples)
    for plane in frame.planes:
        plane.update(bytes(plane.buffer_size))
    frame.sample_rate, frame.pts, frame.time_base = 48_000, index * samples, Fraction(1, 48_000)
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
