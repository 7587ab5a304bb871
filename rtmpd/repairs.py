"""
`rtmpd repair`: what the server does at its start with interrupted recordings, by hand and for any folder.

In folders, what has the name of a recording is looked at; the segments of HLS belong to their playlist. The index is
not touched: a server that knows these files looks at them again when it starts.
"""

from __future__ import annotations

import functools
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from muxers.base import MuxError
from muxers.formats import FORMATS
from muxers.hls_repair import recording_of
from muxers.repair import repair
from rtmpd.logs import escaped

EXIT_FAILED = 1
_BY_SUFFIX = {f".{each.suffix}": each.name for each in FORMATS.values()}
_IN_FOLDERS = tuple(suffix for suffix in _BY_SUFFIX if suffix != ".ts")
"""The server records no single MPEG-TS, and most files of that suffix are programs in TypeScript."""


class _Outcome(NamedTuple):
    kind: str
    """"whole", "repaired", "removed" or "failed"."""
    told: str


class _Report:
    """Lines for people, and on a terminal a bar that makes room for them."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._bar: Progress | None = None

    def repair(self, paths: Sequence[Path]) -> None:
        """Repair one after another."""
        console = Console(stderr=True)
        if len(paths) < 2 or not console.is_terminal:
            for path in paths:
                self.add(path, _repair(path))
            return
        columns = (TextColumn("repairing"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        # Not redirected: the lines on standard output may be for another program, and on the terminal they are kept whole.
        with Progress(*columns, console=console, transient=True, redirect_stdout=False, redirect_stderr=False) as bar:
            self._bar = bar
            try:
                for path in bar.track(paths):
                    self.add(path, _repair(path))
            finally:
                self._bar = None

    def add(self, path: Path, outcome: _Outcome) -> None:
        """Say what became of a path: what failed on standard error."""
        self.counts[outcome.kind] += 1
        line = f"{escaped(str(path))}: {outcome.told}"
        if self._bar is None:
            typer.echo(line, err=outcome.kind == "failed")
            return
        self._bar.stop()
        typer.echo(line, err=outcome.kind == "failed")
        self._bar.start()


def repair_all(paths: Sequence[Path]) -> int:
    """
    Repair recordings and say what became of each.

    Args:
        paths: files and folders.

    Returns:
        The exit code: 0 when every recording is whole now, or was; 1 otherwise, also when there is none.
    """
    report = _Report()
    report.repair(list(dict.fromkeys(_found(paths, report))))
    counts = report.counts
    if not counts:
        typer.echo(f"there is no recording ({', '.join(_IN_FOLDERS)})", err=True)
        return EXIT_FAILED
    if counts.total() > 1:
        typer.echo(", ".join(f"{count} {kind}" for kind, count in counts.items()), err=True)
    return EXIT_FAILED if counts["failed"] else 0


def _found(paths: Sequence[Path], report: _Report) -> Iterator[Path]:
    owner = functools.cache(_owner)  # a shell may name all files of a folder
    for path in paths:
        if path.is_dir():
            yield from _inside(path, report)
        elif playlist := owner(path.parent):
            report.add(path, _Outcome("failed", f"belongs to {escaped(str(playlist))}"))
        else:
            yield path


def _inside(folder: Path, report: _Report) -> Iterator[Path]:
    """Find the recordings in a folder and those below it; one that cannot be read is a failure."""

    def complain(error: OSError) -> None:
        report.add(Path(error.filename), _failure(error))

    for place, below, names in os.walk(folder, onerror=complain):
        here = Path(place)
        if playlist := _owner(here):
            below.clear()
            yield playlist
            continue
        below.sort()
        yield from (here / name for name in sorted(names) if name.endswith(_IN_FOLDERS) and (here / name).is_file())


def _owner(folder: Path) -> Path | None:
    """Name the recording that a folder's files are part of."""
    try:
        return recording_of(folder)
    except OSError:
        return None


def _repair(path: Path) -> _Outcome:
    file_format = _BY_SUFFIX.get(path.suffix)
    try:
        if file_format is None:
            path.stat()  # a folder that is not there is not said to have the wrong name
            return _Outcome("failed", f"no recording ({', '.join(_BY_SUFFIX)})")
        if path.exists() and not path.is_file():
            return _Outcome("failed", "no file")
        before = _state(path)
        facts = repair(path, file_format)
        after = _state(path)
    except BlockingIOError:
        return _Outcome("failed", "is being written")
    except (OSError, MuxError) as error:
        return _failure(error)
    if facts is None:
        return _Outcome("removed", "empty, removed")
    kind = "whole" if before == after else "repaired"
    return _Outcome(kind, f"{kind}, {facts.duration_ms / 1000:.1f} s, {facts.size_bytes} bytes")


def _state(path: Path) -> tuple[int, int, int] | None:
    """What changes with a file; of HLS, with the playlist, which is replaced in the end."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def _failure(error: OSError | MuxError) -> _Outcome:
    return _Outcome("failed", (error.strerror if isinstance(error, OSError) else None) or str(error))
