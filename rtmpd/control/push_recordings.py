"""
The recordings that belong to pushes: begun with them, ended with them.

Rule: a stream has one push, so what is recorded of a stream for a push is recorded for that one. Whatever a crash tore
apart comes together when the stream is published again: what runs is adopted, what nobody wants is ended.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

from rtmpd.control.rooms import Named
from rtmpd.live.stream import Stream
from rtmpd.logs import Logger
from rtmpd.net.tasks import Tasks
from rtmpd.store.rows import RecordType
from rtmpd.workers.answers import NotEntered, Started
from rtmpd.workers.recorder import Recorder
from rtmpd.workers.request import RecordingRequest, RequestRefused

ALIVE = frozenset({"starting", "running", "waiting"})
"""Phases of a recording that goes on, or will if its publisher comes back."""
_SOUND_ALONE = ("mp3",)


@dataclass(frozen=True, slots=True)
class Recorded:
    """What became of the recording of a push."""

    task_id: str | None
    """None: it is not recorded."""
    started: Started | None = None
    """If it began just now."""
    notes: list[str] = field(default_factory=list)


class PushRecordings:
    """Starts and ends recordings for pushes."""

    def __init__(self, recorder: Recorder, tasks: Tasks, log: Logger) -> None:
        """
        Prepare.

        Args:
            recorder: records.
            tasks: run what ends recordings, as their files take a while.
            log: for recordings that cannot be made.
        """
        self._recorder = recorder
        self._tasks = tasks
        self._log = log

    def find(self, stream: Named) -> str | None:
        """The task that records a stream for its push, if one does."""
        return next(iter(self._alive(stream)), None)

    def keep(self, stream: Stream, formats: tuple[str, ...], record_id: int | None = None) -> Recorded:
        """
        Have a stream recorded that is published, if it is not.

        Args:
            stream: with a publisher.
            formats: none: nothing is to be recorded, and what is ends.
            record_id: the caller's number, for the callbacks of a recording that begins.
        """
        named = Named(stream.app, stream.name)
        if not formats:
            self.end(named)
            return Recorded(None)
        if (task_id := self.find(named)) is not None:
            return Recorded(task_id)
        record_type: RecordType = "audio" if formats == _SOUND_ALONE else "video"
        request = RecordingRequest(
            secrets.token_hex(8), record_type=record_type, formats=formats, push=True, record_id=record_id
        )
        try:
            started = self._recorder.start(stream, request)
        except RequestRefused as refused:
            self._log.warning("push not recorded", stream=named.path, reason=str(refused))
            return Recorded(None, notes=[f"not recorded: {refused}"])
        self._log.info("record requested", stream=named.path, task_id=started.row.task_id, formats=started.row.formats)
        return Recorded(started.row.task_id, started, list(started.notes))

    def end(self, stream: Named) -> None:
        """End what is recorded of a stream for a push; its files are finished in their own time."""
        for task_id in self._alive(stream):
            self._tasks.supervise(self._end(task_id, stream), "push recording")

    async def _end(self, task_id: str, stream: Named) -> None:
        try:
            await self._recorder.stop(task_id)
        except NotEntered as error:
            self._log.warning("record not stopped in time", stream=stream.path, task_id=task_id, reason=str(error))
        else:
            self._log.info("record stopped", stream=stream.path, task_id=task_id)

    def _alive(self, stream: Named) -> list[str]:
        return [
            status.row.task_id
            for status in self._recorder.statuses_of(*stream)
            if status.row.push and status.phase in ALIVE and status.row.task_id is not None
        ]
