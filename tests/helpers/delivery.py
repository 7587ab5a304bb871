"""A delivery of callbacks over a real database, and a client that answers when it is told to."""

from __future__ import annotations

import asyncio
import contextlib
import json

from rtmpd.control.callback_client import CallbackClient
from rtmpd.control.delivery import CallbackDelivery, DeliverySettings
from rtmpd.store.deliveries import Deliveries, Query
from rtmpd.store.outbox import Outbox, Owed, owe
from tests.helpers.studio import logger_to, until

PATIENT_S = 20.0


class PlayedClient:
    """A client that answers when it is told to."""

    def __init__(self):
        self.sent = []
        """Every attempt, as (URL, event id)."""
        self.open = {}
        """Those without an answer yet, with the future of their reason."""
        self.most = 0
        self.closed = False

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        self.closed = True

    async def post(self, url, request, _timeout_s):
        attempt = (url, json.loads(request.body)["event_id"])
        assert attempt not in self.open
        self.sent.append(attempt)
        self.open[attempt] = asyncio.get_running_loop().create_future()
        self.most = max(self.most, len(self.open))
        try:
            return await self.open[attempt]
        finally:
            del self.open[attempt]

    async def answer(self, event_id, reason="", url="http://a"):
        """Answer an attempt that is made now or will be."""
        await until(lambda: (url, event_id) in self.open)
        attempt = self.open[url, event_id]
        attempt.set_result(reason)
        await until(lambda: self.open.get((url, event_id)) is not attempt)

    def tried(self):
        return [event_id for _, event_id in self.sent]

    def waiting(self):
        return {event_id for _, event_id in self.open}


class DeliveryRig:
    """A delivery over a real database."""

    def __init__(self, database):
        self.database = database
        self.lines = []
        self.outcomes = []
        self.errors_allowed = False
        self.now = 1_000_000.0
        self.delivery = None
        self._task = None

    async def start(self, *urls, client=CallbackClient, open_first=True, **settings):
        """Start a delivery; pauses are short, unless a test says otherwise."""
        settings = {"longest_pause_s": 0.01, "timeout_s": PATIENT_S} | settings
        self.delivery = CallbackDelivery(
            self.database,
            DeliverySettings(urls, **settings),
            client if isinstance(client, type) else lambda: client,
            logger_to(self.lines),
            on_outcome=lambda outcome: self.outcomes.append((outcome.kind, outcome.delivery.event_id)),
            clock=self.clock,
            chance=lambda: 0.5,
        )
        if open_first:
            await self.delivery.open()
        self._task = asyncio.ensure_future(self.delivery.run())

    async def stop(self):
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    def clock(self):
        # Time passes with each look, so that pauses end though no test waits for them.
        self.now += 0.005
        return self.now

    async def owe(self, *event_ids, stream="demo"):
        """Owe events of one stream."""
        owed = [
            Owed(each, 1, f"live/{stream}", {"event_type": 1, "appname": "live", "stream_id": stream}, self.now)
            for each in event_ids
        ]
        await self.database.submit(lambda connection: owe(connection, owed))

    async def count(self):
        return await Outbox(self.database).count()

    async def until_all_is_delivered(self):
        while await self.count():
            await asyncio.sleep(0.005)

    async def until_dead(self, count):
        while len(await self.listed(state="dead")) != count:
            await asyncio.sleep(0.005)

    async def listed(self, **query):
        return await Deliveries(self.database).list(Query(**query))

    def said(self, event):
        return [(level, values) for level, values in self.lines if values["event"] == event]
