from __future__ import annotations

import contextlib
import itertools
import json
import os
import select
import signal
import socket
import subprocess
import sys

import av
import pytest

from rtmpd import demo
from tests.helpers.processes import wait_until

COMMAND = [sys.executable, "-m", "rtmpd.demo"]
NOBODY = "rtmp://127.0.0.1:9/live/demo"


def test_the_source_gives_pictures_and_sound_in_the_order_of_their_time():
    frames = list(itertools.islice(demo.Source().frames(), 75))

    times = [media_s for media_s, _ in frames]
    pictures = [frame for _, frame in frames if isinstance(frame, av.VideoFrame)]
    sounds = [frame for _, frame in frames if isinstance(frame, av.AudioFrame)]
    assert times == sorted(times)
    assert all(abs(media_s - frame.time) < 0.001 for media_s, frame in frames)
    assert {(demo.WIDTH, demo.HEIGHT, "yuv420p")} == {(each.width, each.height, each.format.name) for each in pictures}
    assert {(demo.SAMPLES_PER_S, "stereo")} == {(each.sample_rate, each.layout.name) for each in sounds}
    assert abs(len(pictures) / demo.FRAMES_PER_S - len(sounds) * 1024 / demo.SAMPLES_PER_S) < 0.1


def test_the_picture_moves():
    pictures = (frame for _, frame in demo.Source().frames() if isinstance(frame, av.VideoFrame))
    first, second = itertools.islice(pictures, 2)

    assert bytes(first.planes[0]) != bytes(second.planes[0])


class Clock:
    def __init__(self, monkeypatch):
        self.now = 1000.0
        self.waits = []
        monkeypatch.setattr(demo.time, "monotonic", lambda: self.now)

    def wait(self, seconds):
        self.waits.append(round(seconds, 6))
        self.now += seconds
        return True


def test_media_time_passes_as_fast_as_the_clock(monkeypatch):
    clock = Clock(monkeypatch)
    pacer = demo.Pacer(clock.wait)

    assert all(pacer.wait_until(media_s) for media_s in (0, 0.5, 0.75))
    clock.now += 0.125
    assert pacer.wait_until(1)

    assert clock.waits == [0, 0.5, 0.25, 0.125]


def test_after_a_pause_nothing_is_sent_in_a_rush(monkeypatch):
    clock = Clock(monkeypatch)
    pacer = demo.Pacer(clock.wait)
    pacer.wait_until(0)
    clock.now += 3600

    pacer.wait_until(0.5)
    pacer.wait_until(1)

    assert clock.waits == [0, 0, 0.5]


def test_the_end_of_waiting_is_passed_on():
    assert not demo.Pacer(lambda _seconds: False).wait_until(3600)


def test_what_is_published_has_a_key_frame_every_two_seconds_and_no_reordering(monkeypatch, tmp_path):
    monkeypatch.setattr(demo, "_end_soon", lambda: None)
    path = tmp_path / "demo.flv"
    frames = iter(range(345))

    demo.publish(str(path), lambda _seconds: next(frames, None) is not None)

    # Read while it is open: a packet of a closed container ends the process.
    with av.open(path) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        assert (video.codec.name, video.width, video.height) == ("h264", 1280, 720)
        assert (audio.codec.name, audio.rate) == ("aac", 48000)
        pictures = [(packet.pts, packet.dts, packet.is_keyframe) for packet in container.demux(video) if packet.size]
    keys = [pts for pts, _, is_key in pictures if is_key]
    assert [pts - keys[0] for pts in keys] == [0, 2000, 4000]
    assert len(pictures) == 135
    assert all(pts == dts for pts, dts, _ in pictures)


class Unreachable(av.error.FFmpegError):
    def __init__(self, strerror):
        super().__init__(5, strerror)


@pytest.fixture
def warned(monkeypatch):
    lines = []

    class Logger:
        def warning(self, event, **values):
            lines.append((event, values))

    monkeypatch.setattr(demo, "get_logger", lambda **_: Logger())
    return lines


