"""
One media worker as the server's event loop sees it: a child process and the control connection to it. Linux only.

Everything happens in callbacks of the loop: no task, nothing to cancel. The process is never forked without exec, its
death is seen through a pidfd, and what it said before it died is read before its death is reported.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from rtmpd.workers import protocol

_KEPT_AWAY = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
RECORDING_WORKER = "rtmpd.workers.process"
_LAST_WAIT_S = 1.0
_PACKAGES = str(Path(__file__).resolve().parents[2])


class WorkerChild:
    """A worker process from its start to its death."""

    def __init__(
        self,
        on_packet: Callable[[protocol.Packet], None],
        on_death: Callable[[int, str], None],
        arguments: Sequence[str] = (),
        module: str = RECORDING_WORKER,
    ) -> None:
        """
        Prepare a worker; `spawn` starts it.

        Args:
            on_packet: called with each packet of the worker, in order.
            on_death: called once, after the last packet, with the process id and how it ended.
            arguments: for the worker's command line.
            module: what it runs.
        """
        self._on_packet = on_packet
        self._on_death = on_death
        self._command = ("-m", module, *arguments)
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[tuple[bytes, tuple[int, ...]]] = deque()
        self._control: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._pidfd = -1
        self.started_at = 0.0
        """Loop time of the spawn."""

    @property
    def pid(self) -> int | None:
        """The process, while it lives."""
        return self._process.pid if self._process and self._process.returncode is None else None

    def spawn(self) -> None:
        """
        Start the process and hand over what was sent so far.

        Raises:
            OSError: no process or no descriptors to be had; the child may be spawned again later.
        """
        ours, theirs = protocol.socketpair()
        with theirs:
            try:
                self._process = _popen(theirs.fileno(), self._command)
                self._pidfd = os.pidfd_open(self._process.pid)
            except OSError:
                ours.close()
                self._reap()
                raise
        self.started_at = self._loop.time()
        ours.setblocking(False)
        self._control = ours
        self._loop.add_reader(ours, self._read)
        self._loop.add_reader(self._pidfd, self._bury)
        self._write()

    def send(self, packet: protocol.Packet, descriptors: Sequence[int] = ()) -> None:
        """
        Send a packet, now or as soon as the worker takes it.

        Args:
            packet: for the worker.
            descriptors: go with it, and are closed here once it has gone.
        """
        self._waiting.append((protocol.encode(packet), tuple(descriptors)))
        if self._control is not None and len(self._waiting) == 1:
            self._write()

    def hang_up(self) -> None:
        """Close the control connection: the worker finishes the files whose feeds end, then exits."""
        if self._control is not None:
            self._loop.remove_reader(self._control)
            self._loop.remove_writer(self._control)
            self._control.close()
            self._control = None
        while self._waiting:
            _close_all(self._waiting.popleft()[1])

    def kill(self) -> None:
        """End the process at once; its death is reported as any other."""
        if self._process is not None:
            self._process.kill()

    def release(self) -> None:
        """Kill and reap without a report: the last call when nobody waits for the worker any longer."""
        self.hang_up()
        if self._pidfd >= 0:
            self._loop.remove_reader(self._pidfd)
        self._reap()

    def _reap(self) -> None:
        if self._process is not None:
            self._process.kill()
            # A process that hangs in its disk dies when the disk answers: not something to wait for.
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_LAST_WAIT_S)
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1

    def _read(self) -> None:
        control = self._control
        # The callback may hang up, so what is read next is asked anew each time.
        while control is not None and control is self._control:
            try:
                received = protocol.receive(control)
            except BlockingIOError:
                return
            if received is None:
                # A worker that has closed its control connection is dead, or of no use.
                self.hang_up()
                self.kill()
                return
            self._pass_on(received[0])

    def _pass_on(self, packet: protocol.Packet) -> None:
        try:
            self._on_packet(packet)
        except Exception as error:  # noqa: BLE001 - a bug of a listener must not cost the other listeners their worker
            message = "a listener of a media worker failed"
            self._loop.call_exception_handler({"message": message, "exception": error})

    def _write(self) -> None:
        control = self._control
        if control is None:
            return
        while self._waiting:
            data, descriptors = self._waiting[0]
            try:
                protocol.send(control, data, descriptors)
            except BlockingIOError:
                self._loop.add_writer(control, self._write)
                return
            except OSError:  # dead; _bury follows
                self._loop.remove_writer(control)
                return
            self._waiting.popleft()
            _close_all(descriptors)
        self._loop.remove_writer(control)

    def _bury(self) -> None:
        self._loop.remove_reader(self._pidfd)
        self._read()
        self.hang_up()
        self._reap()
        if self._process is not None:
            self._on_death(self._process.pid, _describe(self._process.wait()))


def _describe(exit_code: int) -> str:
    return f"killed by signal {-exit_code}" if exit_code < 0 else f"exit code {exit_code}"


def _close_all(descriptors: Sequence[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def _popen(control_fd: int, command: Sequence[str]) -> subprocess.Popen[bytes]:
    """
    Start the process with the signals of a terminal and of a service manager blocked.

    They reach the whole group, and a worker must outlive them from its first instruction on: its files are complete
    when its feeds have ended. Blocking is inherited through exec; the worker itself ignores them from then on.
    """
    paths = [_PACKAGES, *filter(None, [os.environ.get("PYTHONPATH")])]
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _KEPT_AWAY)
    try:
        return subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [sys.executable, "-P", *command, "--control-fd", str(control_fd)],
            stdin=subprocess.DEVNULL,
            pass_fds=(control_fd,),
            env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
