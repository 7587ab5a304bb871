"""
The files that one format of a recording may still open: always one in reserve, after failures at growing pauses.

The reserve is why a cut waits for nobody. While a disk is full there is none: the file that fails is reported, and the
next one is granted when there may be room again.
"""

from __future__ import annotations

from collections.abc import Callable

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0
APART_S = 0.25
"""Between two grants in any case: an encoder that changes its configuration all the time makes files no faster."""
STABLE_S = 60.0
"""A file that was written for so long before it failed makes its failure the first one again."""


class Supply:
    """Counts grants, and says when to make the next one."""

    def __init__(self, grant: Callable[[float], None]) -> None:
        """
        Begin with nothing granted.

        Args:
            grant: makes a grant after a pause, in seconds.
        """
        self._grant = grant
        self._unused = 0
        self._coming = False
        self._granted_s = float("-inf")
        self._opened_s = float("-inf")
        self.failures = 0
        """In a row."""

    def granted(self, count: int, now: float) -> None:
        """Note grants that the worker has; `now` in seconds."""
        self._coming = False
        self._unused += count
        self._granted_s = now

    def withdrawn(self, now: float) -> None:
        """Note that a grant that was asked for could not be made; another one is."""
        self._coming = False
        self._ask(now)

    def opened(self, now: float) -> None:
        """Note that a file was opened."""
        self._unused -= 1
        self._opened_s = now
        self._ask(now)

    def failed(self, now: float, *, was_open: bool) -> None:
        """Note that a file failed, or could not be opened."""
        if was_open and now - self._opened_s > STABLE_S:
            self.failures = 0
        self.failures += 1
        if not was_open:
            self._unused -= 1
        self._ask(now)

    def closed(self) -> None:
        """Note that a file was completed: whatever was wrong has passed."""
        self.failures = 0

    def lost(self) -> None:
        """Forget the grants of a worker that died; the next worker gets new ones."""
        self._unused = 0
        self._coming = False

    def _ask(self, now: float) -> None:
        if self._unused > 0 or self._coming:
            return
        self._coming = True
        pause_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(self.failures - 1, 10)) if self.failures else 0.0
        self._grant(max(pause_s, self._granted_s + APART_S - now, 0.0))
