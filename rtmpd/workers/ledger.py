"""
What happens to recordings, on its way into the index: in order, many in one commit, and again while the disk is full.

The event loop's callbacks note facts here and go on; a fact that the database cannot take now is kept and tried again,
as a full disk is exactly when recordings end and the index must not lie about them afterwards. Facts of one recording
never overtake each other: one that waits again would be written over what came of it. A disk that is nearly full takes
one fact and not the next, so those of a recording are written one by one, and those of many recordings together.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import Any, NamedTuple

from rtmpd.errors import StoreError
from rtmpd.logs import Logger
from rtmpd.store.backlog import Backlog
from rtmpd.store.recordings import RecordingIndex

GROUP = 256
"""Facts that are submitted together, of so many recordings."""
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
        self._waiting: dict[str, deque[_Fact]] = {}
        """By recordings, oldest first; those that have none are not in it."""
        self._count = 0
        self._stuck = False

    def note(
        self,
        recording_id: str,
        write: Write,
        then: Callable[[], None] | None = None,
        refused: Callable[[StoreError], None] | None = None,
    ) -> None:
        """
        Have a fact written, behind those of the same recording that were noted before.

        Args:
            recording_id: which recording it is about.
            write: calls one operation of the index; called again while the disk is full.
            then: called once the fact is on the disk.
            refused: called if the index will never take it (a path that is taken); by default the log is told.
        """
        if self._count >= WAITING_FACTS:
            self._log.error("index behind", reason=f"{WAITING_FACTS} facts wait for the database; one is dropped")
            return
        self._waiting.setdefault(recording_id, deque()).append(_Fact(write, then, refused))
        self._count += 1
        self._has_more()

    def _is_left(self) -> bool:
        return bool(self._waiting)

    async def _write_group(self) -> bool:
        """Submit the oldest fact of each recording, as one commit if the database likes; says whether the disk took all."""
        group = [(recording_id, facts[0]) for recording_id, facts in islice(self._waiting.items(), GROUP)]
        outcomes = await asyncio.gather(*(fact.write(self._index) for _, fact in group), return_exceptions=True)
        is_stuck = False
        for (recording_id, fact), outcome in zip(group, outcomes, strict=True):
            if isinstance(outcome, StoreError) and outcome.passes:
                is_stuck = True
                self._note_stuck(outcome)
                continue
            self._strike_out(recording_id)
            if isinstance(outcome, StoreError):
                self._refuse(fact, outcome)
            elif isinstance(outcome, BaseException):
                raise outcome
            elif fact.then is not None:
                self._tell(fact.then)
        self._stuck = is_stuck
        return not is_stuck

    def _strike_out(self, recording_id: str) -> None:
        """Forget the oldest fact of a recording; its next one has its turn behind those of the others."""
        facts = self._waiting.pop(recording_id)
        facts.popleft()
        self._count -= 1
        if facts:
            self._waiting[recording_id] = facts

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
