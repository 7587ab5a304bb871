"""Repeated trouble, counted and told once a second, or more rarely."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rtmpd.logs import Logger

REPORT_EVERY_S = 1.0


class RateReporter:
    """Log lines of one kind that a peer can cause as often as it likes."""

    __slots__ = ("_clock", "_every_s", "_log", "_reported_s", "_times")

    def __init__(self, log: Logger, clock: Callable[[], float], every_s: float = REPORT_EVERY_S) -> None:
        """
        Start with nothing to report.

        Args:
            log: where the lines go.
            clock: seconds.
            every_s: the least time between two lines.
        """
        self._every_s = every_s
        self._log = log
        self._clock = clock
        self._times = 0
        self._reported_s = float("-inf")

    def warn(self, event: str, **values: Any) -> None:
        """Count, and write a line with the count unless the last one is younger than `every_s`."""
        self._times += 1
        now = self._clock()
        if now - self._reported_s >= self._every_s:
            self._log.warning(event, times=self._times, **values)
            self._reported_s = now
            self._times = 0
