"""
MP4 and M4A: fragments while it grows, so that it opens after a crash, and an ordinary MP4 once it is closed.

FFmpeg's hybrid mode does both without writing the media twice: at the end the index goes behind it, and one change near
the start hides the fragments. The pieces, half a second each, go to the kernel as they are made.

Flags, each tried: `frag_keyframe` ends a fragment before a key frame; `delay_moov` writes the first header only when
all tracks have begun, as otherwise a track that begins later is moved to 0; `frag_discont` and `negative_cts_offsets`
make times wrong. `max_interleave_delta`: nobody waits for a track that pauses. ISO/IEC 14496-12.
"""

from __future__ import annotations

from pathlib import Path

from muxers.container_file import ContainerFile, Layout

OPTIONS = {
    "movflags": "hybrid_fragmented+frag_keyframe+delay_moov",
    "frag_duration": "500000",
    "flush_packets": "1",
    "max_interleave_delta": "1",
}
"""Times in microseconds."""


class Mp4Muxer(ContainerFile):
    """Writes one MP4 or M4A file."""

    def __init__(self, path: Path, *, audio_only: bool = False) -> None:
        """
        Prepare; `open` creates the file.

        Args:
            path: its folder exists.
            audio_only: leave the pictures out: M4A.
        """
        layout = Layout("mp4", OPTIONS, seekable=True)
        super().__init__(path, "m4a" if audio_only else "mp4", layout, audio_only=audio_only)
