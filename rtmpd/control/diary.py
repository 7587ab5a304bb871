"""
Facts about publications on their way to the disk, in one strict order, and again for as long as the disk refuses them.

The ledger of recordings does the same for facts of which those of one recording may overtake those of another. Here none
may: a receiver that hears of an end before the beginning, or of the next publisher before the end of the last, is told
something wrong. So facts are written in groups of which all are taken or none.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import NamedTuple

from rtmpd.errors import StoreError
from rtmpd.logs import Logger
from rtmpd.store.backlog import Backlog
from rtmpd.store.publications import Fact, PublicationBook

GROUP = 256
"""Facts that are written together."""
WAITING_FACTS = 20_000
"""Facts kept while the database takes none, some 2 KB each; more are dropped, and the log says so."""
RETRY_S = 1.0


class _Noted(NamedTuple):
    fact: Fact
    then: Callable[[], None] | None


class Diary(Backlog):
    """Facts about publications, each to be written once."""

    def __init__(self, book: PublicationBook, log: Logger) -> None:
        """
        Prepare; `run` does the work.

        Args:
            book: takes the facts.
            log: for what it does not take.
        """
        super().__init__(RETRY_S)
        self._book = book
        self._log = log
        self._waiting: deque[_Noted] = deque()
        self._group = GROUP
        self._is_stuck = False

    def note(self, fact: Fact, then: Callable[[], None] | None = None) -> None:
        """
        Have a fact written, behind those that were noted before.

        Args:
            fact: written again while the disk is full.
            then: called once it is on the disk; may not raise.
        """
        if len(self._waiting) >= WAITING_FACTS:
            self._log.error(
                "publications behind", reason=f"{WAITING_FACTS} facts wait for the database; one is dropped"
            )
            return
        self._waiting.append(_Noted(fact, then))
        self._has_more()

    def _is_left(self) -> bool:
        return bool(self._waiting)

    async def _write_group(self) -> bool:
        """Write what waits, oldest first; says whether it makes sense to go on at once."""
        group = list(islice(self._waiting, self._group))
        try:
            await self._book.write([each.fact for each in group])
        except Exception as error:  # noqa: BLE001 - a bug in one fact must not cost all later ones their place
            if isinstance(error, StoreError) and error.passes:
                self._note_stuck(error)
                return False
            self._refuse(group, error)
            return True
        self._is_stuck = False
        self._group = GROUP if len(group) > 1 else min(self._group + 1, GROUP)
        # Only now: whoever cancels us before has lost nothing, and what is written again is passed over.
        for each in group:
            self._waiting.popleft()
            if each.then is not None:
                each.then()
        return True

    def _refuse(self, group: list[_Noted], error: Exception) -> None:
        """Look for the fact that cannot be written one by one, and give that one up."""
        self._group = 1
        if len(group) == 1:
            self._waiting.popleft()
            self._log.error("publication not written", reason=str(error), exc_info=error)

    def _note_stuck(self, error: Exception) -> None:
        if not self._is_stuck:
            self._is_stuck = True
            self._log.error("publications not written", reason=str(error))
