"""
Pushes: which streams can be watched, and what becomes of a push when its publisher goes and comes back.

Rule: a stream can be watched while its publisher was admitted to be public (mode auto) or a push of it is on. So in mode
manual a push makes it so, and its end makes it private again; in mode auto a push only carries a recording and targets,
and stays on when it is stopped, without them.

A push outlives its publisher, this server and its crashes for `push_kept_s`: it waits, and is on again when the stream is
published again. What an operation changes is committed before anything else is done or answered.
"""

from __future__ import annotations

import asyncio
import functools
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from rtmpd.config import AppConfig
from rtmpd.control.commits import Commits, Turn
from rtmpd.control.push_book import PushBook, about, name_of
from rtmpd.control.push_recordings import PushRecordings, Recorded
from rtmpd.control.push_values import Begun, Ended, PushRequest, check_count, differences, in_order
from rtmpd.control.rooms import Named, absent
from rtmpd.errors import NotPossible
from rtmpd.live.registry import Registry
from rtmpd.live.stream import Publication, Stream
from rtmpd.logs import Logger
from rtmpd.net.tasks import Tasks
from rtmpd.store import pushes as store
from rtmpd.store.pushes import Kept, Mode, PushRow, TargetRow

REMEMBERED_S = 24 * 3600.0
"""How long the end of a push or a target is known: until then who ends it again is told that it was so already."""
PURGE_S = 60.0
RETRY_S = 1.0
STOPPED = "the push was stopped"
"""What players are told."""
_PRIVATE = "the stream is private now"


