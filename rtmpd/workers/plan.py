"""
How a stream is recorded: formats, names, where files are cut; and what that may cost a media worker.

A plan is a value: it is made from an application's configuration or a request, and does not change while it is carried
out, whatever is reloaded meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

from muxers.formats import FORMATS, SegmentType
from rtmpd.config import AppConfig
from rtmpd.store.rows import Origin, RecordingRow, RecordType
from rtmpd.workers import protocol
from rtmpd.workers.naming import NAMED, PathTemplate
from rtmpd.workers.request import RecordingRequest

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
    file_name: str = ""
    """What a request calls the files; empty where the template alone names them."""
    max_duration_s: float = 0.0
    """It ends so long after its start; 0: never by itself."""
    push: bool = False
    """It belongs to a push."""
    record_id: int | None = None
    """The caller's number, for callbacks."""

    @classmethod
    def of(cls, app: AppConfig, formats: tuple[str, ...] = ()) -> Self:
        """
        Make the plan of a stream that is recorded without a request.

        Args:
            app: of the stream.
            formats: in which this stream is recorded; empty: as the application is configured.
        """
        return cls(
            formats=formats or app.record_formats,
            template=PathTemplate(app.record_path),
            cut_after_ms=round(app.record_cut_s * 1000),
            cut_after_bytes=app.record_cut_bytes,
            faststart=app.record_faststart,
            hls_segment_ms=round(app.hls_segment_s * 1000),
            hls_segment_type=app.hls_segment_type,
            resume_s=app.resume_s,
        )

    @classmethod
    def requested(cls, app: AppConfig, request: RecordingRequest) -> Self:
        """
        Make the plan of a request.

        Args:
            app: of the stream.
            request: from `rtmpd.workers.request.settle`.
        """
        plan = cls.of(app, request.formats)
        return replace(
            plan,
            template=NAMED if request.file_name else plan.template,
            origin="manual",
            record_type=request.record_type,
            task_id=request.task_id,
            tags=request.tags,
            file_name=request.file_name,
            max_duration_s=request.max_duration_s,
            push=request.push,
            record_id=request.record_id,
        )

    @classmethod
    def again(cls, app: AppConfig, row: RecordingRow) -> Self:
        """
        Make the plan of a request that an earlier server began to carry out; when it ends is in its row.

        Args:
            app: of the stream, as it is configured today.
            row: of the recording.
        """
        request = RecordingRequest(
            task_id=row.task_id or "",
            file_name=row.file_name,
            record_type=row.record_type,
            formats=row.formats,
            tags=row.tags,
            push=row.push,
            record_id=row.record_id,
        )
        return replace(cls.requested(app, request), task_id=row.task_id)

    def is_same_wish(self, other: RecordingPlan) -> bool:
        """Whether two plans of one stream, of requests, come to the same recording."""
        return _wish(self) == _wish(other)

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
            sound_only=self.record_type == "audio",
        )

    def moves_index(self, file_format: str) -> bool:
        """Whether a closed file of this format is rewritten with its index in front."""
        return self.faststart and file_format in _INDEXED


def _wish(plan: RecordingPlan) -> tuple[object, ...]:
    return plan.origin, plan.push, plan.file_name, plan.record_type, frozenset(plan.formats)


def suffix(file_format: str) -> str:
    """Name the files of a format: "m3u8" for HLS, whose files are known by their playlist."""
    return FORMATS[file_format].suffix
