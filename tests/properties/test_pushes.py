"""Pushes against a model, whatever publishers, callers, the clock, the database and restarts do in whichever order."""

from __future__ import annotations

import asyncio
import copy
import sqlite3
from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from rtmpd.errors import NotPossible, StoreError
from rtmpd.store import schema
from tests.helpers.pushes import PushRig

KEPT_S = 3600
NAMES = st.sampled_from(["a", "b"])


class AtOnce:
    """A database without a thread, which can be down: a work is done, or refused, when it is submitted."""

    def __init__(self):
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        self.connection.row_factory = sqlite3.Row
        schema.migrate(self.connection)
        self.connection.execute("PRAGMA foreign_keys = ON")
        self.is_down = False

    def submit(self, work):
        future = asyncio.get_running_loop().create_future()
        if self.is_down:
            future.set_exception(StoreError("disk full", cause="SQLITE_FULL"))
            return future
        self.connection.execute("BEGIN")
        future.set_result(work(self.connection))
        self.connection.execute("COMMIT")
        return future

    async def close(self):
        """Stay, for the next server."""


class Rig(PushRig):
    """Pushes on a database that outlives them."""

    def __init__(self):
        super().__init__(None, {"push_kept_s": KEPT_S})
        self.stored = AtOnce()

    async def _open_database(self):
        return self.stored

    async def rest(self):
        """Let everything that can be done be done."""
        for _ in range(30):
            await asyncio.sleep(0)
        if not self.stored.is_down:
            await self.settle()


@dataclass
class Live:
    """A stream that somebody publishes, or published within the grace time."""

    public: bool
    publication: object | None


@dataclass
class Push:
    channel_id: str
    mode: str
    waiting_since: float | None
    records: bool
    urls: set = field(default_factory=set)


@dataclass
class Known:
    """What the server should know."""

    pushes: dict = field(default_factory=dict)
    """By the name of the stream."""
    ended: set = field(default_factory=set)


