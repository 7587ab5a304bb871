"""
MPEG-TS in one file: for players and editors that take nothing else.

Every frame is a piece, with the kernel as soon as FFmpeg has the next one of its track. Program tables return ten times
a second, so a reader may begin anywhere, and there is nothing to complete. `pes_payload_size`: FFmpeg would gather sound
into packets of many frames, of which only the first one has a time. ISO/IEC 13818-1.
"""

from __future__ import annotations

from pathlib import Path

from muxers.container_file import ContainerFile, Layout

OPTIONS = {
    "pes_payload_size": "0",
    "flush_packets": "1",
    "max_interleave_delta": "1",
}
"""Times in microseconds, sizes in bytes."""


class TsMuxer(ContainerFile):
    """Writes one MPEG-TS file."""

    def __init__(self, path: Path) -> None:
        """
        Prepare; `open` creates the file.

        Args:
            path: its folder exists.
        """
        super().__init__(path, "ts", Layout("mpegts", OPTIONS, seekable=False))
