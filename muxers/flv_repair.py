"""
Makes an FLV file whole that was left in the middle of a tag: cuts it, and completes what its metadata says.

Every tag that is whole stays as it is, so the result is what `FlvMuxer.close` would have made of it. A file that says
its own size, or that another program wrote, has nothing to be completed; if it is not torn, it is only read.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from muxers.base import FileFacts
from muxers.collector import FactsCollector
from muxers.flv import FLAGS_OFFSET, METADATA_OFFSET, final_values, header_flags, missing_kinds
from muxers.flv_metadata import FileMetadata, KeyFrameIndex, read_metadata
from rtmpd.media.tags import KEY_FRAME, classify
from rtmpd.wire.flv import FILE_HEADER_BYTES, PREVIOUS_TAG_SIZE_BYTES, TAG_HEADER_BYTES, FlvTag
from rtmpd.wire.messages import AUDIO, DATA_AMF0, DATA_AMF3, VIDEO

_TYPES = frozenset({AUDIO, VIDEO, DATA_AMF0, DATA_AMF3})
_BUFFER_BYTES = 1 << 20


class _PlacedTag(NamedTuple):
    position: int
    tag: FlvTag
    end: int


class _Survey:
    """What is in the file, up to its last whole tag."""

    def __init__(self) -> None:
        self.collector = FactsCollector()
        self.metadata: FileMetadata | None = None
        self.index = KeyFrameIndex()
        self.latest_ms = 0
        self.stated_bytes = 0
        """The size that the file says it has."""
        self.end = FILE_HEADER_BYTES

    def add(self, placed: _PlacedTag) -> None:
        position, (type_id, time_ms, body), self.end = placed
        if position == FILE_HEADER_BYTES and type_id == DATA_AMF0:
            self._take_metadata(body)
        if type_id not in (AUDIO, VIDEO):
            self.collector.add_script(body)
            return
        flags = classify(type_id, body)
        self.collector.add_media(type_id, body, time_ms, flags)
        self.latest_ms = max(self.latest_ms, time_ms)
        if type_id == VIDEO:
            if not self.index.positions:
                self.index.add_first(position)
            if flags & KEY_FRAME:
                self.index.add(position, time_ms)

    @property
    def is_empty(self) -> bool:
        return not (self.collector.audio_frames or self.collector.video_frames)

    def _take_metadata(self, body: bytes) -> None:
        self.metadata = FileMetadata.found(body)
        if self.metadata is not None:
            self.index = KeyFrameIndex(self.metadata.index_room)
        stated = read_metadata(body).get("filesize")
        self.stated_bytes = int(stated) if isinstance(stated, float) and 0 < stated < 2**53 else 0


def repair_flv(descriptor: int, path: Path) -> FileFacts | None:
    """
    Make a file whole.

    Args:
        descriptor: of the file, locked, for reading and writing; stays open.
        path: its name.

    Returns:
        What is in it, without what only its writer knew (the publisher's time, jumps); None when there is no frame.

    Raises:
        OSError: the disk fails; the file opens as before.
    """
    survey = _Survey()
    with os.fdopen(os.dup(descriptor), "rb", buffering=_BUFFER_BYTES) as file:
        file.seek(0)
        for placed in _whole_tags(file):
            survey.add(placed)
    if survey.is_empty:
        return None
    is_stated = survey.metadata is None or survey.stated_bytes == survey.end
    if os.fstat(descriptor).st_size != survey.end or not is_stated:
        _complete(descriptor, survey)
    return _facts(path, survey)


def _whole_tags(file: BinaryIO) -> Iterator[_PlacedTag]:
    if not file.read(FILE_HEADER_BYTES).startswith(b"FLV\x01"):
        return
    position = FILE_HEADER_BYTES
    while True:
        head = file.read(TAG_HEADER_BYTES)
        if len(head) < TAG_HEADER_BYTES or head[0] not in _TYPES or any(head[8:]):
            return
        size = int.from_bytes(head[1:4], "big")
        rest = file.read(size + PREVIOUS_TAG_SIZE_BYTES)
        if int.from_bytes(rest[size:], "big") != TAG_HEADER_BYTES + size:
            return
        end = position + TAG_HEADER_BYTES + len(rest)
        time_ms = int.from_bytes(head[7:8] + head[4:7], "big")
        yield _PlacedTag(position, FlvTag(head[0], time_ms, rest[:size]), end)
        position = end


def _complete(descriptor: int, survey: _Survey) -> None:
    os.ftruncate(descriptor, survey.end)
    os.pwrite(descriptor, bytes([header_flags(survey.collector)]), FLAGS_OFFSET)
    if survey.metadata is not None:
        values = final_values(survey.collector, survey.end, survey.latest_ms)
        body = survey.metadata.final(values, survey.index, missing_kinds(survey.collector))
        os.pwrite(descriptor, body, METADATA_OFFSET)
    os.fsync(descriptor)


def _facts(path: Path, survey: _Survey) -> FileFacts:
    collector = survey.collector
    return FileFacts(
        path=str(path),
        file_format="flv",
        size_bytes=survey.end,
        duration_ms=collector.duration_ms,
        start_ms=0,
        video_frames=collector.video_frames,
        audio_frames=collector.audio_frames,
        key_frames=collector.key_frames,
        tracks=collector.tracks,
        gaps=collector.gaps,
        gap_ms=collector.gap_ms,
        jumps=0,
        left_out=0,
        empty=False,
    )
