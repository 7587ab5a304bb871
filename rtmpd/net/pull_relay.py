"""
A pull relay: one stream, brought from another server for as long as it is wanted.

It has one source or several, and goes to the next one at once where one refuses, ends, resets or is silent; when all of
them have failed in a row it pauses. It stays with the source that it has, also when an earlier one is back. The players
stay for `grace_s`, and what the next source sends goes on in time where the last one ended (`rtmpd.live.stream`).
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum

from rtmpd.net.backoff import LONGEST_PAUSE_S, STABLE_S, pause_s
from rtmpd.net.client_connection import Parting
from rtmpd.net.pull_feed import PullFeed
from rtmpd.net.pull_sources import PullSource
from rtmpd.net.pull_target import PullTarget
from rtmpd.net.services import Services

FIRST_MEDIA_S = 5.0
"""For the first media, where there is another source to try: most servers grant what nobody publishes, or let one wait."""


class PullState(Enum):
    """What a pull relay is doing."""

    CONNECTING = "connecting"
    LIVE = "live"
    BACKING_OFF = "backing_off"


@dataclass(frozen=True, slots=True)
class PullStatus:
    """A pull relay at one moment."""

    source: str
    """Which it comes from, or is being tried; without what may be secret."""
    state: PullState
    since_s: float
    """When it came to this state, on the loop's clock."""
    reason: str
    """Why the last try ended; empty before."""
    attempts: int
    """How often a source was tried."""
    bytes_in: int
    """Received, over all sources and tries."""


class PullRelay:
    """One stream that is pulled."""

    def __init__(
        self,
        services: Services,
        target: PullTarget,
        sources: Sequence[PullSource],
        silence_s: float,
        goes_on: Callable[[], bool],
    ) -> None:
        """
        Begin to connect.

        Args:
            services: of the server.
            target: what the media become.
            sources: at least one; the first is tried first.
            silence_s: a source without media for so long is given up.
            goes_on: asked when a source has ended the stream: whether to try again.
        """
        self._services = services
        self._target = target
        self._sources = sources
        self._silence_s = silence_s
        self._goes_on = goes_on
        self._index = 0
        self._state = PullState.CONNECTING
        self._since_s = services.loop.time()
        self._reason = ""
        self._attempts = 0
        self._failures = 0
        self._hopeless = 0
        self._end_reason = "closed"
        self._told = [""] * len(sources)
        """Why each source was left, as the log has it."""
        self.live = asyncio.Event()
        """Is set while it is live."""
        self.task = services.tasks.supervise(self._run(), f"pull of {target.path}")
        """Ends when the relay has."""

    @property
    def status(self) -> PullStatus:
        """What it is doing."""
        return PullStatus(
            source=self._source.label,
            state=self._state,
            since_s=self._since_s,
            reason=self._reason,
            attempts=self._attempts,
            bytes_in=sum(source.bytes_in for source in self._sources),
        )

    def cancel(self, reason: str) -> None:
        """
        End it, and its stream with it; `task` ends soon.

        Args:
            reason: what its players are told.
        """
        self._end_reason = reason
        self.task.cancel()

    @property
    def _source(self) -> PullSource:
        return self._sources[self._index]

    async def _run(self) -> None:
        while True:
            self._enter(PullState.CONNECTING)
            self._attempts += 1
            parting = await self._try()
            self._reason = parting.reason
            if parting.is_end and not self._goes_on():
                return
            lasted = self._lasted
            if lasted:
                self._failures = self._hopeless = 0
            if not (lasted and parting.url):
                await self._turn_to_next(parting)

    async def _try(self) -> Parting:
        feed = PullFeed(self._services, self._target, self._went_live)
        reason, clean = "internal error", False
        try:
            parting = await self._receive(feed)
            # With several sources it may have ended at this one alone.
            reason, clean = parting.reason, parting.is_end and len(self._sources) == 1
        except asyncio.CancelledError:
            reason, clean = self._end_reason, True
            raise
        finally:
            feed.release(reason, clean=clean)
        self._tell_loss(parting, was_live=feed.is_live)
        return parting

    def _tell_loss(self, parting: Parting, *, was_live: bool) -> None:
        """Write a line, unless the source has failed for the same reason before and was not live since."""
        if parting.reason == self._told[self._index]:
            return
        self._told[self._index] = parting.reason
        self._services.log.warning(
            "pull lost",
            stream=self._target.path,
            source=self._source.label,
            reason=parting.reason,
            was_live=was_live,
        )

    async def _receive(self, feed: PullFeed) -> Parting:
        """Work on one try until it is over for one of the reasons that there are."""
        async with asyncio.TaskGroup() as group:
            receiving = group.create_task(self._source.receive(feed))
            journal = group.create_task(self._announce(feed))
            try:
                return await self._over(feed, receiving)
            finally:
                feed.stop()
                receiving.cancel()
                journal.cancel()

    async def _announce(self, feed: PullFeed) -> None:
        await self._services.journal.began(await feed.taken)

    async def _over(self, feed: PullFeed, receiving: asyncio.Task[Parting]) -> Parting:
        while True:
            patience_s = self._patience_s(feed)
            left_s = feed.fed_s + patience_s - self._services.loop.time()
            if left_s <= 0:
                return Parting(f"no media for {patience_s:g} s")
            done, _ = await asyncio.wait((receiving, feed.revoked), timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
            if feed.revoked in done:
                return feed.revoked.result()
            if receiving in done:
                return receiving.result()

    def _patience_s(self, feed: PullFeed) -> float:
        if feed.is_live or len(self._sources) == 1:
            return self._silence_s
        return min(FIRST_MEDIA_S, self._silence_s)

    async def _turn_to_next(self, parting: Parting) -> None:
        """Go to the next source, after a pause if all have failed since the last pause."""
        count = len(self._sources)
        self._index = (self._index + 1) % count
        self._failures += 1
        self._hopeless += not parting.may_retry
        rounds, rest = divmod(self._failures, count)
        if rest:
            return
        seconds = LONGEST_PAUSE_S if self._hopeless == count else pause_s(rounds, random.random())
        self._hopeless = 0
        self._enter(PullState.BACKING_OFF)
        await asyncio.sleep(seconds)

    def _went_live(self) -> None:
        self._enter(PullState.LIVE)
        self._told[self._index] = ""
        self._services.log.info("pull connected", stream=self._target.path, source=self._source.label)

    @property
    def _lasted(self) -> bool:
        """Whether the try that has just ended was a success."""
        return self._state is PullState.LIVE and self._services.loop.time() - self._since_s >= STABLE_S

    def _enter(self, state: PullState) -> None:
        self._state = state
        if state is PullState.LIVE:
            self.live.set()
        else:
            self.live.clear()
        self._since_s = self._services.loop.time()
