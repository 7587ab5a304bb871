"""
A machine that stalls: a command runs while its processes stop and go on at random.

    python -m tests.helpers.stalls --seed 1 -- .venv/bin/pytest tests/e2e/test_relays.py

Tests share two cores with each other's encoders, and elsewhere with strangers: any process may stand still for a second
or two at any moment, and a new one may be late. A test that relies on somebody being quick enough passes a thousand
times and then fails for whoever changed nothing. This finds it within minutes.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple, TextIO

_TURN_S = 0.01
_LEAST_AT_BIRTH_S = 0.1
_SHOWN_CHARACTERS = 110


class Rates(NamedTuple):
    """How often and how long."""

    gap_s: float
    """Between two stalls, the mean."""
    mean_s: float
    most_s: float
    all_share: float
    """Of the stalls, those that hit every process at once, as a noisy host does."""
    birth_share: float
    """Of the new processes, those that are late."""


class _Process(NamedTuple):
    parent: int
    state: str
    name: str


class Stalls:
    """What is stopped now, and who is next."""

    def __init__(self, root: int, rates: Rates, seed: int, log: TextIO, now: float) -> None:
        """
        Begin with everybody running.

        Args:
            root: the process whose family it is about, itself included.
            rates: how often and how long.
            seed: the same one draws the same numbers; who is there to be hit differs from run to run.
            log: gets a line a stall.
            now: seconds on any clock.
        """
        self._root = root
        self._rates = rates
        self._random = random.Random(seed)
        self._log = log
        self._until: dict[int, float] = {}
        self._known = {root}
        self._next = now + self._gap_s()

    def turn(self, now: float) -> None:
        """
        Let those go on whose time is over, and stop others.

        Args:
            now: seconds, on the clock of the beginning.
        """
        for pid in [pid for pid, until in self._until.items() if until <= now]:
            self._go_on(pid)
        running = _running(self._root)
        for pid in running.keys() - self._known:
            self._known.add(pid)
            if self._random.random() < self._rates.birth_share:
                self._stop(pid, now, self._random.uniform(_LEAST_AT_BIRTH_S, self._rates.most_s), "late")
        if now >= self._next:
            self._next = now + self._gap_s()
            self._stall(running, now)

    def end(self) -> None:
        """Let everybody go on."""
        for pid in [*self._until]:
            self._go_on(pid)

    def _gap_s(self) -> float:
        return self._random.expovariate(1 / self._rates.gap_s)

    def _stall(self, running: dict[int, str], now: float) -> None:
        seconds = min(self._rates.most_s, self._random.expovariate(1 / self._rates.mean_s))
        if self._random.random() < self._rates.all_share:
            for pid in running:
                self._stop(pid, now, seconds, "all")
        elif running:
            # by name first: else a browser, which is ten processes, would get most of them
            alike = defaultdict(list)
            for pid, name in running.items():
                alike[name].append(pid)
            self._stop(self._random.choice(alike[self._random.choice(sorted(alike))]), now, seconds, "one")

    def _stop(self, pid: int, now: float, seconds: float, why: str) -> None:
        if pid not in self._until and _send(pid, signal.SIGSTOP):
            self._until[pid] = now + seconds
            print(f"{time.strftime('%X')} {why:4} {seconds:.2f} s {pid} {_command(pid)}", file=self._log, flush=True)

    def _go_on(self, pid: int) -> None:
        del self._until[pid]
        _send(pid, signal.SIGCONT)


def _running(root: int) -> dict[int, str]:
    """Find the family's names by pid, without those that are stopped: a test that stops somebody wants it so."""
    table = {int(entry.name): _process(entry) for entry in Path("/proc").iterdir() if entry.name.isdigit()}
    children = defaultdict(list)
    for pid, process in table.items():
        if process is not None:
            children[process.parent].append(pid)
    family = [root]
    for pid in family:
        family.extend(children[pid])
    members = {pid: table.get(pid) for pid in family}
    return {pid: process.name for pid, process in members.items() if process is not None and process.state not in "TZX"}


def _process(entry: Path) -> _Process | None:
    try:
        # the name stands in parentheses and may hold any character
        before, _, after = (entry / "stat").read_text(errors="replace").rpartition(")")
    except OSError:
        return None
    state, parent = after.split()[:2]
    return _Process(int(parent), state, before.partition("(")[2])


def _command(pid: int) -> str:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_text(errors="replace").replace("\0", " ").split()
    except OSError:
        return "?"
    return " ".join(words)[:_SHOWN_CHARACTERS]


def _send(pid: int, number: int) -> bool:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def main(arguments: list[str]) -> int:
    """
    Run a command on a machine that stalls.

    Args:
        arguments: of the command line, without the program.

    Returns:
        The exit code of the command.
    """
    parser = argparse.ArgumentParser(prog="python -m tests.helpers.stalls", description=__doc__.splitlines()[1])
    parser.add_argument("--seed", type=int, default=1, help="of the random numbers (default: 1)")
    parser.add_argument("--gap-s", type=float, default=1.0, help="seconds between two stalls, the mean (default: 1)")
    parser.add_argument("--mean-s", type=float, default=0.4, help="seconds that a stall lasts, the mean (default: 0.4)")
    parser.add_argument("--most-s", type=float, default=2.0, help="seconds that a stall lasts, at most (default: 2)")
    parser.add_argument("--all", type=float, default=0.3, help="share of stalls that hit everybody (default: 0.3)")
    parser.add_argument("--late", type=float, default=0.3, help="share of new processes that are late (default: 0.3)")
    parser.add_argument("--log", type=Path, default=Path(os.devnull), help="a file that gets a line a stall")
    parser.add_argument("command", nargs="+", help="after --, the program and its arguments")
    options = parser.parse_args(arguments)
    rates = Rates(options.gap_s, options.mean_s, options.most_s, options.all, options.late)
    with options.log.open("a") as log, subprocess.Popen(options.command) as command:
        stalls = Stalls(command.pid, rates, options.seed, log, time.monotonic())
        try:
            while command.poll() is None:
                stalls.turn(time.monotonic())
                time.sleep(_TURN_S)
        except KeyboardInterrupt:
            stalls.end()
            command.wait()  # who typed it told the command as well
        finally:
            stalls.end()
    return command.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
