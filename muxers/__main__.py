"""
`python -m muxers IN.flv OUT.mp4`: what the server does with a recording, by hand.

The suffix of the output says the format. Where a format cannot go on (another resolution in an MP4), or `--cut` says
so, OUT~2.mp4 follows, and so on. Nothing is overwritten, and what an error or Ctrl-C ends is completed. Exit codes: 1
for an error, 2 for a command line that is wrong, 128 and the signal's number for a signal.
"""

from __future__ import annotations

import os
import signal
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from muxers.base import FileFacts, Muxer, MuxError
from muxers.formats import FORMATS, Format, FormatOptions, SegmentType
from muxers.series import Cut, Series
from rtmpd.errors import MessageError
from rtmpd.wire.flv import TagReader

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_SIGNAL = 128
_READ_BYTES = 256 * 1024
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_BY_SUFFIX = {f".{each.suffix}": each for each in FORMATS.values()}

_app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@_app.command()
def convert(
    source: Annotated[str, typer.Argument(metavar="IN", help="An FLV file, or - for standard input.")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help=f"What to write: {', '.join(_BY_SUFFIX)}.")],
    cut_s: Annotated[
        int, typer.Option("--cut", min=0, metavar="SECONDS", help="Begin another file so often, at key frames.")
    ] = 0,
    segment_s: Annotated[int, typer.Option("--segment", min=1, metavar="SECONDS", help="Of HLS.")] = 2,
    segment_type: Annotated[SegmentType, typer.Option("--segment-type", help="Of HLS.")] = "fmp4",
) -> None:
    """Write an FLV stream in another format, without touching pictures and sound. Nothing is overwritten."""
    file_format = _BY_SUFFIX.get(target.suffix)
    if file_format is None:
        typer.echo(f"{target}: the suffix says the format: {', '.join(_BY_SUFFIX)}", err=True)
        raise typer.Exit(EXIT_USAGE)
    name = "standard input" if source == "-" else source
    display = _Display()
    outputs = _Outputs(target, file_format, FormatOptions(segment_s * 1000, segment_type), display)
    series = Series(outputs, Cut(after_ms=cut_s * 1000))
    ended_by = 0
    try:
        with _opened(source) as given, display.showing(name, given):
            _write(given, name, series, outputs, display)
            ended_by = given.signal
    except OSError as error:
        outputs.complain(name, error)
    if outputs.are_empty and not outputs.have_failed:
        outputs.complain(name, f"there is nothing in it for {file_format.title}")
    raise typer.Exit(EXIT_SIGNAL + ended_by if ended_by else EXIT_FAILED if outputs.have_failed else 0)


class _Interrupted(Exception):
    """A signal came while the input was waited for."""


