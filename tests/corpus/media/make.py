"""
Makes the files of this directory with the encoders inside PyAV: `python -m tests.corpus.media.make`.

Each is a playable FLV of the tags that matter, without metadata. What the encoders say of themselves in the stream
(the text in x264's SEI) is cut out for size; the rest is as FFmpeg's FLV muxer wrote it.
"""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path

import av

from rtmpd.media.heads import CODED_FRAMES, CODED_FRAMES_X
from rtmpd.media.tags import parse_video
from rtmpd.wire.flv import FlvTag, TagReader, encode_file_header, encode_tag
from rtmpd.wire.messages import AUDIO, DATA_AMF0, VIDEO

HERE = Path(__file__).parent
_RATE = 25
_SEI = 6


def encode_video(codec, width, height, options=None, pixels="yuv420p", frames=3, streams=1):
    """FLV bytes of a few grey pictures that get brighter, `streams` times side by side."""
    file = io.BytesIO()
    with av.open(file, "w", format="flv") as container:
        outputs = [container.add_stream(codec, rate=_RATE) for _ in range(streams)]
        for output in outputs:
            output.width, output.height, output.pix_fmt, output.options = width, height, pixels, options or {}
        for number in range(frames):
            picture = _picture(width, height, pixels, number)
            for output in outputs:
                container.mux(output.encode(picture))
        for output in outputs:
            container.mux(output.encode())
    return file.getvalue()


def encode_audio(codec, rate, layout, sample_format, frames=2):
    """FLV bytes of a little silence."""
    file = io.BytesIO()
    with av.open(file, "w", format="flv") as container:
        output = container.add_stream(codec, rate=rate, layout=layout)
        output.codec_context.open()
        samples = output.codec_context.frame_size or 1024
        for number in range(frames):
            sound = av.AudioFrame(format=sample_format, layout=layout, samples=samples)
            for plane in sound.planes:
                plane.update(bytes(plane.buffer_size))
            sound.sample_rate, sound.pts = rate, number * samples
            container.mux(output.encode(sound))
        container.mux(output.encode())
    return file.getvalue()


def read_tags(data):
    """The audio and video tags of an FLV file."""
    return [tag for tag in TagReader().feed(data) if tag.type_id != DATA_AMF0]


def _picture(width, height, pixels, number):
    picture = av.VideoFrame(width, height, pixels)
    for index, plane in enumerate(picture.planes):
        plane.update(bytes([128 if index else 16 + number * 20]) * plane.buffer_size)
    picture.pts, picture.time_base = number, Fraction(1, _RATE)
    return picture


def _without_sei(tag):
    if tag.type_id != VIDEO:
        return tag
    head = parse_video(tag.body)
    if head.codec != "avc1" or head.packet_type not in (CODED_FRAMES, CODED_FRAMES_X):
        return tag
    kept, rest = tag.body[: head.data_offset], tag.body[head.data_offset :]
    while rest:
        end = 4 + int.from_bytes(rest[:4])
        kept += b"" if rest[4] & 31 == _SEI else rest[:end]
        rest = rest[end:]
    return FlvTag(tag.type_id, tag.timestamp_ms, kept)


def _write(name, data, tags):
    chosen = [_without_sei(tag) for tag in read_tags(data)[:tags]]
    kinds = {tag.type_id for tag in chosen}
    head = encode_file_header(audio=AUDIO in kinds, video=VIDEO in kinds)
    (HERE / f"{name}.flv").write_bytes(head + b"".join(encode_tag(*tag) for tag in chosen))


def main():
    """Write every file."""
    quiet = {"preset": "ultrafast", "x265-params": "log-level=none:info=0:pools=none:frame-threads=1"}
    high = {"preset": "ultrafast", "profile": "high", "x264-params": "bframes=2:cabac=1:8x8dct=1"}
    live = {"preset": "ultrafast", "tune": "zerolatency"}
    _write("h264-high-50x38", encode_video("libx264", 50, 38, high, frames=5), 7)
    _write("h264-baseline-320x180", encode_video("libx264", 320, 180, live), 2)
    _write("h264-422-interlaced-50x76", encode_video("libx264", 50, 76, {"x264-params": "tff=1"}, "yuv422p10le"), 2)
    _write("h264-444-51x37", encode_video("libx264", 51, 37, pixels="yuv444p"), 2)
    _write("h264-two-tracks-64x48", encode_video("libx264", 64, 48, live, streams=2), 6)
    _write("hevc-main-50x38", encode_video("libx265", 50, 38, quiet), 4)
    _write("hevc-main10-1280x720", encode_video("libx265", 1280, 720, quiet, "yuv420p10le"), 3)
    _write("av1-66x70", encode_video("libsvtav1", 66, 70, {"preset": "10"}), 4)
    _write("vp9-51x37", encode_video("libvpx-vp9", 51, 37, {"deadline": "realtime"}), 4)
    _write("sorenson-50x38", encode_video("flv", 50, 38), 1)
    _write("aac-48000-stereo", encode_audio("aac", 48_000, "stereo", "fltp"), 3)
    _write("aac-44100-mono", encode_audio("aac", 44_100, "mono", "fltp"), 3)
    _write("aac-48000-quad", encode_audio("aac", 48_000, "quad", "fltp"), 4)
    _write("opus-48000-stereo", encode_audio("libopus", 48_000, "stereo", "flt"), 4)
    _write("opus-48000-5.1", encode_audio("libopus", 48_000, "5.1", "flt"), 3)
    _write("flac-44100-stereo", encode_audio("flac", 44_100, "stereo", "s16"), 3)
    _write("ac3-48000-stereo", encode_audio("ac3", 48_000, "stereo", "fltp"), 2)


if __name__ == "__main__":
    main()
