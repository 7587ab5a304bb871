"""
The pushes that have not ended, as they are known in memory, and what is noted of them for the next server.

Values are immutable and replaced whole. Facts that nobody waits for (a publisher that was lost, a recording that began
again) are noted and written in time; each note is about its own columns, so that none undoes what an operation commits
meanwhile.
"""

from __future__ import annotations

import functools
import secrets
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from rtmpd.control.commits import Commits
from rtmpd.control.push_values import TARGETS
from rtmpd.control.rooms import Named
from rtmpd.errors import NotPossible
from rtmpd.logs import Logger
from rtmpd.store import pushes as store
from rtmpd.store.pushes import Kept, Mode, TargetOrigin, TargetRow


def name_of(kept: Kept) -> Named:
    """The stream of a push."""
    return Named(kept.push.app, kept.push.stream)


def about(kept: Kept) -> dict[str, str]:
    """Which push it is, for log lines."""
    return {"stream": name_of(kept).path, "channel_id": kept.push.channel_id}


class PushBook:
    """Every push that has not ended, one for each stream."""

    def __init__(self, commits: Commits, log: Logger, clock: Callable[[], float]) -> None:
        """
        Start without pushes.

        Args:
            commits: writes what is noted.
            log: for targets that come and go.
            clock: unix seconds.
        """
        self.observers: list[Callable[[Named], None]] = []
        """Told of each change of a stream's push: while it is made, so that what it means comes later."""
        self._commits = commits
        self._log = log
        self._clock = clock
        self._by_id: dict[str, Kept] = {}
        self._by_name: dict[Named, str] = {}

    def __iter__(self) -> Iterator[Kept]:
        return iter(list(self._by_id.values()))

    def of(self, stream: Named) -> Kept | None:
        """The push of a stream, if it has one."""
        return self._by_id.get(self._by_name.get(stream, ""))

    def find(self, channel_id: str) -> Kept | None:
        """The push of an id, if it has not ended."""
        return self._by_id.get(channel_id)

    def get(self, channel_id: str) -> Kept:
        """
        The push of an id.

        Raises:
            NotPossible: "unknown": there is none, or it has ended.
        """
        kept = self._by_id.get(channel_id)
        if kept is None:
            raise NotPossible("unknown", f"there is no push {channel_id}")
        return kept

    def put(self, kept: Kept) -> None:
        """Know a push that is stored, in the place of whatever push its stream had."""
        earlier = self._by_name.get(name_of(kept), "")
        self._by_id.pop(earlier, None)
        self._by_name[name_of(kept)] = kept.push.channel_id
        self._by_id[kept.push.channel_id] = kept
        self._tell(name_of(kept))

    def drop(self, kept: Kept) -> None:
        """Forget a push that has ended."""
        del self._by_id[kept.push.channel_id]
        del self._by_name[name_of(kept)]
        self._tell(name_of(kept))

    def _tell(self, stream: Named) -> None:
        for observer in self.observers:
            observer(stream)

    def note_end(self, channel_id: str) -> None:
        """Have the end of a push written, whether it is known here or not."""
        now = self._clock()
        self._commits.note(("end", channel_id), lambda connection: store.end(connection, channel_id, now))

    def set_state(self, kept: Kept, mode: Mode, waiting_since: float | None) -> None:
        """Take note of a push's publisher: its mode, or since when it is gone."""
        if (kept.push.mode, kept.push.waiting_since) == (mode, waiting_since):
            return
        channel_id = kept.push.channel_id
        self.put(kept._replace(push=replace(kept.push, mode=mode, waiting_since=waiting_since)))
        self._commits.note(
            ("state", channel_id), lambda connection: store.set_state(connection, channel_id, mode, waiting_since)
        )

    def set_recording(self, kept: Kept, formats: tuple[str, ...], task_id: str | None) -> None:
        """Take note of how a push is recorded."""
        push = replace(kept.push, formats=formats, record_task_id=task_id)
        self.put(kept._replace(push=push))
        self._commits.note(("recording", push.channel_id), lambda connection: store.set_recording(connection, push))

    def new_targets(
        self, channel_id: str, had: Sequence[TargetRow], urls: Sequence[str], origin: TargetOrigin = "request"
    ) -> tuple[TargetRow, ...]:
        """Make rows of those URLs that a push does not have."""
        known = {each.url for each in had}
        new = [url for url in dict.fromkeys(urls) if url not in known]
        now = self._clock()
        return tuple(TargetRow(secrets.token_hex(6), channel_id, url, now, origin) for url in new)

    def hook_targets(self, channel_id: str, had: Sequence[TargetRow], urls: Sequence[str]) -> tuple[TargetRow, ...]:
        """Make rows of what a hook names, as far as there is room: it may name other URLs for each publisher."""
        targets = self.new_targets(channel_id, had, urls, "hook")
        room = max(TARGETS - len(had), 0)
        if len(targets) > room:
            self._log.warning("push targets left out", channel_id=channel_id, targets=len(targets) - room)
        return targets[:room]

    def take_hook_targets(self, channel_id: str, urls: Sequence[str]) -> None:
        """Have a push relayed to what a hook names now, and no more to what one named before."""
        gone = [each for each in self.get(channel_id).targets if each.origin == "hook" and each.url not in urls]
        for target in gone:
            self.drop_target(channel_id, target.target_id)
        self.note_targets_removed(gone)
        targets = self.hook_targets(channel_id, self.get(channel_id).targets, urls)
        if targets:
            self._commits.note(("targets", targets), lambda connection: store.add_targets(connection, targets))
            self.add_targets(channel_id, targets)

    def add_targets(self, channel_id: str, targets: tuple[TargetRow, ...]) -> None:
        """Give a push targets that are stored."""
        kept = self.get(channel_id)
        self.put(kept._replace(targets=kept.targets + targets))
        for target in targets:
            self._log.info("push target added", **about(kept), target_id=target.target_id)

    def drop_target(self, channel_id: str, target_id: str) -> TargetRow | None:
        """Forget a target that was taken away; returns it, if it was there until now."""
        kept = self._by_id.get(channel_id)
        target = next((each for each in kept.targets if each.target_id == target_id), None) if kept else None
        if kept is not None and target is not None:
            self.put(kept._replace(targets=tuple(each for each in kept.targets if each is not target)))
            self._log.info("push target removed", **about(kept), target_id=target_id)
        return target

    def note_targets_removed(self, targets: Iterable[TargetRow]) -> None:
        """Have targets taken away that are stored, or will be by an earlier note."""
        now = self._clock()
        for target in targets:
            self._commits.note(
                ("target", target.target_id),
                functools.partial(_remove_target, target=target, now=now),
            )


def _remove_target(connection: sqlite3.Connection, target: TargetRow, now: float) -> None:
    store.remove_target(connection, target.channel_id, target.target_id, now)
