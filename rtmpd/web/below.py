"""
Files are opened below a directory, whatever lies in it: no symbolic link is followed, and nothing but a file is opened.

Names come out of the index, and who can write to the disk could turn one of its folders into a link to elsewhere.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import NamedTuple

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Without waiting: a pipe that nobody writes to would keep the thread for ever.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


class OpenFile(NamedTuple):
    """A file that is open to be read."""

    descriptor: int
    """The caller's to close."""
    status: os.stat_result


def open_below(directory: Path, path: str) -> OpenFile:
    """
    Open a file to read; blocks as long as the disk does.

    Args:
        directory: may itself be a link.
        path: relative to it, with "/"; any text.

    Returns:
        The open file.

    Raises:
        OSError: there is no such file, or the path leads through a link, or it is no plain file.
    """
    *folders, name = path.split("/")
    if not all(part not in {"", ".", ".."} and "\0" not in part for part in (*folders, name)):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
    folder = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for each in folders:
            inner = os.open(each, _FOLDER, dir_fd=folder)
            os.close(folder)
            folder = inner
        file = os.open(name, _FILE, dir_fd=folder)
    finally:
        os.close(folder)
    status = os.fstat(file)
    if not stat.S_ISREG(status.st_mode):
        os.close(file)
        raise FileNotFoundError(errno.ENOENT, "not a plain file", path)
    return OpenFile(file, status)
