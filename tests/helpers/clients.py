"""Real clients, each in a process of its own: PyAV, which is always there, and those that a system may have."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.helpers.media import Packet
from tests.helpers.processes import PATIENCE_S, Program

_PYAV = (sys.executable, Path(__file__).with_name("pyav_peer.py"))
_FFMPEG = ("ffmpeg", "-nostdin", "-hide_banner")
_BOTH_KINDS = ("-map", "0:v?", "-map", "0:a?")
HELD_BACK_MS = 500
"""What ffmpeg may keep until its input ends: it sorts the packets of all tracks, so it waits for each of them to go on."""
_PLAY_REQUESTED = "Sending play command"
"""What every FFmpeg says, at level debug, when it has come so far."""


class Publisher(Program):
    """Pushes a file in real time, and ends by itself."""


class Player(Program):
    """Plays until the stream ends."""

    def wait_for_request(self) -> None:
        """Wait until it asks to play: what is published from now on is played from its beginning."""
        self.wait_for_line(_PLAY_REQUESTED)

    def packets(self) -> list[Packet]:
        """What it has received so far."""
        raise NotImplementedError

    def finish(self, timeout_s: float = PATIENCE_S) -> list[Packet]:
        """Wait for the end of the stream, which is a success, and return the packets."""
        assert self.wait(timeout_s) == 0
        return self.packets()


class PyavPlayer(Player):
    """A player by FFmpeg's library."""

    def packets(self) -> list[Packet]:
        """What it has received so far."""
        return [Packet(*json.loads(line)) for line in list(self.stdout) if line.startswith("[")]


class FfmpegPlayer(Player):
    """A player by the ffmpeg program, which writes all packets at the end."""

    def packets(self) -> list[Packet]:
        """What it has received."""
        return _framemd5(self.stdout)


def pyav_publisher(path: Path, url: str) -> Publisher:
    """Push a file by PyAV."""
    return Publisher([*_PYAV, "publish", path, url])


def pyav_player(url: str) -> PyavPlayer:
    """Play by PyAV."""
    return PyavPlayer([*_PYAV, "--debug", "play", url])


def pyav_look(url: str) -> tuple[int, int, bool]:
    """Decode the first picture of a stream: its width and height, and whether it is a key frame."""
    with Program([*_PYAV, "look", url]) as program:
        assert program.wait() == 0
        width, height, is_key_frame = json.loads(program.stdout[-1])
        return width, height, is_key_frame


def ffmpeg_publisher(path: Path, url: str) -> Publisher:
    """Push a file by ffmpeg, as the issue spells it."""
    return Publisher([*_FFMPEG, "-re", "-i", path, "-c", "copy", "-f", "flv", url])


def ffmpeg_player(url: str) -> FfmpegPlayer:
    """Play by ffmpeg."""
    return FfmpegPlayer([*_FFMPEG, "-loglevel", "debug", "-i", url, *_BOTH_KINDS, "-c", "copy", "-f", "framemd5", "-"])


def ffmpeg_writer(path: Path, *options: str) -> Program:
    """
    Play, or listen, by ffmpeg, and write what comes as it comes.

    Args:
        path: of the FLV file.
        options: the input, `-i URL`, and what is to be said of it.
    """
    to_file = ("-c", "copy", "-flush_packets", "1", "-f", "flv", path)
    return Program([*_FFMPEG, "-loglevel", "error", *options, *to_file])


def ffmpeg_remux(source: Path, target: Path) -> None:
    """Copy all packets into another format by ffmpeg."""
    _run_ffmpeg("-y", "-i", source, "-c", "copy", target)


def ffmpeg_packets(path: Path) -> list[Packet]:
    """The packets of a file, as ffmpeg reads them."""
    return _framemd5(_run_ffmpeg("-i", path, *_BOTH_KINDS, "-c", "copy", "-f", "framemd5", "-").splitlines())


def rtmpdump_player(url: str, path: Path) -> Program:
    """Play by rtmpdump, into an FLV file."""
    return Program(["rtmpdump", "--live", "--rtmp", url, "--flv", path])


def gstreamer_publisher(url: str, pictures: int) -> Program:
    """Encode a test picture by GStreamer and push it in real time."""
    encoded = "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=25"
    source = f"videotestsrc is-live=true num-buffers={pictures}"
    size = "video/x-raw,width=320,height=180,framerate=25/1"
    return _gstreamer(f"{source} ! {size} ! {encoded} ! h264parse ! flvmux streamable=true ! rtmp2sink location={url}")


def gstreamer_player(url: str, path: Path) -> Program:
    """Play by GStreamer, into an FLV file."""
    return _gstreamer(f"rtmp2src location={url} ! filesink location={path}")


def _gstreamer(pipeline: str) -> Program:
    return Program(["gst-launch-1.0", "--no-fault", *pipeline.split()])


def _run_ffmpeg(*arguments: str | Path) -> str:
    command = [*_FFMPEG, "-loglevel", "error", *arguments]
    result = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


def _framemd5(lines: list[str]) -> list[Packet]:
    kinds: dict[str, str] = {}
    packets = []
    for line in lines:
        if line.startswith("#media_type "):
            index, _, kind = line.removeprefix("#media_type ").partition(": ")
            kinds[index] = kind
        elif line and not line.startswith("#"):
            index, dts, pts, _duration, size, md5 = (field.strip() for field in line.split(","))
            packets.append(Packet(kinds[index], int(dts), int(pts), int(size), md5))
    return packets
