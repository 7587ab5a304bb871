"""Which feed a packager has in hand, in memory that outlives its process: a crash in FFmpeg cannot say it in another way."""

from __future__ import annotations

import mmap
import os
import struct

_ID = struct.Struct("=Q")


class Marker:
    """A number that two processes share."""

    def __init__(self, descriptor: int | None = None) -> None:
        """
        Make one, or share that of another process.

        Args:
            descriptor: of the other's, the caller's to close; None makes one.

        Raises:
            OSError: no more descriptors, or no memory.
        """
        self.descriptor = -1
        if descriptor is not None:
            self._memory = mmap.mmap(descriptor, _ID.size)
            return
        self.descriptor = os.memfd_create("packager")
        os.ftruncate(self.descriptor, _ID.size)
        self._memory = mmap.mmap(self.descriptor, _ID.size)

    @property
    def packaging_id(self) -> int:
        """The feed's; 0 for none."""
        number: int = _ID.unpack(self._memory)[0]
        return number

    @packaging_id.setter
    def packaging_id(self, number: int) -> None:
        _ID.pack_into(self._memory, 0, number)

    def close(self) -> None:
        """Let go of it; harmless when called again."""
        self._memory.close()
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1
