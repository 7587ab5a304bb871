"""Recordings on request: begun, ended and listed."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable

from rtmpd.control import models
from rtmpd.control.files import show_file
from rtmpd.control.pushes import Pushes
from rtmpd.control.reach import Reach
from rtmpd.control.rooms import Named, absent
from rtmpd.errors import NotPossible
from rtmpd.live.registry import Registry
from rtmpd.live.stream import Stream
from rtmpd.logs import Logger
from rtmpd.workers.answers import NotEntered, Status
from rtmpd.workers.recorder import Recorder
from rtmpd.workers.request import RecordingRequest, RequestRefused


class Records:
    """Takes requests about recordings that run."""

    def __init__(
        self,
        recorder: Recorder,
        registry: Registry,
        pushes: Pushes,
        reach: Reach,
        bring: Callable[[str, str], Awaitable[None]],
        log: Logger,
    ) -> None:
        """
        Prepare.

        Args:
            recorder: records.
            registry: of all streams.
            pushes: are told when a recording of theirs is ended by itself.
            reach: how streams are named.
            bring: has a stream pulled that is on demand (application, name); returns when it is there, or will not be.
            log: for what is asked.
        """
        self._recorder = recorder
        self._registry = registry
        self._pushes = pushes
        self._reach = reach
        self._bring = bring
        self._log = log

    async def start(self, request: models.RecordStart) -> models.RecordStarted:
        """
        Record a stream from its newest key frame on.

        Args:
            request: what to record.

        Returns:
            The recording, once it is in the index.

        Raises:
            NotPossible: "unknown": nobody publishes it; "invalid": it cannot be recorded so; "unavailable": the index
                does not answer. It is recorded all the same then, and asking again finds that recording.
        """
        named = self._reach.find(request.stream)
        stream = await self._published(named)
        try:
            started = self._recorder.start(stream, _request(request))
        except RequestRefused as refused:
            raise NotPossible("invalid", str(refused)) from None
        row = started.row
        assert row.task_id is not None
        about = {"stream": named.path, "task_id": row.task_id, "formats": row.formats, "file_name": row.file_name}
        self._log.info("record requested", **about, already=started.already)
        try:
            await started.entered()
        except NotEntered as error:
            raise NotPossible("unavailable", str(error)) from None
        status = self._recorder.find(row.task_id)
        return models.RecordStarted(
            task_id=row.task_id,
            state="ended" if status is None else status.phase,
            already=started.already,
            formats=list(row.formats),
            notes=list(started.notes),
        )

    async def _published(self, named: Named) -> Stream:
        """Find a stream, pulled if need be; raises NotPossible."""
        stream = self._registry.find(*named)
        if stream is None or stream.publication is None:
            await self._bring(*named)
            stream = self._registry.find(*named)
        if stream is None or stream.publication is None:
            raise absent(named, self._recorder.apps)
        return stream

    async def stop(self, task_id: str) -> models.RecordStopped:
        """
        End a recording.

        Args:
            task_id: as its start was answered.

        Returns:
            All that it wrote; after a while also if its files are not finished.

        Raises:
            NotPossible: "unknown": there was no such task; "unavailable": the index does not answer, though the
                recording was told to end.
        """
        try:
            stopped = await self._recorder.stop(task_id)
        except NotEntered as error:
            raise NotPossible("unavailable", str(error)) from None
        if stopped is None:
            raise NotPossible("unknown", f"there is no recording of task {task_id}")
        self._pushes.recording_stopped(task_id)
        row = stopped.row
        path = f"{row.app}/{row.stream}"
        self._log.info("record stopped", stream=path, task_id=task_id, state=stopped.state, already=stopped.already)
        return models.RecordStopped(
            task_id=task_id,
            state=stopped.state,
            already=stopped.already,
            files=[show_file(row, file, self._reach.bases) for file in stopped.files],
        )

    def list(self) -> models.RecordList:
        """Every recording that has not ended, automatic ones too, oldest first."""
        statuses = sorted(self._recorder.statuses, key=lambda status: status.row.started_at)
        return models.RecordList(records=[_show(status) for status in statuses])


def _request(request: models.RecordStart) -> RecordingRequest:
    return RecordingRequest(
        task_id=secrets.token_hex(8),
        file_name=request.file_name,
        record_type="audio" if request.wants_audio_only else "video",
        formats=tuple(request.formats),
        tags=tuple(request.tags),
        max_duration_s=request.max_duration or 0.0,
    )


def _show(status: Status) -> models.Record:
    row = status.row
    return models.Record(
        task_id=row.task_id,
        recording_id=row.recording_id,
        stream=f"{row.app}/{row.stream}",
        origin=row.origin,
        state=status.phase,
        file_name=row.file_name,
        record_type=row.record_type,
        formats=list(row.formats),
        tags=list(row.tags),
        started_at=row.started_at,
        ends_at=row.ends_at,
    )