class PushesAgainstModel(RuleBasedStateMachine):
    """A stream can be watched iff its publisher is public or its push is on; nothing is on twice, ids stay."""

    def __init__(self):
        super().__init__()
        self.runner = asyncio.Runner()
        self.rig = Rig()
        self.run(self.rig._start())
        self.live = {}
        self.known = Known()
        self.stored = Known()

    def run(self, work):
        return self.runner.run(work)

    def teardown(self):
        self.rig.stored.is_down = False
        self.run(self.rig.close())
        self.rig.stored.connection.close()
        self.runner.close()

    def rest(self):
        self.run(self.rig.rest())
        if not self.rig.stored.is_down:
            self.stored = copy.deepcopy(self.known)

    def end(self, name):
        self.known.ended.add(self.known.pushes.pop(name).channel_id)

    def end_overdue(self):
        for name, push in list(self.known.pushes.items()):
            if push.waiting_since is not None and push.waiting_since + KEPT_S <= self.rig.now:
                self.end(name)

    @rule(name=NAMES, public=st.booleans())
    def publish(self, name, public):
        push = self.known.pushes.get(name)
        if push is not None and push.waiting_since is not None and push.waiting_since + KEPT_S <= self.rig.now:
            self.end(name)

        async def publish():
            return self.rig.publish(name, public=public)

        self.live[name] = Live(public, self.run(publish()))
        if name in self.known.pushes:
            push = self.known.pushes[name]
            push.mode, push.waiting_since = "auto" if public else "manual", None
        self.rest()

    @rule(name=NAMES, grace=st.booleans())
    def lose(self, name, grace):
        live = self.live.get(name)
        if live is None or live.publication is None:
            return

        async def lose():
            self.rig.lose(live.publication, 1e12 if grace else None)

        self.run(lose())
        live.publication = None
        if not grace:
            self.stream_ended(name)
        self.rest()

    @rule()
    def end_grace(self):
        async def end():
            self.rig.registry.end_overdue(1e13)

        self.run(end())
        for name in [name for name, live in self.live.items() if live.publication is None]:
            self.stream_ended(name)
        self.rest()

    def stream_ended(self, name):
        del self.live[name]
        push = self.known.pushes.get(name)
        if push is not None and push.waiting_since is None:
            push.waiting_since = self.rig.now

    @rule(name=NAMES, records=st.booleans(), urls=st.sets(st.sampled_from(["rtmp://a/1", "rtmp://a/2"])))
    def start(self, name, records, urls):
        fields = {"formats": ("flv",) if records else (), "targets": tuple(urls)}
        live, push = self.live.get(name), self.known.pushes.get(name)
        if push is None and (live is None or live.publication is None):
            with pytest.raises(NotPossible, match="nobody publishes"):
                self.run(self.rig.start(name, **fields))
            return
        adds = push is None or bool(urls - push.urls) or (records and not push.records)
        if self.rig.stored.is_down and adds:
            with pytest.raises(NotPossible, match="nothing was done"):
                self.run(self.rig.start(name, **fields))
            self.rest()
            return
        begun = self.run(self.rig.start(name, **fields))
        assert begun.already == (push is not None)
        if push is None:
            channel_id = begun.kept.push.channel_id
            assert channel_id not in self.known.ended
            push = self.known.pushes[name] = Push(channel_id, "auto" if live.public else "manual", None, records)
        push.records = push.records or records
        push.urls |= urls
        self.rest()

    def channel_id_of(self, name):
        """A push of today, one that has ended, or none."""
        if name in self.known.pushes:
            return self.known.pushes[name].channel_id
        return min(self.known.ended, default="never")

    @rule(name=st.sampled_from(["a", "b", "ended"]), again=st.booleans())
    def stop(self, name, again):
        channel_id = self.channel_id_of(name)
        channel_ids = [channel_id, "never", channel_id][: 3 if again else 2]
        if self.rig.stored.is_down:
            with pytest.raises(NotPossible, match="nothing was done"):
                self.run(self.rig.stop(*channel_ids))
            self.rest()
            return
        first, never, *more = self.run(self.rig.stop(*channel_ids))
        assert never == (False, False, False)
        push = self.known.pushes.get(name)
        if push is None:
            assert first == (channel_id != "never", channel_id != "never", False)
        elif push.waiting_since is None and push.mode == "auto":
            assert first == (True, not (push.records or push.urls), True)
            push.records, push.urls = False, set()
        else:
            assert first == (True, False, False)
            self.end(name)
        assert all(each == first._replace(already=first.known) for each in more)
        self.rest()

    @rule(seconds=st.sampled_from([1, KEPT_S // 2, KEPT_S]), ticks=st.booleans())
    def time_passes(self, seconds, ticks):
        self.rig.now += seconds
        if ticks:

            async def tick():
                self.rig.pushes.tick(self.rig.now)

            self.run(tick())
            self.end_overdue()
        self.rest()

    @rule(is_down=st.booleans())
    def database(self, is_down):
        self.rig.stored.is_down = is_down
        self.rest()

    @rule(killed=st.booleans())
    def restart(self, killed):
        if not killed:
            self.rig.stored.is_down = False
            for name in list(self.live):
                self.stream_ended(name)
        known = copy.deepcopy(self.stored if killed else self.known)
        self.rig.stored.is_down = False
        self.rig.recorder.statuses = [each for each in self.rig.recorder.statuses if each.row.push]
        self.run(self.kill_and_start() if killed else self.rig.restart(killed=False))
        self.live = {}
        self.known = known
        for push in known.pushes.values():
            if push.waiting_since is None:
                push.waiting_since = self.rig.now
        self.end_overdue()
        self.rest()

    async def kill_and_start(self):
        self.rig.writing.cancel()  # nothing that is noted is written any more
        await self.rig.restart()

    @precondition(lambda self: any(each.waiting_since is not None for each in self.known.pushes.values()))
    @rule()
    def recordings_give_up_waiting(self):
        self.rig.recorder.give_up_waiting()

    @invariant()
    def it_can_be_watched_iff_it_is_public_or_its_push_is_on(self):
        for name in ("a", "b"):
            live, push = self.live.get(name), self.known.pushes.get(name)
            is_on = push is not None and push.waiting_since is None
            assert self.rig.is_watchable(name) == (live is not None and (live.public or is_on))

    @invariant()
    def pushes_are_those_of_the_model(self):
        pushes = {kept.push.stream: kept for kept in self.rig.pushes}
        assert pushes.keys() == self.known.pushes.keys()
        for name, (push, targets) in pushes.items():
            known = self.known.pushes[name]
            assert (push.channel_id, push.mode, push.waiting_since) == (
                known.channel_id,
                known.mode,
                known.waiting_since,
            )
            assert (bool(push.formats), {each.url for each in targets}) == (known.records, known.urls)

    @invariant()
    def a_published_stream_is_recorded_once_or_not_at_all(self):
        for name, live in self.live.items():
            if live.publication is not None:
                tasks = [each.row.task_id for each in self.rig.recorder.statuses if each.row.stream == name]
                push = self.known.pushes.get(name)
                assert len(tasks) == (push is not None and push.records)
                assert tasks in ([], [self.rig.push(name) and self.rig.push(name).record_task_id])


TestPushesAgainstModel = PushesAgainstModel.TestCase
TestPushesAgainstModel.settings = settings(settings(), stateful_step_count=25)
