"""
Retention: what has to go, by age, total size and free disk space, and how it goes without a lie and without a leak.

Rule: a row is condemned first, then the file is removed, then the row. A kill after the first step leaves a row that is
not listed and that the next sweep takes up again; so no row shows a file that is gone, and no file is left that no row
knows. Removing the file first would lie in between, forgetting the row first would leak the file. Only where a disk is
so full that it takes no mark, a file goes first; `verify` at the next start finds its row if it has to.

A file that cannot be removed stays condemned, is reported by each sweep, and counts in the total as long as it is there.
"""

from __future__ import annotations

import asyncio
import errno
import functools
import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

from rtmpd.errors import StoreError
from rtmpd.store.recordings import RecordingIndex
from rtmpd.store.rows import FileRow
from rtmpd.workers import removal

BATCH = 100
"""Files that are condemned, removed and forgotten together: three commits for all of them."""
KEEP_EMPTY_S = 86_400.0
"""How long a recording that has no files is still remembered after its end."""

Reason: TypeAlias = Literal["age", "size", "space", "condemned", "request"]
"""Why a file goes; "condemned": an earlier sweep did not finish with it."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What may stay; 0 switches a rule off."""

    max_age_s: float = 0
    """Seconds since the end of a file."""
    max_bytes: int = 0
    """All recordings together, those that are being written included."""
    min_free_bytes: int = 0
    """Free space on the recordings' disk, whoever fills it."""


class Removed(NamedTuple):
    """A file that is gone."""

    file: FileRow
    reason: Reason


