"""
A synthetic encoder: `python -m rtmpd.demo URL` publishes a moving test picture with a running clock and a beep.

It is a publisher like any other, in a process of its own, by real RTMP: what can be seen through it has gone all the way.
It says nothing while it works, and tries again for as long as the server is away.

FFmpeg's outputs know no timeout, and PyAV opens them without letting any other Python code run, signal handlers
included. So there are no handlers: SIGTERM and SIGINT are blocked and looked for between frames, let through to their
default action while an output is opened, and an alarm ends what is stuck after that.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction

import av
import av.filter
from av.audio.stream import AudioStream
from av.video.frame import PictureType
from av.video.stream import VideoStream

from rtmpd.logs import configure, get_logger

WIDTH = 1280
HEIGHT = 720
FRAMES_PER_S = 30
GOP_FRAMES = 2 * FRAMES_PER_S
VIDEO_BITS_PER_S = 2_000_000
AUDIO_BITS_PER_S = 128_000
SAMPLES_PER_S = 48_000
SAMPLES_PER_FRAME = 1024

_RETRY_FIRST_S = 0.25
_RETRY_LONGEST_S = 5.0
_BEHIND_S = 1.0
_END_S = 5.0
_POLL_S = 0.25
_ENDS = frozenset({signal.SIGTERM, signal.SIGINT})

_X264 = {
    "preset": "veryfast",
    "tune": "zerolatency",
    "profile": "main",
    "sc_threshold": "0",
    "maxrate": str(VIDEO_BITS_PER_S),
    "bufsize": str(VIDEO_BITS_PER_S),
}


class Source:
    """What the camera and the microphone would give: frames from FFmpeg's test sources, without end."""

    def __init__(self) -> None:
        """Build both graphs; the clock in the picture starts at zero."""
        self._picture = _picture_graph()
        self._sound = _sound_graph()

    def frames(self) -> Iterator[tuple[float, av.VideoFrame | av.AudioFrame]]:
        """
        Yield frames in the order of their time.

        Yields:
            The time in seconds from the start, and the video or audio frame.
        """
        pictures = sounds = 0
        while True:
            picture_s, sound_s = pictures / FRAMES_PER_S, sounds * SAMPLES_PER_FRAME / SAMPLES_PER_S
            if picture_s <= sound_s:
                picture = self._picture.vpull()
                # The test source calls each of its pictures an I frame, and x264 would obey.
                picture.pict_type = PictureType.NONE
                yield picture_s, picture
                pictures += 1
            else:
                yield sound_s, self._sound.pull()
                sounds += 1


Wait = Callable[[float], bool]
"""Waits for some seconds; returns whether to go on."""


class Pacer:
    """Lets media time pass as fast as real time, and no faster after a pause."""

    def __init__(self, wait: Wait) -> None:
        """
        Start no clock yet.

        Args:
            wait: how to wait.
        """
        self._wait = wait
        self._zero_s: float | None = None

    def wait_until(self, media_s: float) -> bool:
        """
        Wait for the moment of a frame.

        Args:
            media_s: its time, in seconds from the start.

        Returns:
            Whether to go on.
        """
        now = time.monotonic()
        if self._zero_s is None or now - self._zero_s - media_s > _BEHIND_S:
            self._zero_s = now - media_s
        return self._wait(max(0.0, self._zero_s + media_s - now))


def publish(url: str, wait: Wait) -> None:
    """
    Publish once, until told to stop or the server goes away.

    Args:
        url: where to, any output that FFmpeg can write FLV to.
        wait: ends the stream properly by returning False.

    Raises:
        av.error.FFmpegError: the server refused, or went away.
    """
    pacer = Pacer(wait)
    with av.open(url, "w", format="flv", options={"flvflags": "no_duration_filesize"}) as output:
        video, audio = _video_stream(output), _audio_stream(output)
        with _killable():
            output.start_encoding()
        for media_s, frame in Source().frames():
            if not pacer.wait_until(media_s):
                break
            if isinstance(frame, av.VideoFrame):
                output.mux(video.encode(frame))
            else:
                output.mux(audio.encode(frame))
        _end_soon()
        output.mux([*video.encode(), *audio.encode()])


