"""
The media workers as the server uses them: start a recording, hear what became of it.

Everything runs in the event loop's callbacks; `start` and `stop` alone are awaited. A dead worker is replaced at once,
then, if it keeps dying, after growing pauses; meanwhile `start_recording` goes on working, as feeds hold what comes.
Neither muxers nor av are imported here: they belong to the workers.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rtmpd.errors import StartError, UsageError
from rtmpd.workers import protocol
from rtmpd.workers.child import WorkerChild
from rtmpd.workers.recording import (
    Recording,
    RecordingClosed,
    RecordingEnded,
    RecordingEvent,
    RecordingFailed,
    RecordingProgress,
    RecordingRequest,
    RecordingStarted,
    RecordingState,
    WorkerDied,
)

FEED_BUFFER_BYTES = 1024 * 1024
"""Asked of the kernel for each feed, so that a batch of the fan-out goes out in one piece; it may grant less."""

_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 10.0
_STABLE_S = 60.0
"""A worker that lived so long is replaced at once again."""


class _Slot:
    """The place of one worker, kept over its deaths."""

    def __init__(self, index: int) -> None:
        self.index = index
        self.child: WorkerChild
        self.deaths = 0
        self.ready = asyncio.Event()
        self.timer: asyncio.TimerHandle | None = None
        self.recordings: dict[tuple[str, int], Recording] = {}


class Supervisor:
    """Runs the media workers and the recordings in them."""

    def __init__(
        self,
        on_event: Callable[[RecordingEvent], None],
        *,
        worker_count: int = 1,
        queue_bytes: int = protocol.QUEUE_BYTES,
        report_interval_s: float = protocol.REPORT_INTERVAL_S,
    ) -> None:
        """
        Prepare; nothing runs before `start`.

        Args:
            on_event: called in the event loop, in the order of each recording's events.
            worker_count: processes that the recordings are spread over.
            queue_bytes: what a worker may keep of one recording while its disk is slow; then the feed fills up.
            report_interval_s: the least time in seconds between two RecordingProgress of one recording.
        """
        self._on_event = on_event
        self._worker_count = worker_count
        self._arguments = ("--queue-bytes", str(queue_bytes), "--report-interval-s", str(report_interval_s))
        self._slots: list[_Slot] = []
        self._stopping = False
        self._changed = asyncio.Event()

    @property
    def recordings(self) -> tuple[Recording, ...]:
        """Every recording whose files are not all finished yet."""
        return tuple(recording for slot in self._slots for recording in slot.recordings.values())

    @property
    def pids(self) -> tuple[int | None, ...]:
        """The process of each worker; None while it waits for its replacement."""
        return tuple(slot.child.pid for slot in self._slots)

    async def start(self) -> None:
        """
        Start the workers and wait until they are ready.

        Raises:
            StartError: a worker could not be started, or ended before it was ready.
        """
        try:
            for index in range(self._worker_count):
                slot = _Slot(index)
                slot.child = self._new_child(slot)
                self._slots.append(slot)
                slot.child.spawn()
            await self._until(lambda: all(slot.ready.is_set() or slot.deaths for slot in self._slots))
        except OSError as error:
            self._release()
            raise StartError(f"cannot start a media worker: {error}") from error
        except BaseException:
            self._release()
            raise
        if any(slot.deaths for slot in self._slots):
            self._release()
            raise StartError("a media worker ended as soon as it was started; its own message is above")

    def start_recording(self, request: RecordingRequest) -> Recording:
        """
        Begin to record.

        Args:
            request: what to record; the pair of recording id and sequence must be new.

        Returns:
            The recording. Its `feed` is the caller's, to be written to and, at the end of what is to be recorded,
            closed.

        Raises:
            UsageError: before `start`, after `stop`, or for a request that cannot be.
            OSError: no more descriptors.
        """
        slot = self._slot_for(request)
        ours, theirs = socket.socketpair()
        try:
            ours.setblocking(False)
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, FEED_BUFFER_BYTES)
            outputs = tuple(protocol.Output(output.file_format, str(output.path)) for output in request.outputs)
            packet = protocol.Start(request.recording_id, request.sequence, outputs)
            slot.child.send(packet, [theirs.detach()])
        except BaseException:
            ours.close()
            theirs.close()
            raise
        recording = Recording(request, ours, slot.index)
        slot.recordings[recording.key] = recording
        return recording

    async def stop(self, timeout_s: float) -> tuple[Recording, ...]:
        """
        Finish every recording and end the workers. Feeds that are still open are closed first.

        Args:
            timeout_s: how long files may take to be finished; then the workers are killed.

        Returns:
            The recordings that did not finish in time, or lost their worker meanwhile. Their files open as they are.
        """
        self._stopping = True
        unfinished = self.recordings
        try:
            for recording in unfinished:
                recording.finish()
            for slot in self._slots:
                if slot.timer is not None:
                    slot.timer.cancel()
                    self._respawn(slot, 0.0)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    await self._until(lambda: not self.recordings)
                    for slot in self._slots:
                        slot.child.hang_up()
                    await self._until(lambda: all(slot.child.pid is None for slot in self._slots))
        finally:
            left = self.recordings
            self._release()
        return tuple(r for r in unfinished if r in left or r.state is RecordingState.LOST)

    async def _until(self, reached: Callable[[], bool]) -> None:
        while not reached():
            self._changed.clear()
            await self._changed.wait()

    def _release(self) -> None:
        self._stopping = True
        for slot in self._slots:
            if slot.timer is not None:
                slot.timer.cancel()
            slot.child.release()
            for recording in slot.recordings.values():
                recording.state = RecordingState.LOST
                recording.finish()
            slot.recordings.clear()

    def _slot_for(self, request: RecordingRequest) -> _Slot:
        key = (request.recording_id, request.sequence)
        formats = [output.file_format for output in request.outputs]
        if self._stopping or not self._slots:
            raise UsageError("recordings are started between start() and stop() of the supervisor")
        if any(key in slot.recordings for slot in self._slots):
            raise UsageError(f"recording {key} is running already")
        if not formats or len(set(formats)) < len(formats):
            raise UsageError(f"recording {key} needs one output for each of its formats, not {formats}")
        if not all(Path(output.path).is_absolute() for output in request.outputs):
            raise UsageError(f"recording {key} has a path that is not absolute")
        return min(self._slots, key=lambda slot: len(slot.recordings))

    def _new_child(self, slot: _Slot) -> WorkerChild:
        return WorkerChild(
            lambda packet: self._take(slot, packet),
            lambda pid, reason: self._mourn(slot, pid, reason),
            self._arguments,
        )

    def _take(self, slot: _Slot, packet: protocol.Packet) -> None:
        if isinstance(packet, protocol.Ready):
            slot.ready.set()
            self._changed.set()
            return
        if isinstance(packet, protocol.Start):
            raise UsageError("a worker does not start recordings")
        recording = slot.recordings.get((packet.recording_id, packet.sequence))
        if recording is not None:
            _HANDLERS[type(packet)](recording, packet, self._on_event)
        if isinstance(packet, protocol.Ended):
            slot.recordings.pop((packet.recording_id, packet.sequence), None)
            self._changed.set()

    def _mourn(self, slot: _Slot, pid: int, reason: str) -> None:
        lived_s = asyncio.get_running_loop().time() - slot.child.started_at
        slot.deaths = 1 if lived_s > _STABLE_S else slot.deaths + 1
        lost = tuple(slot.recordings.values())
        slot.recordings.clear()
        for recording in lost:
            recording.state = RecordingState.LOST
        self._changed.set()
        if self._stopping or not slot.ready.is_set():
            return
        # Before the event: whoever handles it starts the recordings again, and their feeds wait in the new child.
        slot.child = self._new_child(slot)
        self._respawn(slot, _pause_s(slot.deaths))
        self._on_event(WorkerDied(pid, reason, lost))

    def _respawn(self, slot: _Slot, pause_s: float) -> None:
        loop = asyncio.get_running_loop()
        slot.timer = None
        if pause_s:
            slot.timer = loop.call_later(pause_s, self._respawn, slot, 0.0)
            return
        try:
            slot.child.spawn()
        except OSError:  # out of processes or descriptors: that passes
            slot.deaths += 1
            self._respawn(slot, _pause_s(slot.deaths))


def _pause_s(deaths: int) -> float:
    """No pause after the first death, then 0.5 s, 1 s, 2 s, ... 10 s."""
    return 0.0 if deaths <= 1 else min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2.0 ** min(deaths - 2, 10))


_Notify = Callable[[RecordingEvent], None]


def _opened(recording: Recording, packet: protocol.Opened, notify: _Notify) -> None:
    recording.state = RecordingState.RUNNING
    recording.open_paths[packet.file_format] = Path(packet.path)
    notify(RecordingStarted(recording, packet.file_format, Path(packet.path)))


def _written(recording: Recording, packet: protocol.Written, notify: _Notify) -> None:
    recording.feed_bytes = packet.feed_bytes
    recording.queued_bytes = packet.queued_bytes
    notify(RecordingProgress(recording))


def _closed(recording: Recording, packet: protocol.Closed, notify: _Notify) -> None:
    recording.feed_bytes = packet.feed_bytes
    recording.open_paths.pop(packet.file_format, None)
    notify(RecordingClosed(recording, packet.file_format, packet.facts))


def _failed(recording: Recording, packet: protocol.Failed, notify: _Notify) -> None:
    recording.open_paths.pop(packet.file_format, None)
    notify(RecordingFailed(recording, packet.file_format, packet.reason, packet.errno, packet.feed_bytes, packet.facts))


def _ended(recording: Recording, _packet: protocol.Ended, notify: _Notify) -> None:
    recording.state = RecordingState.ENDED
    recording.queued_bytes = 0
    notify(RecordingEnded(recording))


# Any: a table of functions that each take their own packet, which Callable cannot say.
_HANDLERS: dict[type[protocol.Packet], Callable[[Recording, Any, _Notify], None]] = {
    protocol.Opened: _opened,
    protocol.Written: _written,
    protocol.Closed: _closed,
    protocol.Failed: _failed,
    protocol.Ended: _ended,
}
