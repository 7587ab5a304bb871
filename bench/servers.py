"""
The servers under test: started for one measurement, alone on their core, ended by their own pid.

The load runs on LOAD_CORE, a server and all its processes on SERVER_CORE.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench import nginx, node_media_server, procfs
from bench.errors import BenchError
from bench.place import Place

SERVER_CORE = 0
LOAD_CORE = 1
HOST = "127.0.0.1"
_START_S = 20.0
_STOP_S = 20.0
_ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class Kind:
    """One of the servers that can be measured."""

    name: str
    chunk_size: int
    """Bytes a chunk that it announces; its players get it, and an encoder like ffmpeg copies it."""
    command: Callable[[Place], list[str]]
    """Makes the command line."""
    version: Callable[[], str]
    output: str = ""
    """What players of it ask for over HTTP, behind the stream's name: ".flv"; empty for RTMP."""


class Server:
    """A running server."""

    def __init__(self, kind: Kind, process: subprocess.Popen[bytes], place: Place) -> None:
        """
        Hold what is needed to measure it.

        Args:
            kind: which one it is.
            process: its first process.
            place: where it listens; the directory holds its data and logs, and is removed with it.
        """
        self.kind = kind
        self.process = process
        self.port = place.port
        self.http_port = place.http_port
        self.directory = place.directory

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        return HOST, self.port

    def cpu_seconds(self) -> float:
        """CPU time of all its processes since they started."""
        return procfs.cpu_seconds(self._pids())

    def resident_bytes(self) -> int:
        """Resident memory of all its processes."""
        return procfs.resident_bytes(self._pids())

    def child(self, module: str) -> int:
        """
        Find one of its processes.

        Args:
            module: that the process runs.

        Returns:
            Its pid.

        Raises:
            BenchError: there is not exactly one.
        """
        found = [pid for pid in self._pids()[1:] if module in procfs.command_line(pid)]
        if len(found) != 1:
            raise BenchError(f"{self.kind.name} has {len(found)} processes {module}")
        return found[0]

    def log_lines(self, event: str) -> list[dict[str, Any]]:
        """
        Read the lines of its JSON log.

        Args:
            event: of the lines.

        Returns:
            The lines so far.
        """
        mark = f'"{event}"'
        with (self.directory / "output.log").open() as log:
            entries = [json.loads(line) for line in log if mark in line and line.endswith("\n")]
        return [entry for entry in entries if entry["event"] == event]

    def log_tail(self) -> str:
        """The last lines that it wrote, for an error message."""
        logs = [self.directory / "output.log", self.directory / "error.log"]
        return "\n".join(log.read_text(errors="replace")[-2_000:] for log in logs if log.exists())

    def _pids(self) -> list[int]:
        if self.process.poll() is not None:
            raise BenchError(f"{self.kind.name} ended with {self.process.returncode}:\n{self.log_tail()}")
        return procfs.process_tree(self.process.pid)


@contextmanager
def running(kind: Kind) -> Iterator[Server]:
    """
    Run a server for as long as the block lasts.

    Args:
        kind: which one.

    Yields:
        The server, once its port answers.

    Raises:
        BenchError: it is not installed, or does not answer in time.
    """
    files = procfs.raise_open_file_limit()
    with tempfile.TemporaryDirectory(prefix=f"bench-{kind.name}-") as name:
        directory = Path(name)
        place = Place(_free_port(), _free_port(), directory, files)
        command = kind.command(place)
        with (directory / "output.log").open("wb") as log, on_core(SERVER_CORE):
            process = subprocess.Popen(command, cwd=_ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        server = Server(kind, process, place)
        try:
            _wait_until_it_answers(server)
            yield server
        finally:
            stop(process)


def pin_load() -> None:
    """Keep this process on the load's core, from here on."""
    os.sched_setaffinity(0, {LOAD_CORE})


@contextmanager
def on_core(core: int) -> Iterator[None]:
    """
    Move this process to a core, so that what it starts inherits the affinity from its first instruction on.

    Args:
        core: its number.

    Yields:
        Nothing; at the end of the block this process is where it was.
    """
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _wait_until_it_answers(server: Server) -> None:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        if server.process.poll() is not None:
            raise BenchError(f"{server.kind.name} did not start:\n{server.log_tail()}")
        try:
            socket.create_connection(server.address, timeout=1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise BenchError(f"{server.kind.name} did not answer within {_START_S:.0f} s:\n{server.log_tail()}")


def stop(process: subprocess.Popen[bytes]) -> None:
    """
    End a process that we started, by force where it does not listen; harmless when it has ended.

    Args:
        process: the one.
    """
    process.terminate()
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def rtmpd_command(place: Place) -> list[str]:
    """
    Make the command line of rtmpd with its defaults.

    Args:
        place: of the measurement.

    Returns:
        The command line; options may follow.
    """
    listening = ["--rtmp", f"{HOST}:{place.port}", "--http", f"{HOST}:{place.http_port}"]
    return [sys.executable, "-m", "rtmpd", "serve", *listening, "--data", str(place.directory / "data")]


def recording_kind(formats: Sequence[str]) -> Kind:
    """
    Make a kind of rtmpd that records all that is published.

    Args:
        formats: what as.

    Returns:
        The kind.
    """
    names = ", ".join(f'"{name}"' for name in formats)
    config = f'[apps.live]\nrecord = "auto"\nresume_s = 0\nrecord_formats = [{names}]\ngrace_s = 0\n'

    def command(place: Place) -> list[str]:
        path = place.directory / "rtmpd.toml"
        path.write_text(config)
        return [*rtmpd_command(place), "--config", str(path)]

    return replace(RTMPD, command=command)


def _rtmpd_version() -> str:
    python = ".".join(str(part) for part in sys.version_info[:3])
    return f"rtmpd {commit()} on CPython {python}"


def commit() -> str:
    """
    Name the tree that was measured.

    Returns:
        The commit, with "+" when files of the tree differ from it; "unknown" outside a checkout.
    """
    git = ["git", "-C", str(_ROOT)]
    try:
        head = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
        changes = subprocess.run([*git, "status", "--porcelain"], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return "unknown"
    return (head.stdout.strip() or "unknown") + ("+" if changes.stdout.strip() else "")


RTMPD = Kind("rtmpd", 65_536, rtmpd_command, _rtmpd_version)
NGINX = Kind("nginx-rtmp", nginx.CHUNK_SIZE, nginx.command, nginx.version)
WATCHED = (
    Kind(
        "Node-Media-Server .flv",
        node_media_server.CHUNK_SIZE,
        node_media_server.command,
        node_media_server.version,
        ".flv",
    ),
    replace(RTMPD, name="rtmpd .flv", output=".flv"),
    replace(RTMPD, name="rtmpd .mp4", output=".mp4"),
)
"""Who is compared over HTTP."""
KINDS = {"rtmpd": (RTMPD,), "nginx": (NGINX,), "both": (NGINX, RTMPD)}
