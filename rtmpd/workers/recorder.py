"""
The recorder: which streams are recorded, by the configuration or by request, and what whoever asks is answered.

It follows every stream as an observer and hears the media workers' events; each recording is a `StreamRecorder`. Every
fact goes into the index before anybody is told of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from rtmpd.config import AppConfig
from rtmpd.errors import StoreError
from rtmpd.live.codecs import codecs_of
from rtmpd.live.stream import Stream, StreamState
from rtmpd.store.listing import Task
from rtmpd.store.recordings import RecordingIndex
from rtmpd.store.rows import FileRow, RecordingRow
from rtmpd.workers.answers import ENTER_S, FILES_S, NotEntered, Started, Status, Stopped, reached
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
from rtmpd.workers.mending import Mending
from rtmpd.workers.outcomes import Outcomes
from rtmpd.workers.plan import RecordingPlan
from rtmpd.workers.request import RecordingRequest, RequestRefused, settle
from rtmpd.workers.stream_recorder import Phase, StreamRecorder
from rtmpd.workers.studio import Studio

AT_ONCE = 32
"""Recordings that may be asked for of one stream at a time; each is a thread of a media worker and a log position."""
_STOPPED = "it was told to stop"
_UNWANTED = "the stream is not to be recorded any more"

_Named = tuple[str, str]


class Recorder:
    """Everything that is being recorded."""

    def __init__(self, studio: Studio, apps: Mapping[str, AppConfig], mending: Mending, index: RecordingIndex) -> None:
        """
        Prepare; follow with `open`.

        Args:
            studio: what all recordings share; its supervisor's events are for `on_event`.
            apps: configuration by application; replaced when it is reloaded.
            mending: repairs what was interrupted.
            index: is asked what became of recordings.
        """
        self.apps = apps
        self._studio = studio
        self._mending = mending
        self._index = index
        self._outcomes = Outcomes(studio, mending, self._end_if_done)
        self._by_name: dict[_Named, list[StreamRecorder]] = {}
        self._by_id: dict[str, StreamRecorder] = {}
        self._idle = asyncio.Event()
        self._stopping = False

    @property
    def recordings(self) -> tuple[StreamRecorder, ...]:
        """Every recording of this server that has not ended."""
        return tuple(self._by_id.values())

    @property
    def statuses(self) -> tuple[Status, ...]:
        """Every recording that has not ended, those of an earlier server that wait for their publisher included."""
        return (*map(_status, self.recordings), *map(_waiting, self._mending.waiting))

    def statuses_of(self, app: str, stream: str) -> tuple[Status, ...]:
        """
        Those of one stream; what is asked whenever one is published does not cost more the more are recorded.

        Args:
            app: the stream's application.
            stream: its name.
        """
        named = (app, stream)
        ours = map(_status, self._by_name.get(named, ()))
        return (*ours, *(_waiting(row) for row in self._mending.waiting if (row.app, row.stream) == named))

    async def open(self) -> None:
        """
        Start the media workers, and look for what an earlier server left behind.

        Raises:
            StartError: a media worker could not be started.
            StoreError: the index cannot be read.
        """
        await asyncio.to_thread(self._studio.directory.mkdir, parents=True, exist_ok=True)
        await self._mending.begin(self._may_resume)
        await self._studio.supervisor.start()

    async def close(self, timeout_s: float) -> None:
        """
        Finish all files; the next server goes on with recordings whose publisher comes back in time.

        Args:
            timeout_s: for feeding what is left, for closing files, and for writing the index; files that take longer
                open as they are, and are repaired at the next start.
        """
        self._stopping = self._outcomes.is_hurried = True
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

    def start(self, stream: Stream, request: RecordingRequest) -> Started:
        """
        Record a stream by request, from its newest key frame on, beside whatever else records it.

        Asking again for what is still being recorded (the same stream, name, type and formats) changes nothing.

        Args:
            stream: is being published.
            request: what to record of it.

        Returns:
            The recording, new or not; `Started.entered` is to be awaited before it is answered.

        Raises:
            RequestRefused: it cannot be recorded so.
        """
        app = self.apps.get(stream.app)
        if app is None:
            raise RequestRefused(f"there is no application {stream.app!r}")
        if self._stopping:
            raise RequestRefused("the server is stopping")
        if stream.state is StreamState.IDLE:
            raise RequestRefused(f"{stream.path} is not being published")
        settled, notes = settle(request, app, codecs_of(stream))
        plan = RecordingPlan.requested(app, settled)
        running = [each for each in self._recordings_of(stream) if not each.is_over]
        for recorder in running:
            if recorder.plan.is_same_wish(plan):
                return Started(recorder, already=True, notes=notes)
        if sum(each.plan.origin == "manual" for each in running) >= AT_ONCE:
            raise RequestRefused(f"{AT_ONCE} recordings of {stream.path} are running, and more are not allowed")
        return Started(self._record(stream, plan), already=False, notes=notes)

    async def stop(self, task_id: str) -> Stopped | None:
        """
        End a recording that was asked for; its files are waited for, though not for ever.

        Args:
            task_id: of its request.

        Returns:
            What it has recorded; None for a task that nobody knows.

        Raises:
            NotEntered: the index does not answer; the recording ends all the same.
        """
        recorder = next((each for each in self.recordings if each.row.task_id == task_id), None)
        already = True
        over: asyncio.Event | None = None
        if recorder is not None:
            already, over = recorder.is_over, recorder.over
            recorder.end(_STOPPED)
        else:
            row = next((row for row in self._mending.waiting if row.task_id == task_id), None)
            if row is not None:
                already, over = False, self._mending.give_up(row.recording_id, _STOPPED)
        if over is not None:
            await reached(over, FILES_S)
        task = await self._look_up(task_id)
        if over is not None and (task is None or not task.is_told_to_end):
            raise NotEntered(
                f"the index has not taken the end of task {task_id} (is the disk full?); it ends all the same"
            )
        if task is None:
            return None
        return Stopped(task.recording, "closed" if task.is_complete else "closing", task.files, already)

    def find(self, task_id: str) -> Status | None:
        """Look up a recording that was asked for and has not ended."""
        return next((each for each in self.statuses if each.row.task_id == task_id), None)

    def stream_published(self, stream: Stream) -> None:
        """Go on with the recordings that wait for the stream; begin one where its application or its terms say so."""
        assert stream.publication is not None
        terms = stream.publication.terms
        app = self.apps.get(stream.app)
        by_configuration = app is not None and app.record == "auto"
        is_wanted = by_configuration if terms.record is None else terms.record
        for recorder in self._recordings_of(stream):
            if recorder.plan.origin == "auto" and terms.record is False:
                recorder.end(_UNWANTED)
            else:
                recorder.publisher_returned(stream)
        for row in self._mending.waiting if not is_wanted else ():
            if (row.app, row.stream, row.origin) == (stream.app, stream.name, "auto"):
                self._mending.give_up(row.recording_id, _UNWANTED)
        if app is None:
            return
        automatic = RecordingPlan.of(app, terms.record_formats)
        for row, files in self._mending.take(stream.app, stream.name):
            self._go_on(stream, automatic if row.origin == "auto" else RecordingPlan.again(app, row), row, files)
        is_running = any(each.plan.origin == "auto" and not each.is_over for each in self._recordings_of(stream))
        if is_wanted and not is_running:
            self._record(stream, automatic)

    def stream_ended(self, stream: Stream, reason: str) -> None:  # noqa: ARG002 - a recording ends the same for all
        """Let the stream's recordings wait for it, as long as they are meant to."""
        for recorder in self._recordings_of(stream):
            recorder.stream_ended()

    def on_event(self, event: FeedEvent) -> None:
        """Take an event of the media workers; those of recordings that are gone are ignored."""
        if isinstance(event, WorkerDied):
            self._studio.log.error("media worker died", pid=event.pid, reason=event.reason, recordings=len(event.feeds))
            for feed in event.feeds:
                self._worker_died(feed)
            return
        recorder = self._by_id.get(event.feed.request.recording_id)
        if recorder is None:
            return
        match event:
            case FileOpened():
                self._outcomes.opened(recorder, event)
            case FileClosed():
                self._outcomes.closed(recorder, event)
            case FileFailed():
                self._outcomes.failed(recorder, event)
            case FeedProgress():
                recorder.confirmed()
            case FeedEnded():
                self._ended(recorder)

    def _recordings_of(self, stream: Stream) -> tuple[StreamRecorder, ...]:
        return tuple(self._by_name.get((stream.app, stream.name), ()))

    def _record(self, stream: Stream, plan: RecordingPlan) -> StreamRecorder:
        return self._add(StreamRecorder(self._studio, stream, plan, self._ended))

    def _go_on(self, stream: Stream, plan: RecordingPlan, row: RecordingRow, files: Sequence[FileRow]) -> None:
        """Go on with a recording of an earlier server."""
        recorder = self._add(StreamRecorder(self._studio, stream, plan, self._ended, row=row, files=files))
        left = [file for file in files if file.state == "open" and file.file_format not in plan.formats]
        self._outcomes.mend(recorder, left)
        self._outcomes.wait_for_earlier(recorder)

    def _add(self, recorder: StreamRecorder) -> StreamRecorder:
        row = recorder.row
        self._by_name.setdefault((row.app, row.stream), []).append(recorder)
        self._by_id[row.recording_id] = recorder
        return recorder

    def _may_resume(self, row: RecordingRow) -> float:
        """How long a recording of an earlier server waits for its publisher, in seconds; 0 for not at all."""
        app = self.apps.get(row.app)
        return 0.0 if app is None or row.ending_at is not None else app.resume_s

    async def _look_up(self, task_id: str) -> Task | None:
        try:
            async with asyncio.timeout(ENTER_S):
                return await self._index.find_task(task_id)
        except TimeoutError:
            raise NotEntered(f"the index has not answered for {ENTER_S:.0f} s (does its disk hang?)") from None
        except StoreError as error:
            raise NotEntered(f"the index does not answer: {error}") from error

    def _worker_died(self, feed: Feed) -> None:
        recorder = self._by_id.get(feed.request.recording_id)
        if recorder is not None:
            self._outcomes.mend(recorder, recorder.worker_died(feed))

    def _ended(self, recorder: StreamRecorder) -> None:
        self._outcomes.mend(recorder, recorder.ended())
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
        now, note = self._studio.now(), self._studio.ledger.note
        if self._stopping and self._may_resume(row) > 0:
            # The next server goes on with it, if it comes in time.
            told = [recorder.turn("record_paused", "the server stops")]
            note(row.recording_id, lambda index: index.wait(row.recording_id, now, told))
        elif recorder.repairs:
            # The next server tells of the end, after the files that it repairs.
            note(row.recording_id, lambda index: index.ending(row.recording_id, now))
        else:
            fault = recorder.fault
            told = [recorder.turn("record_ended", fault or recorder.reason)]
            note(row.recording_id, lambda index: index.ended(row.recording_id, now, fault, told), recorder.over.set)
        self._idle.set()


def _status(recorder: StreamRecorder) -> Status:
    return Status(recorder.row, recorder.phase.value, recorder.recorded_bytes)


def _waiting(row: RecordingRow) -> Status:
    return Status(row, Phase.WAITING.value, 0)
