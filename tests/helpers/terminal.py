"""A program whose standard error is a terminal; its standard output is a pipe, or the same terminal."""

from __future__ import annotations

import os
import pty
import subprocess
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.helpers.processes import ROOT


class Shown(NamedTuple):
    """What became of a program."""

    code: int
    stdout: str
    screen: str
    """All that was sent to the terminal, with its control sequences."""


def run_on_terminal(command: Sequence[str | Path], *, whole: bool = False, columns: int = 120) -> Shown:
    """
    Run a program to its end.

    Args:
        command: program and arguments.
        whole: standard output is the terminal as well, and not a pipe.
        columns: of the terminal.

    Returns:
        What became of it.
    """
    ours, theirs = pty.openpty()
    shown: list[bytes] = []
    environment = os.environ | {"TERM": "xterm", "COLUMNS": str(columns)}
    stdout = theirs if whole else subprocess.PIPE
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=stdout, stderr=theirs
    ) as process:
        os.close(theirs)
        reader = threading.Thread(target=lambda: shown.extend(_read(ours)))
        reader.start()
        told = "" if whole else process.stdout.read().decode()
        reader.join()
    os.close(ours)
    return Shown(process.returncode, told, b"".join(shown).decode())


def _read(descriptor: int) -> Iterator[bytes]:
    """Read until the program is gone, which Linux tells by an error."""
    while True:
        try:
            data = os.read(descriptor, 65_536)
        except OSError:
            return
        yield data
