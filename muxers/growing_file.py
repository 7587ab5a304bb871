"""
A file that readers can open at any moment, although whoever writes it goes back to change what stands there.

Rule: what lies before the last whole piece is never overwritten until the end, so a crash, or a disk that fills up,
costs the torn piece and nothing else. Changes to it wait until everything behind them is on the disk.
"""

from __future__ import annotations

import os
from pathlib import Path

from muxers.base import create_file, require_linked


class GrowingFile:
    """A new, locked file, written without a buffer."""

    def __init__(self, path: Path) -> None:
        """
        Prepare; `open` creates the file.

        Args:
            path: its folder exists.
        """
        self._path = path
        self._descriptor = -1
        self._changes: list[tuple[int, bytes]] = []
        self.size = 0
        """Bytes of the file."""
        self.whole = 0
        """Bytes up to the end of the last whole piece."""

    @property
    def is_open(self) -> bool:
        """Whether the file is there to be written."""
        return self._descriptor >= 0

    def open(self) -> None:
        """
        Create the file and lock it.

        Raises:
            FileExistsError: the path is taken; nothing was touched.
            OSError: it cannot be created or locked.
        """
        self._descriptor = create_file(self._path)

    def write_at(self, offset: int, data: bytes) -> None:
        """
        Write behind the last whole piece, or note a change to what lies before its end.

        Raises:
            OSError: the disk did not take it.
        """
        if offset < self.whole:
            self._changes.append((offset, data))
            return
        self._write(offset, data)
        self.size = max(self.size, offset + len(data))

    def seal(self) -> bool:
        """
        Declare what is written a whole piece.

        Returns:
            Whether there is more of it than the last time.
        """
        grown = self.size > self.whole
        self.whole = self.size
        return grown

    def require_linked(self) -> None:
        """
        Look whether the file still has its name.

        Raises:
            FileNotFoundError: somebody removed it.
        """
        require_linked(self._descriptor, self._path)

    def complete(self) -> None:
        """
        Bring everything to the disk, the changes last.

        Raises:
            FileNotFoundError: somebody removed it.
            OSError: the disk did not take it; `cut` leaves what was whole.
        """
        self.require_linked()
        os.fsync(self._descriptor)
        for offset, data in self._changes:
            self._write(offset, data)
        self.seal()
        os.fsync(self._descriptor)

    def cut(self) -> None:
        """
        Take off what is no whole piece.

        Raises:
            OSError: the disk refuses.
        """
        os.ftruncate(self._descriptor, self.whole)
        self.size = self.whole
        os.fsync(self._descriptor)

    def remove(self) -> None:
        """Unlink the file, unless somebody did and the name is another's by now."""
        if os.fstat(self._descriptor).st_nlink:
            self._path.unlink(missing_ok=True)
        self.size = self.whole = 0

    def close(self) -> None:
        """Let go of the file and its lock; harmless when called again."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _write(self, offset: int, data: bytes) -> None:
        view = memoryview(data)
        while view:
            written = os.pwrite(self._descriptor, view, offset)
            view = view[written:]
            offset += written
