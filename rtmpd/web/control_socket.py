"""The control socket: where it is, and a listening socket there that only this user can open."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from pathlib import Path

from rtmpd.config import Config
from rtmpd.errors import StartError

SOCKET_NAME = "rtmpd.sock"
LONGEST_PATH_BYTES = 107
"""What Linux takes, without the zero byte at the end."""
_BACKLOG = 128
_NOBODY_LISTENS = {errno.ECONNREFUSED, errno.ENOENT}
_ASK_S = 1.0


def path_of(config: Config) -> Path:
    """
    Find the control socket of a server.

    Args:
        config: its control and data.

    Returns:
        The path; relative, if it is configured so.
    """
    return config.control.socket or config.data.directory / SOCKET_NAME


class ControlSocket:
    """A listening Unix socket."""

    def __init__(self, path: Path) -> None:
        """
        Open it; what an earlier server left there is replaced.

        Args:
            path: where.

        Raises:
            StartError: another server listens there, something else is there, or the path is none for a socket.
        """
        self.path = path
        if len(os.fsencode(path)) > LONGEST_PATH_BYTES:
            raise StartError(
                f"cannot listen on {path}: the path of a Unix socket has at most {LONGEST_PATH_BYTES} bytes; "
                "control.socket (--control PATH) can be a shorter one"
            )
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            _make_room(path)
            self.socket.bind(os.fspath(path))
            # Between bind and listen the system refuses connections, so nobody comes in before the mode is set.
            path.chmod(stat.S_IRUSR | stat.S_IWUSR)
            self.socket.listen(_BACKLOG)
            self.socket.setblocking(False)
            self._identity = _identity(path)
        except OSError as error:
            self.socket.close()
            raise StartError(f"cannot listen on {path}: {error.strerror}") from error
        except StartError:
            self.socket.close()
            raise

    def close(self) -> None:
        """Close and remove it, unless another one is at its place by now. Harmless when called again."""
        self.socket.close()
        with contextlib.suppress(OSError):
            if _identity(self.path) == self._identity:
                self.path.unlink()


def _identity(path: Path) -> tuple[int, int]:
    found = path.lstat()
    return found.st_dev, found.st_ino


def _make_room(path: Path) -> None:
    """Remove a socket that nobody listens on."""
    try:
        kind = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(kind):
        raise StartError(f"cannot listen on {path}: there is something that is no socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        asking.settimeout(_ASK_S)
        code = asking.connect_ex(os.fspath(path))
    if code not in _NOBODY_LISTENS:
        raise StartError(f"cannot listen on {path}: another server listens there")
    path.unlink(missing_ok=True)