class Failure(NamedTuple):
    """A file that is to go and could not be removed."""

    file: FileRow
    reason: str
    """The operating system's message."""


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep did."""

    removed: tuple[Removed, ...]
    failed: tuple[Failure, ...]
    recordings: int
    """Recordings that were forgotten, as nothing was left of them."""

    @property
    def size_bytes(self) -> int:
        """What the removed files had taken."""
        return sum(each.file.size_bytes for each in self.removed)


def free_bytes(directory: Path) -> int:
    """Read the space that a disk has for us."""
    disk = os.statvfs(directory)
    return disk.f_bavail * disk.f_frsize


class Retention:
    """Removes recordings by rules; one sweep at a time."""

    def __init__(
        self, index: RecordingIndex, directory: Path, rules: Rules, *, free_bytes: Callable[[Path], int] = free_bytes
    ) -> None:
        """
        Prepare; nothing is removed before `sweep`.

        Args:
            index: of the recordings.
            directory: that holds them.
            rules: what may stay.
            free_bytes: how to read a disk's free space.
        """
        self.rules = rules
        """May be replaced between sweeps."""
        self._index = index
        self._directory = directory
        self._free_bytes = free_bytes

    async def sweep(self, now: float) -> Swept:
        """
        Remove what the rules do not allow to stay, oldest first.

        Args:
            now: unix seconds.

        Returns:
            What was removed, and what could not be.

        Raises:
            StoreError: the index failed; what was condemned until then is removed by the next sweep.
            OSError: the disk's free space cannot be read.
        """
        removed: list[Removed] = []
        failed: list[Failure] = []
        for condemned in _batches([Removed(file, "condemned") for file in await self._index.condemned()]):
            await self._remove(condemned, removed, failed)
        excess = await self._excess(now)
        while doomed := excess.choose(await self._index.oldest_closed(BATCH)):
            before = len(removed)
            await self._remove(await self._condemn(doomed), removed, failed)
            excess.shrink(sum(each.file.size_bytes for each in removed[before:]))
        return Swept(tuple(removed), tuple(failed), await self._index.prune(now - KEEP_EMPTY_S))

    async def delete(self, file: FileRow) -> Swept:
        """
        Remove one file, as it was asked for.

        Args:
            file: that was closed when it was looked at.

        Returns:
            Nothing removed and nothing failed if it is not closed any more. What could not be removed stays condemned,
            and the next sweep tries again.

        Raises:
            StoreError: the index failed; what was condemned until then is removed by the next sweep.
        """
        removed: list[Removed] = []
        failed: list[Failure] = []
        await self._remove(await self._condemn([Removed(file, "request")]), removed, failed)
        return Swept(tuple(removed), tuple(failed), 0)

    async def verify(self) -> tuple[FileRow, ...]:
        """
        Make the index tell the truth: forget the closed files that somebody else has removed.

        Returns:
            What was forgotten.

        Raises:
            FileNotFoundError: nothing at all is in the directory. That is rather a disk that is not mounted than a
                thousand files removed by hand, so nothing was forgotten.
            StoreError: the index failed.
        """
        totals = await self._index.totals()
        if totals.files and await asyncio.to_thread(_is_empty, self._directory):
            reason = f"holds none of the {totals.files} files of the index; is its disk mounted?"
            raise FileNotFoundError(errno.ENOENT, reason, str(self._directory))
        forgotten: list[FileRow] = []
        after = ""
        while files := await self._index.closed_paths(after, BATCH):
            gone = await asyncio.to_thread(self._gone, files)
            await self._index.remove([file.file_id for file in gone])
            forgotten += gone
            after = files[-1].path
        return tuple(forgotten)

    async def _excess(self, now: float) -> _Excess:
        rules = self.rules
        excess = _Excess(now - rules.max_age_s if rules.max_age_s else -math.inf)
        if rules.max_bytes:
            written = [file for recording in await self._index.unfinished() for file in recording.files]
            totals = await self._index.totals()
            excess.over_bytes = totals.size_bytes + await asyncio.to_thread(self._sizes, written) - rules.max_bytes
        if rules.min_free_bytes:
            excess.lacking_bytes = rules.min_free_bytes - await asyncio.to_thread(self._free_bytes, self._directory)
        return excess

    async def _condemn(self, doomed: Sequence[Removed]) -> list[Removed]:
        """Condemn files; those that are not closed any more are none of our business."""
        file_ids = [each.file.file_id for each in doomed]
        for sacrifice in doomed:
            try:
                marked = set(await self._index.condemn(file_ids))
            except StoreError as error:
                if not error.disk_full:
                    raise
                await asyncio.to_thread(self._take_away, [sacrifice.file])
            else:
                return [each for each in doomed if each.file.file_id in marked]
        raise StoreError("the disk is full, and removing files made no room to note it", cause="SQLITE_FULL")

    async def _remove(self, doomed: Sequence[Removed], removed: list[Removed], failed: list[Failure]) -> None:
        """Take condemned files away and forget those that are gone."""
        faults = await asyncio.to_thread(self._take_away, [each.file for each in doomed])
        gone = [each for each in doomed if each.file.file_id not in faults]
        await self._index.remove([each.file.file_id for each in gone])
        removed += gone
        failed += [Failure(each.file, faults[each.file.file_id]) for each in doomed if each.file.file_id in faults]
        folders = removal.folders_above(each.file.path for each in gone)
        await self._index.unused(folders, functools.partial(removal.remove_if_empty, self._directory))

    def _take_away(self, files: Sequence[FileRow]) -> dict[str, str]:
        """Remove files from the disk; returns the faults, by file id."""
        faults = {}
        for file in files:
            try:
                removal.remove(self._directory, file.path, file.file_format)
            except OSError as error:
                faults[file.file_id] = str(error)
        removal.sync_folders(self._directory, (file.path for file in files))
        return faults

    def _gone(self, files: Iterable[FileRow]) -> list[FileRow]:
        return [file for file in files if removal.is_gone(self._directory, file.path)]

    def _sizes(self, files: Iterable[FileRow]) -> int:
        return sum(removal.size_of(self._directory, file.path, file.file_format) for file in files)


class _Excess:
    """What is too old or too much, as a sweep goes on."""

    def __init__(self, ended_before: float) -> None:
        self.ended_before = ended_before
        self.over_bytes = 0
        # Counted down by the sizes of the removed, not measured again: file systems free space later, and a sweep that
        # does not wait for them would remove everything.
        self.lacking_bytes = 0

    def choose(self, files: Iterable[FileRow]) -> list[Removed]:
        """Take the oldest files until nothing is too much."""
        chosen: list[Removed] = []
        size_bytes = 0
        for file in files:
            reason = self._reason(file, size_bytes)
            if reason is None:
                break
            chosen.append(Removed(file, reason))
            size_bytes += file.size_bytes
        return chosen

    def shrink(self, size_bytes: int) -> None:
        """Take note of what was removed."""
        self.over_bytes -= size_bytes
        self.lacking_bytes -= size_bytes

    def _reason(self, file: FileRow, chosen_bytes: int) -> Reason | None:
        if file.end_at is not None and file.end_at < self.ended_before:
            return "age"
        if self.over_bytes > chosen_bytes:
            return "size"
        return "space" if self.lacking_bytes > chosen_bytes else None


def _batches(doomed: Sequence[Removed]) -> Iterator[Sequence[Removed]]:
    return (doomed[start : start + BATCH] for start in range(0, len(doomed), BATCH))


def _is_empty(directory: Path) -> bool:
    try:
        with os.scandir(directory) as entries:
            return next(entries, None) is None
    except FileNotFoundError:
        return True
