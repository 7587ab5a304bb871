"""
Recorded files on the disk: whether they are there, how large they are, and how they are taken away.

Rule: nothing outside the recordings directory is touched, whatever a path says and wherever a link leads. Of the folder
of an HLS recording only what may be its segments is removed, since a name template can put others' files there. All of
this blocks; it runs in threads.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

HLS = "hls"
"""The format of which a path is a playlist NAME.m3u8, with its segments in the folder NAME beside it."""

_SEGMENT = re.compile(r"(init-\d+\.mp4|\d+\.(m4s|ts))(\.part)?")
_GONE = (FileNotFoundError, NotADirectoryError)


def is_gone(directory: Path, path: str) -> bool:
    """
    Say whether a file is certainly not there: a disk that does not answer proves nothing.

    Args:
        directory: of the recordings.
        path: relative to it.
    """
    try:
        (directory / path).lstat()
    except _GONE:
        return True
    except OSError:
        return False
    return False


def size_of(directory: Path, path: str, file_format: str) -> int:
    """
    Measure what a recording has on the disk so far.

    Args:
        directory: of the recordings.
        path: relative to it.
        file_format: of the file.

    Returns:
        Bytes; 0 for what cannot be measured.
    """
    total = 0
    with contextlib.suppress(OSError):
        target = _inside(directory, path)
        total = target.lstat().st_size
        if file_format == HLS:
            with _opened(target.with_suffix("")) as folder, os.scandir(folder) as entries:
                total += sum(entry.stat(follow_symlinks=False).st_size for entry in entries)
    return total


def remove(directory: Path, path: str, file_format: str) -> None:
    """
    Remove what a recording wrote; what is gone already counts as removed.

    Args:
        directory: of the recordings.
        path: relative to it.
        file_format: of the file; of HLS the playlist goes first, so that it never names a segment that is gone.

    Raises:
        OSError: something of it is still there, or the path leads out of the directory.
    """
    target = _inside(directory, path)
    with contextlib.suppress(*_GONE):
        target.unlink()
    if file_format == HLS:
        with contextlib.suppress(*_GONE):
            _remove_segments(target.with_suffix(""))


def sync_folders(directory: Path, paths: Iterable[str]) -> None:
    """
    Make removals final: without this a power cut could bring files back whose rows are gone.

    Args:
        directory: of the recordings.
        paths: of what was removed.
    """
    for folder in {(directory / path).parent for path in paths}:
        with contextlib.suppress(OSError), _opened(folder) as descriptor:
            os.fsync(descriptor)


def folders_above(paths: Iterable[str]) -> list[str]:
    """List the folders between the recordings directory and its files, each before those that it lies in."""
    folders = {parent for path in paths for parent in PurePosixPath(path).parents if parent.name}
    return [str(folder) for folder in sorted(folders, key=lambda folder: (-len(folder.parts), folder))]


def remove_if_empty(directory: Path, folder: str) -> None:
    """
    Remove a folder that nothing is in; any other stays as it is.

    Args:
        directory: of the recordings.
        folder: relative to it.
    """
    with contextlib.suppress(OSError):
        _inside(directory, folder).rmdir()


def _inside(directory: Path, path: str) -> Path:
    """Resolve all but the last segment, which is removed itself, even if it is a link."""
    pure = PurePosixPath(path)
    parent = Path(os.path.realpath(directory / pure.parent))
    if not pure.name or ".." in pure.parts or not parent.is_relative_to(os.path.realpath(directory)):
        raise PermissionError(errno.EPERM, "leads out of the recordings directory", path)
    return parent / pure.name


@contextlib.contextmanager
def _opened(folder: Path) -> Iterator[int]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _remove_segments(folder: Path) -> None:
    if folder.is_symlink():
        raise PermissionError(errno.EPERM, "is a link", str(folder))
    with _opened(folder) as descriptor, os.scandir(descriptor) as entries:
        for name in [entry.name for entry in entries if _SEGMENT.fullmatch(entry.name)]:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=descriptor)
    try:
        folder.rmdir()
    except OSError as error:
        if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:  # something else lives there
            raise
