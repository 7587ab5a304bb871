"""
The recorder: which streams are recorded, what becomes of their files, and that the index says so.

It follows every stream as an observer and hears the media workers' events; each recording is a `StreamRecorder`. Every
fact goes into the index before anybody is told of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rtmpd.config import AppConfig
from rtmpd.live.stream import Stream
from rtmpd.store.outbox import Owed
from rtmpd.store.rows import FileRow, RecordingRow
from rtmpd.workers import owed, protocol
from rtmpd.workers.feeds import (
    Feed,
    FeedEnded,
    FeedEvent,
    FeedProgress,
    FileClosed,
    FileFailed,
    FileOpened,
    WorkerDied,
)
from rtmpd.workers.mending import Fault, Mending
from rtmpd.workers.plan import RecordingPlan
from rtmpd.workers.stream_recorder import Phase, StreamRecorder
from rtmpd.workers.studio import Studio

_Named = tuple[str, str]


class Recorder:
    """Everything that is being recorded."""

    def __init__(self, studio: Studio, apps: Mapping[str, AppConfig], mending: Mending) -> None:
        """
        Prepare; follow with `start`.

        Args:
            studio: what all recordings share; its supervisor's events are for `on_event`.
            apps: configuration by application; replaced when it is reloaded.
            mending: repairs what was interrupted.
        """
        self.apps = apps
        self._studio = studio
        self._mending = mending
        self._by_name: dict[_Named, list[StreamRecorder]] = {}
        self._by_id: dict[str, StreamRecorder] = {}
        self._idle = asyncio.Event()
        self._stopping = False

    @property
    def recordings(self) -> tuple[StreamRecorder, ...]:
        """Every recording that has not ended."""
        return tuple(self._by_id.values())

    async def start(self) -> None:
        """
        Start the media workers, and look for what an earlier server left behind.

        Raises:
            StartError: a media worker could not be started.
            StoreError: the index cannot be read.
        """
        await asyncio.to_thread(self._studio.directory.mkdir, parents=True, exist_ok=True)
        await self._mending.begin(self._may_resume)
        await self._studio.supervisor.start()

    async def stop(self, timeout_s: float) -> None:
        """
        Finish all files.

        Args:
            timeout_s: for feeding what is left, for closing files, and for writing the index; files that take longer
                open as they are, and are repaired at the next start.
        """
        self._stopping = True
        for recorder in self.recordings:
            recorder.finish()
            self._end_if_done(recorder)
        try:
            async with asyncio.timeout(timeout_s):
                while self._by_id:
                    self._idle.clear()
                    await self._idle.wait()
        except TimeoutError:
            self._studio.log.warning("recordings were cut off", recordings=len(self._by_id))
            for recorder in self.recordings:
                recorder.give_up()
        for feed in await self._studio.supervisor.stop(timeout_s):
            self._studio.log.warning("recording not finished", recording=feed.request.recording_id)
        self._mending.stop()
        if not await self._studio.ledger.flush(timeout_s):
            self._studio.log.error(
                "index behind", reason="the database did not take everything; repaired at next start"
            )

    def record(self, stream: Stream, plan: RecordingPlan) -> StreamRecorder:
        """
        Record a stream from its newest key frame on, beside whatever else records it.

        Args:
            stream: is being published.
            plan: how.
        """
        return self._add(StreamRecorder(self._studio, stream, plan, self._ended))

    def stream_published(self, stream: Stream) -> None:
        """Go on with the recordings that wait for the stream; begin one where its application says so."""
        name = (stream.app, stream.name)
        for recorder in self._by_name.get(name, []):
            recorder.publisher_returned(stream)
        app = self.apps.get(stream.app)
        if app is None or app.record != "auto":
            return
        if any(each.plan.origin == "auto" and not each.is_over for each in self._by_name.get(name, [])):
            return
        plan = RecordingPlan.of(app)
        left = self._mending.take(*name)
        if left is None:
            self.record(stream, plan)
        else:
            self._go_on(stream, plan, *left)

    def stream_ended(self, stream: Stream, reason: str) -> None:  # noqa: ARG002 - a recording ends the same for all
        """Let the stream's recordings wait for it, as long as they are meant to."""
        for recorder in self._by_name.get((stream.app, stream.name), []):
            recorder.stream_ended()

    def on_event(self, event: FeedEvent) -> None:
        """Take an event of the media workers."""
        match event:
            case FileOpened():
                self._opened(event)
            case FileClosed():
                self._closed(event)
            case FileFailed():
                self._failed(event)
            case FeedProgress(feed):
                if (recorder := self._recorder_of(feed)) is not None:
                    recorder.confirmed()
            case FeedEnded(feed):
                if (recorder := self._recorder_of(feed)) is not None:
                    self._ended(recorder)
            case WorkerDied(pid, reason, feeds):
                self._studio.log.error("media worker died", pid=pid, reason=reason, recordings=len(feeds))
                for feed in feeds:
                    self._worker_died(feed)

    def _go_on(self, stream: Stream, plan: RecordingPlan, row: RecordingRow, files: Sequence[FileRow]) -> None:
        """Go on with a recording of an earlier server, by the plan of today."""
        recorder = self._add(StreamRecorder(self._studio, stream, plan, self._ended, row=row, files=files))
        self._mend(recorder, [file for file in files if file.state == "open" and file.file_format not in plan.formats])

    def _add(self, recorder: StreamRecorder) -> StreamRecorder:
        row = recorder.row
        self._by_name.setdefault((row.app, row.stream), []).append(recorder)
        self._by_id[row.recording_id] = recorder
        return recorder

    def _may_resume(self, row: RecordingRow) -> float:
        """How long a recording of an earlier server waits for its publisher, in seconds; 0 for not at all."""
        app = self.apps.get(row.app)
        return app.resume_s if app is not None and app.record == "auto" and row.origin == "auto" else 0.0

    def _recorder_of(self, feed: Feed) -> StreamRecorder | None:
        return self._by_id.get(feed.request.recording_id)

    def _opened(self, event: FileOpened) -> None:
        recorder = self._recorder_of(event.feed)
        if recorder is None or (file := recorder.grants.opened(event.file_format, event.file_id)) is None:
            return
        now = self._studio.now()
        self._studio.ledger.note(lambda index: index.opened(file.file_id, file.path, now))
        path = str(self._studio.directory / file.path)
        self._studio.log.info("recording started", **self._about(recorder), format=event.file_format, path=path)

    def _closed(self, event: FileClosed) -> None:
        recorder = self._recorder_of(event.feed)
        if recorder is None or (file := recorder.grants.find(event.file_format, event.file_id)) is None:
            return
        recorder.grants.closed(event.file_format, event.file_id)
        if recorder.plan.moves_index(event.file_format) and not event.facts["empty"] and not self._stopping:
            recorder.repairs += 1
            self._mending.move_index(file, lambda size: self._moved(recorder, file, event.facts, size))
            return
        self._keep(recorder, file, event.facts)

    def _moved(self, recorder: StreamRecorder, file: FileRow, facts: protocol.FileFacts, size_bytes: int) -> None:
        self._keep(recorder, file, {**facts, "size_bytes": size_bytes or facts["size_bytes"]})
        self._repaired(recorder)

    def _keep(self, recorder: StreamRecorder, file: FileRow, facts: protocol.FileFacts) -> None:
        """Enter a complete file into the index, and owe its callback."""

        def tell() -> None:
            self._studio.log.info("recording closed", **self._about(recorder), **facts)

        if facts["empty"]:
            self._studio.ledger.note(lambda index: index.discard(file.file_id), tell)
            return
        contents = self._mending.contents(file, facts)
        told = [owed.new_file(recorder.row, file, contents, self._studio.now())]
        self._studio.ledger.note(lambda index: index.closed(file.file_id, contents, told), tell)

    def _failed(self, event: FileFailed) -> None:
        recorder = self._recorder_of(event.feed)
        if recorder is None:
            return
        file = recorder.grants.find(event.file_format, event.file_id)
        recorder.grants.failed(event.file_format, event.file_id, event.errno)
        about = {**self._about(recorder), "format": event.file_format, "reason": event.reason}
        self._studio.log.error("recording failed", **about)
        if file is None:
            return
        facts = event.facts
        told = [self._fault(recorder, f"{event.file_format}: {event.reason}")]
        could_not_go_on = facts is None and file.state == "open"
        if not could_not_go_on and (facts is None or facts["empty"]):
            self._studio.ledger.note(lambda index: index.failed(file.file_id, event.reason, None, told))
            return
        # What the disk did not take may be made good when there is room: until then the file counts as open.
        self._studio.ledger.note(lambda index: index.tell(told))
        self._mend(recorder, [file], None if facts is None else Fault(event.reason, facts))

    def _fault(self, recorder: StreamRecorder, detail: str) -> Owed:
        return owed.status(recorder.row, "record_error", detail, self._studio.now())

    def _worker_died(self, feed: Feed) -> None:
        recorder = self._recorder_of(feed)
        if recorder is None:
            return
        self._mend(recorder, recorder.worker_died(feed))

    def _mend(self, recorder: StreamRecorder, files: Iterable[FileRow], fault: Fault | None = None) -> None:
        """Repair files; their recording has not ended before they are done."""
        for file in files:
            recorder.repairs += 1
            self._mending.mend(recorder.row, file, lambda: self._repaired(recorder), fault)

    def _repaired(self, recorder: StreamRecorder) -> None:
        recorder.repairs -= 1
        self._end_if_done(recorder)

    def _ended(self, recorder: StreamRecorder) -> None:
        self._mend(recorder, recorder.ended())
        self._end_if_done(recorder)

    def _end_if_done(self, recorder: StreamRecorder) -> None:
        # The next server goes on with repairs that this one does not finish.
        if recorder.phase is not Phase.ENDED or (recorder.repairs and not self._stopping):
            return
        row = recorder.row
        if self._by_id.pop(row.recording_id, None) is None:
            return
        named = self._by_name[row.app, row.stream]
        named.remove(recorder)
        if not named:
            del self._by_name[row.app, row.stream]
        now = self._studio.now()
        if self._stopping and self._may_resume(row) > 0:
            # The next server goes on with it, if it comes in time.
            self._studio.ledger.note(lambda index: index.wait(row.recording_id, now))
        else:
            fault = recorder.fault
            told = [owed.status(row, "record_ended", fault or "", now)]
            self._studio.ledger.note(lambda index: index.ended(row.recording_id, now, fault, told))
        self._idle.set()

    def _about(self, recorder: StreamRecorder) -> dict[str, Any]:
        return {"recording": recorder.row.recording_id, "stream": recorder.path}
