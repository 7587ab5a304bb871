"""
Push relays: each published stream goes where it is wanted, for as long as it is, and what a target does touches nothing else.

Rule: for every stream that lives there is what is wanted (the targets of a push that is on, and those that the application
has for streams that can be watched) and what runs; `_settle` makes the second like the first. Whatever changes either of
them has it look at the stream once the change is complete. Nothing is polled.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping

from rtmpd.config import AppConfig
from rtmpd.control.push_book import name_of
from rtmpd.control.pushes import Pushes
from rtmpd.control.relay_targets import RelayTarget, changes, wanted_targets
from rtmpd.control.relay_views import RelayView
from rtmpd.control.relayed import Relayed, RelayTools
from rtmpd.control.rooms import Named
from rtmpd.control.targets import TargetState
from rtmpd.live.stream import Stream, StreamState
from rtmpd.store.pushes import TargetRow

_UNWANTED = "it is no target of the stream any more"


class Relays:
    """Every push relay; follows streams as an observer of the registry, after the pushes, and each change of a push."""

    def __init__(self, tools: RelayTools, pushes: Pushes, apps: Mapping[str, AppConfig]) -> None:
        """
        Prepare.

        Args:
            tools: to relay with.
            pushes: of the server.
            apps: configuration by application.
        """
        self._tools = tools
        self._pushes = pushes
        self._apps = apps
        self._running: dict[Named, dict[str, Relayed]] = {}
        self._leaving: set[Relayed] = set()
        self._unsettled: set[Named] = set()
        self._is_closed = False
        pushes.follow(self.look_at)

    def reload(self, apps: Mapping[str, AppConfig]) -> None:
        """
        Use another configuration from now on.

        Args:
            apps: configuration by application.
        """
        self._apps = apps
        for stream in self._tools.services.registry:
            self.look_at(Named(stream.app, stream.name))

    def look_at(self, stream: Named) -> None:
        """
        Relay a stream where it is wanted, as soon as all that is being changed is as it should be.

        Args:
            stream: its name.
        """
        if not self._unsettled:
            self._tools.services.loop.call_soon(self._settle_all)
        self._unsettled.add(stream)

    def stream_published(self, stream: Stream) -> None:
        """Begin to relay it, or go on."""
        self.look_at(Named(stream.app, stream.name))

    def stream_ended(self, stream: Stream, reason: str) -> None:
        """End its relays, now: the next life of the stream is none of theirs."""
        for relayed in self._running.pop(Named(stream.app, stream.name), {}).values():
            self._see_off(relayed, reason)

    def state_of(self, target: TargetRow) -> TargetState:
        """Say what became of a target of a push."""
        kept = self._pushes.find(target.channel_id)
        if kept is None or kept.push.waiting_since is not None:
            return TargetState("stopped", "nobody publishes the stream")
        relayed = self._running.get(name_of(kept), {}).get(target.url)
        return TargetState("connecting", "") if relayed is None else relayed.state

    def views(self) -> Iterator[RelayView]:
        """Show every relay of a stream that lives."""
        for relays in self._running.values():
            for relayed in relays.values():
                yield relayed.view()

    async def close(self, timeout_s: float) -> None:
        """
        End every relay; after all streams have ended.

        Args:
            timeout_s: for targets to take the rest.
        """
        self._is_closed = True
        for name in list(self._running):
            for relayed in self._running.pop(name).values():
                self._see_off(relayed, "server stops")
        leaving = [asyncio.ensure_future(each.gone()) for each in self._leaving]
        if leaving:
            await asyncio.wait(leaving, timeout=timeout_s)
            for each in leaving:
                each.cancel()
            await asyncio.gather(*leaving, *(each.close() for each in self._leaving), return_exceptions=True)

    def _settle_all(self) -> None:
        names, self._unsettled = self._unsettled, set()
        for name in names:
            self._settle(name)

    def _settle(self, name: Named) -> None:
        """Make what runs of a stream what is wanted of it."""
        stream = self._tools.services.registry.find(*name)
        if stream is None or stream.state is StreamState.IDLE or self._is_closed:
            return  # its relays have ended with it
        running = self._running.setdefault(name, {})
        wanted = self._wanted(stream, name)
        begin, end = changes(wanted, running)
        for url in end:
            self._see_off(running.pop(url), _UNWANTED)
        for url, relayed in running.items():
            relayed.target = wanted[url]
        for target in begin:
            running[target.url] = Relayed(stream, target, self._tools)

    def _wanted(self, stream: Stream, name: Named) -> dict[str, RelayTarget]:
        kept = self._pushes.of(name)
        app = self._apps.get(stream.app)
        return wanted_targets(
            name,
            kept.targets if kept is not None and kept.push.waiting_since is None else (),
            app.push_targets if app is not None and stream.is_watchable else (),
        )

    def _see_off(self, relayed: Relayed, reason: str) -> None:
        relayed.end(reason)
        if not relayed.is_over:
            self._leaving.add(relayed)
            self._tools.services.tasks.supervise(self._until_gone(relayed), "relay leaves")

    async def _until_gone(self, relayed: Relayed) -> None:
        try:
            await relayed.gone()
        finally:
            self._leaving.discard(relayed)
