"""
What whoever asks for a recording, or for its end, is answered.

Rule: an answer follows the commit. A disk that is full can keep the index from taking anything, so every wait for it is
bounded, and `NotEntered` says that it was too long.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Literal, TypeAlias

from rtmpd.errors import RtmpdError
from rtmpd.store.rows import FileRow, RecordingRow
from rtmpd.workers.stream_recorder import StreamRecorder

ENTER_S = 10.0
"""How long the index may take before the caller is told that it did not."""
FILES_S = 10.0
"""How long the caller waits for files that are being finished."""

StopState: TypeAlias = Literal["closed", "closing"]


class NotEntered(RtmpdError):
    """The index did not take or say something in time: one line that says what goes on all the same."""


@dataclass(frozen=True, slots=True)
class Started:
    """A recording that was asked for; await `entered` before anybody is told of it."""

    recorder: StreamRecorder
    already: bool
    """It was asked for before, and still runs."""
    notes: tuple[str, ...]
    """What is recorded in another way than asked for, a line each."""

    @property
    def row(self) -> RecordingRow:
        """The recording, with its task id and what it is really recorded as."""
        return self.recorder.row

    async def entered(self) -> None:
        """
        Wait until the recording is in the index.

        Raises:
            NotEntered: it is not after ENTER_S. It goes on, and is entered as soon as the disk takes it.
        """
        if not await reached(self.recorder.entered, ENTER_S):
            raise NotEntered(
                f"the index has not taken the recording for {ENTER_S:.0f} s (is the disk full?); it goes on, "
                f"as task {self.row.task_id}"
            )


@dataclass(frozen=True, slots=True)
class Stopped:
    """What became of a recording that was told to end."""

    row: RecordingRow
    state: StopState
    """closing: files are still being finished; what is said of them is what was known before."""
    files: tuple[FileRow, ...]
    """Everything that it wrote, in order; the ids are final."""
    already: bool
    """It had ended, or was told to, before."""


@dataclass(frozen=True, slots=True)
class Status:
    """A recording that has not ended."""

    row: RecordingRow
    phase: str
    """starting, running, waiting (for its publisher), ending, ended (and its files are being repaired)."""
    recorded_bytes: int
    """Media that is in the files, since the server's start."""


async def reached(event: asyncio.Event, timeout_s: float) -> bool:
    """Wait for an event; says whether it came in time."""
    try:
        async with asyncio.timeout(timeout_s):
            await event.wait()
    except TimeoutError:
        return False
    return True
