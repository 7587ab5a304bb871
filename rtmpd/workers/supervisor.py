"""
The media workers as the server uses them: start a recording, hear what became of it.

Everything runs in the event loop's callbacks; `start` and `stop` alone are awaited. A dead worker is replaced at once,
then, if it keeps dying, after growing pauses; meanwhile `start_feed` goes on working, as feeds hold what comes.
Neither muxers nor av are imported here: they belong to the workers.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rtmpd.errors import Overloaded, StartError, UsageError
from rtmpd.workers import protocol
from rtmpd.workers.child import WorkerChild
from rtmpd.workers.feeds import (
    Feed,
    FeedEnded,
    FeedEvent,
    FeedProgress,
    FeedRequest,
    FeedState,
    FileClosed,
    FileFailed,
    FileOpened,
    WorkerDied,
)

FEED_BUFFER_BYTES = 1024 * 1024
"""Asked of the kernel for each feed, so that a batch of the fan-out goes out in one piece; it may grant less."""

_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 10.0
STABLE_S = 60.0
"""A worker that lived so long is replaced at once again."""
FEED_MEMORY_BYTES = 2 * 1024 * 1024
"""Counted for each feed: its thread, the frames on their way, one read."""


class _Slot:
    """The place of one worker, kept over its deaths."""

    def __init__(self, index: int) -> None:
        self.index = index
        self.child: WorkerChild
        self.deaths = 0
        self.ready = asyncio.Event()
        self.timer: asyncio.TimerHandle | None = None
        self.feeds: dict[tuple[str, int], Feed] = {}
        self.health = protocol.Health(0, 0)

    @property
    def memory_bytes(self) -> int:
        """What its feeds may come to need, their queues not counted."""
        return sum(FEED_MEMORY_BYTES + feed.request.memory_bytes for feed in self.feeds.values())


class Supervisor:
    """Runs the media workers and the recordings in them."""

    def __init__(
        self,
        on_event: Callable[[FeedEvent], None],
        *,
        worker_count: int = 1,
        queue_bytes: int = protocol.QUEUE_BYTES,
        memory_bytes: int = protocol.MEMORY_BYTES,
        report_interval_s: float = protocol.REPORT_INTERVAL_S,
    ) -> None:
        """
        Prepare; nothing runs before `start`.

        Args:
            on_event: called in the event loop, in the order of each feed's events.
            worker_count: processes that the feeds are spread over.
            queue_bytes: what a worker may keep of one feed while its disk is slow; then the feed fills up.
            memory_bytes: a worker's, for its feeds, and once more for all their queues.
            report_interval_s: the least time in seconds between two FeedProgress of one feed.
        """
        self._on_event = on_event
        self._worker_count = worker_count
        self._memory_bytes = memory_bytes
        options = {"queue-bytes": queue_bytes, "memory-bytes": memory_bytes, "report-interval-s": report_interval_s}
        self._arguments = [text for name, value in options.items() for text in (f"--{name}", str(value))]
        self._slots: list[_Slot] = []
        self._stopping = False
        self._changed = asyncio.Event()
        self.deaths = 0
        """Of workers, so far."""

    @property
    def feeds(self) -> tuple[Feed, ...]:
        """Every feed whose files are not all finished yet."""
        return tuple(feed for slot in self._slots for feed in slot.feeds.values())

    @property
    def health(self) -> tuple[protocol.Health, ...]:
        """The last that each worker said of its memory."""
        return tuple(slot.health for slot in self._slots)

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

    def start_feed(self, request: FeedRequest) -> Feed:
        """
        Begin to record.

        Args:
            request: what to record; the pair of recording id and sequence must be new.

        Returns:
            The feed. Its `socket` is the caller's, to be written to and, at the end of what is to be recorded, closed.

        Raises:
            UsageError: before `start`, after `stop`, or for a request that cannot be.
            Overloaded: the workers' memory is spoken for.
            OSError: no more descriptors.
        """
        slot = self._slot_for(request)
        ours, theirs = socket.socketpair()
        try:
            ours.setblocking(False)
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, FEED_BUFFER_BYTES)
            packet = protocol.Start(request.recording_id, request.sequence, request.outputs)
            slot.child.send(packet, [theirs.detach()])
        except BaseException:
            ours.close()
            theirs.close()
            raise
        feed = Feed(request, ours, slot.index)
        slot.feeds[feed.key] = feed
        return feed

    def grant(self, feed: Feed, file_format: str, grant: protocol.Grant) -> None:
        """
        Let a feed open another file, when it needs one; harmless after the feed's end.

        Args:
            feed: from `start_feed`.
            file_format: one of its formats.
            grant: the file, which is in the index.
        """
        slot = self._slots[feed.worker]
        if feed.active and slot.feeds.get(feed.key) is feed:
            slot.child.send(protocol.MayOpen(*feed.key, file_format, grant))

    async def stop(self, timeout_s: float) -> tuple[Feed, ...]:
        """
        Finish every feed and end the workers. Those that are still open are closed first.

        Args:
            timeout_s: how long files may take to be finished; then the workers are killed.

        Returns:
            The feeds that did not finish in time, or lost their worker meanwhile. Their files open as they are.
        """
        self._stopping = True
        unfinished = self.feeds
        try:
            for feed in unfinished:
                feed.finish()
            for slot in self._slots:
                if slot.timer is not None:
                    slot.timer.cancel()
                    self._respawn(slot, 0.0)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    await self._until(lambda: not self.feeds)
                    for slot in self._slots:
                        slot.child.hang_up()
                    await self._until(lambda: all(slot.child.pid is None for slot in self._slots))
        finally:
            left = self.feeds
            self._release()
        return tuple(feed for feed in unfinished if feed in left or feed.state is FeedState.LOST)

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
            for feed in slot.feeds.values():
                feed.state = FeedState.LOST
                feed.finish()
            slot.feeds.clear()

    def _slot_for(self, request: FeedRequest) -> _Slot:
        key = (request.recording_id, request.sequence)
        formats = [output.file_format for output in request.outputs]
        if self._stopping or not self._slots:
            raise UsageError("feeds are started between start() and stop() of the supervisor")
        if any(key in slot.feeds for slot in self._slots):
            raise UsageError(f"feed {key} is running already")
        if not formats or len(set(formats)) < len(formats):
            raise UsageError(f"feed {key} needs one output for each of its formats, not {formats}")
        if not all(Path(grant.path).is_absolute() for output in request.outputs for grant in output.grants):
            raise UsageError(f"feed {key} has a path that is not absolute")
        slot = min(self._slots, key=lambda slot: slot.memory_bytes)
        if slot.memory_bytes + FEED_MEMORY_BYTES + request.memory_bytes > self._memory_bytes:
            count = len(self.feeds)
            raise Overloaded(f"{count} recordings have taken up the media workers' memory (workers.memory_bytes)")
        return slot

    def _new_child(self, slot: _Slot) -> WorkerChild:
        return WorkerChild(
            lambda packet: self._take(slot, packet),
            lambda pid, reason: self._mourn(slot, pid, reason),
            self._arguments,
        )

    def _take(self, slot: _Slot, packet: protocol.Packet) -> None:
        match packet:
            case protocol.Ready():
                slot.ready.set()
                self._changed.set()
            case protocol.Health():
                slot.health = packet
            case protocol.Opened() | protocol.Written() | protocol.Closed() | protocol.Failed() | protocol.Ended():
                self._hear(slot, packet)
            case _:
                raise UsageError(f"no word of a recording worker: {packet}")

    def _hear(self, slot: _Slot, packet: protocol.OfRecording) -> None:
        key = (packet.recording_id, packet.sequence)
        feed = slot.feeds.get(key)
        if feed is not None:
            _HANDLERS[type(packet)](feed, packet, self._on_event)
        if isinstance(packet, protocol.Ended):
            slot.feeds.pop(key, None)
            self._changed.set()

    def _mourn(self, slot: _Slot, pid: int, reason: str) -> None:
        lived_s = asyncio.get_running_loop().time() - slot.child.started_at
        slot.deaths = 1 if lived_s > STABLE_S else slot.deaths + 1
        self.deaths += 1
        lost = tuple(slot.feeds.values())
        slot.feeds.clear()
        slot.health = protocol.Health(0, 0)
        for feed in lost:
            feed.state = FeedState.LOST
        self._changed.set()
        if self._stopping or not slot.ready.is_set():
            return
        # Before the event: whoever handles it starts the feeds again, and their feeds wait in the new child.
        slot.child = self._new_child(slot)
        self._respawn(slot, pause_after_s(slot.deaths))
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
            self._respawn(slot, pause_after_s(slot.deaths))


def pause_after_s(deaths: int) -> float:
    """No pause after the first death, then 0.5 s, 1 s, 2 s, ... 10 s."""
    return 0.0 if deaths <= 1 else min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2.0 ** min(deaths - 2, 10))


_Notify = Callable[[FeedEvent], None]


def _opened(feed: Feed, packet: protocol.Opened, notify: _Notify) -> None:
    feed.state = FeedState.RUNNING
    feed.open_files[packet.file_format] = packet.file_id
    notify(FileOpened(feed, packet.file_format, packet.file_id))


def _written(feed: Feed, packet: protocol.Written, notify: _Notify) -> None:
    feed.feed_bytes = packet.feed_bytes
    feed.queued_bytes = packet.queued_bytes
    notify(FeedProgress(feed))


def _closed(feed: Feed, packet: protocol.Closed, notify: _Notify) -> None:
    _forget(feed, packet)
    notify(FileClosed(feed, packet.file_format, packet.file_id, packet.facts))


def _failed(feed: Feed, packet: protocol.Failed, notify: _Notify) -> None:
    _forget(feed, packet)
    notify(FileFailed(feed, packet.file_format, packet.file_id, packet.reason, packet.errno, packet.facts))


def _ended(feed: Feed, _packet: protocol.Ended, notify: _Notify) -> None:
    feed.state = FeedState.ENDED
    feed.queued_bytes = 0
    notify(FeedEnded(feed))


def _forget(feed: Feed, packet: protocol.Closed | protocol.Failed) -> None:
    # After a cut the file that is closed is not the newest any more.
    if feed.open_files.get(packet.file_format) == packet.file_id:
        del feed.open_files[packet.file_format]


# Any: a table of functions that each take their own packet, which Callable cannot say.
_HANDLERS: dict[type[protocol.OfRecording], Callable[[Feed, Any, _Notify], None]] = {
    protocol.Opened: _opened,
    protocol.Written: _written,
    protocol.Closed: _closed,
    protocol.Failed: _failed,
    protocol.Ended: _ended,
}
