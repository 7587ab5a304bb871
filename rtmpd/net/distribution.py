"""How long something took each time, kept as counts: cheap enough for every pass of the fan-out."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

BOUNDS_S = (0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
"""Upper ends of the buckets: from a pass over few players to a loop that hangs."""


class Distribution:
    """Durations, counted in buckets."""

    __slots__ = ("counts", "sum_s")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_S) + 1)
        """One for each bound, and one for what is longer than all of them."""
        self.sum_s = 0.0

    def add(self, duration_s: float) -> None:
        """Count one."""
        self.counts[bisect_left(BOUNDS_S, duration_s)] += 1
        self.sum_s += duration_s

    @property
    def count(self) -> int:
        """How many there were."""
        return sum(self.counts)

    @property
    def cumulative(self) -> Sequence[tuple[float, int]]:
        """By each bound in seconds, the infinite one last, how many were not longer."""
        found, so_far = [], 0
        for bound_s, count in zip((*BOUNDS_S, float("inf")), self.counts, strict=True):
            so_far += count
            found.append((bound_s, so_far))
        return found
