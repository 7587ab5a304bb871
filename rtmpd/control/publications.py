"""
Who published when, told to others: each publication has one event 1 and one event 0, also where the server dies between.

A publisher is told to go ahead when its event 1 is on the disk, or after `BEGIN_WAIT_S`: no stream waits longer for a
disk. What the disk does not take is kept in memory and written later, in its order.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

from rtmpd.control.diary import Diary
from rtmpd.control.portrait import Size, size_of
from rtmpd.control.push_events import SERVER_DIED, Cause, End, cause_of, ended, started
from rtmpd.live.stream import Publication, Stream
from rtmpd.logs import Logger
from rtmpd.store.outbox import Owed
from rtmpd.store.publications import Begun, Ended, PublicationBook, PublicationRow, Told

BEGIN_WAIT_S = 2.0
"""How long a publisher waits for the disk before it may go ahead all the same."""
_SEQUENCE_BITS = 63
"""Receivers of the hosted service know a sequence as a decimal number that fits a signed 64-bit column."""


class Running(NamedTuple):
    """A publication that goes on."""

    row: PublicationRow
    began_s: float
    """When it began, in seconds that never jump."""


class Publications:
    """The journal of connections (`rtmpd.net.policy.Journal`), and an observer of the registry."""

    def __init__(
        self,
        book: PublicationBook,
        log: Logger,
        node: str,
        clock: Callable[[], float],
        unix_now: Callable[[], float] = time.time,
    ) -> None:
        """
        Prepare; `run` does the work. To be added to the observers of the registry.

        Args:
            book: takes the facts.
            log: for what it does not take.
            node: the name of this server, for receivers.
            clock: seconds that never jump.
            unix_now: unix seconds.
        """
        self.last_words: list[Callable[[Publication], Sequence[Owed]]] = []
        """Asked for what is to be told of a publication before its event 0."""
        self.node = node
        self._book = book
        self._log = log
        self._clock = clock
        self._unix_now = unix_now
        self._diary = Diary(book, log)
        self._running: dict[Publication, Running] = {}
        self._sizes: dict[Publication, Size] = {}

    async def run(self) -> None:
        """Write for ever; to be supervised, and cancelled."""
        await self._diary.run()

    async def recover(self) -> int:
        """
        Tell of the end of every publication that an earlier server left without one; before connections are accepted,
        and beside `run`. If the disk takes nothing, that is done later.

        Returns:
            How many there were.

        Raises:
            StoreError: the database cannot be read.
        """
        left = await self._book.unfinished()
        now = self._unix_now()
        for row in left:
            self._note_end(replace(row, ended_at=now), SERVER_DIED, max(0.0, now - row.started_at), Size(0, 0), ())
        if left:
            self._log.warning("publications ended with an earlier server", publications=len(left))
            await self._diary.flush(BEGIN_WAIT_S)
        return len(left)

    async def began(self, publication: Publication) -> None:
        """Write down that a publisher begins; returns once that is on the disk, or after `BEGIN_WAIT_S`."""
        terms = publication.terms
        row = PublicationRow(
            sequence=str(secrets.randbits(_SEQUENCE_BITS)),
            app=publication.stream.app,
            stream=publication.stream.name,
            started_at=self._unix_now(),
            address=terms.address,
            stream_param=terms.query,
        )
        self._running[publication] = Running(row, self._clock())
        written = asyncio.Event()
        self._diary.note(Begun(row, started(row, self.node)), written.set)
        try:
            async with asyncio.timeout(BEGIN_WAIT_S):
                await written.wait()
        except TimeoutError:
            self._log.warning("publisher goes ahead unwritten", stream=publication.stream.path, client=terms.client)

    def over(self, publication: Publication, reason: str, *, clean: bool) -> None:  # noqa: ARG002 - the reason says it too
        """Write down that a publisher that began has gone, and why."""
        running = self._running.get(publication)
        if running is None:
            return
        # A stream that has ended knows nothing of its publisher any more; one that is taken over still does.
        size = self._sizes.pop(publication, None) or size_of(publication.stream)
        row = replace(running.row, ended_at=self._unix_now())
        owed = tuple(each for asked in self.last_words for each in asked(publication))
        del self._running[publication]
        self._note_end(row, cause_of(reason), self._clock() - running.began_s, size, owed)

    def find(self, publication: Publication) -> Running | None:
        """Look a publication up; None before it began, and once it is over."""
        return self._running.get(publication)

    def tell(self, owed: Sequence[Owed]) -> None:
        """
        Owe callbacks, in the order of everything else that publications owe.

        Args:
            owed: the callbacks.
        """
        self._diary.note(Told(tuple(owed)))

    async def flush(self, timeout_s: float) -> bool:
        """
        Wait until everything is on the disk; before `run` is cancelled at shutdown.

        Args:
            timeout_s: how long.

        Returns:
            Whether it is.
        """
        return await self._diary.flush(timeout_s)

    def stream_published(self, stream: Stream) -> None:
        """Nothing: `began` follows."""

    def stream_ended(self, stream: Stream, reason: str) -> None:  # noqa: ARG002 - every observer takes both
        """Keep the size of the picture, which the stream is about to forget."""
        if stream.publication is not None and stream.publication in self._running:
            self._sizes[stream.publication] = size_of(stream)

    def _note_end(
        self, row: PublicationRow, cause: Cause, duration_s: float, size: Size, before: tuple[Owed, ...]
    ) -> None:
        end = End(cause, round(duration_s * 1000), size.width, size.height)
        self._diary.note(Ended(row, started(row, self.node), (*before, ended(row, self.node, end))))