class Pushes:
    """Every push; follows streams as an observer of the registry, after the recorder."""

    def __init__(
        self,
        commits: Commits,
        registry: Registry,
        recordings: PushRecordings,
        apps: Mapping[str, AppConfig],
        *,
        tasks: Tasks,
        log: Logger,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """
        Prepare; follow with `take_up`.

        Args:
            commits: changes the database.
            registry: of all streams.
            recordings: of pushes.
            apps: configuration by application.
            tasks: run what starts pushes that hooks ask for.
            log: for what happens to pushes.
            clock: unix seconds.
        """
        self.apps = apps
        """Replaced when the configuration is reloaded."""
        self._commits = commits
        self._registry = registry
        self._recordings = recordings
        self._tasks = tasks
        self._log = log
        self._clock = clock
        self._book = PushBook(commits, log, clock)
        self._purged_at = float("-inf")

    def __iter__(self) -> Iterator[Kept]:
        return iter(self._book)

    def of(self, stream: Named) -> Kept | None:
        """The push of a stream, if it has one."""
        return self._book.of(stream)

    def find(self, channel_id: str) -> Kept | None:
        """The push of an id, if it has not ended."""
        return self._book.find(channel_id)

    def follow(self, observer: Callable[[Named], None]) -> None:
        """
        Have somebody told of each change of a push.

        Args:
            observer: is given the stream's name while the change is made; looks at it later.
        """
        self._book.observers.append(observer)

    async def take_up(self) -> None:
        """
        Go on with what an earlier server left; before anybody can publish.

        Raises:
            NotPossible: "unavailable": the database does not answer.
        """
        now = self._clock()
        async with self._commits.turn() as turn:
            await turn.commit(lambda connection: store.take_up(connection, now), self._taken_up, lambda _: None)
        self.tick(now)

    def _taken_up(self, left: Iterable[Kept]) -> None:
        for kept in left:
            self._book.put(kept)

    def tick(self, now: float) -> None:
        """
        End the pushes whose publishers did not come back in time.

        Args:
            now: unix seconds.
        """
        for kept in self._book:
            self._end_if_overdue(kept, now)
        if now - self._purged_at >= PURGE_S:
            self._purged_at = now
            self._commits.note("purge", lambda connection: store.purge(connection, now - REMEMBERED_S))

    # What streams do

    def stream_published(self, stream: Stream) -> None:
        """Make the stream what its terms and its push say: watchable or private, recorded, relayed."""
        publication = stream.publication
        assert publication is not None
        named = Named(stream.app, stream.name)
        kept = self._book.of(named)
        if kept is not None and not self._end_if_overdue(kept, self._clock()):
            self._book.take_hook_targets(kept.push.channel_id, publication.terms.targets)
            self._go_on(stream, publication, self._book.get(kept.push.channel_id))
            return
        self._recordings.end(named)  # left by a server that was killed while it ended a push
        if not publication.terms.is_public:
            stream.hide(_PRIVATE)  # whoever published it before may have been admitted otherwise
        elif publication.terms.targets:
            self._tasks.supervise(self._start_by_itself(publication), "push")

    def stream_ended(self, stream: Stream, reason: str) -> None:  # noqa: ARG002 - a push waits whatever ended its stream
        """Let the stream's push wait for another publisher."""
        kept = self._book.of(Named(stream.app, stream.name))
        if kept is not None and kept.push.waiting_since is None:
            self._wait(kept)

    # What callers ask for

    async def start(self, stream: Named, request: PushRequest) -> Begun:
        """
        Start the push of a stream. If it has one, that stays as it is, with its first name, description and number;
        targets that it did not have are added, and a recording if it has none.

        A recording that cannot be made is no reason not to push: the notes say why.

        Args:
            stream: the stream's name.
            request: what the push is to be.

        Returns:
            The push, and what was found out about it.

        Raises:
            NotPossible: "unknown": nobody publishes the stream, and no push waits for it; "conflict": too many targets;
                "unavailable": the database does not answer.
        """
        async with self._commits.turn() as turn:
            kept = self._book.of(stream)
            return await (self._begin(turn, stream, request) if kept is None else self._add(turn, kept, request))

    async def stop(self, channel_ids: Sequence[str]) -> list[Ended]:
        """
        Stop pushes; in mode auto, what they carry.

        Args:
            channel_ids: of the pushes.

        Returns:
            What became of each, in the same order.

        Raises:
            NotPossible: "unavailable": the database does not answer.
        """
        now = self._clock()
        async with self._commits.turn() as turn:
            stays = {each: kept for each in channel_ids if (kept := self._book.find(each)) and _stays_on(kept)}
            ends = [each for each in dict.fromkeys(channel_ids) if each not in stays]

            def work(connection: sqlite3.Connection) -> dict[str, bool | None]:
                for channel_id in stays:
                    store.strip(connection, channel_id, now)
                return {channel_id: store.end(connection, channel_id, now) for channel_id in ends}

            then = functools.partial(self._stopped, list(stays))
            ended = await turn.commit(work, then, then)
        outcomes = {each: Ended(known=True, already=not _carries(kept), stays_on=True) for each, kept in stays.items()}
        for channel_id, ended_now in ended.items():
            outcomes[channel_id] = Ended(known=ended_now is not None, already=ended_now is False, stays_on=False)
        return in_order(channel_ids, outcomes)

    async def add_target(self, channel_id: str, url: str) -> tuple[TargetRow, bool]:
        """
        Relay a stream to one more place, for as long as its push lasts.

        Args:
            channel_id: of the push.
            url: of the target.

        Returns:
            The target, and whether the push had it already.

        Raises:
            NotPossible: "unknown": there is no such push; "conflict": it has too many; "unavailable": no database.
        """
        async with self._commits.turn() as turn:
            kept = self._book.get(channel_id)
            had = next((each for each in kept.targets if each.url == url), None)
            if had is not None:
                return had, True
            targets = self._book.new_targets(channel_id, kept.targets, [url])
            check_count(kept.targets + targets)
            await turn.commit(
                lambda connection: store.add_targets(connection, targets),
                lambda _: self._book.add_targets(channel_id, targets),
                lambda _: self._book.note_targets_removed(targets),
            )
        return targets[0], False

    async def remove_target(self, channel_id: str, target_id: str) -> bool:
        """
        Relay a stream to one place less.

        Args:
            channel_id: of the push.
            target_id: of the target.

        Returns:
            Whether it had been taken away before.

        Raises:
            NotPossible: "unknown": there is no such push, or it never had such a target; "unavailable": no database.
        """
        now = self._clock()

        def then(removed: bool | None) -> bool | None:  # noqa: FBT001 - as the store says it
            target = self._book.drop_target(channel_id, target_id)
            if removed is None and target is not None:  # noted, and not stored yet
                self._book.note_targets_removed([target])
                return True
            return removed

        async with self._commits.turn() as turn:
            self._book.get(channel_id)
            removed = await turn.commit(
                lambda connection: store.remove_target(connection, channel_id, target_id, now), then, then
            )
        if removed is None:
            raise NotPossible("unknown", f"push {channel_id} has no target {target_id}")
        return not removed

    def recording_stopped(self, task_id: str) -> None:
        """
        Take note that a recording was stopped by itself: a push that it belonged to goes on without.

        Args:
            task_id: of any recording.
        """
        for kept in self._book:
            if kept.push.record_task_id == task_id and kept.push.formats:
                self._book.set_recording(kept, (), task_id)

    # Starting

    async def _begin(self, turn: Turn, stream: Named, request: PushRequest) -> Begun:
        live = self._registry.find(*stream)
        if live is None or live.publication is None:
            raise absent(stream, self.apps)
        push = PushRow(
            channel_id=secrets.token_hex(8),
            app=stream.app,
            stream=stream.name,
            mode=_mode(live.publication),
            channel_name=request.channel_name,
            channel_desc=request.channel_desc,
            encode_type=request.encode_type,
            formats=request.formats,
            record_id=request.record_id,
            started_at=self._clock(),
        )
        targets = self._book.new_targets(push.channel_id, (), request.targets)
        check_count(targets)
        named_by_hook = live.publication.terms.targets
        kept = Kept(push, targets + self._book.hook_targets(push.channel_id, targets, named_by_hook))
        return await turn.commit(
            lambda connection: store.begin(connection, kept),
            lambda _: self._begun(kept),
            lambda _: self._book.note_end(push.channel_id),
        )

    def _begun(self, kept: Kept) -> Begun:
        self._book.put(kept)
        push = kept.push
        facts = {"mode": push.mode, "channel_name": push.channel_name, "formats": push.formats}
        self._log.info("push started", **about(kept), **facts, targets=len(kept.targets))
        return self._answer(kept, already=False, notes=[])

    async def _start_by_itself(self, publication: Publication) -> None:
        """Start the push that a hook asked for, as soon as the database takes it."""
        stream = publication.stream
        while publication.current:
            try:
                await self.start(Named(stream.app, stream.name), PushRequest(stream.name))
            except NotPossible as error:
                self._log.warning("push not started", stream=stream.path, reason=error.detail)
                if error.kind != "unavailable":
                    return
                await asyncio.sleep(RETRY_S)
            else:
                return

    async def _add(self, turn: Turn, kept: Kept, request: PushRequest) -> Begun:
        push = kept.push
        targets = self._book.new_targets(push.channel_id, kept.targets, request.targets)
        check_count(kept.targets + targets)
        record_id = request.record_id if push.record_id is None else push.record_id
        changed = replace(push, formats=self._formats(kept, request), record_id=record_id)
        notes = differences(changed, request)
        if not targets and changed == push:
            return self._answer(kept, already=True, notes=notes)

        def work(connection: sqlite3.Connection) -> None:
            store.add_targets(connection, targets)
            store.set_recording(connection, changed)

        def then(_: None) -> Begun:
            self._book.add_targets(push.channel_id, targets)
            now = self._book.get(push.channel_id)
            now = now._replace(push=replace(now.push, record_id=record_id))
            # Committed already; but an earlier note of it may still wait, and has to go.
            self._book.set_recording(now, changed.formats, now.push.record_task_id)
            return self._answer(self._book.get(push.channel_id), already=True, notes=notes)

        def late(_: None) -> None:
            self._book.note_targets_removed(targets)
            if (now := self._book.find(push.channel_id)) is not None:
                self._book.set_recording(now, now.push.formats, now.push.record_task_id)

        return await turn.commit(work, then, late)

    def _formats(self, kept: Kept, request: PushRequest) -> tuple[str, ...]:
        """Choose what a push is recorded as that is started again: as it is, unless nothing records it."""
        had = kept.push.formats
        runs = kept.push.waiting_since is not None or self._recordings.find(name_of(kept)) is not None
        return had if not request.formats or (had and runs) else request.formats

    def _answer(self, kept: Kept, *, already: bool, notes: list[str]) -> Begun:
        """Have the stream follow its push, and say how that stands."""
        live = self._registry.find(*name_of(kept))
        if live is not None and live.publication is not None:
            recorded = self._go_on(live, live.publication, kept)
        else:
            recorded = Recorded(kept.push.record_task_id)
            notes = [*notes, "nobody publishes it now: it is on again when somebody does"]
            if kept.push.waiting_since is None and (live is None or not live.is_watchable):
                self._wait(kept)
        return Begun(self._book.get(kept.push.channel_id), already, recorded, [*notes, *recorded.notes])

    # Following a stream

    def _go_on(self, stream: Stream, publication: Publication, kept: Kept) -> Recorded:
        """Do for a published stream what its push says."""
        channel_id = kept.push.channel_id
        self._book.set_state(kept, _mode(publication), None)
        stream.reveal()
        recorded = self._recordings.keep(stream, kept.push.formats, kept.push.record_id)
        if kept.push.waiting_since is not None:
            self._log.info("push resumed", **about(kept))
        if recorded.task_id is not None and recorded.task_id != kept.push.record_task_id:
            self._book.set_recording(self._book.get(channel_id), kept.push.formats, recorded.task_id)
        return recorded

    def _wait(self, kept: Kept) -> None:
        self._book.set_state(kept, kept.push.mode, self._clock())
        self._log.info("push waiting", **about(kept))

    # Ending

    def _stopped(self, stay: Sequence[str], ended: dict[str, bool | None]) -> dict[str, bool | None]:
        """Make true what is stored of pushes that were stopped."""
        for channel_id in stay:
            if (kept := self._book.find(channel_id)) is not None:
                self._book.set_recording(kept._replace(targets=()), (), None)
                self._recordings.end(name_of(kept))
                self._log.info("push stopped", **about(kept), watchable=True)
        for channel_id in ended:
            if (kept := self._book.find(channel_id)) is not None:
                self._end(kept, STOPPED)
        return ended

    def _end(self, kept: Kept, reason: str) -> None:
        self._book.drop(kept)
        self._recordings.end(name_of(kept))
        stream = self._registry.find(*name_of(kept))
        if stream is not None:
            publication = stream.publication
            # In the grace time it is what the publisher was that it has lost.
            if (kept.push.mode if publication is None else _mode(publication)) == "manual":
                stream.hide(reason)
        self._log.info("push stopped", **about(kept), reason=reason)

    def _end_if_overdue(self, kept: Kept, now: float) -> bool:
        since = kept.push.waiting_since
        app = self.apps.get(kept.push.app)
        if since is None or since + (app.push_kept_s if app is not None else 0) > now:
            return False
        self._end(kept, "its publisher did not come back")
        self._book.note_end(kept.push.channel_id)
        return True


def _mode(publication: Publication) -> Mode:
    return "auto" if publication.terms.is_public else "manual"


def _stays_on(kept: Kept) -> bool:
    return kept.push.mode == "auto" and kept.push.waiting_since is None


def _carries(kept: Kept) -> bool:
    return bool(kept.push.formats or kept.targets)
