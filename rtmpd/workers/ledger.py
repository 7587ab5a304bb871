"""
What happens to recordings, on its way into the index: in order, many in one commit, and again while the disk is full.

The event loop's callbacks note facts here and go on; a fact that the database cannot take now is kept and tried again,
as a full disk is exactly when recordings end and the index must not lie about them afterwards.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

from rtmpd.errors import StoreError
from rtmpd.logs import Logger
from rtmpd.store.backlog import Backlog
from rtmpd.store.recordings import RecordingIndex

GROUP = 256
"""Facts that are submitted together."""
WAITING_FACTS = 20_000
"""Facts kept while the database takes none; more are dropped, and the log says so."""
RETRY_S = 1.0

Write = Callable[[RecordingIndex], asyncio.Future[Any]]


class _Fact(NamedTuple):
    write: Write
    then: Callable[[], None] | None
    refused: Callable[[StoreError], None] | None


class Ledger(Backlog):
    """Facts about recordings, each to be written once."""

    def __init__(self, index: RecordingIndex, log: Logger) -> None:
        """
        Prepare; `run` does the work.

        Args:
            index: takes the facts.
            log: for what it does not take.
        """
        super().__init__(RETRY_S)
        self._index = index
        self._log = log
        self._waiting: deque[_Fact] = deque()
        self._stuck = False

    def note(
        self,
        write: Write,
        then: Callable[[], None] | None = None,
        refused: Callable[[StoreError], None] | None = None,
    ) -> None:
        """
        Have a fact written.

        Args:
            write: calls one operation of the index; called again while the disk is full.
            then: called once the fact is on the disk.
            refused: called if the index will never take it (a path that is taken); by default the log is told.
        """
        if len(self._waiting) >= WAITING_FACTS:
            self._log.error("index behind", reason=f"{WAITING_FACTS} facts wait for the database; one is dropped")
            return
        self._waiting.append(_Fact(write, then, refused))
        self._has_more()

    def _is_left(self) -> bool:
        return bool(self._waiting)

    async def _write_group(self) -> bool:
        """Submit what waits, as one commit if the database likes; says whether the disk took all."""
        group = [self._waiting.popleft() for _ in range(min(GROUP, len(self._waiting)))]
        outcomes = await asyncio.gather(*(fact.write(self._index) for fact in group), return_exceptions=True)
        again = []
        for fact, outcome in zip(group, outcomes, strict=True):
            if isinstance(outcome, StoreError) and outcome.passes:
                again.append(fact)
                self._note_stuck(outcome)
            elif isinstance(outcome, StoreError):
                self._refuse(fact, outcome)
            elif isinstance(outcome, BaseException):
                raise outcome
            elif fact.then is not None:
                self._tell(fact.then)
        self._waiting.extendleft(reversed(again))
        self._stuck = bool(again)
        return not again

    def _tell(self, then: Callable[[], None]) -> None:
        try:
            then()
        except Exception as bug:  # noqa: BLE001 - a bug of one recording must not cost the others their index
            self._log.error("internal error", exc_info=bug)

    def _refuse(self, fact: _Fact, error: StoreError) -> None:
        if fact.refused is not None:
            fact.refused(error)
        else:
            self._log.error("index refused", reason=str(error))

    def _note_stuck(self, error: StoreError) -> None:
        if not self._stuck:
            self._stuck = True
            self._log.error("index not written", reason=str(error))


def is_taken(error: StoreError) -> bool:
    """Whether the index refused a path because another file has it."""
    return error.cause == "SQLITE_CONSTRAINT_UNIQUE"
