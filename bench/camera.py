"""
A camera whose pictures carry their own time: `python -m bench.camera URL` publishes until it is told to stop.

320x180, 30 pictures and a beep-free tone a second, H.264 and AAC at a key frame a second, encoded without delay. The
upper rows of each picture are 32 black or white fields: the low 32 bits of the unix time in milliseconds at which the
picture was taken, most significant first. Who shows the picture can read from its pixels how old it is.
"""

from __future__ import annotations

import argparse
import math
import signal
import struct
import time
from collections.abc import Iterator
from fractions import Fraction
from types import FrameType

import av
from av.audio.frame import AudioFrame
from av.container import OutputContainer
from av.video.frame import VideoFrame

WIDTH, HEIGHT = 320, 180
PICTURES_PER_S = 30
BITS = 32
FIELD = WIDTH // BITS
"""Pixels in the width of a field; it is CLOCK_ROWS high."""
CLOCK_ROWS = 24
BLACK, WHITE = 16, 235
_SAMPLES_PER_S = 48_000
_SAMPLES = 1024
_PERIODS = 10
_X264 = {"preset": "ultrafast", "tune": "zerolatency", "profile": "baseline", "sc_threshold": "0", "crf": "24"}


def picture(number: int, taken_ms: int) -> VideoFrame:
    """
    Take a picture.

    Args:
        number: of the picture; what is below the clock moves with it.
        taken_ms: unix time.

    Returns:
        The frame, yuv420p.
    """
    frame = VideoFrame(WIDTH, HEIGHT, "yuv420p")
    fields = (WHITE if taken_ms >> (BITS - 1 - bit) & 1 else BLACK for bit in range(BITS))
    clock = b"".join(bytes([field]) * FIELD for field in fields)
    slope = bytes(BLACK + (column + 7 * number) % WIDTH * (WHITE - BLACK) // WIDTH for column in range(WIDTH))
    luma = clock * CLOCK_ROWS + slope * (HEIGHT - CLOCK_ROWS)
    for plane, rows, data in ((0, HEIGHT, luma), (1, HEIGHT // 2, None), (2, HEIGHT // 2, None)):
        stride, width = frame.planes[plane].line_size, WIDTH >> bool(plane)
        lines = data if data is not None else bytes([96 + 64 * (plane - 1)]) * width * rows
        padding = bytes(stride - width)
        frame.planes[plane].update(b"".join(lines[at : at + width] + padding for at in range(0, len(lines), width)))
    return frame


def sound() -> AudioFrame:
    """Make 1,024 samples of a tone that fits into them, so that they can follow each other."""
    wave = (0.2 * math.sin(2 * math.pi * _PERIODS * sample / _SAMPLES) for sample in range(_SAMPLES))
    frame = AudioFrame(format="fltp", layout="mono", samples=_SAMPLES)
    frame.planes[0].update(struct.pack(f"{_SAMPLES}f", *wave).ljust(frame.planes[0].buffer_size, b"\0"))
    frame.sample_rate = _SAMPLES_PER_S
    return frame


def publish(url: str, seconds: float) -> None:
    """
    Publish in real time.

    Args:
        url: rtmp://HOST:PORT/APP/STREAM.
        seconds: for how long at most.
    """
    with av.open(url, "w", format="flv") as output:
        for packet in _packets(output, seconds):
            output.mux(packet)


def _packets(output: OutputContainer, seconds: float) -> Iterator[list[av.Packet]]:
    video = output.add_stream("libx264", rate=PICTURES_PER_S, options=_X264)
    video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
    video.codec_context.gop_size = PICTURES_PER_S
    audio = output.add_stream("aac", rate=_SAMPLES_PER_S, layout="mono")
    began_s = time.monotonic()
    pictures = sounds = 0
    while pictures < seconds * PICTURES_PER_S:
        picture_s, sound_s = pictures / PICTURES_PER_S, sounds * _SAMPLES / _SAMPLES_PER_S
        time.sleep(max(0.0, began_s + min(picture_s, sound_s) - time.monotonic()))
        frame: VideoFrame | AudioFrame
        if picture_s <= sound_s:
            frame = picture(pictures, time.time_ns() // 1_000_000)
            frame.pts, frame.time_base = pictures, Fraction(1, PICTURES_PER_S)
            pictures += 1
            yield video.encode(frame)
        else:
            frame = sound()
            frame.pts, frame.time_base = sounds * _SAMPLES, Fraction(1, _SAMPLES_PER_S)
            sounds += 1
            yield audio.encode(frame)


def main() -> None:
    """Publish until SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m bench.camera", description="A camera that shows its own time.")
    parser.add_argument("url")
    parser.add_argument("--seconds", type=float, default=3600.0)
    arguments = parser.parse_args()

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise SystemExit(0)

    signal.signal(signal.SIGTERM, stop)
    publish(arguments.url, arguments.seconds)


if __name__ == "__main__":
    main()
