"""A program whose standard error is a terminal, while its standard output is a pipe."""

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


def run_on_terminal(command: Sequence[str | Path]) -> Shown:
    """Run a program to its end."""
    ours, theirs = pty.openpty()
    shown: list[bytes] = []
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "120"}
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=theirs
    ) as process:
        os.close(theirs)
        reader = threading.Thread(target=lambda: shown.extend(_read(ours)))
        reader.start()
        told = process.stdout.read().decode()
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
