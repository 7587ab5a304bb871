"""
Server-sent events: each line of the log from level info on, to whoever follows.

A follower has a bounded queue. Who does not read loses events, and is told how many; nobody waits for a follower.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Any, NamedTuple

from aiohttp import web

from rtmpd import logs
from rtmpd.web.problems import HEADERS, Refusal
from rtmpd.web.routes import Asked, EventsQuery

KEPT_EVENTS = 1000
"""For who comes back with Last-Event-ID."""
QUEUED_EVENTS = 256
"""For each follower; more are lost to it."""
HEARTBEAT_S = 15.0
STALLED_S = 60.0
"""A follower that takes nothing for so long is disconnected."""
LONGEST_VALUE = 1024
"""Characters of one value."""
_LOOK_S = 1.0
"""aiohttp does not tell a handler that its client has gone; it is looked for this often."""
_LONGEST_NAME = 64
_MOST_ITEMS = 100
_IDS_A_SECOND = 1 << 20
_ID_DIGITS = 20
"""Of an id that are looked at: Python refuses to convert thousands."""
_INTERNAL = frozenset({"exception", "exc_info", "stack"})
"""Tracebacks are for the log alone."""


class _Event(NamedTuple):
    number: int
    name: str
    stream: str
    encoded: bytes


class _Follower:
    """One client's queue."""

    def __init__(self, query: EventsQuery) -> None:
        self._query = query
        self._queue: deque[bytes] = deque()
        self._lost = 0
        self.changed = asyncio.Event()

    def offer(self, event: _Event) -> None:
        """Queue what is wanted; what comes while the queue is full is lost, so that what is in it stays a run."""
        if not self._wants(event):
            return
        if len(self._queue) < QUEUED_EVENTS:
            self._queue.append(event.encoded)
        else:
            self._lost += 1
        self.changed.set()

    def catch_up(self, kept: Iterable[_Event], missing: int) -> None:
        """Begin with what happened while the client was away, which is not held against its queue."""
        if missing:
            self._queue.append(_lost(missing))
        self._queue.extend(event.encoded for event in kept if self._wants(event))
        self.changed.set()

    def take(self) -> bytes:
        """Everything that is queued, and then what was lost after it."""
        self.changed.clear()
        data = b"".join(self._queue)
        self._queue.clear()
        if self._lost:
            data += _lost(self._lost)
            self._lost = 0
        return data

    def _wants(self, event: _Event) -> bool:
        return self._query.event in {None, event.name} and self._query.stream in {None, event.stream}


def _lost(count: int) -> bytes:
    """Without an id: who comes back asks for what came after the newest that it has."""
    return f"event: lost\ndata: {json.dumps({'count': count})}\n\n".encode()


class Events:
    """What happens, for those who follow."""

    def __init__(self, most_followers: int, clock: Callable[[], float] = time.time) -> None:
        """
        Start to listen to the log; to be called on the loop.

        Args:
            most_followers: clients at once (http.event_streams).
            clock: unix seconds.
        """
        self.most_followers = most_followers
        """May be replaced at any time; those who are there stay."""
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        # Numbers go up over restarts as well, so that an id of an earlier server is known for one.
        self._first = int(clock()) * _IDS_A_SECOND + 1
        self._next = self._first
        self._kept: deque[_Event] = deque(maxlen=KEPT_EVENTS)
        self._followers: set[_Follower] = set()
        self._closed = False
        self._stop_listening = logs.listen(self._hear)

    @property
    def followers(self) -> int:
        """How many there are."""
        return len(self._followers)

    def close(self) -> None:
        """End every follower's answer, after what it has queued."""
        self._stop_listening()
        self._closed = True
        for follower in self._followers:
            follower.changed.set()

    async def follow(self, request: web.Request, asked: Asked) -> web.StreamResponse:
        """
        Answer GET /api/v1/events, for as long as the client stays.

        Args:
            request: may have Last-Event-ID.
            asked: with an EventsQuery.

        Returns:
            The answer, when it has ended.

        Raises:
            Refusal: as many as may follow do.
        """
        if self._closed or len(self._followers) >= self.most_followers:
            raise Refusal(
                HTTPStatus.SERVICE_UNAVAILABLE,
                f"{len(self._followers)} clients follow events already (http.event_streams)",
                headers={"Retry-After": "5"},
            )
        follower = _Follower(asked.query)
        self._catch_up(follower, request.headers.get("Last-Event-ID", ""))
        self._followers.add(follower)
        try:
            response = web.StreamResponse(headers={**HEADERS, "Content-Type": "text/event-stream"})
            await response.prepare(request)
            response.force_close()
            try:
                await self._serve(request, response, follower)
            except TimeoutError:
                if request.transport is not None:
                    request.transport.abort()
            return response
        finally:
            self._followers.discard(follower)

    async def _serve(self, request: web.Request, response: web.StreamResponse, follower: _Follower) -> None:
        beat_s = self._loop.time()
        data = b": hello\n\n"  # at once, so that the client knows that it is heard
        while not _has_gone(request):
            if data:
                async with asyncio.timeout(STALLED_S):
                    await response.write(data)
                beat_s = self._loop.time()
            if self._closed:
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_S):
                    await follower.changed.wait()
            data = follower.take()
            if not data and self._loop.time() - beat_s >= HEARTBEAT_S:
                data = b":\n\n"

    def _catch_up(self, follower: _Follower, last_id: str) -> None:
        if not last_id:
            return
        number = int(last_id[:_ID_DIGITS]) if last_id.isascii() and last_id.isdigit() else 0
        after = number if self._first <= number < self._next else self._first - 1
        kept = [event for event in self._kept if event.number > after]
        oldest = self._kept[0].number if self._kept else self._next
        follower.catch_up(kept, max(oldest - after - 1, 0))

    def _hear(self, line: Mapping[str, Any]) -> None:
        """From any thread; what comes from the loop's own is queued at once, so that the last words are heard."""
        at = self._clock()
        values = {key: _plain(value) for key, value in line.items() if key not in _INTERNAL}
        if threading.get_ident() == self._thread:
            self._publish(at, values)
            return
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody follows any more
            self._loop.call_soon_threadsafe(self._publish, at, values)

    def _publish(self, at: float, values: dict[str, Any]) -> None:
        name = name_of(str(values["event"]))
        data = json.dumps({"at": round(at, 3), **values})
        encoded = f"id: {self._next}\nevent: {name}\ndata: {data}\n\n".encode()
        event = _Event(self._next, name, str(values.get("stream", "")), encoded)
        self._next += 1
        self._kept.append(event)
        for follower in self._followers:
            follower.offer(event)


def name_of(event: str) -> str:
    """
    Make the name of an event.

    Args:
        event: a fixed phrase of the log, "publish started".

    Returns:
        Lower-case letters, digits and hyphens: publish-started.
    """
    return re.sub(r"[^a-z0-9]+", "-", event.lower())[:_LONGEST_NAME].strip("-") or "event"


def _plain(value: object) -> Any:
    """What JSON has, and not without end: what a client sent is in the values."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, int | None):
        return value
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(each) for each in list(value)[:_MOST_ITEMS] if not isinstance(each, list | tuple)]
    return str(value)[:LONGEST_VALUE]


def _has_gone(request: web.Request) -> bool:
    return request.transport is None or request.transport.is_closing()
