"""
The files of one recording before they are complete: named, entered into the index, and only then granted to a worker.

So no crash leaves a file that the index does not know, and no two recordings write one file. A grant that is not used
is struck out of the index at the end.
"""

from __future__ import annotations

import asyncio
import errno
import secrets
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime

from rtmpd.errors import StoreError
from rtmpd.store.recordings import RecordingIndex
from rtmpd.store.rows import FileRow, RecordingRow
from rtmpd.workers import protocol
from rtmpd.workers.abnormal import Tracks
from rtmpd.workers.feeds import Feed
from rtmpd.workers.ledger import is_taken
from rtmpd.workers.naming import FileName, numbered
from rtmpd.workers.plan import CONTINUED, RecordingPlan, suffix
from rtmpd.workers.studio import Studio
from rtmpd.workers.supply import Supply

FIRST_GRANTS = 2
"""Of each format when a feed begins: its first file, and one in reserve."""


class _Format:
    """One format of the recording."""

    def __init__(self, grant: Callable[[float], None], files: int) -> None:
        self.supply = Supply(grant)
        self.files = files
        """Number of the last file that was named."""
        self.name_number = 1
        """Goes up when a name turns out to be taken."""
        self.full = False
        """Its last failure was a full disk."""
        self.rows: dict[str, FileRow] = {}
        """Files that are granted or open, by id, in the order in which a worker gets them."""
        self.tracks: Tracks = ()
        """Of the last file that is complete."""


