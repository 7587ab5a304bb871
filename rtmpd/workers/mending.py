"""
Files that nobody finished: found in the index at the start, or left behind by a media worker that died, and made whole.

Nothing here delays the server: the index is asked once, everything else is done one file after another by the
workshop's process. A recording whose publisher may still come back keeps its playlist as it is until its time is up.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from rtmpd.store.listing import Query
from rtmpd.store.recordings import RecordingIndex, Unfinished
from rtmpd.store.rows import Contents, FileRow, RecordingRow
from rtmpd.store.turns import NOT_STARTED
from rtmpd.workers import owed, protocol
from rtmpd.workers.abnormal import Circumstances
from rtmpd.workers.plan import CONTINUED
from rtmpd.workers.studio import Studio
from rtmpd.workers.workshop import DIED

DEATHS = 3
"""A file whose repair killed so many workers is left as it is."""
FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 30.0
"""Between two looks at a file that somebody still writes: a worker of the server before us."""
_ALL = 1_000_000


class Fault(NamedTuple):
    """What a worker said when it gave a file up."""

    reason: str
    facts: protocol.FileFacts
    """What it had written until then."""
    around: Circumstances
    """What the recording knew of it."""


@dataclass(slots=True)
class _Task:
    """A file to be worked on."""

    kind: str
    file: FileRow
    done: Callable[[protocol.JobDone, int], None]
    """Is told the outcome, and the size of what is there now (bytes)."""
    deaths: int = 0
    pause_s: float = FIRST_PAUSE_S


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A recording of an earlier server whose publisher may come back."""

    row: RecordingRow
    files: Sequence[FileRow]
    """All that it has; those that can be continued are open here."""
    unclosed: Sequence[FileRow]
    """Those that are to be finished if the publisher does not come."""
    timer: asyncio.TimerHandle
    over: asyncio.Event
    """Its end is in the index, and all of its files."""


