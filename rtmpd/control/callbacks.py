"""Callbacks that are owed, or were given up: listed, and sent again."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote_plus

from rtmpd.control import models
from rtmpd.control.answered import answered
from rtmpd.control.callback_body import shown_url
from rtmpd.control.credentials import KEY_PARAMETER
from rtmpd.control.signed_urls import SIGNATURE_PARAMETER
from rtmpd.errors import NotPossible
from rtmpd.logs import Logger
from rtmpd.session.urls import HIDDEN
from rtmpd.store.deliveries import Deliveries, Delivery, Query

_KEYS = frozenset({KEY_PARAMETER, SIGNATURE_PARAMETER})
"""Parameters that open a stream."""


class Callbacks:
    """Takes requests about callbacks."""

    def __init__(
        self,
        deliveries: Deliveries,
        wake: Callable[[], None],
        log: Logger,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """
        Prepare.

        Args:
            deliveries: what is owed.
            wake: has what is due now delivered.
            log: for what is asked.
            clock: unix seconds.
        """
        self._deliveries = deliveries
        self._wake = wake
        self._log = log
        self._clock = clock

    async def list(self, query: models.CallbacksQuery) -> models.CallbackList:
        """
        List callbacks that were not delivered, newest first, one for each receiver.

        Args:
            query: which.

        Raises:
            NotPossible: "unavailable": the database does not answer.
        """
        counts = await answered(self._deliveries.counts())
        page = await answered(self._deliveries.list(Query(state=query.state, limit=query.limit, offset=query.offset)))
        return models.CallbackList(
            pending=sum(each.pending for each in counts.values()),
            dead=sum(each.dead for each in counts.values()),
            callbacks=[_show(delivery) for delivery in page],
        )

    async def retry(self, event_id: str) -> models.Done:
        """
        Have a callback tried now, also one that was given up.

        Args:
            event_id: of the callback.

        Raises:
            NotPossible: "unknown": there is none, or nobody is owed it any more; "unavailable": no database.
        """
        if not await answered(self._deliveries.retry(event_id, self._clock())):
            raise NotPossible("unknown", f"no receiver is owed callback {event_id}")
        self._log.info("callback tried again", event_id=event_id)
        self._wake()
        return models.Done()


def _show(delivery: Delivery) -> models.Callback:
    return models.Callback(
        event_id=delivery.event_id,
        event_type=delivery.event_type,
        stream=delivery.stream,
        url=shown_url(delivery.url),
        state="pending" if delivery.dead_at is None else "dead",
        attempts=delivery.attempts,
        created_at=delivery.created_at,
        next_try_at=delivery.next_try_at,
        last_error=delivery.last_error,
        body=_without_keys(delivery.body),
    )


def _without_keys(body: Mapping[str, Any]) -> dict[str, Any]:
    """The receiver gets the publisher's query as it came; whoever lists callbacks could publish with what is in it."""
    if not isinstance(query := body.get("stream_param"), str):
        return dict(body)
    parts = (part.partition("=") for part in query.split("&"))
    shown = (
        f"{name}={HIDDEN}" if unquote_plus(name) in _KEYS else f"{name}{equals}{value}" for name, equals, value in parts
    )
    return {**body, "stream_param": "&".join(shown)}
