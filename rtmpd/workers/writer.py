"""
The writer of one recording: takes its feed from the queue, writes every file, and tells the server how far it got.

It has a thread of its own and may block on the disk. A format that fails is reported and waits for another grant; the
other formats of the recording go on, and the feed is read to its end in any case.
"""

from __future__ import annotations

import traceback
from collections import deque
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import cast

from muxers.base import FileFacts, Muxer, MuxError
from muxers.formats import FORMATS, FormatOptions
from muxers.series import Cut, Series
from rtmpd.errors import MessageError
from rtmpd.wire.flv import FlvTag, TagReader
from rtmpd.wire.messages import VIDEO
from rtmpd.workers import protocol
from rtmpd.workers.feed_queue import FeedQueue

CHECK_INTERVAL_S = 1.0
"""How often a file is looked at: one that was removed would take frames for ever, and nobody would know."""

Report = Callable[[protocol.Packet], bool]
"""Sends a packet to the server; says whether it went, as a `Written` does not wait for room."""


class _Files:
    """The files of one format: made from grants, reported as they come and go."""

    def __init__(self, key: tuple[str, int], output: protocol.Output, report: Report) -> None:
        self._key = key
        self._output = output
        self._report = report
        self._ids: dict[Muxer, str] = {}
        self.grants: deque[protocol.Grant] = deque(output.grants)

    def next(self) -> Muxer | None:
        """Open the next granted file; one that cannot be opened is reported, and costs its grant."""
        if not self.grants:
            return None
        grant = self.grants.popleft()
        try:
            muxer = self._open(grant)
        except Exception as error:  # noqa: BLE001 - a bug of one format must not cost the others
            self._report_failure(grant.file_id, error, None)
            return None
        self._ids[muxer] = grant.file_id
        self._report(protocol.Opened(*self._key, self._output.file_format, grant.file_id))
        return muxer

    def closed(self, muxer: Muxer, facts: FileFacts) -> None:
        """Report a complete file."""
        file_id = self._ids.pop(muxer)
        self._report(protocol.Closed(*self._key, self._output.file_format, file_id, _in_json(facts)))

    def failed(self, muxer: Muxer, facts: FileFacts, error: Exception) -> None:
        """Report a file that ended before its time."""
        self._report_failure(self._ids.pop(muxer), error, facts)

    def _open(self, grant: protocol.Grant) -> Muxer:
        file_format = FORMATS.get(self._output.file_format)
        if file_format is None:
            raise MuxError(f"no muxer writes {self._output.file_format!r}")
        path = Path(grant.path)
        path.parent.mkdir(parents=True, exist_ok=True)
        output = self._output
        options = FormatOptions(
            output.hls_segment_ms, output.hls_segment_type, started_at=datetime.now(UTC), resume=grant.resume
        )
        muxer = file_format.make(path, options)
        muxer.open()
        return muxer

    def _report_failure(self, file_id: str, error: Exception, facts: FileFacts | None) -> None:
        reason, errno = str(error), 0
        if isinstance(error, OSError):
            errno = error.errno or 0
        elif not isinstance(error, MuxError):
            traceback.print_exception(error)
            reason = f"internal error: {error!r}"
        in_json = None if facts is None else _in_json(facts)
        self._report(protocol.Failed(*self._key, self._output.file_format, file_id, reason, errno, in_json))


class _Format:
    """One format of the recording: its files, and which byte of the feed each confirmed tag ends at."""

    def __init__(self, key: tuple[str, int], output: protocol.Output, report: Report) -> None:
        self.files = _Files(key, output, report)
        self.series = Series(self.files, Cut(output.cut_after_ms, output.cut_after_bytes))
        self.feed_bytes = 0
        self._sound_only = output.sound_only
        self._tags = 0
        self._marks: deque[tuple[int, int]] = deque()

    def write(self, tags: list[FlvTag], feed_bytes: int) -> None:
        """Write tags, the last of which ends at `feed_bytes` of the feed."""
        if self._sound_only:
            tags = [tag for tag in tags if tag.type_id != VIDEO]
        self._tags += len(tags)
        self._marks.append((self._tags, feed_bytes))
        self.series.write(tags)
        self.settle()

    def settle(self) -> None:
        """Take in what was confirmed meanwhile."""
        confirmed = self.series.confirmed_tags
        while self._marks and self._marks[0][0] <= confirmed:
            self.feed_bytes = self._marks.popleft()[1]


class RecordingWriter:
    """Writes the files of one feed."""

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
        self._queue = queue
        self._report = report
        self._report_interval_s = report_interval_s
        self._reader = TagReader()
        self._formats = {output.file_format: _Format(self._key, output, report) for output in start.outputs}
        self._reported_bytes = 0
        self._reported_at = self._checked_at = monotonic()

    def grant(self, file_format: str, grant: protocol.Grant) -> None:
        """Take a grant; called by the reader thread."""
        self._formats[file_format].files.grants.append(grant)

    def run(self) -> None:
        """Write until the feed ends; never raises."""
        try:
            self._record()
        except MessageError as fault:
            self._fail(MuxError(f"the feed is broken: {fault}"))
        except Exception as bug:  # noqa: BLE001 - a bug costs this recording, not the worker's other ones
            self._fail(bug)
        for each in self._formats.values():
            each.series.close()
            each.settle()
        self._report_progress(monotonic())

    def _record(self) -> None:
        while (chunks := self._queue.take(self._time_to_report())) is not None:
            tags: list[FlvTag] = []
            try:
                for chunk in chunks:
                    tags += self._reader.feed(chunk)
            finally:
                self._write(tags)
            now = monotonic()
            if now >= self._checked_at + CHECK_INTERVAL_S:
                self._checked_at = now
                for each in self._formats.values():
                    each.series.check()
            if now >= self._reported_at + self._report_interval_s:
                self._report_progress(now)

    def _write(self, tags: list[FlvTag]) -> None:
        if tags:
            for each in self._formats.values():
                each.write(tags, self._reader.position)

    def _fail(self, error: Exception) -> None:
        for each in self._formats.values():
            each.series.fail(error)

    @property
    def _written_bytes(self) -> int:
        return min(each.feed_bytes for each in self._formats.values())

    def _time_to_report(self) -> float | None:
        if self._written_bytes == self._reported_bytes:
            return None
        return max(0.0, self._reported_at + self._report_interval_s - monotonic())

    def _report_progress(self, now: float) -> None:
        written = self._written_bytes
        if written == self._reported_bytes:
            return
        self._reported_at = now
        if self._report(protocol.Written(*self._key, written, self._queue.size)):
            self._reported_bytes = written


def _in_json(facts: FileFacts) -> protocol.FileFacts:
    return cast("protocol.FileFacts", asdict(facts))
