"""Recorded files: listed, shown and deleted."""

from __future__ import annotations

from rtmpd.control import models
from rtmpd.control.answered import answered
from rtmpd.control.callback_body import video_url
from rtmpd.control.reach import Reach
from rtmpd.control.rooms import split
from rtmpd.control.urls import Bases
from rtmpd.errors import NotPossible
from rtmpd.logs import Logger
from rtmpd.store.listing import Query
from rtmpd.store.recordings import RecordingIndex
from rtmpd.store.rows import FileRow, RecordingRow
from rtmpd.workers.retention import Retention

REMOVE_S = 30.0
"""How long a disk may take to remove a file; what takes longer goes on without its caller."""


class Files:
    """Takes requests about recorded files."""

    def __init__(self, index: RecordingIndex, retention: Retention, reach: Reach, log: Logger) -> None:
        """
        Prepare.

        Args:
            index: knows the files.
            retention: removes them.
            reach: what their URLs begin with.
            log: for what is deleted.
        """
        self._index = index
        self._retention = retention
        self._reach = reach
        self._log = log

    async def list(self, query: models.RecordingsQuery) -> models.FileList:
        """
        List files, newest first; those that are being removed are not among them, and those that are not there yet (each
        recording has the name of its next file reserved) where they are asked for.

        Args:
            query: which; of a stream and an application that contradict each other there are none.

        Raises:
            NotPossible: "unavailable": the index does not answer.
        """
        app, name = query.app, None
        if query.stream is not None:
            app, name = split(query.stream)
            if query.app not in {None, app}:
                return models.FileList(recordings=[])
        asked = Query(
            app=app,
            stream=name,
            task_id=query.task_id,
            state=query.state,
            has_begun=True if query.state is None else None,
            since=query.since,
            until=query.until,
            limit=query.limit,
            offset=query.offset,
        )
        entries = await answered(self._index.list(asked))
        return models.FileList(recordings=[show_file(*entry, self._reach.bases) for entry in entries])

    async def get(self, file_id: str) -> models.File:
        """
        Show one file.

        Args:
            file_id: of the file.

        Raises:
            NotPossible: "unknown": there is none; "unavailable": the index does not answer.
        """
        entry = await answered(self._index.find(file_id))
        if entry is None:
            raise _unknown(file_id)
        return show_file(*entry, self._reach.bases)

    async def delete(self, file_id: str) -> models.Done:
        """
        Delete a file from the disk; of HLS the playlist with its segments.

        Args:
            file_id: of the file.

        Returns:
            With a note if the disk did not remove it; then it is tried again in a while, and listed no more.

        Raises:
            NotPossible: "unknown": there is none, or it was deleted; "conflict": it is still written; "unavailable": the
                index or the disk does not answer.
        """
        entry = await answered(self._index.find(file_id))
        if entry is None or entry.file.state == "removing":
            raise _unknown(file_id)
        if entry.file.state != "closed":
            raise NotPossible("conflict", f"file {file_id} is still written: stop its recording first")
        swept = await answered(self._retention.delete(entry.file), REMOVE_S)
        for failure in swept.failed:
            self._log.error("recording not deleted", path=failure.file.path, reason=failure.reason)
            return models.Done(notes=["the disk did not remove it yet; that is tried again"])
        if not swept.removed:
            raise NotPossible("conflict", f"file {file_id} is written again: stop its recording first")
        self._log.info("recording deleted", path=entry.file.path, file_id=file_id, reason="request")
        return models.Done()


def show_file(recording: RecordingRow, file: FileRow, bases: Bases) -> models.File:
    """
    Show a file.

    Args:
        recording: it belongs to.
        file: as it is in the index.
        bases: of public URLs.
    """
    return models.File(
        file_id=file.file_id,
        format=file.file_format,
        state=file.state,
        path=file.path,
        url=video_url(bases.http, file.path),
        size=file.size_bytes,
        duration=file.duration_ms / 1000,
        start_time=file.start_at,
        end_time=file.end_at,
        stream=f"{recording.app}/{recording.stream}",
        task_id=recording.task_id,
        recording_id=recording.recording_id,
        record_type=recording.record_type,
        tags=list(recording.tags),
        tracks=list(file.tracks),
        fault=file.fault,
    )


def _unknown(file_id: str) -> NotPossible:
    return NotPossible("unknown", f"there is no file {file_id}")
