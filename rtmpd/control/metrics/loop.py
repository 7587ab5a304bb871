"""The event loop: how late it is, and what the fan-out and the poller spend of it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from prometheus_client.core import Metric

from rtmpd.control.metrics.families import histogram
from rtmpd.net.distribution import Distribution
from rtmpd.net.fanout import FanOut
from rtmpd.net.poller import Poller

EVERY_S = 0.25
"""How often lateness is measured: a hold-up of a tenth of that is found one time in ten."""


class LoopLag:
    """Measures how much later than asked for the loop calls."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """
        Prepare; follow with `start`.

        Args:
            loop: the running one.
        """
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None
        self.lateness = Distribution()

    def start(self) -> None:
        """Measure from now on."""
        self._timer = self._loop.call_at(self._loop.time() + EVERY_S, self._called)

    def stop(self) -> None:
        """Measure no more; harmless when called again."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _called(self) -> None:
        assert self._timer is not None
        self.lateness.add(max(self._loop.time() - self._timer.when(), 0.0))
        self.start()


def loop_metrics(lag: LoopLag, fanout: FanOut, poller: Poller) -> Iterator[Metric]:
    """
    Measure the loop.

    Args:
        lag: its own lateness.
        fanout: of the server.
        poller: of the server.

    Yields:
        Families.
    """
    yield histogram("loop_lag_seconds", "How much later than asked for the event loop does something.", lag.lateness)
    yield histogram("fanout_pass_seconds", "What it takes to write what is new to all players.", fanout.passes)
    yield histogram(
        "fanout_delay_seconds",
        "From the arrival of a pass's oldest message until it was written to all who can take it.",
        fanout.delays,
    )
    yield histogram("poller_turn_seconds", "What it takes to serve all sockets that are ready.", poller.turns)