class Grants:
    """Every file that a recording may open or has open."""

    def __init__(self, studio: Studio, recording: RecordingRow, plan: RecordingPlan, last: Iterable[FileRow]) -> None:
        """
        Begin without grants.

        Args:
            studio: what all recordings share.
            recording: whose files they are.
            plan: which formats and names.
            last: files of the recording from before a restart: numbers go on after them, and what is open goes on.
        """
        self._studio = studio
        self._recording = recording
        self._plan = plan
        self._feed: Feed | None = None
        self._ended = False
        self._formats: dict[str, _Format] = {}
        before = tuple(last)
        for name in plan.formats:
            rows = [row for row in before if row.file_format == name]
            self._formats[name] = each = _Format(self._granter(name), max((row.sequence for row in rows), default=0))
            each.rows = {row.file_id: row for row in rows if row.state == "open"}
            each.tracks = max(rows, key=lambda row: row.sequence).tracks if rows else ()

    def prepare(self, ready: Callable[[], None]) -> None:
        """
        Enter what a new feed needs first into the index.

        Args:
            ready: called when `outputs` can be asked; perhaps at once.
        """
        missing = [name for name, each in self._formats.items() for _ in range(FIRST_GRANTS - len(each.rows))]
        left = len(missing)

        def reserved(_row: FileRow) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                ready()

        for name in missing:
            self._reserve(name, reserved)
        if not missing:
            ready()

    def outputs(self) -> tuple[protocol.Output, ...]:
        """Say what the next feed is to write."""
        return tuple(
            self._plan.output(name, [self._as_grant(row) for row in each.rows.values()])
            for name, each in self._formats.items()
        )

    def give_to(self, feed: Feed) -> None:
        """Note that a feed was started with `outputs`; further grants go to it."""
        self._feed = feed
        now = self._studio.loop.time()
        for each in self._formats.values():
            each.supply.granted(len(each.rows), now)

    def find(self, file_format: str, file_id: str) -> FileRow | None:
        """Look up a file that is granted or open."""
        return self._formats[file_format].rows.get(file_id)

    def opened(self, file_format: str, file_id: str) -> FileRow | None:
        """Note that a file is being written; None where it is not one of ours any more."""
        each = self._formats[file_format]
        row = each.rows.get(file_id)
        if row is None:
            return None
        if row.state != "open":
            row = each.rows[file_id] = replace(row, state="open", start_at=self._studio.now())
        each.supply.opened(self._studio.loop.time())
        return row

    def closed(self, file_format: str, file_id: str) -> None:
        """Note that a file is complete."""
        each = self._formats[file_format]
        each.rows.pop(file_id, None)
        each.full = False
        each.supply.closed()

    def follow(self, file_format: str, tracks: Tracks) -> Tracks:
        """
        Note what a complete file holds.

        Args:
            file_format: of the file.
            tracks: of the file; none where it is empty.

        Returns:
            Those of the file of this format before it; none for the first.
        """
        each = self._formats[file_format]
        before = each.tracks
        each.tracks = tracks or before
        return before

    def failed(self, file_format: str, file_id: str, error_number: int) -> None:
        """Note that a file failed: the format goes on in another one as soon as may be."""
        each = self._formats[file_format]
        row = each.rows.pop(file_id, None)
        each.full = error_number in protocol.DISK_FULL
        if error_number == errno.EEXIST:
            each.name_number += 1
        each.supply.failed(self._studio.loop.time(), was_open=row is not None and row.state == "open")

    def worker_died(self) -> tuple[FileRow, ...]:
        """
        Take back what a dead worker had.

        Returns:
            The files that it left open, or may have begun, and that nobody continues: they are to be repaired.
        """
        self._feed = None
        return tuple(row for name, each in self._formats.items() for row in _take_back(name, each))

    def end(self) -> tuple[FileRow, ...]:
        """
        Strike out what was not used; nothing is granted any more.

        Returns:
            The files that were to be continued and were not, as nothing came: they are to be repaired.
        """
        self._ended = True
        self._feed = None
        left = []
        for each in self._formats.values():
            for row in each.rows.values():
                if row.state == "open":
                    left.append(row)
                else:
                    self._discard(row.file_id)
            each.rows.clear()
        return tuple(left)

    def _granter(self, file_format: str) -> Callable[[float], None]:
        def grant(pause_s: float) -> None:
            if pause_s > 0:
                self._studio.loop.call_later(pause_s, self._grant, file_format)
            else:
                self._grant(file_format)

        return grant

    def _grant(self, file_format: str) -> None:
        each, feed = self._formats[file_format], self._feed
        if feed is None:
            each.supply.lost()
        elif each.full and not self._studio.has_room:
            each.supply.withdrawn(self._studio.loop.time())
        else:
            self._reserve(file_format, lambda row: self._hand_over(feed, file_format, row))

    def _hand_over(self, feed: Feed, file_format: str, row: FileRow) -> None:
        if feed is self._feed:
            self._studio.supervisor.grant(feed, file_format, self._as_grant(row))
            self._formats[file_format].supply.granted(1, self._studio.loop.time())

    def _reserve(self, file_format: str, then: Callable[[FileRow], None]) -> None:
        """Enter the next file of a format into the index."""
        self._formats[file_format].files += 1
        self._reserve_number(file_format, self._formats[file_format].files, then)

    def _reserve_number(self, file_format: str, number: int, then: Callable[[FileRow], None]) -> None:
        """Enter a file into the index; where its name is taken it gets another one."""
        each = self._formats[file_format]
        name_number, recording_id = each.name_number, self._recording.recording_id
        row = self._new_file(file_format, number, name_number)

        def reserved() -> None:
            if self._ended:
                self._discard(row.file_id)
                return
            each.rows[row.file_id] = row
            then(row)

        def refused(error: StoreError) -> None:
            if is_taken(error) and not self._ended:
                each.name_number = max(each.name_number, name_number + 1)
                self._reserve_number(file_format, number, then)
            else:
                about = {"recording": recording_id, "format": file_format}
                self._studio.log.error("recording failed", **about, reason=str(error))

        def write(index: RecordingIndex) -> asyncio.Future[None]:
            return index.reserve(row)

        self._studio.ledger.note(recording_id, write, reserved, refused)

    def _new_file(self, file_format: str, number: int, name_number: int) -> FileRow:
        recording = self._recording
        name = FileName(
            recording.app,
            recording.stream,
            recording.recording_id,
            datetime.fromtimestamp(recording.started_at, UTC),
            number,
            suffix(file_format),
            recording.file_name,
        )
        path = numbered(self._plan.template.render(name), name_number)
        return FileRow(secrets.token_hex(8), recording.recording_id, number, file_format, str(path))

    def _as_grant(self, row: FileRow) -> protocol.Grant:
        return protocol.Grant(row.file_id, str(self._studio.directory / row.path), resume=row.state == "open")

    def _discard(self, file_id: str) -> None:
        self._studio.ledger.note(self._recording.recording_id, lambda index: index.discard(file_id))


def _take_back(file_format: str, each: _Format) -> list[FileRow]:
    """Sort out the files of a format whose worker died; what the next worker goes on with comes first."""
    each.supply.lost()
    open_ = [row for row in each.rows.values() if row.state == "open"]
    goes_on = open_[-1:] if file_format in CONTINUED else []
    unused = [row for row in each.rows.values() if row.state != "open"]
    # The worker may have made the next file and died before it said so.
    each.rows = {row.file_id: row for row in [*goes_on, *unused[1:]]}
    return [row for row in [*open_, *unused[:1]] if row not in goes_on]
