"""
How a stream is recorded: formats, names, where files are cut; and what that may cost a media worker.

A plan is a value: it is made from an application's configuration or a request, and does not change while it is carried
out, whatever is reloaded meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from muxers.formats import FORMATS, SegmentType
from rtmpd.config import AppConfig
from rtmpd.store.rows import Origin, RecordType
from rtmpd.workers import protocol
from rtmpd.workers.naming import PathTemplate

INDEX_BYTES_PER_HOUR = 16 * 1024 * 1024
"""What FFmpeg keeps of an open MP4: 74 bytes for each of 60 packets a second."""
UNCUT_HOURS = 6.0
"""Counted for a file that is never cut by time."""
CONTINUED = frozenset({"hls"})
"""Formats whose files go on when their worker dies, and over a restart."""
_INDEXED = frozenset({"mp4", "m4a"})


@dataclass(frozen=True, slots=True)
class RecordingPlan:
    """What one recording is to be."""

    formats: tuple[str, ...]
    """Keys of `muxers.formats.FORMATS`, each once."""
    template: PathTemplate
    """Of the files' names, below the recordings directory."""
    cut_after_ms: int = 0
    """Media time after which the next file begins; 0: never."""
    cut_after_bytes: int = 0
    faststart: bool = False
    """Rewrite each closed MP4 with its index in front."""
    hls_segment_ms: int = 2_000
    hls_segment_type: SegmentType = "fmp4"
    resume_s: float = 60.0
    """How long it waits for its publisher after the stream's end."""
    origin: Origin = "auto"
    record_type: RecordType = "video"
    task_id: str | None = None
    tags: tuple[str, ...] = ()

    @classmethod
    def of(cls, app: AppConfig) -> RecordingPlan:
        """Make the plan of an application that records every stream."""
        return cls(
            formats=app.record_formats,
            template=PathTemplate(app.record_path),
            cut_after_ms=round(app.record_cut_s * 1000),
            cut_after_bytes=app.record_cut_bytes,
            faststart=app.record_faststart,
            hls_segment_ms=round(app.hls_segment_s * 1000),
            hls_segment_type=app.hls_segment_type,
            resume_s=app.resume_s,
        )

    @property
    def memory_bytes(self) -> int:
        """What the media worker may come to need for open files."""
        hours = self.cut_after_ms / 3_600_000 if self.cut_after_ms else UNCUT_HOURS
        return round(INDEX_BYTES_PER_HOUR * hours * len(_INDEXED & set(self.formats)))

    def output(self, file_format: str, grants: Sequence[protocol.Grant]) -> protocol.Output:
        """Say how a worker is to write a format."""
        return protocol.Output(
            file_format,
            tuple(grants),
            self.cut_after_ms,
            self.cut_after_bytes,
            self.hls_segment_ms,
            self.hls_segment_type,
        )

    def moves_index(self, file_format: str) -> bool:
        """Whether a closed file of this format is rewritten with its index in front."""
        return self.faststart and file_format in _INDEXED


def suffix(file_format: str) -> str:
    """Name the files of a format: "m3u8" for HLS, whose files are known by their playlist."""
    return FORMATS[file_format].suffix