class _Input:
    """
    The input, read until it ends or a signal comes.

    A signal never comes between where a muxer is at work: it is looked for before each read, and ends one that waits.
    The same signal again does what it always does.
    """

    def __init__(self, file: FileIO) -> None:
        self._file = file
        self._waits = False
        self.signal = 0
        """The number of that which came; 0 for none."""
        self.position = 0

    @property
    def size(self) -> int | None:
        """How many bytes there will be; None where nobody knows."""
        status = os.fstat(self._file.fileno())
        return status.st_size if stat.S_ISREG(status.st_mode) else None

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take the signals that would end the process."""
        before = {number: signal.signal(number, self._stop) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def read(self) -> bytes:
        """Read what is there; nothing at the end."""
        data = b""
        try:
            self._waits = True
            if not self.signal:
                data = self._file.read(_READ_BYTES)
            self._waits = False
        except _Interrupted:
            return b""
        self.position += len(data)
        return data

    def _stop(self, number: int, _frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        self.signal = number
        if self._waits:
            self._waits = False
            raise _Interrupted


class _Display:
    """Lines about the outputs, and on a terminal a bar that makes room for them."""

    def __init__(self) -> None:
        self._bar: Progress | None = None

    @contextmanager
    def showing(self, name: str, given: _Input) -> Iterator[None]:
        """Show how far the input is read."""
        console = Console(stderr=True)
        if not console.is_terminal:
            yield
            return
        label = TextColumn("{task.description}", markup=False)
        columns = (label, BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
        # Not redirected: the lines on standard output may be for another program, and on the terminal they are kept whole.
        with Progress(*columns, console=console, transient=True, redirect_stdout=False, redirect_stderr=False) as bar:
            bar.add_task(Path(name).name, total=given.size)
            self._bar = bar
            try:
                yield
            finally:
                self._bar = None

    def move(self, position: int) -> None:
        """Show that so many bytes are read."""
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=position)

    def say(self, line: str, *, err: bool = False) -> None:
        """Print a line."""
        if self._bar is None:
            typer.echo(line, err=err)
            return
        self._bar.stop()
        typer.echo(line, err=err)
        self._bar.start()


class _Outputs:
    """OUT.mp4, OUT~2.mp4, ...; what became of each is said. An error is the end of them."""

    def __init__(self, path: Path, file_format: Format, options: FormatOptions, display: _Display) -> None:
        self._path = path
        self._format = file_format
        self._options = options
        self._display = display
        self._number = 0
        self.are_empty = True
        """None of them has a frame."""
        self.have_failed = False

    def next(self) -> Muxer | None:
        """Open the next output; names that are taken are passed over, but for the first one."""
        while not self.have_failed:
            self._number += 1
            number = f"~{self._number}" if self._number > 1 else ""
            path = self._path.with_name(f"{self._path.stem}{number}{self._path.suffix}")
            try:
                muxer = self._format.make(path, self._options)
                muxer.open()
            except (OSError, MuxError) as error:
                if self._number == 1 or not isinstance(error, FileExistsError):
                    self.complain(path, error)
            else:
                return muxer
        return None

    def closed(self, muxer: Muxer, facts: FileFacts) -> None:  # noqa: ARG002 - the facts say all
        """Say what an output holds."""
        if not facts.empty:
            self.are_empty = False
            self._display.say(_described(facts))

    def failed(self, muxer: Muxer, facts: FileFacts, error: Exception) -> None:
        """Say what went wrong, and what there is nevertheless; a bug of ours is loud."""
        if not isinstance(error, OSError | MuxError):
            raise error
        self.closed(muxer, facts)
        self.complain(facts.path, error)

    def complain(self, place: Path | str, error: Exception | str) -> None:
        """Say that something is not as it was asked for."""
        self.have_failed = True
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        self._display.say(f"{place}: {reason}", err=True)


def _write(given: _Input, name: str, series: Series, outputs: _Outputs, display: _Display) -> None:
    """Write until the input ends, an output fails or a signal comes; what was written is completed."""
    reader = TagReader()
    try:
        while not outputs.have_failed and (data := given.read()):
            series.write(reader.feed(data))
            display.move(given.position)
        reader.feed(b"")  # a fault behind whole tags comes out late
    except MessageError as fault:
        where = f"broken behind byte {reader.position}" if reader.position else "no FLV"
        outputs.complain(name, f"{where}: {fault}")
    finally:
        series.close()
    torn = given.position - reader.position
    if given.signal:
        display.say(f"{name}: interrupted", err=True)
    elif not outputs.have_failed and torn:
        display.say(f"{name}: the last {torn} bytes are no whole tag", err=True)


@contextmanager
def _opened(source: str) -> Iterator[_Input]:
    with FileIO(0 if source == "-" else source, closefd=source != "-") as file:
        given = _Input(file)
        with given.listening():
            yield given


def _described(facts: FileFacts) -> str:
    tracks = []
    for track in facts.tracks:
        size = f" {track.width}x{track.height}" if track.width else ""
        sound = f" {track.sample_rate} Hz" if track.sample_rate else ""
        tracks.append(f"{track.kind} {track.codec}{size}{sound}")
    text = f"{facts.path}: {facts.duration_ms / 1000:.3f} s, {facts.size_bytes} bytes, {', '.join(tracks)}"
    lost = {"gaps": facts.gaps, "frames left out": facts.left_out}
    return text + "".join(f", {name}: {count}" for name, count in lost.items() if count)


def main() -> None:
    """Run what the command line says."""
    _app(prog_name="python -m muxers")


if __name__ == "__main__":
    main()
