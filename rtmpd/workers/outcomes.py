"""
What becomes of the files of recordings: each fact goes into the index together with the callbacks that it owes.

A file that is complete is entered at once, or after its index was moved to its front; one that failed, or whose worker
died, after it was made whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from rtmpd.store.rows import Contents, FileRow
from rtmpd.workers import owed, protocol
from rtmpd.workers.abnormal import Circumstances, Tracks
from rtmpd.workers.feeds import FileClosed, FileFailed, FileOpened
from rtmpd.workers.ledger import Write
from rtmpd.workers.mending import Fault, Mending
from rtmpd.workers.stream_recorder import Phase, StreamRecorder
from rtmpd.workers.studio import Studio


class Outcomes:
    """Takes what media workers say of files."""

    def __init__(self, studio: Studio, mending: Mending, on_repaired: Callable[[StreamRecorder], None]) -> None:
        """
        Prepare.

        Args:
            studio: what all recordings share.
            mending: repairs what was interrupted.
            on_repaired: called when a recording may have ended, as one of its files is done.
        """
        self._studio = studio
        self._mending = mending
        self._on_repaired = on_repaired
        self.is_hurried = False
        """The server stops: files are entered as they are, and not made more beautiful."""

    def opened(self, recorder: StreamRecorder, event: FileOpened) -> None:
        """Enter a file that is being written; the first one of a recording is its start, later ones tell nothing."""
        if (file := recorder.grants.opened(event.file_format, event.file_id)) is None:
            return
        told = [recorder.turn("record_start_succeeded")]
        if recorder.phase is Phase.WAITING:  # its publisher was gone before its first file was there
            told.append(recorder.turn("record_paused", "its publisher is gone"))
        now = self._studio.now()
        self._note(recorder, lambda index: index.opened(file.file_id, file.path, now, told))
        path = str(self._studio.directory / file.path)
        self._studio.log.info("recording started", **about(recorder), format=event.file_format, path=path)

    def closed(self, recorder: StreamRecorder, event: FileClosed) -> None:
        """Enter a file that is complete."""
        if (file := recorder.grants.find(event.file_format, event.file_id)) is None:
            return
        around = _around(recorder, file, event.facts)
        recorder.grants.closed(event.file_format, event.file_id)
        if recorder.plan.moves_index(event.file_format) and not event.facts["empty"] and not self.is_hurried:

            def moved(size_bytes: int) -> None:
                facts = event.facts
                self._keep(recorder, file, {**facts, "size_bytes": size_bytes or facts["size_bytes"]}, around)
                self._repaired(recorder)

            recorder.repairs += 1
            self._mending.move_index(file, moved)
            return
        self._keep(recorder, file, event.facts, around)

    def failed(self, recorder: StreamRecorder, event: FileFailed) -> None:
        """Tell of a file that failed, and have what it holds made whole."""
        file = recorder.grants.find(event.file_format, event.file_id)
        recorder.grants.failed(event.file_format, event.file_id, event.errno)
        self._studio.log.error("recording failed", **about(recorder), format=event.file_format, reason=event.reason)
        if file is None:
            return
        facts = event.facts
        told = [
            recorder.turn("record_start_failed", event.reason, event.file_format),
            recorder.turn("record_error", f"{event.file_format}: {event.reason}", event.file_format),
        ]
        could_not_go_on = facts is None and file.state == "open"
        if not could_not_go_on and (facts is None or facts["empty"]):
            now = self._studio.now()
            nothing = Contents(path=file.path, end_at=now, size_bytes=0, duration_ms=0)
            told += owed.abnormal(recorder.row, file, nothing, Circumstances(fault=event.reason), now)
            self._note(recorder, lambda index: index.failed(file.file_id, event.reason, None, told))
            return
        # What the disk did not take may be made good when there is room: until then the file counts as open.
        self._note(recorder, lambda index: index.tell(told))
        fault = None
        if facts is not None:
            fault = Fault(event.reason, facts, replace(_around(recorder, file, facts), fault=event.reason))
        self.mend(recorder, [file], fault)

    def mend(self, recorder: StreamRecorder, files: Iterable[FileRow], fault: Fault | None = None) -> None:
        """Repair files; their recording has not ended before they are done."""
        for file in files:
            recorder.repairs += 1
            self._mending.mend(recorder.row, file, lambda: self._repaired(recorder), fault)

    def wait_for_earlier(self, recorder: StreamRecorder) -> None:
        """Have a recording that goes on after a restart not end before its files that are still being repaired."""
        recorder.repairs += 1
        self._mending.when_whole(recorder.row.recording_id, lambda: self._repaired(recorder))

    def _keep(self, recorder: StreamRecorder, file: FileRow, facts: protocol.FileFacts, around: Circumstances) -> None:
        """Enter a complete file into the index, and owe its callbacks."""

        def tell() -> None:
            self._studio.log.info("recording closed", **about(recorder), **facts)

        if facts["empty"]:
            self._note(recorder, lambda index: index.discard(file.file_id), tell)
            return
        contents = self._mending.contents(file, facts)
        now = self._studio.now()
        told = [
            owed.new_file(recorder.row, file, contents, now),
            *owed.abnormal(recorder.row, file, contents, around, now),
        ]
        self._note(recorder, lambda index: index.closed(file.file_id, contents, told), tell)

    def _note(self, recorder: StreamRecorder, write: Write, then: Callable[[], None] | None = None) -> None:
        self._studio.ledger.note(recorder.row.recording_id, write, then)

    def _repaired(self, recorder: StreamRecorder) -> None:
        recorder.repairs -= 1
        self._on_repaired(recorder)


def about(recorder: StreamRecorder) -> dict[str, Any]:
    """Say in a log line which recording it is about."""
    return {"recording": recorder.row.recording_id, "stream": recorder.path}


def _around(recorder: StreamRecorder, file: FileRow, facts: protocol.FileFacts) -> Circumstances:
    """Note what the recording knows of a file, and the file's tracks for the next one."""
    tracks: Tracks = tuple(dict(track) for track in facts["tracks"])
    before = recorder.grants.follow(file.file_format, tracks)
    return Circumstances(recorder.announced, before)
