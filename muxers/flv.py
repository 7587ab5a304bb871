"""
FLV: the tags as they came, with new timestamps, behind a metadata tag that is completed at the end.

Bodies are never touched, so codecs that nobody knows yet are recorded too; but pictures that come before the header they
need are left out, as FFmpeg gives up a file that begins with one. Each call of `write` is one write of whole
tags to the kernel without a buffer in between: a killed process loses nothing that was confirmed, and the file it
leaves opens as it is. Adobe Flash Video File Format 10.1, annex E.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from muxers.base import FileFacts, MuxError, create_file, require_linked
from muxers.clock import NOT_A_FRAME, FileClock
from muxers.collector import FactsCollector
from muxers.flv_metadata import (
    INDEX_ENTRIES,
    ON_METADATA,
    FileMetadata,
    KeyFrameIndex,
    read_metadata,
    without_file_values,
)
from muxers.marks import ON_RESUME
from muxers.samples import HEADERLESS
from rtmpd.errors import MediaError
from rtmpd.media.heads import SEQUENCE_START
from rtmpd.media.tags import KEY_FRAME, SEQUENCE_HEADER, classify, header_slot, parse_video
from rtmpd.wire.amf import AmfValue
from rtmpd.wire.flv import (
    FILE_HEADER_BYTES,
    MAX_BODY_BYTES,
    TAG_HEADER_BYTES,
    FlvTag,
    encode_file_header,
    encode_tag,
)
from rtmpd.wire.messages import AUDIO, DATA_AMF0, VIDEO

FLAGS_OFFSET = 4
"""Where the file header says which kinds there are."""
METADATA_OFFSET = FILE_HEADER_BYTES + TAG_HEADER_BYTES
"""Where the body of the first tag begins."""


class _Piece(NamedTuple):
    """A tag on its way to the file."""

    data: bytes
    """Empty for a tag that stays outside."""
    tag: FlvTag
    time_ms: int
    flags: int


class FlvMuxer:
    """Writes one FLV file."""

    def __init__(self, path: Path, *, index_entries: int = INDEX_ENTRIES) -> None:
        """
        Prepare; `open` creates the file.

        Args:
            path: its folder exists.
            index_entries: key frames that the index has room for, 18 bytes each; of more, every second is kept.
        """
        self._path = path
        self._index_entries = index_entries
        self._index = KeyFrameIndex(index_entries)
        self._clock = FileClock()
        self._video_is_configured = False
        self._left_out = 0
        self._collector = FactsCollector()
        self._metadata: FileMetadata | None = None
        self._descriptor = -1
        self._closed = False
        self._fault: OSError | None = None
        self._size = 0
        self._flags = encode_file_header(audio=False, video=False)[FLAGS_OFFSET]
        self._confirmed_tags = 0

    @property
    def confirmed_tags(self) -> int:
        """How many of the tags handed over are in the file."""
        return self._confirmed_tags

    def open(self) -> None:
        """
        Create the file and lock it.

        Raises:
            FileExistsError: the path is taken; nothing was touched.
            OSError: it cannot be created.
        """
        self._descriptor = create_file(self._path)

    def write(self, tags: Sequence[FlvTag]) -> int:
        """
        Append tags; all of them are with the kernel when this returns.

        Args:
            tags: in the order of the feed; a metadata tag that is the very first becomes part of the file's own.

        Returns:
            The number of tags: there is none that an FLV file could not go on with.

        Raises:
            MuxError: the file is closed or broken, or a body is larger than FLV's 16 MiB.
            OSError: the disk did not take it; `confirmed_tags` says what it took.
        """
        if self._closed or self._fault or self._descriptor < 0:
            raise MuxError(f"{self._path.name} is not open for writing")
        if not tags:
            return 0
        left = self._begin(tags) if self._metadata is None else tags
        self._append([self._encode(tag) for tag in left])
        self._patch_flags()
        return len(tags)

    def flush(self) -> None:
        """
        Look whether the file is still there; `write` keeps nothing back.

        Raises:
            FileNotFoundError: somebody removed it.
        """
        if self._descriptor >= 0 and not self._closed:
            require_linked(self._descriptor, self._path)

    def facts(self) -> FileFacts:
        """Say what the file holds so far."""
        collector = self._collector
        return FileFacts(
            path=str(self._path),
            file_format="flv",
            size_bytes=self._size,
            duration_ms=collector.duration_ms,
            start_ms=self._clock.start_ms or 0,
            video_frames=collector.video_frames,
            audio_frames=collector.audio_frames,
            key_frames=collector.key_frames,
            tracks=collector.tracks,
            gaps=collector.gaps,
            gap_ms=collector.gap_ms,
            jumps=self._clock.jumps,
            left_out=self._left_out,
            empty=self._is_empty,
        )

    def close(self) -> FileFacts:
        """
        Complete the file; harmless when called again. A file without frames is removed.

        Returns:
            What the file holds.

        Raises:
            OSError: the disk did not take the last changes; the file is closed, and opens with what was confirmed.
        """
        if not self._closed:
            self._closed = True
            if self._descriptor >= 0:
                try:
                    self._complete()
                finally:
                    os.close(self._descriptor)
        return self.facts()

    @property
    def _is_empty(self) -> bool:
        return not (self._collector.audio_frames or self._collector.video_frames)

    def _begin(self, tags: Sequence[FlvTag]) -> Sequence[FlvTag]:
        """Write what stands before the tags, and return the tags that are left."""
        first = tags[0]
        published = first.type_id == DATA_AMF0 and first.body.startswith(ON_METADATA)
        metadata = FileMetadata(read_metadata(first.body) if published else {}, self._index_entries)
        head = encode_file_header(audio=False, video=False) + encode_tag(DATA_AMF0, 0, metadata.initial())
        if self._write(head) == len(head):
            self._metadata = metadata
            self._size = len(head)
            self._confirmed_tags += published
        self._raise_fault()
        return tags[1:] if published else tags

    def _encode(self, tag: FlvTag) -> _Piece:
        type_id, timestamp_ms, body = tag
        if len(body) > MAX_BODY_BYTES:
            raise MuxError(f"FLV cannot hold a tag of {len(body)} bytes")
        flags = 0
        if type_id in (AUDIO, VIDEO):
            flags = classify(type_id, body)
            if type_id == VIDEO and not self._video_is_configured and self._lacks_header(body, flags):
                return _Piece(b"", tag, self._clock.now_ms, flags)
            time_ms = self._clock.place(timestamp_ms, flags)
        else:
            time_ms = self._clock.now_ms
            if type_id == DATA_AMF0 and body.startswith(ON_METADATA):
                body = without_file_values(body)
                time_ms = 0  # ffmpeg takes one with any other time for a subtitle and adds a stream
            elif type_id == DATA_AMF0 and body.startswith(ON_RESUME):
                self._clock.resume()
                return _Piece(b"", tag, time_ms, flags)  # to ffmpeg, an unknown script tag is one more stream
        return _Piece(encode_tag(type_id, time_ms & 0xFFFFFFFF, body), tag, time_ms, flags)

    def _lacks_header(self, body: bytes, flags: int) -> bool:
        if flags & SEQUENCE_HEADER:
            self._video_is_configured = header_slot(VIDEO, body)[2] == SEQUENCE_START
        if flags & NOT_A_FRAME:
            return False
        try:
            return parse_video(body).codec not in HEADERLESS
        except MediaError:
            return False

    def _append(self, pieces: list[_Piece]) -> None:
        left = self._write(b"".join([piece.data for piece in pieces]))
        for piece in pieces:
            left -= len(piece.data)
            if left < 0:  # torn: `close` cuts it off
                break
            self._count(piece)
        self._raise_fault()

    def _count(self, piece: _Piece) -> None:
        type_id, _, body = piece.tag
        if not piece.data:
            self._left_out += type_id == VIDEO
        elif type_id in (AUDIO, VIDEO):
            self._collector.add_media(type_id, body, piece.time_ms, piece.flags)
            if type_id == VIDEO:
                self._index_video(piece)
        else:
            self._collector.add_script(body)
        self._size += len(piece.data)
        self._confirmed_tags += 1

    def _index_video(self, piece: _Piece) -> None:
        if not self._index.positions:
            self._index.add_first(self._size)
        if piece.flags & KEY_FRAME:
            self._index.add(self._size, piece.time_ms)

    def _write(self, data: bytes) -> int:
        """Write until the disk refuses; the refusal is kept for `_raise_fault`. Returns the bytes written."""
        view = memoryview(data)
        written = 0
        try:
            while written < len(data):
                written += os.write(self._descriptor, view[written:])
        except OSError as error:
            self._fault = error
        return written

    def _raise_fault(self) -> None:
        if self._fault is not None:
            raise self._fault

    def _patch_flags(self) -> None:
        """Claim a track once it has a frame: players stall on one that is claimed and never comes."""
        flags = header_flags(self._collector)
        if flags != self._flags:
            os.pwrite(self._descriptor, bytes([flags]), FLAGS_OFFSET)
            self._flags = flags

    def _complete(self) -> None:
        if self._is_empty or self._metadata is None:
            self._path.unlink(missing_ok=True)
            self._size = 0
            return
        require_linked(self._descriptor, self._path)
        os.ftruncate(self._descriptor, self._size)
        self._patch_flags()
        values = final_values(self._collector, self._size, self._clock.latest_ms)
        body = self._metadata.final(values, self._index, missing_kinds(self._collector))
        os.pwrite(self._descriptor, body, METADATA_OFFSET)
        os.fsync(self._descriptor)


def missing_kinds(collector: FactsCollector) -> frozenset[str]:
    """Name the kinds that had no frame: "audio", "video"."""
    frames = {"audio": collector.audio_frames, "video": collector.video_frames}
    return frozenset(kind for kind, count in frames.items() if not count)


def final_values(collector: FactsCollector, size_bytes: int, latest_ms: int) -> dict[str, AmfValue]:
    """
    Make what the metadata of a complete file says about it.

    Args:
        collector: has counted all of its tags.
        size_bytes: of the whole file.
        latest_ms: the greatest time in it.
    """
    values: dict[str, AmfValue] = {
        "duration": collector.duration_ms / 1000,
        "filesize": float(size_bytes),
        "lasttimestamp": latest_ms / 1000,
        "hasVideo": collector.video_frames > 0,
        "hasAudio": collector.audio_frames > 0,
        "hasMetadata": True,
        "hasKeyframes": collector.key_frames > 0,
    }
    if collector.key_frames:
        values["lastkeyframetimestamp"] = collector.last_key_frame_ms / 1000
    return values


def header_flags(collector: FactsCollector) -> int:
    """Make the flags byte of the file header: the kinds that have frames."""
    return encode_file_header(audio=collector.audio_frames > 0, video=collector.video_frames > 0)[FLAGS_OFFSET]
