"""
The packager: the one process that makes fragmented MP4 of every stream that wants it, as the event loop sees it.

It is another process than those that record, so that a stream that makes FFmpeg crash costs no recording. It is started
with the first feed and kept; a dead one is replaced at once, then, if it keeps dying, after growing pauses. Feeds that are
opened meanwhile wait for the next one.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
from collections.abc import Callable

from rtmpd.errors import UsageError
from rtmpd.logs import Logger
from rtmpd.workers import protocol
from rtmpd.workers.child import WorkerChild
from rtmpd.workers.marker import Marker
from rtmpd.workers.supervisor import FEED_BUFFER_BYTES, STABLE_S, pause_after_s

PACKAGER_MODULE = "rtmpd.workers.packager_process"
SILENT_TICKS = 20
"""It says every other second how it is. Counted, not timed: when the server was stopped the packager is not to blame."""


class Packager:
    """The packager's process, over its deaths."""

    def __init__(
        self, on_death: Callable[[str], None], *, part_ms: int, log: Logger, module: str = PACKAGER_MODULE
    ) -> None:
        """
        Prepare; the process is started with the first feed.

        Args:
            on_death: called when every feed is lost, with the name of the one that the process had in hand, empty if
                there was none; feeds that are opened from then on go to the next process.
            part_ms: length of parts.
            log: for its deaths.
            module: what the process runs.
        """
        self._on_death = on_death
        self._part_ms = part_ms
        self._log = log
        self._module = module
        self._loop = asyncio.get_running_loop()
        self._child: WorkerChild | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._numbers = itertools.count(1)
        self._in_a_row = 0
        self._silent_ticks = 0
        self._marker: Marker | None = None
        self._names: dict[int, str] = {}
        """Of the feeds of this process."""
        self._ended = asyncio.Event()
        self._stopping = False
        self.deaths = 0
        """In all."""
        self.health = protocol.Health(0, 0)
        """The last that it said of its memory."""

    @property
    def pid(self) -> int | None:
        """The process; None before the first feed and while it waits for its replacement."""
        return None if self._child is None else self._child.pid

    def open_feed(self, name: str) -> socket.socket:
        """
        Have one stream packaged.

        Args:
            name: of the stream, in case that the process dies of it.

        Returns:
            Our end of the feed, non-blocking, the caller's to close: it takes FLV and gives records
            (`rtmpd.workers.fragment_feed`). When no more comes of either it is at its end.

        Raises:
            UsageError: after `stop`.
            OSError: no more descriptors.
        """
        if self._stopping:
            raise UsageError("nothing is packaged after stop() of the packager")
        if self._marker is None:
            self._marker = Marker()
        ours, theirs = socket.socketpair()
        try:
            marker = os.dup(self._marker.descriptor)
        except OSError:
            ours.close()
            theirs.close()
            raise
        ours.setblocking(False)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, FEED_BUFFER_BYTES)
        if self._child is None:
            self._child = self._new_child()
            self._spawn()
        number = next(self._numbers)
        self._names[number] = name
        self._child.send(protocol.Package(number, self._part_ms), [theirs.detach(), marker])
        return ours

    def tick(self) -> None:
        """Kill a process that hangs, as all streams do with it; to be called about once a second."""
        child = self._child
        if child is None or child.pid is None:
            return
        self._silent_ticks += 1
        if self._silent_ticks == SILENT_TICKS:
            self._log.error("packager hangs", pid=child.pid, silent_s=SILENT_TICKS)
            child.kill()

    async def stop(self, timeout_s: float) -> None:
        """
        End the process; one that does not end by itself is killed.

        Args:
            timeout_s: how long it may take to end.
        """
        self._stopping = True
        if self._timer is not None:
            self._timer.cancel()
        child = self._child
        if child is None:
            self._let_go_of_marker()
            return
        child.hang_up()
        try:
            if child.pid is not None:
                async with asyncio.timeout(timeout_s):
                    await self._ended.wait()
        except TimeoutError:
            self._log.warning("packager killed", reason=f"it did not end within {timeout_s:g} s")
        finally:
            child.release()
            self._let_go_of_marker()

    def _let_go_of_marker(self) -> None:
        if self._marker is not None:
            self._marker.close()
            self._marker = None

    def _new_child(self) -> WorkerChild:
        return WorkerChild(self._take, self._mourn, module=self._module)

    def _spawn(self) -> None:
        assert self._child is not None
        self._timer = None
        self._silent_ticks = 0
        try:
            self._child.spawn()
        except OSError as error:  # out of processes or descriptors: that passes
            self._in_a_row += 1
            again_s = max(pause_after_s(self._in_a_row), pause_after_s(2))
            self._log.error("packager not started", reason=str(error), again_s=again_s)
            self._timer = self._loop.call_later(again_s, self._spawn)

    def _take(self, packet: protocol.Packet) -> None:
        self._silent_ticks = 0
        match packet:
            case protocol.Health():
                self.health = packet
            case protocol.Packaged():  # the end of its feed says the same, behind the last record
                self._names.pop(packet.packaging_id, None)
            case protocol.Ready():
                pass
            case _:
                raise UsageError(f"no word of a packager: {packet}")

    def _mourn(self, pid: int, reason: str) -> None:
        self.health = protocol.Health(0, 0)
        if self._stopping:
            self._ended.set()
            return
        assert self._child is not None
        lived_s = self._loop.time() - self._child.started_at
        self._in_a_row = 1 if lived_s > STABLE_S else self._in_a_row + 1
        self.deaths += 1
        again_s = pause_after_s(self._in_a_row)
        name = self._in_hand()
        figures = {"lived_s": round(lived_s, 1), "again_s": again_s}
        self._log.error("packager died", pid=pid, reason=reason, stream=name or None, **figures)
        # Before the others are told: the feeds that they open wait in the new one.
        self._child = self._new_child()
        self._timer = self._loop.call_later(again_s, self._spawn)
        self._on_death(name)

    def _in_hand(self) -> str:
        """Say which feed the process died with, and forget all of them."""
        marker, names = self._marker, self._names
        self._names = {}
        if marker is None:
            return ""
        number, marker.packaging_id = marker.packaging_id, 0
        return names.get(number, "")