@pytest.fixture
def attempts(monkeypatch):
    """What each call of publish does: a time that passes, and the reason of its end; then the waiting ends."""
    clock = Clock(monkeypatch)
    script = []

    def publish(_url, _wait):
        lasted_s, reason = script.pop(0)
        clock.now += lasted_s
        raise Unreachable(reason)

    def wait(seconds):
        if seconds:
            clock.wait(seconds)
        return bool(script)

    monkeypatch.setattr(demo, "publish", publish)

    def run(*steps):
        script[:] = steps
        demo.keep_publishing(NOBODY, wait)
        return clock.waits

    return run


def test_it_tries_again_with_growing_pauses_and_says_each_reason_once(attempts, warned):
    waits = attempts(*[(0, reason) for reason in ["refused"] * 3 + ["reset"] * 5])

    assert [values["reason"] for _, values in warned] == ["refused", "reset"]
    assert waits == [0.25, 0.5, 1, 2, 4, 5, 5]


def test_a_stream_that_went_well_is_taken_up_again_at_once(attempts, warned):
    waits = attempts((0, "reset"), (0, "reset"), (60, "reset"), (0, "reset"))

    assert waits == [0.25, 0.5, 0.25]
    assert len(warned) == 2


def test_a_stream_that_is_cut_off_as_everything_ends_is_not_told(attempts, warned):
    attempts((0, "broken pipe"))

    assert warned == []


@pytest.fixture
def start():
    """Starts the program; what a failed test leaves behind is killed."""
    with contextlib.ExitStack() as stack:

        def start(url):
            process = stack.enter_context(subprocess.Popen([*COMMAND, str(url)], stderr=subprocess.PIPE))
            stack.callback(process.kill)
            return process

        yield start


@pytest.fixture
def fifo(tmp_path):
    """FFmpeg writes to it as to a network: its reader decides how fast."""
    path = tmp_path / "demo.flv"
    os.mkfifo(path)
    return path


def end_of(process, number):
    process.send_signal(number)
    rest = process.stderr.read()
    return process.wait(), rest


def test_sigterm_ends_it_while_nobody_listens(start):
    process = start(NOBODY)

    line = json.loads(process.stderr.readline())

    assert (line["source"], line["level"], line["reason"]) == ("demo", "warning", "Connection refused")
    assert end_of(process, signal.SIGTERM) == (0, b"")


def test_sigterm_ends_it_at_once_when_the_server_never_answers(start):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        process = start(f"rtmp://127.0.0.1:{listener.getsockname()[1]}/live/demo")
        with listener.accept()[0] as peer:
            assert peer.recv(1) == b"\x03"
            assert end_of(process, signal.SIGTERM) == (-signal.SIGTERM, b"")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_stream_properly(start, fifo, number):
    process = start(fifo)

    with fifo.open("rb") as file:
        data = file.read(100_000)
        process.send_signal(number)
        data += file.read()

    assert (process.wait(), process.stderr.read()) == (0, b"")
    assert data[:3] == b"FLV"
    # The last tag is whole: its size follows it and leads back to its type.
    assert data[-4 - int.from_bytes(data[-4:], "big")] in {8, 9}


def test_a_signal_ends_a_stream_that_nobody_takes(start, fifo):
    process = start(fifo)

    with fifo.open("rb"), fifo.open("wb") as writer:
        wait_until(lambda: not select.select([], [writer], [], 0)[1], "a pipe that takes no more")
        assert end_of(process, signal.SIGTERM) == (-signal.SIGALRM, b"")


def test_it_ends_with_the_process_that_started_it():
    script = f"{' '.join(COMMAND)} {NOBODY} --parent $$ &"

    # The pipe is inherited: reading to its end waits for the grandchild.
    result = subprocess.run(["sh", "-c", script], check=True, stderr=subprocess.PIPE, timeout=30)

    assert result.stderr.count(b"\n") <= 1


def test_a_wrong_call_is_refused():
    assert subprocess.run(COMMAND, check=False, capture_output=True).returncode == 2