def keep_publishing(url: str, wait: Wait) -> None:
    """
    Publish again whenever it ended, with growing pauses; a reason is said once, not at each repetition.

    Args:
        url: where to.
        wait: ends it by returning False.
    """
    log = get_logger(source="demo")
    pause_s = _RETRY_FIRST_S
    last_reason: str | None = None
    while wait(0):
        started = time.monotonic()
        try:
            publish(url, wait)
        except av.error.FFmpegError as error:
            if time.monotonic() - started > _RETRY_LONGEST_S:
                pause_s, last_reason = _RETRY_FIRST_S, None
            if not wait(0):
                return  # Ctrl-C ends the server too, and a stream that is cut off by that is no news
            if error.strerror != last_reason:
                log.warning("demo stream interrupted, trying again", reason=error.strerror)
                last_reason = error.strerror
            wait(pause_s)
            pause_s = min(_RETRY_LONGEST_S, pause_s * 2)


def wait_for_signal(seconds: float) -> bool:
    """
    Sleep, but not on when SIGTERM or SIGINT has come; both must be blocked.

    Args:
        seconds: how long.

    Returns:
        Whether neither has come.
    """
    end = time.monotonic() + seconds
    while not _signalled():
        left = end - time.monotonic()
        if left <= 0:
            return True
        time.sleep(min(left, _POLL_S))
    return False


def main(arguments: Sequence[str] | None = None) -> None:
    """
    Publish until SIGTERM or SIGINT.

    Args:
        arguments: of the command line; the process's own if not given.
    """
    parser = argparse.ArgumentParser(prog="python -m rtmpd.demo", description="Publish a synthetic stream.")
    parser.add_argument("url", help="rtmp://HOST/APP/STREAM")
    parser.add_argument("--parent", type=int, metavar="PID", help="end when the process that started this one ends")
    options = parser.parse_args(arguments)
    configure()
    for number in _ENDS:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_BLOCK, _ENDS)
    threading.Thread(target=_watch, args=(options.parent,), daemon=True).start()
    keep_publishing(options.url, wait_for_signal)


def _watch(parent: int | None) -> None:
    """Turn the end of the parent into a SIGTERM, and see to it that a signal ends a send that is stuck."""
    while not _signalled():
        if parent not in {None, os.getppid()}:
            os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(_POLL_S)
    _end_soon()


def _signalled() -> bool:
    return not _ENDS.isdisjoint(signal.sigpending())


def _end_soon() -> None:
    """Have the system end this process, whatever it does by then."""
    signal.setitimer(signal.ITIMER_REAL, _END_S)


@contextlib.contextmanager
def _killable() -> Iterator[None]:
    """Let signals end the process at once, where there is nothing yet to be ended properly."""
    blocked = signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def _picture_graph() -> av.filter.Graph:
    """Show the test source's small clock again, four times as large, in the middle."""
    graph = av.filter.Graph()
    split = graph.add("split")
    graph.add("testsrc2", f"size={WIDTH}x{HEIGHT}:rate={FRAMES_PER_S}").link_to(split)
    overlay = graph.add("overlay", "x=(W-w)/2:y=(H-h)/2")
    split.link_to(overlay, 0, 0)
    clock = graph.add("crop", "100:36:2:2")
    split.link_to(clock, 1, 0)
    enlarged = graph.add("scale", "iw*4:ih*4:flags=neighbor")
    clock.link_to(enlarged)
    enlarged.link_to(overlay, 0, 1)
    graph.link_nodes(overlay, graph.add("format", "yuv420p"), graph.add("buffersink")).configure()
    return graph


def _sound_graph() -> av.filter.Graph:
    graph = av.filter.Graph()
    tone = f"frequency=220:beep_factor=4:sample_rate={SAMPLES_PER_S}:samples_per_frame={SAMPLES_PER_FRAME}"
    graph.link_nodes(
        graph.add("sine", tone),
        graph.add("volume", "0.5"),
        graph.add("aformat", "sample_fmts=fltp:channel_layouts=stereo"),
        graph.add("abuffersink"),
    ).configure()
    return graph


def _video_stream(output: av.container.OutputContainer) -> VideoStream:
    stream = output.add_stream("libx264", rate=FRAMES_PER_S, options=_X264)
    stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
    stream.bit_rate = VIDEO_BITS_PER_S
    stream.codec_context.gop_size = GOP_FRAMES
    stream.codec_context.time_base = Fraction(1, FRAMES_PER_S)
    # One thread encodes this several times faster than needed; more only add latency and switches.
    stream.codec_context.thread_count = 1
    return stream


def _audio_stream(output: av.container.OutputContainer) -> AudioStream:
    stream = output.add_stream("aac", rate=SAMPLES_PER_S, layout="stereo")
    stream.bit_rate = AUDIO_BITS_PER_S
    return stream


if __name__ == "__main__":
    main()
