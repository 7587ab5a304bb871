"""
MP3: the frames of the default audio track as they come, one after another.

There is no header and nothing to complete, so every frame is confirmed as soon as it is written, and what a crash
leaves plays. Pictures are left out by design. ISO/IEC 11172-3 section 2.4.1.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from muxers.base import FileFacts, MuxError, create_file, require_linked
from muxers.clock import NOT_A_FRAME, FileClock
from muxers.collector import FactsCollector
from muxers.marks import ON_RESUME
from rtmpd.errors import MediaError
from rtmpd.media.tags import classify, parse_audio
from rtmpd.wire.flv import FlvTag
from rtmpd.wire.messages import AUDIO, DATA_AMF0


class Mp3Muxer:
    """Writes one MP3 file."""

    def __init__(self, path: Path) -> None:
        """
        Prepare; `open` creates the file.

        Args:
            path: its folder exists.
        """
        self._path = path
        self._clock = FileClock()
        self._collector = FactsCollector()
        self._descriptor = -1
        self._closed = False
        self._broken = False
        self._size = 0
        self._left_out = 0
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
        Append the frames of tags; all of them are with the kernel when this returns.

        Args:
            tags: in the order of the feed.

        Returns:
            The number of tags.

        Raises:
            MuxError: the sound is not MP3, or the file is closed or broken.
            OSError: the disk did not take it; `confirmed_tags` says what it took.
        """
        if self._closed or self._broken or self._descriptor < 0:
            raise MuxError(f"{self._path.name} is not open for writing")
        try:
            for tag in tags:
                self._take(tag)
                self._confirmed_tags += 1
        except (OSError, MuxError):
            self._broken = True
            raise
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
            file_format="mp3",
            size_bytes=self._size,
            duration_ms=collector.duration_ms,
            start_ms=self._clock.start_ms or 0,
            video_frames=0,
            audio_frames=collector.audio_frames,
            key_frames=0,
            tracks=collector.tracks,
            gaps=collector.gaps,
            gap_ms=collector.gap_ms,
            jumps=self._clock.jumps,
            left_out=self._left_out,
            empty=not collector.audio_frames,
        )

    def close(self) -> FileFacts:
        """
        Complete the file; harmless when called again. A file without frames is removed.

        Returns:
            What the file holds.

        Raises:
            OSError: the disk did not take the last changes; the file is closed, and holds what was confirmed.
        """
        if not self._closed:
            self._closed = True
            if self._descriptor >= 0:
                try:
                    self._complete()
                finally:
                    os.close(self._descriptor)
        return self.facts()

    def _take(self, tag: FlvTag) -> None:
        type_id, timestamp_ms, body = tag
        if type_id == AUDIO:
            self._take_audio(timestamp_ms, body)
        elif type_id == DATA_AMF0 and body.startswith(ON_RESUME):
            self._clock.resume()
        elif type_id == DATA_AMF0:
            self._collector.add_script(body)

    def _take_audio(self, timestamp_ms: int, body: bytes) -> None:
        flags = classify(AUDIO, body)
        try:
            tag = parse_audio(body)
        except MediaError:
            self._left_out += not flags & NOT_A_FRAME
            return
        if tag.track_id:
            self._left_out += not flags & NOT_A_FRAME
            return
        if tag.codec != ".mp3":
            raise MuxError(f"MP3 cannot carry {tag.codec}")
        if flags & NOT_A_FRAME:
            return
        self._append(body[tag.data_offset : tag.tracks[0].data_end if tag.tracks else len(body)])
        self._collector.add_media(AUDIO, body, self._clock.place(timestamp_ms, flags), flags)

    def _append(self, frame: bytes) -> None:
        view = memoryview(frame)
        while view:
            view = view[os.write(self._descriptor, view) :]
        self._size += len(frame)

    def _complete(self) -> None:
        if not self._collector.audio_frames:
            self._path.unlink(missing_ok=True)
            self._size = 0
            return
        require_linked(self._descriptor, self._path)
        os.ftruncate(self._descriptor, self._size)  # a frame may be torn where the disk was full
        os.fsync(self._descriptor)
