"""
The fan-out: one pass writes what is new in every log to every consumer.

**Adaptive batching, for the whole loop.** A message marks its log; one pass serves all marked logs, and the next pass
begins `min(max_delay, cost of the last / share)` after the end of the last one. With few players that is at once,
with thousands every 100 ms: latency is spent only where it buys fewer, larger writes. A pass runs in slices of
`slice_s` and yields between them, so that no publisher waits for ten thousand players.

The inner loop is the hottest of the server: one `send` for a player and a batch, and one memoryview for all players
at the same position. It keeps no statistics and makes no calls but `send`; everything rare is in `serve`, and what is
measured is measured once a pass.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

from rtmpd.live.log import Log
from rtmpd.net.distribution import Distribution
from rtmpd.net.poller import Poller
from rtmpd.net.sink import NO_DESCRIPTOR, NOBODY, Sink

_CLOCK_EVERY = 64
"""Sinks between two looks at the clock: 64 sends take about 0.5 ms."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How the fan-out spends latency."""

    share: float = 0.25
    """Part of one core that passes may use before they are made rarer."""
    max_delay_s: float = 0.1
    slice_s: float = 0.005


class FanOut:
    """Writes logs to sinks."""

    def __init__(self, loop: asyncio.AbstractEventLoop, poller: Poller, pace: Pace) -> None:
        """
        Start with nothing to do.

        Args:
            loop: the running loop.
            poller: is asked to watch sockets that are full.
            pace: when passes happen.
        """
        self._loop = loop
        self._poller = poller
        self._pace = pace
        self._marked: set[Log] = set()
        self._pass: list[Log] = []
        self._index = -1
        self._scheduled = False
        self._pass_cost_s = 0.0
        self._next_pass_s = 0.0
        self._blocked: set[Sink] = set()
        self._marked_s = self._pass_marked_s = 0.0
        self.passes = Distribution()
        """What passes cost."""
        self.delays = Distribution()
        """How long the oldest message of each pass waited until everybody had been written to."""

    def mark(self, logs: Iterable[Log]) -> None:
        """Say that logs have grown."""
        is_first = not self._marked
        for log in logs:
            if log.cursors:
                self._marked.add(log)
            else:
                log.trim_if_due(self._loop.time())
        if is_first and self._marked:
            self._marked_s = self._loop.time()
            if not self._scheduled:
                self._scheduled = True
                self._schedule()

    def serve(self, sink: Sink) -> None:
        """Write to one sink until it has everything or its socket is full; a failure is told to its owner."""
        try:
            self._drain(sink)
        except OSError as error:
            self._lose(sink, _reason(error))

    def forget(self, sink: Sink) -> None:
        """Stop serving a sink whose socket is about to be closed."""
        sink.detach()
        sink.owner = NOBODY
        self._blocked.discard(sink)

    def cut_off_stalled(self, now: float) -> None:
        """Give up the sinks whose full sockets have taken nothing for longer than their patience."""
        for sink in list(self._blocked):
            if sink.overdrawn:
                self._lose(sink, "too slow: control messages pile up")
            elif now - sink.progressed_s > sink.patience_s:
                progressed_s = sink.progressed_s
                if self._has_room(sink):
                    self.serve(sink)
                if sink in self._blocked and sink.progressed_s == progressed_s:
                    self._lose(sink, f"too slow: nothing taken for {sink.patience_s:g} s")

    def _has_room(self, sink: Sink) -> bool:
        """
        Ask about a sink whose time is over: where the loop itself stood still, the poller's news of it may not have come yet.

        Trying to write instead of asking lost: the kernel takes a few bytes of a socket whose peer has taken nothing, so a
        target that never reads was given its patience again and again.
        """
        return sink.descriptor != NO_DESCRIPTOR and self._poller.is_writable(sink.descriptor)

    def _schedule(self) -> None:
        delay = self._next_pass_s - self._loop.time()
        if delay <= 0:
            self._loop.call_soon(self._begin_pass)
        else:
            self._loop.call_later(delay, self._begin_pass)

    def _begin_pass(self) -> None:
        self._pass = list(self._marked)
        self._marked.clear()
        self._pass_marked_s = self._marked_s
        self._pass_cost_s = 0.0
        self._index = len(self._pass[-1].cursors) - 1
        self._run_slice()

    def _run_slice(self) -> None:
        clock = self._loop.time
        began = clock()
        limit = began + self._pace.slice_s
        now = began
        while self._pass:
            log = self._pass[-1]
            # Backwards, because a sink that leaves is replaced by the last one, which has then been served already.
            index = min(self._index, len(log.cursors) - 1)
            while index >= 0:
                after = max(index - _CLOCK_EVERY, -1)
                self._write(log, index, after, now)
                index = min(after, len(log.cursors) - 1)
                now = clock()
                if now > limit:
                    self._index = index
                    self._pass_cost_s += now - began
                    self._loop.call_soon(self._run_slice)
                    return
            log.trim_if_due(now)
            self._pass.pop()
            self._index = len(self._pass[-1].cursors) - 1 if self._pass else -1
        self._end_pass(self._pass_cost_s + now - began, now)

    def _end_pass(self, cost_s: float, now: float) -> None:
        self.passes.add(cost_s)
        self.delays.add(now - self._pass_marked_s)
        self._next_pass_s = now + min(self._pace.max_delay_s, cost_s / self._pace.share)
        self._scheduled = bool(self._marked)
        if self._scheduled:
            self._schedule()

    def _write(self, log: Log, first: int, after: int, now: float) -> None:  # noqa: C901 - one piece: a call for each player would cost more than the loop
        """Serve `log.cursors[first]` down to, not including, `after`: the loop that everything else makes room for."""
        sinks = cast("list[Sink]", log.cursors)
        start = log.start
        end = log.end
        position_of_view = size = -2
        view = memoryview(b"")
        unusual: list[Sink] = []
        failed: list[tuple[Sink, str]] = []
        for index in range(first, after, -1):
            sink = sinks[index]
            position = sink.position
            if position == end:
                continue
            if sink.aside:
                if not sink.blocked:
                    unusual.append(sink)
                continue
            if position != position_of_view:
                if position < start:
                    unusual.append(sink)
                    continue
                position_of_view = position
                view = log.view(position)
                size = len(view)
            try:
                sent = sink.send(view)
            except BlockingIOError:
                sent = 0
            except OSError as error:
                failed.append((sink, _reason(error)))
                continue
            sink.position = position + sent
            if sent < size:
                self._block(sink, now)
            elif position + size < end:
                unusual.append(sink)
        # Only now: whoever is served or lost here may leave the list that the loop walked over.
        for sink in unusual:
            self.serve(sink)
        for sink, reason in failed:
            self._lose(sink, reason)

    def _drain(self, sink: Sink) -> None:
        progressed = False
        while True:
            if sink.fell_out and not sink.may_jump:
                self._lose(sink, "too slow: fell out of the log")
                return
            data = sink.next_bytes()
            if data is None:
                break
            size = len(data)
            try:
                sent = sink.send(data)
            except BlockingIOError:
                sent = 0
            sink.advance(sent)
            progressed = progressed or sent > 0
            if sent < size:
                self._block(sink, self._loop.time(), progressed=progressed)
                return
        if sink.settle is not None and not sink.settle():
            self._block(sink, self._loop.time(), progressed=progressed)
            return
        self._unblock(sink)
        if sink.ending:
            sink.ending = False
            sink.owner.on_drained()

    def _block(self, sink: Sink, now: float, *, progressed: bool = True) -> None:
        if progressed or not sink.blocked:
            sink.progressed_s = now
        if not sink.blocked:
            sink.blocked = sink.aside = True
            self._blocked.add(sink)
            self._watch(sink, writable=True)

    def _unblock(self, sink: Sink) -> None:
        if sink.blocked:
            sink.blocked = False
            sink.aside = sink.settle is not None
            self._blocked.discard(sink)
            self._watch(sink, writable=False)

    def _watch(self, sink: Sink, *, writable: bool) -> None:
        if sink.descriptor != NO_DESCRIPTOR:
            self._poller.watch(sink.descriptor, sink.owner, writable=writable)

    def _lose(self, sink: Sink, reason: str) -> None:
        owner = sink.owner
        self.forget(sink)
        owner.on_lost(reason)


def _reason(error: OSError) -> str:
    return error.strerror or type(error).__name__
