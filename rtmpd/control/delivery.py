"""
The delivery of callbacks: at least once, in order for each stream at each receiver, and never in the way of media.

What is owed is in the database, and stays there until it is delivered or given up; here is only what is being tried, a
bounded number of attempts for each receiver. So neither memory nor work at a time depends on how much is owed.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol

from rtmpd.control.callback_body import Request, Sender, make_request, shown_url
from rtmpd.control.delivery_pace import BREATH_S, JITTER, Room, pause_s, rest_s, room
from rtmpd.errors import StoreError
from rtmpd.logs import Logger
from rtmpd.net.report import RateReporter
from rtmpd.net.tasks import Tasks
from rtmpd.store.database import Database
from rtmpd.store.deliveries import Deliveries, Delivery

POLL_S = 1.0
"""For what no commit announces; also the pause after a trouble with the database."""
CLEAR_S = 30.0
"""Between two looks for what is too old."""
REPORT_EVERY_S = 10.0
"""A receiver that is down is said so often, with the number of attempts that failed."""
UNTRIED_S = 3600.0
"""For what waits behind a callback that was given up to be tried once itself; after that it is given up as well, or a
receiver that never answers would fill the disk."""

Lane = Literal["first", "again"]


@dataclass(frozen=True, slots=True)
class DeliverySettings:
    """What the section [callbacks] says, and what callbacks say of this server."""

    urls: tuple[str, ...] = ()
    key: str = field(default="", repr=False)
    """Shared with the receivers; empty: nothing is signed."""
    parallel: int = 16
    """Attempts at a time for each receiver, at least 2."""
    timeout_s: float = 20.0
    longest_pause_s: float = 60.0
    give_up_s: float = 24 * 3600.0
    dead_kept_s: float = 7 * 24 * 3600.0
    host: str = ""
    """The host part of the public RTMP URL."""
    http_base: str = ""
    """The public base URL of the HTTP output; empty: there is none."""

    @property
    def sender(self) -> Sender:
        """What callbacks say of this server."""
        return Sender(self.key, self.host, self.http_base)


class Outcome(NamedTuple):
    """How an attempt ended, once that is stored."""

    kind: Literal["delivered", "failed", "given_up"]
    delivery: Delivery
    reason: str
    """One line; empty when it was delivered."""


class Client(Protocol):
    """What sends a request and returns a reason, or nothing when it was taken."""

    async def post(self, url: str, request: Request, timeout_s: float) -> str:
        """Send; see `CallbackClient`."""


class _Receiver:
    """What is being tried at one receiver."""

    def __init__(self, url: str, log: Logger) -> None:
        self.url = url
        self.shown = shown_url(url)
        self.busy: dict[int, Lane] = {}
        self.trouble = RateReporter(log, asyncio.get_running_loop().time, REPORT_EVERY_S)

    def room(self, parallel: int) -> Room:
        """How many attempts may begin."""
        lanes = list(self.busy.values())
        return room(parallel, lanes.count("first"), lanes.count("again"))


class CallbackDelivery:
    """Delivers what is owed: `open`, then `run` as a task, in the end `flush` and cancel the task."""

    def __init__(
        self,
        database: Database,
        settings: DeliverySettings,
        client_factory: Callable[[], AbstractAsyncContextManager[Client]],
        log: Logger,
        *,
        on_outcome: Callable[[Outcome], None] | None = None,
        clock: Callable[[], float] = time.time,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """
        Prepare.

        Args:
            database: holds what is owed; its commits wake the delivery.
            settings: until `reconfigure`.
            client_factory: makes the HTTP client, `CallbackClient`.
            log: for what was delivered, and what was not.
            on_outcome: is told of each attempt; it is cheap and raises nothing.
            clock: unix seconds.
            chance: uniform in 0 .. 1, for the jitter of pauses.
        """
        self._deliveries = Deliveries(database)
        self._settings = settings
        self._client_factory = client_factory
        self._log = log
        self._on_outcome = on_outcome
        self._clock = clock
        self._chance = chance
        self._receivers: dict[str, _Receiver] = {}
        self._store_trouble = RateReporter(log, asyncio.get_running_loop().time, REPORT_EVERY_S)
        self._tasks = Tasks(lambda error: log.error("internal error", exc_info=error))
        self._woken = asyncio.Event()
        self._flushing = asyncio.Event()
        self._drained = asyncio.Event()
        self._flush_at = 0.0
        self._adopted: tuple[str, ...] | None = None
        database.on_change.append(self.wake)

    async def open(self) -> None:
        """
        Owe events to the configured receivers from now on, and have all that is pending tried at once.

        Raises:
            StoreError: the database cannot be used.
        """
        await self._adopt()
        now = self._clock()
        await self._deliveries.hasten(now, beyond=now)

    async def run(self) -> None:
        """Deliver for ever; to be supervised, and cancelled. After `open`."""
        loop = asyncio.get_running_loop()
        cleared_s = float("-inf")
        async with self._client_factory() as client:
            try:
                while True:
                    self._woken.clear()
                    wait_s = POLL_S
                    try:
                        await self._adopt()
                        if loop.time() - cleared_s >= CLEAR_S:
                            await self._clear()
                            cleared_s = loop.time()
                        wait_s = await self._begin_what_is_due(client)
                    except StoreError as error:
                        self._store_trouble.warn("callbacks not read", reason=str(error))
                    await self._wait(wait_s)
            finally:
                await self._tasks.cancel()

    def wake(self) -> None:
        """Look at once for what is due; for those who have committed something that owes."""
        self._woken.set()

    def reconfigure(self, settings: DeliverySettings) -> None:
        """
        Use other settings from now on. What is pending to a receiver that is not among them is dropped.

        Args:
            settings: all of them.
        """
        self._settings = settings
        self.wake()

    async def flush(self, timeout_s: float) -> None:
        """
        Try once what is due, for a server that stops; what is not delivered then stays stored.

        Args:
            timeout_s: after which it returns in any case.
        """
        self._flush_at = self._clock()
        self._drained.clear()
        self._flushing.set()
        self.wake()
        try:
            async with asyncio.timeout(timeout_s):
                await self._drained.wait()
        except TimeoutError:
            self._log.info("callbacks left for the next start")

    async def _adopt(self) -> None:
        """Make the configured receivers the known ones, where they are not yet."""
        urls = tuple(dict.fromkeys(self._settings.urls))
        if urls == self._adopted:
            return
        now = self._clock()
        dropped = await self._deliveries.set_receivers(urls, now, now - self._settings.give_up_s)
        self._adopted = urls
        for url in urls:
            # One that was known before keeps its attempts: they go on until they end.
            self._receivers.setdefault(url, _Receiver(url, self._log))
        if dropped:
            self._log.warning("callbacks dropped", count=dropped, reason="their receivers are not configured any more")

    async def _clear(self) -> None:
        now, settings = self._clock(), self._settings
        purged = await self._deliveries.purge(
            now,
            unowed_before=now - settings.give_up_s,
            dead_before=now - settings.dead_kept_s,
            untried_before=now - settings.give_up_s - UNTRIED_S,
        )
        if purged.untried:
            self._log.warning("callbacks given up", count=purged.untried, reason="others before them took too long")
        # No pause is longer, so a clock was set back.
        await self._deliveries.hasten(now, beyond=now + settings.longest_pause_s * (1 + JITTER))

    async def _begin_what_is_due(self, client: Client) -> float:
        """Fill the free places; returns how many seconds nothing more can become due."""
        now = self._clock()
        wait_s, idle = POLL_S, True
        for receiver in [self._receivers[url] for url in self._adopted or ()]:
            places = receiver.room(self._settings.parallel)
            if places.first:
                until = self._flush_at if self._flushing.is_set() else now
                due = await self._deliveries.due(
                    receiver.url, until, first=places.first, again=places.again, busy=receiver.busy
                )
                for delivery in due.again:
                    self._begin(client, receiver, delivery, "again")
                for delivery in due.first[: places.first - len(due.again)]:
                    self._begin(client, receiver, delivery, "first")
                if due.next_at is not None:
                    wait_s = min(wait_s, max(0.0, due.next_at - now))
            idle = idle and not receiver.busy
        if self._flushing.is_set():
            wait_s = POLL_S
            if idle:
                self._drained.set()
        return wait_s

    async def _wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        except TimeoutError:
            pass

    def _begin(self, client: Client, receiver: _Receiver, delivery: Delivery, lane: Lane) -> None:
        receiver.busy[delivery.number] = lane
        self._tasks.supervise(self._attempt(client, receiver, delivery), f"callback {delivery.event_id}")

    async def _attempt(self, client: Client, receiver: _Receiver, delivery: Delivery) -> None:
        """Try one, store how it ended, and only then leave the place to another."""
        try:
            reason = await self._send(client, delivery)
            await self._enter(receiver, delivery, reason)
            failed_again = reason and receiver.busy[delivery.number] == "again"
            await self._rest(rest_s(self._settings.longest_pause_s) if failed_again else BREATH_S)
        finally:
            del receiver.busy[delivery.number]
            self.wake()

    async def _send(self, client: Client, delivery: Delivery) -> str:
        settings = self._settings
        try:
            request = make_request(delivery.event_id, delivery.body, settings.sender, self._clock())
            return await client.post(delivery.url, request, settings.timeout_s)
        except Exception as error:  # noqa: BLE001 - our own bug must not have the event tried again without a pause
            self._log.error("internal error", exc_info=error)
            return "internal error"

    async def _enter(self, receiver: _Receiver, delivery: Delivery, reason: str) -> None:
        now = self._clock()
        next_try_at = now + pause_s(delivery.failures + 1, self._settings.longest_pause_s, self._chance())
        number, url = delivery.number, delivery.url
        if not reason:
            await self._stored(lambda: self._deliveries.delivered(number, url, now))
            self._tell(receiver, Outcome("delivered", delivery, reason))
        elif next_try_at - delivery.since <= self._settings.give_up_s:
            await self._stored(lambda: self._deliveries.failed(number, url, next_try_at, reason))
            self._tell(receiver, Outcome("failed", delivery, reason))
        else:
            # The next of the line is as old, perhaps; a pause of a minute for each would take for ever.
            next_try_at = now + pause_s(1, self._settings.longest_pause_s, self._chance())
            await self._stored(lambda: self._deliveries.given_up(number, url, now, next_try_at, reason))
            self._tell(receiver, Outcome("given_up", delivery, reason))

    async def _stored(self, store: Callable[[], asyncio.Future[None]]) -> None:
        """Store an outcome, however long the database refuses; until then the event may not be tried again."""
        while True:
            try:
                await store()
            except StoreError as error:
                self._store_trouble.warn("callbacks not written", reason=str(error))
                await asyncio.sleep(POLL_S)
            else:
                return

    async def _rest(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._flushing.wait()
        except TimeoutError:
            pass

    def _tell(self, receiver: _Receiver, outcome: Outcome) -> None:
        delivery = outcome.delivery
        values = {
            "event_id": delivery.event_id,
            "event_type": delivery.event_type,
            "stream": delivery.stream,
            "url": receiver.shown,
        }
        if outcome.kind == "delivered":
            self._log.debug("callback delivered", **values)
        elif outcome.kind == "failed":
            receiver.trouble.warn("callback not delivered", **values, reason=outcome.reason)
        else:
            self._log.warning("callback given up", **values, reason=outcome.reason)
        if self._on_outcome is not None:
            self._on_outcome(outcome)
