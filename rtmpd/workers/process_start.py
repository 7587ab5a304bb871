"""What every worker process does first, and what it knows of itself."""

from __future__ import annotations

import gc
import os
import signal
import socket
from pathlib import Path

_GC_THRESHOLDS = (50_000, 20, 50)
"""As in the server: what a stream allocates is freed when it has passed, and the collector finds nothing."""
_KEPT_AWAY = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def begin(control_fd: int) -> socket.socket:
    """
    Settle as a worker: signals for the process group do not end it, the collector rests.

    Args:
        control_fd: the worker's end of the control connection, which the server let it inherit.

    Returns:
        The connection, blocking.
    """
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)
    # Blocked since before the exec, see child.py.
    for number in _KEPT_AWAY:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _KEPT_AWAY)
    os.set_inheritable(control_fd, False)
    return socket.socket(fileno=control_fd)


def resident_bytes() -> int:
    """Say how much memory this process has."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
