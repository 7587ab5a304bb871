"""
Every pull of a server: those that are always on, and those that somebody has asked for.

A pull on demand begins with the first member of its stream. One that is live ends `idle_s` after the last, unless a
recording or a relay reads the stream; one that is not live ends with the last member at once. So two servers that pull
a stream from each other come to rest when their players have given up: neither keeps the other waiting.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

from rtmpd.config import Config
from rtmpd.control.pull_plan import Pull, PullPlan
from rtmpd.control.relay_views import RelayView
from rtmpd.control.rooms import split
from rtmpd.live.stream import Stream
from rtmpd.net.pull_relay import PullRelay, PullState
from rtmpd.net.pull_sources import PullSource
from rtmpd.net.pull_urls import SourceUrl
from rtmpd.net.report import RateReporter
from rtmpd.net.services import Services
from rtmpd.workers.packaging_feed import PackagingSink

MAX_ON_DEMAND = 1024
"""Pulls that players have asked for, at once: each name that one of them makes up costs an origin a connection."""
BRING_S = 10.0
"""How long an operation waits for a stream that is on demand."""
_NOBODY = "nobody plays it any more"


class Sources(Protocol):
    """Makes sources; `rtmpd.net.source_maker`."""

    @property
    def silence_s(self) -> float:
        """How long a source may send no media."""

    def make(self, url: SourceUrl) -> PullSource:
        """Make a source of its URL."""


class _Asking:
    """Wants a stream as a player does, and plays nothing."""

    def stream_started(self, stream: Stream) -> None:
        """Nothing: whoever asks looks at the relay, as the stream may be private."""

    def stream_ended(self, stream: Stream, reason: str) -> None:
        """Nothing: whoever asks has been told enough by then."""


class _Running:
    """A pull that has a relay."""

    def __init__(self, pull: Pull, relay: PullRelay) -> None:
        self.pull = pull
        self.relay = relay
        self.idle: asyncio.TimerHandle | None = None
        """Runs while a pull on demand is live and has no member."""

    def stay(self) -> None:
        if self.idle is not None:
            self.idle.cancel()
            self.idle = None


class Pulls:
    """Begins and ends pull relays; an observer of the registry's demand."""

    def __init__(
        self, config: Config, services: Services, sources: Sources, *, unix_now: Callable[[], float] = time.time
    ) -> None:
        """
        Prepare; follow with `open`.

        Args:
            config: of the server.
            services: of the server.
            sources: makes them.
            unix_now: unix seconds.
        """
        self._services = services
        self._sources = sources
        self._unix_now = unix_now
        self._plan = PullPlan(config)
        self._running: dict[str, _Running] = {}
        self._made_at = unix_now()
        self._idle_since: dict[str, float] = {}
        self._refusals = RateReporter(services.log, services.loop.time)
        self._closing = False

    def open(self) -> None:
        """Begin those that are always on, and listen for demand."""
        self._services.registry.demand_observers.append(self)
        self._begin_due()

    def reload(self, config: Config) -> None:
        """
        Use another configuration from now on.

        What is pulled from elsewhere now ends and begins anew, the rest goes on untouched; `grace_s` and `push` of an
        application hold for what begins later.
        """
        self._plan = PullPlan(config)
        for path, running in self._running.items():
            running.stay()
            pull = self._plan.find(*split(path))
            if pull is None or pull.urls != running.pull.urls:
                running.relay.cancel("what it is pulled from has changed")
                continue
            running.pull = pull
            if not self._has_members(path):
                self._let_go(running)
        self._begin_due()

    async def close(self, reason: str) -> None:
        """
        End all of them, and their streams.

        Args:
            reason: what players are told.
        """
        self._closing = True
        tasks = [running.relay.task for running in self._running.values()]
        for running in self._running.values():
            running.stay()
            running.relay.cancel(reason)
        if tasks:
            await asyncio.wait(tasks)

    def states(self) -> tuple[RelayView, ...]:
        """Every pull that runs or has a table of its own, by the paths of their streams."""
        paths = {*self._running, *self._plan.named}
        return tuple(self._view(path) for path in sorted(paths))

    async def bring(self, app: str, name: str) -> None:
        """
        Have a stream pulled that is on demand, for who needs it and is no player; returns when it is live.

        It stays for as long as it is read, and `idle_s` in any case. A stream that is not pulled on demand, or is not
        live within `BRING_S`, is left as it is.

        Args:
            app: its application.
            name: its name there.
        """
        pull = self._plan.find(app, name)
        if pull is None or pull.idle_s is None:
            return
        asking = _Asking()
        stream = self._services.registry.join(app, name, asking)
        running = self._running.get(stream.path)
        try:
            if running is not None:
                async with asyncio.timeout(BRING_S):
                    await running.relay.live.wait()
        except TimeoutError:
            pass
        finally:
            self._services.registry.leave(stream, asking)

    def stream_wanted(self, stream: Stream) -> None:
        """Keep its pull, or begin one that is on demand."""
        running = self._running.get(stream.path)
        if running is not None:
            running.stay()
        elif self._is_due(stream.path):
            self._begin(stream.path)

    def stream_unwanted(self, stream: Stream) -> None:
        """End its pull if that is on demand: soon if it is live, now if it is not."""
        running = self._running.get(stream.path)
        if running is not None:
            self._let_go(running)

    def _let_go(self, running: _Running) -> None:
        """Act on there being no member."""
        if running.pull.idle_s is None or running.idle is not None:
            return
        if running.relay.status.state is PullState.LIVE or self._is_read(running):
            running.idle = self._services.loop.call_later(running.pull.idle_s, self._end_if_idle, running)
        else:
            running.relay.cancel(_NOBODY)

    def _begin_due(self) -> None:
        """Begin what ought to run and does not."""
        wanted = (stream.path for stream in self._services.registry if stream.members)
        for path in {*self._plan.named, *wanted}:
            if path not in self._running and self._is_due(path):
                self._begin(path)

    def _is_due(self, path: str) -> bool:
        if self._closing:
            return False
        pull = self._plan.find(*split(path))
        if pull is None or pull.idle_s is None:
            return pull is not None
        stream = self._services.registry.find(*split(path))
        # Who publishes it is as good as a source; the players of one that dropped wait for it.
        return stream is not None and bool(stream.members) and stream.publication is None

    def _begin(self, path: str) -> None:
        pull = self._plan.find(*split(path))
        assert pull is not None
        if pull.idle_s is not None and not self._has_room(pull):
            return
        relay = PullRelay(
            self._services,
            pull.target,
            [self._sources.make(url) for url in pull.urls],
            self._sources.silence_s,
            lambda: self._running[path].pull.idle_s is None or self._has_members(path),
        )
        running = self._running[path] = _Running(pull, relay)
        relay.task.add_done_callback(lambda task: self._ended(path, running, task))

    def _has_room(self, pull: Pull) -> bool:
        app = pull.target.app
        others = [each.pull for each in self._running.values() if each.pull.idle_s is not None]
        most = self._plan.most_streams(app)
        if len(others) < MAX_ON_DEMAND and (not most or sum(each.target.app == app for each in others) < most):
            return True
        self._refusals.warn("pull refused", stream=pull.target.path, reason="too many streams are pulled on demand")
        return False

    def _has_members(self, path: str) -> bool:
        stream = self._services.registry.find(*split(path))
        return stream is not None and bool(stream.members)

    def _is_read(self, running: _Running) -> bool:
        """
        Whether a recording or a push relay reads its stream.

        Packaging does not count: who watches what is packaged is a member of the stream, and without one it would keep
        for ever what nobody asks for any more, where `apps.NAME.packaging` is "always".
        """
        target = running.pull.target
        stream = self._services.registry.find(target.app, target.name)
        cursors = () if stream is None else (cursor for log in stream.logs for cursor in log.cursors)
        return any(not isinstance(cursor, PackagingSink) for cursor in cursors)

    def _end_if_idle(self, running: _Running) -> None:
        """End it, unless somebody else than a player reads its stream: then look again later."""
        assert running.pull.idle_s is not None
        if self._is_read(running):
            running.idle = self._services.loop.call_later(running.pull.idle_s, self._end_if_idle, running)
            return
        running.idle = None
        self._services.log.info("pull idle", stream=running.pull.target.path, source=running.relay.status.source)
        running.relay.cancel(_NOBODY)

    def _ended(self, path: str, running: _Running, task: asyncio.Task[None]) -> None:
        running.stay()
        del self._running[path]
        if path in self._plan.named:
            self._idle_since[path] = self._unix_now()
        failed = not task.cancelled() and task.exception() is not None
        # Somebody may have asked for it meanwhile. A bug of ours would be met again at once, so that waits for the next.
        if not failed and self._is_due(path):
            self._begin(path)

    def _view(self, path: str) -> RelayView:
        running = self._running.get(path)
        if running is None:
            since = self._idle_since.get(path, self._made_at)
            return RelayView("pull", path, "", "idle", "", since, attempts=0, bytes=0, target_id=None)
        status = running.relay.status
        return RelayView(
            kind="pull",
            stream=path,
            url_shown=status.source,
            state=status.state.value,
            reason=status.reason,
            since=self._unix_now() - (self._services.loop.time() - status.since_s),
            attempts=status.attempts,
            bytes=status.bytes_in,
            target_id=None,
        )
