"""
How fast callbacks are tried: pauses after failures, and who of those that are due gets a place.

A receiver has a bounded number of places, as each attempt may hang until its timeout. Lines whose last attempt failed
get half of them at most: those that hang now hang again, most likely, and nobody else may wait for them. They get
theirs first, so that a receiver that is busy with others does not keep them waiting for ever.
"""

from __future__ import annotations

from typing import NamedTuple

FIRST_PAUSE_S = 1.0
BREATH_S = 0.04
"""For which a place stays empty after any attempt. With 16 places that is 400 attempts a second, a sixth of a core;
without it, a backlog that a quick receiver takes needs a whole one, and media wait for the rest of their loop's turns."""
JITTER = 0.2
"""A share: pauses differ by up to so much in both directions, so that lines that failed together do not return so."""
_DOUBLINGS = 20
"""More of them would only make the number larger that is cut down anyway."""


class Room(NamedTuple):
    """How many attempts may begin."""

    first: int
    """Of lines that did not fail."""
    again: int
    """Of lines that did."""


def pause_s(failures: int, longest_s: float, chance: float) -> float:
    """
    Say how long a line waits after a failure: 1 s, 2 s, 4 s, ... up to the longest.

    Args:
        failures: of the line since its last success, at least 1.
        longest_s: what no pause exceeds, but for the jitter.
        chance: uniform in 0 .. 1.

    Returns:
        Seconds.
    """
    doubled = FIRST_PAUSE_S * (1 << min(failures - 1, _DOUBLINGS))
    return min(doubled, longest_s) * (1 - JITTER + 2 * JITTER * chance)


def rest_s(longest_s: float) -> float:
    """
    Say how long a place stays empty after an attempt that failed once more.

    It bounds what a receiver that is down costs, however many lines wait for it: each has its pause, but ten thousand
    pauses of a minute would still be 170 attempts a second.

    Args:
        longest_s: of the pauses.

    Returns:
        Seconds.
    """
    return min(FIRST_PAUSE_S, longest_s)


def room(parallel: int, first: int, again: int) -> Room:
    """
    Share the places that are free.

    Args:
        parallel: places in all, at least 2; with one only, a line that hangs could hold up the others.
        first: taken by lines that did not fail.
        again: taken by lines that did.

    Returns:
        The most that may begin of each, before it is known how many are due: what `again` does not use is for `first`.
    """
    free = max(0, parallel - first - again)
    return Room(first=free, again=min(free, max(0, max(1, parallel // 2) - again)))
