"""What a server takes hold of before it serves: descriptors, its data directory, and which of its threads hears signals."""

from __future__ import annotations

import fcntl
import resource
import signal
from pathlib import Path
from typing import TextIO

from rtmpd.errors import StartError

_DESCRIPTORS_OF_OUR_OWN = 64
"""Listening sockets, database, log, worker sockets and feeds."""
_HTTP_SHARE = 8
"""Of the other descriptors, so many-th part is for HTTP: its clients, hooks and callbacks. The rest may be clients of RTMP."""

_LOCK_NAME = "rtmpd.lock"


def raise_descriptor_limit() -> int:
    """
    Raise the soft limit of open files to the hard one.

    Returns:
        The limit in force.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (ValueError, OSError):  # a hard limit that is "unlimited" may be more than the system allows
        return soft
    return hard


def room_for_connections(descriptors: int) -> int:
    """
    Say how many connections of RTMP there can be.

    Args:
        descriptors: that the process may open.

    Returns:
        What is left of them by ourselves and by HTTP; 1 or more.
    """
    others = descriptors - _DESCRIPTORS_OF_OUR_OWN
    return max(others - others // _HTTP_SHARE, 1)


def lock(directory: Path) -> TextIO:
    """
    Take the data directory for this server alone.

    Args:
        directory: made if it is missing.

    Returns:
        A file: the directory is taken for as long as it is open.

    Raises:
        StartError: it cannot be used, or another server has it.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        held = (directory / _LOCK_NAME).open("w")
    except OSError as error:
        raise StartError(f"cannot use the data directory {directory}: {error.strerror}") from error
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        held.close()
        raise StartError(f"the data directory {directory} is in use by another rtmpd") from None
    return held


def take_no_signals() -> None:
    """Have signals that end or reload a server wait for another thread than the calling one; without one, for ever."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
