"""
Changes that operations make in the database: an answer follows its commit, and nobody waits for a disk for ever.

Rule: what a change means outside the database (a stream that can be watched) is done when it is committed, whoever still
waits for it: the client of an operation may go at any moment. A commit that did not come in time has not happened for
the caller; where it comes after all, `late` makes both true again. Facts that nobody waits for are noted, and written as
soon as the disk takes them.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Callable, Hashable
from typing import Any, TypeAlias, TypeVar

from rtmpd.errors import NotPossible, StoreError
from rtmpd.logs import Logger
from rtmpd.store.backlog import Backlog
from rtmpd.store.database import Database

COMMIT_S = 5.0
"""How long an operation waits for its turn and its commit, together."""
RETRY_S = 1.0

T = TypeVar("T")
R = TypeVar("R")
Work: TypeAlias = Callable[[sqlite3.Connection], Any]

_TOO_LATE = "the database does not answer (is the disk full, or does it hang?): nothing was done; try again later"


class Commits(Backlog):
    """Changes in the database, one operation at a time."""

    def __init__(
        self, database: Database, log: Logger, *, timeout_s: float = COMMIT_S, retry_s: float = RETRY_S
    ) -> None:
        """
        Prepare; `run` writes what is noted.

        Args:
            database: takes the changes.
            log: for notes that it does not take.
            timeout_s: how long an operation waits.
            retry_s: between two tries to write what is noted.
        """
        super().__init__(retry_s)
        self._database = database
        self._log = log
        self._timeout_s = timeout_s
        self._lock = asyncio.Lock()
        self._notes: dict[Hashable, Work] = {}
        self._stuck = False

    @contextlib.asynccontextmanager
    async def turn(self) -> AsyncIterator[Turn]:
        """
        Have the only operation that changes something, so that what it found does not change before its commit.

        Raises:
            NotPossible: "unavailable": those before it wait for the database.
        """
        deadline = asyncio.get_running_loop().time() + self._timeout_s
        try:
            async with asyncio.timeout_at(deadline):
                await self._lock.acquire()
        except TimeoutError:
            raise NotPossible("unavailable", _TOO_LATE) from None
        try:
            yield Turn(self._database, deadline)
        finally:
            self._lock.release()

    def note(self, key: Hashable, work: Work) -> None:
        """
        Have something written in time.

        Args:
            key: what it is about; a newer note takes the place of one that was not written yet.
            work: may run more than once.
        """
        self._notes.pop(key, None)
        self._notes[key] = work
        self._has_more()

    def _is_left(self) -> bool:
        return bool(self._notes)

    async def _write_group(self) -> bool:
        """Write what is noted now, all in one commit; says whether the disk took it."""
        group = list(self._notes.items())
        outcomes = await asyncio.gather(*(self._database.submit(work) for _, work in group), return_exceptions=True)
        errors = []
        for (key, work), outcome in zip(group, outcomes, strict=True):
            if isinstance(outcome, StoreError) and outcome.passes:
                errors.append(outcome)
                continue
            if isinstance(outcome, Exception):  # a bug of one note must not cost the others their place
                self._log.error("push not written", reason=str(outcome), exc_info=outcome)
            if self._notes.get(key) is work:
                del self._notes[key]
        if errors and not self._stuck:
            self._log.error("pushes not written", reason=str(errors[0]))
        self._stuck = bool(errors)
        return not errors


class Turn:
    """The one operation that may change something."""

    def __init__(self, database: Database, deadline: float) -> None:
        """
        Begin.

        Args:
            database: takes the change.
            deadline: of the loop's clock, for the commit.
        """
        self._database = database
        self._deadline = deadline

    async def commit(
        self, work: Callable[[sqlite3.Connection], T], then: Callable[[T], R], late: Callable[[T], object]
    ) -> R:
        """
        Change something.

        Args:
            work: for the database.
            then: is given the work's result once that is committed, whether the caller still waits or was cancelled.
            late: is called instead where the caller was told that nothing was done; it takes that back, or makes it so.

        Returns:
            What `then` returned.

        Raises:
            NotPossible: "unavailable": nothing was done, as far as anybody can tell now.
        """
        change = _Change(work, then, late)
        self._database.submit(change.run).add_done_callback(change.settle)
        try:
            async with asyncio.timeout_at(self._deadline):
                return await asyncio.shield(change.outcome)
        except TimeoutError:
            if change.outcome.done():  # both at once
                result: R = change.outcome.result()
                return result
            change.given_up = True
            raise NotPossible("unavailable", _TOO_LATE) from None
        except StoreError as error:
            raise NotPossible("unavailable", f"the database took nothing, and nothing was done: {error}") from None


class _Change:
    """One change on its way."""

    def __init__(
        self, work: Callable[[sqlite3.Connection], Any], then: Callable[[Any], Any], late: Callable[[Any], object]
    ) -> None:
        self._work = work
        self._then = then
        self._late = late
        self.given_up = False
        self.outcome: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def run(self, connection: sqlite3.Connection) -> Any:
        """Work, in the database's thread; what nobody waits for any more is not begun."""
        if self.given_up:
            raise StoreError("nobody waits for it any more")
        return self._work(connection)

    def settle(self, committed: asyncio.Future[Any]) -> None:
        """Do what the commit means."""
        error = committed.exception()
        if self.given_up:
            if error is None:
                self._late(committed.result())
            return
        if error is not None:
            self.outcome.set_exception(error)
            return
        try:
            self.outcome.set_result(self._then(committed.result()))
        except Exception as fault:  # noqa: BLE001 - the operation raises it
            self.outcome.set_exception(fault)
