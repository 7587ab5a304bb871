"""Programs under test: what they write is collected by threads, every wait has a limit, and nobody outlives its test."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 20.0
"""For what takes a fraction of a second on an idle machine: tests share two cores with each other's encoders."""
_LAST_WORDS = 40
"""Waits of 50 ms for output to be read when a process has ended; one of its children may still hold the pipe. Waits are
counted, and no clock is looked at: in a time in which all of us stood still nobody could read."""


def wait_until(reached: Callable[[], bool], what: str | Callable[[], str], timeout_s: float = PATIENCE_S) -> None:
    """
    Poll for what nothing announces: a file, another process, the kernel's tables.

    Args:
        reached: asked every 10 ms.
        what: is waited for; the failure's message, or what makes it when it is needed.
        timeout_s: after which the test fails.
    """
    deadline = time.monotonic() + timeout_s
    while not reached():
        assert time.monotonic() < deadline, f"not within {timeout_s:g} s: {what if isinstance(what, str) else what()}"
        threading.Event().wait(0.01)


class Program:
    """A process whose output is kept line by line."""

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        environment: Mapping[str, str] | None = None,
        process_group: int | None = None,
    ) -> None:
        """
        Start it.

        Args:
            command: program and arguments.
            environment: added to ours.
            process_group: that it joins; 0 for one of its own, by default ours.
        """
        self.command = [str(part) for part in command]
        self.stdout: list[str] = []
        self.stderr: list[str] = []
        self._heard = threading.Condition()
        self._process = subprocess.Popen(
            self.command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)} | dict(environment or {}),
            process_group=process_group,
        )
        self._readers = [
            threading.Thread(target=self._read, args=(stream, lines), daemon=True)
            for stream, lines in ((self._process.stdout, self.stdout), (self._process.stderr, self.stderr))
        ]
        for reader in self._readers:
            reader.start()

    def __enter__(self):
        return self

    def __exit__(self, kind, error, _traceback) -> None:
        self.kill()
        if error is not None:
            error.add_note(self.report())

    @property
    def pid(self) -> int:
        """Of the process, also when it has ended."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.poll() is None

    def wait(self, timeout_s: float = PATIENCE_S) -> int:
        """
        Wait for the end, and for all output.

        Args:
            timeout_s: after which the test fails.

        Returns:
            The exit code.
        """
        try:
            code = self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {timeout_s:g} s: {self.command[0]}") from None
        self._join()
        return code

    def wait_for_line(self, text: str, timeout_s: float = PATIENCE_S) -> str:
        """
        Wait for a line of either stream that contains a text.

        Args:
            text: looked for, in what was written before as well.
            timeout_s: after which the test fails.

        Returns:
            The line.
        """

        def find() -> str | None:
            return next((line for line in [*self.stdout, *self.stderr] if text in line), None)

        with self._heard:
            found = self._heard.wait_for(lambda: find() or not self._readable(), timeout_s)
            line = find()
        assert line is not None, f"{'ended without' if found else 'no'} {text!r}"
        return line

    def signal(self, number: int) -> None:
        """Send a signal to this process, and to no other."""
        self._process.send_signal(number)

    def kill(self) -> None:
        """End it at once, if it has not ended, and take the rest of its output."""
        if self.running:
            self.signal(signal.SIGKILL)
        self._process.wait()
        self._join()

    def report(self, lines: int = 60) -> str:
        """Say what it was and what it said last, for a failed test."""
        shown = [*self.stdout[-lines:], *self.stderr[-lines:]]
        return "\n".join([f"$ {' '.join(self.command)}", *shown])

    def hear(self, line: str) -> None:
        """Look at a line of standard error as it comes; called with the lock of `_heard`."""

    def _read(self, stream, lines: list[str]) -> None:
        with stream:
            for line in stream:
                with self._heard:
                    lines.append(line.rstrip("\n"))
                    if lines is self.stderr:
                        self.hear(lines[-1])
                    self._heard.notify_all()
        with self._heard:
            self._heard.notify_all()

    def _readable(self) -> bool:
        return any(reader.is_alive() for reader in self._readers if reader is not threading.current_thread())

    def _join(self) -> None:
        for _ in range(_LAST_WORDS):
            for reader in self._readers:
                reader.join(0.05)
            if not self._readable():
                return
