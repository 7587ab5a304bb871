"""How many wrong tokens are looked at from one address, whether they come as a header or to open a session."""

from __future__ import annotations

import math
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from http import HTTPStatus

from rtmpd.address import counted_as
from rtmpd.web.problems import Refusal

WRONG_TOKENS = 10
"""Guesses that are looked at within `WITHIN_S`, from one address as limits count them."""
WITHIN_S = 1.0
MOST_ADDRESSES = 4096
"""That are remembered; of more, the one that has guessed nothing for longest is forgotten. Who has so many needs no other."""


class Guesses:
    """
    Wrong tokens of the last second: from an address with too many of them no further token is looked at.

    Nor is a right one: an answer that told it from a wrong one would be all that somebody who guesses wants to know.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """
        Start with none.

        Args:
            clock: seconds.
        """
        self._clock = clock
        self._wrong_s: OrderedDict[str, deque[float]] = OrderedDict()
        """When the newest were, by address; who guessed last is last."""

    def __len__(self) -> int:
        return len(self._wrong_s)

    def are_too_many(self, address: str) -> bool:
        """
        Say whether somebody has to wait.

        Args:
            address: of a peer, as its socket reports it.
        """
        if not self._wrong_s:  # as a rule nobody guesses, and who has the token pays for nothing
            return False
        wrong_s = self._wrong_s.get(counted_as(address))
        return wrong_s is not None and len(wrong_s) == WRONG_TOKENS and self._clock() - wrong_s[0] < WITHIN_S

    def count(self, address: str) -> None:
        """
        Note that a token was wrong.

        Args:
            address: of a peer, as its socket reports it.
        """
        now = self._clock()
        counted = counted_as(address)
        self._wrong_s.setdefault(counted, deque(maxlen=WRONG_TOKENS)).append(now)
        self._wrong_s.move_to_end(counted)
        while len(self._wrong_s) > MOST_ADDRESSES or self._has_old(now):
            self._wrong_s.popitem(last=False)

    def _has_old(self, now: float) -> bool:
        return now - next(iter(self._wrong_s.values()))[-1] >= WITHIN_S


def too_many() -> Refusal:
    """Make the answer to who has to wait."""
    return Refusal(
        HTTPStatus.TOO_MANY_REQUESTS,
        "too many wrong tokens from this address; try again in a second",
        headers={"Retry-After": str(math.ceil(WITHIN_S))},
    )
