"""
The writer of one recording: takes its feed from the queue, writes every file, and tells the server how far it got.

It has a thread of its own and may block on the disk. A file that fails is reported and left behind; the other files
of the recording go on.
"""

from __future__ import annotations

import traceback
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from time import monotonic
from typing import cast

from muxers.base import Muxer, MuxError
from muxers.flv import FlvMuxer
from rtmpd.errors import MessageError
from rtmpd.wire.flv import PREVIOUS_TAG_SIZE_BYTES, TAG_HEADER_BYTES, FlvTag, TagReader
from rtmpd.workers import protocol
from rtmpd.workers.feed_queue import FeedQueue
from rtmpd.workers.naming import alternatives

FORMATS: Mapping[str, Callable[[Path], Muxer]] = {"flv": FlvMuxer}
"""Muxers by format."""

Report = Callable[[protocol.Packet], bool]
"""Sends a packet to the server; says whether it went, as a `Written` does not wait for room."""


class _File:
    """One file of the recording while it is being written."""

    def __init__(self, output: protocol.Output) -> None:
        self.file_format = output.file_format
        self.feed_bytes = 0
        self._path = Path(output.path)
        self._tags = 0
        self._marks: deque[tuple[int, int]] = deque()
        self.muxer: Muxer

    def open(self) -> Path:
        """Create the file under the first name that is free."""
        make = FORMATS.get(self.file_format)
        if make is None:
            raise MuxError(f"no muxer writes {self.file_format}")
        self._path.parent.mkdir(parents=True, exist_ok=True)
        for path in alternatives(self._path):
            self.muxer = make(path)
            try:
                self.muxer.open()
            except FileExistsError:
                continue
            return path
        raise FileExistsError(f"{self._path} and all its numbered names are taken")

    def write(self, tags: Sequence[FlvTag], feed_bytes: int) -> None:
        """Write tags, the last of which ends at `feed_bytes` of the feed."""
        before = self._tags
        self._tags += len(tags)
        self._marks.append((self._tags, feed_bytes))
        try:
            self.muxer.write(tags)
        except (OSError, MuxError):
            taken = max(0, self.muxer.confirmed_tags - before)
            self._marks[-1] = (before + taken, feed_bytes - _size(tags[taken:]))
            raise
        finally:
            while self._marks and self._marks[0][0] <= self.muxer.confirmed_tags:
                self.feed_bytes = self._marks.popleft()[1]


class RecordingWriter:
    """Writes the files of one recording."""

    def __init__(
        self,
        start: protocol.Start,
        queue: FeedQueue,
        report: Report,
        report_interval_s: float = protocol.REPORT_INTERVAL_S,
    ) -> None:
        """
        Prepare; `run` does the work.

        Args:
            start: what the server asked for.
            queue: where the feed comes from.
            report: takes the packets for the server; called in this writer's thread.
            report_interval_s: the least time in seconds between two `Written`.
        """
        self._key = (start.recording_id, start.sequence)
        self._outputs = start.outputs
        self._queue = queue
        self._report = report
        self._report_interval_s = report_interval_s
        self._reader = TagReader()
        self._files: list[_File] = []
        self._reported_bytes = 0
        self._reported_at = monotonic()

    def run(self) -> None:
        """Write until the feed ends or every file has failed; never raises."""
        for output in self._outputs:
            self._open(_File(output))
        try:
            self._record()
        except MessageError as fault:
            self._fail_all(f"the feed is broken: {fault}")
        except Exception as bug:  # noqa: BLE001 - a bug costs this recording, not the worker's other ones
            traceback.print_exc()
            self._fail_all(f"internal error: {bug!r}")
        self._close_all()

    def _open(self, file: _File) -> None:
        try:
            path = file.open()
        except (OSError, MuxError) as error:
            self._report_failure(file, error, None)
            return
        self._files.append(file)
        self._report(protocol.Opened(*self._key, file.file_format, str(path)))

    def _record(self) -> None:
        while self._files:
            chunks = self._queue.take(self._time_to_report())
            if chunks is None:
                return
            tags: list[FlvTag] = []
            try:
                for chunk in chunks:
                    tags += self._reader.feed(chunk)
            finally:
                self._write(tags)
            self._report_progress()

    def _write(self, tags: list[FlvTag]) -> None:
        if not tags:
            return
        for file in tuple(self._files):
            try:
                file.write(tags, self._reader.position)
            except (OSError, MuxError) as error:
                self._drop(file, error)

    def _drop(self, file: _File, error: OSError | MuxError) -> None:
        """Leave a file behind, complete as far as the disk lets it be."""
        self._files.remove(file)
        try:
            facts = file.muxer.close()
        except (OSError, MuxError):
            facts = file.muxer.facts()
        self._report_failure(file, error, cast("protocol.FileFacts", asdict(facts)))

    def _close_all(self) -> None:
        for file in tuple(self._files):
            try:
                facts = file.muxer.close()
            except (OSError, MuxError) as error:
                self._drop(file, error)
                continue
            self._files.remove(file)
            facts_in_json = cast("protocol.FileFacts", asdict(facts))
            self._report(protocol.Closed(*self._key, file.file_format, self._reader.position, facts_in_json))

    def _fail_all(self, reason: str) -> None:
        for file in tuple(self._files):
            self._drop(file, MuxError(reason))

    def _report_failure(self, file: _File, error: OSError | MuxError, facts: protocol.FileFacts | None) -> None:
        errno = error.errno or 0 if isinstance(error, OSError) else 0
        self._report(protocol.Failed(*self._key, file.file_format, file.feed_bytes, str(error), errno, facts))

    @property
    def _written_bytes(self) -> int:
        return min((file.feed_bytes for file in self._files), default=self._reported_bytes)

    def _time_to_report(self) -> float | None:
        if self._written_bytes == self._reported_bytes:
            return None
        return max(0.0, self._reported_at + self._report_interval_s - monotonic())

    def _report_progress(self) -> None:
        written, now = self._written_bytes, monotonic()
        if written == self._reported_bytes or now < self._reported_at + self._report_interval_s:
            return
        self._reported_at = now
        if self._report(protocol.Written(*self._key, written, self._queue.size)):
            self._reported_bytes = written


def _size(tags: Sequence[FlvTag]) -> int:
    return sum(TAG_HEADER_BYTES + len(tag.body) + PREVIOUS_TAG_SIZE_BYTES for tag in tags)
