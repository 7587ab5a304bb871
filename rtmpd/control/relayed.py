"""One target of one stream while that lives: its relay, what is told of it, and how it is seen off."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple

from rtmpd.control import model_types
from rtmpd.control.push_events import RelayChange, RelayEvent
from rtmpd.control.relay_news import RelayNews, news_in
from rtmpd.control.relay_targets import RelayTarget
from rtmpd.control.relay_views import RelayView
from rtmpd.control.targets import TargetState, masked
from rtmpd.live.stream import Stream
from rtmpd.net.push_relay import Dialler, PushRelay, RelayState, RelayStatus
from rtmpd.net.services import Services
from rtmpd.session.limits import ClientLimits
from rtmpd.session.urls import RtmpUrl
from rtmpd.store.publications import PublicationRow

LEAVE_S = 5.0
"""How long a target may take for what it has not read yet when its relay ends."""

_STATES: dict[RelayState, model_types.RelayState] = {
    RelayState.CONNECTING: "connecting",
    RelayState.LIVE: "live",
    RelayState.BACKING_OFF: "backing_off",
    RelayState.ENDED: "stopped",
}


class RelayTools(NamedTuple):
    """What all relays work with."""

    services: Services
    dialler: Dialler
    limits: ClientLimits
    news: RelayNews
    clock: Callable[[], float]
    """Unix seconds."""


class Relayed:
    """A target that a stream is relayed to; one whose URL cannot be used says so, and does nothing."""

    def __init__(self, stream: Stream, target: RelayTarget, tools: RelayTools) -> None:
        """
        Begin to connect.

        Args:
            stream: that is published; `end` before its life does.
            target: where to.
            tools: to do it with.
        """
        self.target = target
        """May be replaced by one of the same URL."""
        self._tools = tools
        self._path = stream.path
        self._url_shown = masked(target.url)
        self._source: Stream | None = stream
        self._row: PublicationRow | None = None
        self._told: RelayEvent | None = None
        self._attempts = 0
        self._fault = ""
        self._began = tools.clock()
        self._over = asyncio.Event()
        self._relay = self._begin(stream)

    def _begin(self, stream: Stream) -> PushRelay | None:
        tools = self._tools
        try:
            url = RtmpUrl.parse(self.target.url)
        except ValueError as error:
            self._fault = f"the URL {error}"
            self._over.set()
            tools.news.give_up(self._path, self._change("relay_stopped", self._fault))
            return None
        return PushRelay(tools.services, stream, url, tools.dialler, tools.limits, self._changed)

    @property
    def state(self) -> TargetState:
        """What it does, and why."""
        if self._relay is None:
            return TargetState("stopped", self._fault)
        return _state(self._relay.status)

    @property
    def is_over(self) -> bool:
        """Whether nothing of it is left."""
        return self._over.is_set()

    def view(self) -> RelayView:
        """Show it."""
        status = None if self._relay is None else self._relay.status
        now = self._tools.clock()
        elapsed_s = 0.0 if status is None else self._tools.services.loop.time() - status.since_s
        state, reason = self.state
        return RelayView(
            kind="push",
            stream=self._path,
            url_shown=self._url_shown,
            state=state,
            reason=reason,
            since=self._began if status is None else now - elapsed_s,
            attempts=self._attempts,
            bytes=0 if status is None else status.bytes_out,
            target_id=self.target.target_id,
            lag_ms=0 if status is None else status.lag_ms,
            skipped_ms=0 if status is None else status.skipped_ms,
        )

    def end(self, reason: str) -> None:
        """
        End it: a live target gets what it has not read yet, and is told; follow with `gone`.

        Args:
            reason: for people.
        """
        self._look_up_row()
        self._source = None
        if self._relay is not None:
            self._relay.finish(reason)

    async def gone(self) -> None:
        """Wait until nothing of it is left; what is not read by then is lost."""
        try:
            async with asyncio.timeout(LEAVE_S):
                await self._over.wait()
        except TimeoutError:
            await self.close()

    async def close(self) -> None:
        """End it at once."""
        if self._relay is not None:
            await self._relay.close()

    def _changed(self, status: RelayStatus) -> None:
        if status.state is RelayState.CONNECTING:
            self._attempts += 1
        if status.state is RelayState.ENDED:
            self._over.set()
        event = news_in(status.state, self._told)
        if event is not None:
            self._told = event
            self._look_up_row()
            self._tools.news.tell(self._path, self._change(event, _state(status).reason), status, self._row)

    def _look_up_row(self) -> None:
        """Keep in mind who publishes: in the grace time nobody does, and after the end it is somebody else's stream."""
        if self._source is not None:
            self._row = self._tools.news.row_of(self._source) or self._row

    def _change(self, event: RelayEvent, reason: str) -> RelayChange:
        return RelayChange(event, self.target.target_id, self._url_shown, reason)


def _state(status: RelayStatus) -> TargetState:
    return TargetState(_STATES[status.state], "" if status.state is RelayState.LIVE else status.reason)