class Mending:
    """Repairs, and what else is done to files after their recording."""

    def __init__(self, studio: Studio, index: RecordingIndex) -> None:
        """
        Prepare; `run` does the work.

        Args:
            studio: what all recordings share.
            index: is asked what is unfinished.
        """
        self._studio = studio
        self._index = index
        self._tasks: deque[_Task] = deque()
        self._changed = asyncio.Event()
        self._stopped = False
        self._waiting: dict[str, _Waiting] = {}
        """By recording id, in the order of their start."""
        self._under_repair: Counter[str] = Counter()
        """Files, by recording id."""
        self._when_whole: dict[str, list[Callable[[], None]]] = {}

    @property
    def waiting(self) -> tuple[RecordingRow, ...]:
        """Recordings of an earlier server whose publisher may come back."""
        return tuple(each.row for each in self._waiting.values())

    async def begin(self, may_resume: Callable[[RecordingRow], float]) -> None:
        """
        Take up what an earlier server left behind.

        Args:
            may_resume: says how long (s) a recording still waits for its publisher; 0 for not at all.

        Raises:
            StoreError: the index cannot be read.
        """
        unfinished = await self._index.unfinished()
        if not unfinished:
            return
        files = [file for each in unfinished for file in each.files]
        if await asyncio.to_thread(_is_unmounted, self._studio.directory, files):
            reason = "the recordings directory holds nothing at all; is its disk mounted?"
            self._studio.log.error("interrupted recordings not taken up", reason=reason)
            return
        there = await asyncio.to_thread(_last_changes, self._studio.directory, files)
        for each in unfinished:
            await self._take_up(each, there, may_resume)
        self._studio.log.info("recordings interrupted", recordings=len(unfinished), files=len(there))

    def take(self, app: str, stream: str) -> tuple[tuple[RecordingRow, tuple[FileRow, ...]], ...]:
        """
        Let the recordings of an earlier server go on.

        Args:
            app: of the stream that is published now.
            stream: its name.

        Returns:
            Each recording and all its files; those that are open are to be continued.
        """
        taken = [each for each in self._waiting.values() if (each.row.app, each.row.stream) == (app, stream)]
        for each in taken:
            each.timer.cancel()
            del self._waiting[each.row.recording_id]
        return tuple((each.row, tuple(each.files)) for each in taken)

    def give_up(self, recording_id: str, reason: str) -> asyncio.Event | None:
        """
        End a recording whose publisher is not waited for any longer.

        Args:
            recording_id: of one that waits.
            reason: for people.

        Returns:
            Set once its end and all of its files are in the index; None if it does not wait.
        """
        waiting = self._waiting.pop(recording_id, None)
        if waiting is None:
            return None
        waiting.timer.cancel()
        now = self._studio.now()
        self._studio.ledger.note(recording_id, lambda index: index.ending(recording_id, now))
        self._end(waiting.row, waiting.unclosed, reason, waiting.over)
        return waiting.over

    def mend(self, row: RecordingRow, file: FileRow, done: Callable[[], None], fault: Fault | None = None) -> None:
        """
        Make a file whole, enter it into the index and owe its callback.

        Args:
            row: of its recording.
            file: that nobody continues.
            done: called afterwards, whatever came of it.
            fault: what its worker said when it gave the file up.
        """

        def mended(outcome: protocol.JobDone, size_bytes: int) -> None:
            self._enter(row, file, outcome, size_bytes, fault)
            done()
            self._mended(row.recording_id)

        self._under_repair[row.recording_id] += 1
        self._put(_Task("repair", file, mended))

    def when_whole(self, recording_id: str, then: Callable[[], None]) -> None:
        """
        Wait for the files of a recording that are being repaired: its end is told after them.

        Args:
            recording_id: of any recording.
            then: called once none of them is left; at once where there is none.
        """
        if self._under_repair[recording_id]:
            self._when_whole.setdefault(recording_id, []).append(then)
        else:
            del self._under_repair[recording_id]
            then()

    def move_index(self, file: FileRow, done: Callable[[int], None]) -> None:
        """
        Rewrite a closed MP4 with its index in front.

        Args:
            file: that is closed.
            done: is told its size then (bytes); a file that could not be rewritten is as good as before.
        """

        def moved(outcome: protocol.JobDone, size_bytes: int) -> None:
            if outcome.outcome != "done":
                self._studio.log.warning("index not moved", path=file.path, reason=outcome.reason)
            done(size_bytes)

        self._put(_Task("faststart", file, moved))

    def contents(self, file: FileRow, facts: protocol.FileFacts) -> Contents:
        """Say what the index keeps of a file's facts."""
        kept: dict[str, Any] = {name: facts[name] for name in _KEPT}  # type: ignore[literal-required]
        start_at = file.start_at
        duration_s = facts["duration_ms"] / 1000
        end_at = self._studio.now() if start_at is None else start_at + duration_s
        return Contents(path=file.path, end_at=end_at, tracks=tuple(dict(track) for track in facts["tracks"]), **kept)

    async def run(self) -> None:
        """Work for ever; to be supervised, and cancelled."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            while self._tasks:
                await self._do(self._tasks.popleft())
            if not self._stopped:
                self._studio.workshop.rest()

    def stop(self) -> None:
        """Do nothing more: what is left is done by the next server."""
        self._stopped = True
        self._tasks.clear()
        self._studio.workshop.stop()

    async def _take_up(
        self, unfinished: Unfinished, there: Mapping[str, float], may_resume: Callable[[RecordingRow], float]
    ) -> None:
        row = unfinished.recording
        left = [file for file in unfinished.files if file.file_id in there]
        for file in unfinished.files:
            if file.file_id not in there:
                self._discard(file)
        lost_at = row.waiting_since or max([row.started_at, *(there[file.file_id] for file in left)])
        lost_at = min(lost_at, self._studio.now())  # a clock that was set back must not make it wait for hours
        if left and row.told in NOT_STARTED:
            left = [self._enter_start(row, left[0]), *left[1:]]
        wait_s = 0.0
        if row.state != "ended":
            until = lost_at + may_resume(row)
            wait_s = (until if row.ends_at is None else min(until, row.ends_at)) - self._studio.now()
        if wait_s > 0:
            left = await self._keep_waiting(row, left, wait_s, lost_at)
            for file in left:
                self.mend(row, file, lambda: None)
        else:
            self._end(row, left, "its publisher did not come back", asyncio.Event())

    def _enter_start(self, row: RecordingRow, file: FileRow) -> FileRow:
        """Tell of the start of a recording whose server was killed after a file was opened, and before that was entered."""
        told = [owed.status(row, "record_start_succeeded", "", self._studio.now())]
        self._studio.ledger.note(
            row.recording_id, lambda index: index.opened(file.file_id, file.path, row.started_at, told)
        )
        return replace(file, state="open", start_at=row.started_at)

    async def _keep_waiting(
        self, row: RecordingRow, left: list[FileRow], wait_s: float, lost_at: float
    ) -> list[FileRow]:
        """Let a recording wait for its publisher; what is returned cannot be continued and is to be repaired."""
        entries = await self._index.list(Query(recording_id=row.recording_id, limit=_ALL))
        known = {file.file_id: file for file in left}
        rows = [known.get(each.file.file_id, each.file) for each in entries]
        files = [row for row in rows if row.state == "closed" or row.file_id in known]
        last = max(
            (file for file in files if file.file_format in CONTINUED), key=lambda file: file.sequence, default=None
        )
        others = [replace(file, state="closed") for file in files if file is not last]
        goes_on = [] if last is None else [replace(last, state="open")]
        self._give_up_older(row)
        reason = "its publisher did not come back"
        timer = self._studio.loop.call_later(wait_s, self.give_up, row.recording_id, reason)
        unclosed = [file for file in left if last is not None and file.file_id == last.file_id]
        self._waiting[row.recording_id] = _Waiting(row, [*others, *goes_on], unclosed, timer, asyncio.Event())
        told = [owed.status(row, "record_paused", "the server was interrupted", self._studio.now())]
        self._studio.ledger.note(row.recording_id, lambda index: index.wait(row.recording_id, lost_at, told))
        return [file for file in left if last is None or file.file_id != last.file_id]

    def _give_up_older(self, row: RecordingRow) -> None:
        """Of those that no request began only the last one of a stream goes on."""
        if row.origin != "auto":
            return
        for each in self.waiting:
            if (each.app, each.stream, each.origin) == (row.app, row.stream, "auto"):
                self.give_up(each.recording_id, "another recording of the stream goes on")

    def _end(self, row: RecordingRow, files: Sequence[FileRow], reason: str, over: asyncio.Event) -> None:
        """End a recording after its last files."""

        def end() -> None:
            if row.state != "ended":
                now = self._studio.now()
                told = [owed.status(row, "record_ended", reason, now)]
                self._studio.ledger.note(
                    row.recording_id, lambda index: index.ended(row.recording_id, now, None, told), over.set
                )

        for file in files:
            self.mend(row, file, lambda: None)
        self.when_whole(row.recording_id, end)

    def _mended(self, recording_id: str) -> None:
        self._under_repair[recording_id] -= 1
        if not self._under_repair[recording_id]:
            del self._under_repair[recording_id]
            for then in self._when_whole.pop(recording_id, ()):
                then()

    def _put(self, task: _Task) -> None:
        if not self._stopped:
            self._tasks.append(task)
            self._changed.set()

    async def _do(self, task: _Task) -> None:
        path = self._studio.directory / task.file.path
        outcome = await self._outcome(task, path)
        if self._stopped:
            return
        if outcome.outcome == DIED and task.deaths < DEATHS - 1:
            task.deaths += 1
            self._tasks.append(task)
        elif outcome.outcome == "busy":
            self._studio.loop.call_later(task.pause_s, self._put, task)
            task.pause_s = min(task.pause_s * 2, LONGEST_PAUSE_S)
        else:
            task.done(outcome, await asyncio.to_thread(_size, path))

    async def _outcome(self, task: _Task, path: Path) -> protocol.JobDone:
        is_there = await asyncio.to_thread(_last_changes, self._studio.directory, [task.file])
        if not is_there or self._stopped:
            return protocol.JobDone(0, "done", "never made, or removed by somebody")
        try:
            return await self._studio.workshop.run(task.kind, task.file.file_format, path)
        except OSError as error:  # no process to be had: that passes
            return protocol.JobDone(0, "busy", str(error))

    def _enter(
        self, row: RecordingRow, file: FileRow, outcome: protocol.JobDone, size_bytes: int, fault: Fault | None
    ) -> None:
        about = {"recording": row.recording_id, "stream": f"{row.app}/{row.stream}", "path": file.path}
        now = self._studio.now()
        facts = outcome.facts
        if facts is not None:
            contents = self.contents(file, facts)
            around = Circumstances()
            if fault is not None:
                contents = _with_facts_of_the_feed(contents, fault.facts)
                around = fault.around
            told = [owed.new_file(row, file, contents, now), *owed.abnormal(row, file, contents, around, now)]
            reason = None if fault is None else fault.reason
            self._studio.ledger.note(
                row.recording_id,
                lambda index: index.finished(file.file_id, contents, reason, told),
                then=lambda: self._studio.log.info("recording repaired", **about, format=file.file_format),
            )
        elif outcome.outcome == "done":
            self._discard(file)
        else:
            reason = f"not repaired: {outcome.reason}"
            self._studio.log.error("recording not repaired", **about, reason=outcome.reason)
            contents = Contents(path=file.path, end_at=now, size_bytes=size_bytes, duration_ms=0)
            around = Circumstances(fault=reason)
            told = [
                owed.status(row, "record_error", reason, now, file.file_format),
                *owed.abnormal(row, file, contents, around, now),
            ]
            self._studio.ledger.note(
                row.recording_id, lambda index: index.finished(file.file_id, contents, reason, told)
            )

    def _discard(self, file: FileRow) -> None:
        self._studio.ledger.note(file.recording_id, lambda index: index.discard(file.file_id))


_KEPT = (
    "size_bytes",
    "duration_ms",
    "start_ms",
    "video_frames",
    "audio_frames",
    "key_frames",
    "gaps",
    "gap_ms",
    "jumps",
    "left_out",
)


def _is_unmounted(directory: Path, files: Sequence[FileRow]) -> bool:
    """Whether files were being written, and now there is nothing where they should be."""
    return any(file.state == "open" for file in files) and next(directory.iterdir(), None) is None


def _last_changes(directory: Path, files: Sequence[FileRow]) -> dict[str, float]:
    """Find the files that have something on the disk, and when it last changed (unix seconds)."""
    found = {}
    for file in files:
        path = directory / file.path
        places = [path, path.with_suffix("")] if file.file_format == "hls" else [path]
        times = [place.stat().st_mtime for place in places if place.exists()]
        if times:
            found[file.file_id] = max(times)
    return found


def _with_facts_of_the_feed(contents: Contents, facts: protocol.FileFacts) -> Contents:
    """Add what cannot be read from a file: what it lacks, and the publisher's clock."""
    return replace(
        contents,
        start_ms=facts["start_ms"],
        gaps=facts["gaps"],
        gap_ms=facts["gap_ms"],
        jumps=facts["jumps"],
        left_out=facts["left_out"],
    )


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
