"""
The reference of `recording`: ffmpeg processes that each play one stream and write it as the same formats.

One process a stream is how ffmpeg records. It has the same safety as a recording of rtmpd, and no more: the MP4 is cut
into fragments of half a second, so that it opens after a crash.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import av

from bench import procfs
from bench.errors import BenchError
from bench.servers import LOAD_CORE, on_core, stop

_FINISH_S = 20.0
_QUIET = ("-nostdin", "-hide_banner", "-loglevel", "error")
_COPY = ("-map", "0", "-c", "copy")
_FRAGMENTS = ("-movflags", "+frag_keyframe+empty_moov+default_base_moof", "-frag_duration", "500000")
_OUTPUTS = {"flv": ("-f", "flv"), "mp4": (*_FRAGMENTS, "-f", "mp4")}


def is_installed() -> bool:
    """Whether there is a reference at all."""
    return shutil.which("ffmpeg") is not None


def version() -> str:
    """
    Name the reference.

    Returns:
        For example "ffmpeg 5.1.9-0+deb12u1".
    """
    first = subprocess.run(["ffmpeg", "-version"], capture_output=True, text=True, check=False).stdout.partition("\n")[
        0
    ]
    return "ffmpeg " + first.removeprefix("ffmpeg version ").partition(" ")[0]


class Reference:
    """Running ffmpeg processes."""

    def __init__(self, processes: list[subprocess.Popen[bytes]], paths: list[list[Path]]) -> None:
        """
        Hold what is needed to measure them.

        Args:
            processes: one a stream.
            paths: the files of each.
        """
        self._processes = processes
        self._paths = paths

    def cpu_seconds(self) -> float:
        """
        CPU time since they started.

        Raises:
            BenchError: one of them has ended.
        """
        ended = [process for process in self._processes if process.poll() is not None]
        if ended:
            raise BenchError(f"an ffmpeg ended with {ended[0].returncode}")
        return procfs.cpu_seconds([process.pid for process in self._processes])

    def resident_bytes(self) -> int:
        """Resident memory of all of them."""
        return procfs.resident_bytes([process.pid for process in self._processes])

    def finish(self) -> None:
        """
        Wait until all have completed their files, as they do when their streams end.

        Raises:
            BenchError: one of them goes on, or has failed.
        """
        for process in self._processes:
            try:
                code = process.wait(_FINISH_S)
            except subprocess.TimeoutExpired:
                raise BenchError(f"an ffmpeg goes on {_FINISH_S:.0f} s after the end of its stream") from None
            if code:
                raise BenchError(f"an ffmpeg ended with {code}")

    def packets(self) -> list[int]:
        """
        Count the packets of every file, once finished.

        Raises:
            BenchError: a file cannot be read.
        """
        return [packets_in(path) for paths in self._paths for path in paths]


@contextmanager
def recording(urls: Sequence[str], formats: Sequence[str], directory: Path) -> Iterator[Reference]:
    """
    Record streams for as long as the block lasts, on the load's core.

    Args:
        urls: of the streams.
        formats: what each is written as: flv, mp4.
        directory: exists; takes the files.

    Yields:
        The processes, just started.
    """
    processes: list[subprocess.Popen[bytes]] = []
    paths = [[directory / f"{number}.{name}" for name in formats] for number in range(len(urls))]
    try:
        with on_core(LOAD_CORE):
            for url, files in zip(urls, paths, strict=True):
                processes.append(subprocess.Popen(_command(url, files), stdin=subprocess.DEVNULL))
        yield Reference(processes, paths)
    finally:
        for process in processes:
            stop(process)


def packets_in(path: Path) -> int:
    """
    Read a recording as a player would.

    Args:
        path: of the file.

    Returns:
        How many packets it holds, of all tracks.

    Raises:
        BenchError: it does not open.
    """
    try:
        with av.open(path) as container:
            return sum(packet.size > 0 for packet in container.demux())
    except (av.FFmpegError, OSError) as error:
        raise BenchError(f"{path.name} cannot be read: {error}") from error


def _command(url: str, files: Sequence[Path]) -> list[str]:
    outputs = [word for path in files for word in (*_COPY, *_OUTPUTS[path.suffix[1:]], str(path))]
    return ["ffmpeg", *_QUIET, "-i", url, *outputs]
