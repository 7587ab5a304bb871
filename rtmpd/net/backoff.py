"""How long to wait before the next try of something that failed."""

from __future__ import annotations

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0
STABLE_S = 10.0
"""What lasted so long had succeeded: the next pause is a first one again. nginx-rtmp grants what it denies, and closes."""


def pause_s(failures: int, chance: float) -> float:
    """
    Double the pause with each failure, and vary it, so that those who failed together do not come back together.

    Args:
        failures: in a row, at least 1.
        chance: random, 0 <= chance < 1.

    Returns:
        Seconds, between half of the full pause and all of it; never more than `LONGEST_PAUSE_S`.
    """
    doublings = min(failures - 1, 16)
    return min(LONGEST_PAUSE_S, FIRST_PAUSE_S * (1 << doublings)) * (1 + chance) / 2
