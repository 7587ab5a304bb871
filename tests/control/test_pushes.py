"""Pushes: who can watch what, and what becomes of a push that loses its publisher, its server or its database."""

from __future__ import annotations

import asyncio

import pytest

from rtmpd.control import pushes
from rtmpd.control.push_values import TARGETS
from rtmpd.control.pushes import REMEMBERED_S, STOPPED
from rtmpd.errors import NotPossible
from tests.helpers.pushes import TARGET, PushRig, let_run
from tests.helpers.studio import until

PATIENCE_S = 20.0
HASTY_S = 0.05


@pytest.fixture
async def rig(tmp_path):
    rig = await PushRig.open(tmp_path)
    yield rig
    await rig.close()


def only(ended):
    (one,) = ended
    return one


# Manual


async def test_a_private_stream_can_be_watched_from_the_start_of_its_push_to_its_stop(rig):
    rig.publish()
    watcher = rig.watch()
    assert (rig.is_watchable(), watcher.heard) == (False, [])

    begun = await rig.start()
    assert (rig.is_watchable(), watcher.heard) == (True, ["started"])
    assert (begun.already, begun.notes, begun.kept.push.mode) == (False, [], "manual")

    ended = only(await rig.stop(begun.kept.push.channel_id))
    assert (rig.is_watchable(), watcher.heard) == (False, ["started", f"ended: {STOPPED}"])
    assert ended == (True, False, False)
    assert rig.push() is None


async def test_a_push_has_to_have_a_publisher(rig):
    rig.watch()
    with pytest.raises(NotPossible, match="nobody publishes live/s") as raised:
        await rig.start()
    assert raised.value.kind == "unknown"


async def test_a_second_start_finds_the_push_of_the_first_and_adds_what_that_did_not_have(rig):
    rig.publish()
    first = await rig.start(channel_desc="d", record_id=7)
    second = await rig.start(channel_name="other", targets=(TARGET,), formats=("flv",), record_id=8)
    third = await rig.start(channel_desc="d", targets=(TARGET,), formats=("flv",))

    assert (second.already, third.already) == (True, True)
    assert second.kept == third.kept
    push, targets = second.kept
    assert (push.channel_id, push.channel_name, push.record_id) == (first.kept.push.channel_id, "n", 7)
    assert [each.url for each in targets] == [TARGET]
    assert [push.record_task_id] == rig.recorder.running
    assert second.notes == [
        "it keeps its record_id, 7",
        "it keeps the name and the description that it was started with",
    ]
    assert third.notes == []
    assert len(await rig.rows()) == 1
    assert [request.record_id for request in rig.recorder.requests] == [7]


async def test_the_first_number_that_a_push_is_given_is_the_one_that_its_recordings_have(rig):
    rig.publish()
    await rig.start()
    numbered = await rig.start(record_id=8, formats=("flv",))
    await rig.settle()
    await rig.restart()

    assert (numbered.kept.push.record_id, numbered.notes) == (8, [])
    assert [request.record_id for request in rig.recorder.requests] == [8]
    assert rig.push().record_id == 8


async def test_stops_are_told_apart(rig):
    rig.publish()
    channel_id = (await rig.start()).kept.push.channel_id

    ended = await rig.stop("never", channel_id, channel_id)
    assert ended == [(False, False, False), (True, False, False), (True, True, False)]
    assert await rig.stop(channel_id) == [(True, True, False)]


async def test_a_push_that_is_started_after_its_stop_is_another_one(rig):
    rig.publish()
    first = await rig.start()
    await rig.stop(first.kept.push.channel_id)
    second = await rig.start()

    assert not second.already
    assert second.kept.push.channel_id != first.kept.push.channel_id
    assert rig.is_watchable()


async def test_starts_at_the_same_time_come_to_one_push(rig):
    rig.publish()
    begun = await asyncio.gather(*(rig.start() for _ in range(5)))

    assert len({each.kept.push.channel_id for each in begun}) == 1
    assert sorted(each.already for each in begun) == [False, True, True, True, True]


async def test_a_stop_within_the_grace_time_ends_the_players(rig):
    publication = rig.publish()
    channel_id = (await rig.start()).kept.push.channel_id
    watcher = rig.watch()
    rig.lose(publication, 1e12)
    await rig.stop(channel_id)

    assert watcher.heard == ["started", f"ended: {STOPPED}"]
    rig.publish()
    assert not rig.is_watchable()


# Auto


async def test_a_public_stream_stays_watchable_and_its_push_stays_on_without_what_it_carried(rig):
    rig.publish(public=True)
    begun = await rig.start(targets=(TARGET,), formats=("flv",))
    channel_id = begun.kept.push.channel_id
    watcher = rig.watch()
    assert rig.recorder.running == [begun.kept.push.record_task_id]

    assert await rig.stop(channel_id) == [(True, False, True)]
    assert await rig.stop(channel_id) == [(True, True, True)]

    await rig.settle()
    assert (rig.is_watchable(), watcher.heard) == (True, ["started"])
    assert rig.recorder.running == []
    assert (await rig.start()).kept == ((await rig.start()).kept.push, ())
    assert rig.push().channel_id == channel_id
    await rig.restart()
    assert (rig.push().channel_id, rig.push().formats) == (channel_id, ())


async def test_what_a_hook_has_relayed_starts_a_push_by_itself(rig):
    rig.publish(public=True, targets=(TARGET, "rtmp://b/c"))
    await until(lambda: rig.push() is not None)

    (kept,) = rig.pushes
    assert [each.url for each in kept.targets] == [TARGET, "rtmp://b/c"]
    assert (kept.push.mode, kept.push.channel_name) == ("auto", "s")


async def test_what_a_hook_has_relayed_waits_for_the_database(rig, monkeypatch):
    monkeypatch.setattr(pushes, "RETRY_S", 0.001)
    rig.hold_database()
    rig.wait_for_commits(HASTY_S)
    rig.publish(public=True, targets=(TARGET,))
    await until(lambda: rig.said("push not started"))
    rig.wait_for_commits(PATIENCE_S)
    rig.release_database()
    await until(lambda: rig.push() is not None)
    await rig.settle()

    assert len(await rig.select("SELECT * FROM pushes WHERE ended_at IS NULL")) == 1


async def test_what_a_hook_has_relayed_of_a_private_stream_belongs_to_the_push_that_is_started(rig):
    rig.publish(targets=(TARGET,))
    await let_run()
    assert rig.push() is None

    begun = await rig.start(targets=("rtmp://b/c",))
    assert [each.url for each in begun.kept.targets] == ["rtmp://b/c", TARGET]


async def test_what_a_hook_has_relayed_joins_a_push_that_waited(rig):
    publication = rig.publish()
    await rig.start()
    rig.lose(publication)
    rig.publish(targets=(TARGET,))
    await rig.settle()

    await rig.restart()
    assert [[each.url for each in kept.targets] for kept in rig.pushes] == [[TARGET]]


async def test_a_hook_names_its_targets_anew_for_each_publisher(rig):
    rig.publish(targets=("rtmp://hook/1", "rtmp://hook/2"))
    channel_id = (await rig.start(targets=("rtmp://mine/1",))).kept.push.channel_id
    rig.publish(targets=("rtmp://hook/2", "rtmp://hook/3"))
    expected = ["rtmp://mine/1", "rtmp://hook/2", "rtmp://hook/3"]
    assert [[each.url for each in kept.targets] for kept in rig.pushes] == [expected]
    await rig.settle()
    await rig.restart()
    assert [[each.url for each in kept.targets] for kept in rig.pushes] == [expected]

    rig.publish(targets=("rtmp://hook/3",))
    (target,) = [each for kept in rig.pushes for each in kept.targets if each.url == "rtmp://hook/3"]
    await rig.pushes.remove_target(channel_id, target.target_id)
    again = await rig.start()
    assert [each.url for each in again.kept.targets] == ["rtmp://mine/1"]


async def test_a_hook_names_no_more_targets_than_a_push_may_have(rig):
    rig.publish(targets=tuple(f"rtmp://hook/{n}" for n in range(TARGETS + 5)))
    begun = await rig.start(targets=("rtmp://mine/1",))

    assert len(begun.kept.targets) == TARGETS
    assert begun.kept.targets[0].url == "rtmp://mine/1"
    assert [line["targets"] for line in rig.said("push targets left out")] == [6]


# Publishers that go and come back


async def test_a_push_waits_for_its_publisher_and_is_on_at_once_when_it_is_back(rig):
    publication = rig.publish()
    begun = await rig.start(targets=(TARGET,))
    rig.now += 5
    rig.lose(publication)
    assert (rig.push().waiting_since, rig.is_watchable()) == (rig.now, False)
    watcher = rig.watch()

    rig.now += 3599
    rig.publish()
    assert (rig.is_watchable(), watcher.heard) == (True, ["started"])
    assert rig.push() == begun.kept.push


async def test_a_push_is_on_while_its_players_are_kept(rig):
    publication = rig.publish()
    await rig.start()
    rig.lose(publication, 1e12)
    assert (rig.push().waiting_since, rig.is_watchable()) == (None, True)

    again = await rig.start()
    assert again.already
    assert again.notes == ["nobody publishes it now: it is on again when somebody does"]
    assert rig.is_watchable()


async def test_a_start_while_a_push_waits_finds_it(rig):
    publication = rig.publish()
    begun = await rig.start()
    rig.lose(publication)
    again = await rig.start(targets=(TARGET,), formats=("flv",))

    assert (again.already, again.kept.push.channel_id) == (True, begun.kept.push.channel_id)
    assert again.kept.push.waiting_since is not None
    assert again.notes == ["nobody publishes it now: it is on again when somebody does"]
    assert rig.recorder.running == []
    rig.publish()
    assert [rig.push().record_task_id] == rig.recorder.running


async def test_a_push_that_waits_can_be_stopped(rig):
    publication = rig.publish(public=True)
    channel_id = (await rig.start()).kept.push.channel_id
    rig.lose(publication)

    assert await rig.stop(channel_id) == [(True, False, False)]
    rig.publish()
    assert not rig.is_watchable()


@pytest.mark.parametrize("ticks", [True, False])
async def test_a_push_ends_when_its_publisher_comes_too_late(rig, ticks):
    publication = rig.publish()
    channel_id = (await rig.start()).kept.push.channel_id
    rig.lose(publication)
    rig.now += 3600
    if ticks:
        rig.pushes.tick(rig.now)
        assert rig.push() is None
    rig.publish()
    await rig.settle()

    assert (rig.push(), rig.is_watchable()) == (None, False)
    assert await rig.stop(channel_id) == [(True, True, False)]
    assert [line["reason"] for line in rig.said("push stopped")] == ["its publisher did not come back"]


async def test_how_long_a_push_waits_is_its_applications(tmp_path):
    rig = await PushRig.open(tmp_path, push_kept_s=10)
    publication = rig.publish()
    await rig.start()
    rig.lose(publication)
    rig.pushes.tick(rig.now + 9.9)
    assert rig.push() is not None
    rig.pushes.tick(rig.now + 10)
    assert rig.push() is None
    await rig.close()


async def test_a_push_of_an_application_that_is_no_more_waits_for_nobody(rig):
    publication = rig.publish()
    await rig.start()
    rig.pushes.apps = {}
    rig.pushes.tick(rig.now)
    assert rig.push() is not None
    rig.lose(publication)
    rig.pushes.tick(rig.now)
    assert rig.push() is None


async def test_a_publisher_with_other_terms_makes_the_stream_what_they_say(rig):
    rig.publish(public=True)
    watcher = rig.watch()
    rig.publish(public=False)
    assert (rig.is_watchable(), watcher.heard) == (False, ["started", "ended: the stream is private now"])

    begun = await rig.start()
    rig.publish(public=True)
    assert rig.push().mode == "auto"
    await rig.stop(begun.kept.push.channel_id)
    assert rig.is_watchable()
    rig.publish(public=False)
    assert rig.is_watchable()  # the push is still on, and holds for this publisher
    await rig.stop(begun.kept.push.channel_id)
    assert not rig.is_watchable()


# Restarts


@pytest.mark.parametrize("killed", [True, False])
async def test_a_push_outlives_the_server(rig, killed):
    rig.publish()
    begun = await rig.start(
        channel_name="Zoë", channel_desc="d", encode_type=6, record_id=7, formats=("mp4",), targets=(TARGET,)
    )
    await rig.settle()
    rig.now += 50
    await rig.restart(killed=killed)

    (kept,) = rig.pushes
    assert kept.push.waiting_since == rig.now
    rig.now += 3599
    rig.publish()
    assert tuple(rig.pushes) == (begun.kept,)
    assert rig.is_watchable()


async def test_an_overdue_push_is_none_after_a_restart(rig):
    publication = rig.publish()
    await rig.start()
    rig.lose(publication)
    await rig.restart(killed=False)
    rig.now += 3600
    await rig.restart()

    assert rig.push() is None


async def test_the_time_that_a_server_is_down_counts(rig):
    publication = rig.publish()
    await rig.start()
    rig.lose(publication)
    since = rig.now
    rig.now += 100
    await rig.restart(killed=False)

    assert rig.push().waiting_since == since


async def test_ends_are_remembered_over_restarts_for_a_day(rig):
    rig.publish()
    channel_id = (await rig.start()).kept.push.channel_id
    await rig.stop(channel_id)
    rig.now += REMEMBERED_S - 1
    await rig.restart()
    assert await rig.stop(channel_id) == [(True, True, False)]

    rig.now += 2
    rig.pushes.tick(rig.now + 60)
    await rig.settle()
    assert await rig.stop(channel_id) == [(False, False, False)]


# The database


async def test_a_start_is_committed_before_anybody_can_watch(rig):
    rig.publish()
    rig.hold_database()
    starting = asyncio.ensure_future(rig.start())
    await let_run()
    assert (rig.is_watchable(), starting.done(), rig.recorder.requests) == (False, False, [])

    rig.release_database()
    await starting
    assert rig.is_watchable()


async def test_a_stop_is_committed_before_it_is_answered(rig):
    rig.publish()
    channel_id = (await rig.start()).kept.push.channel_id
    rig.hold_database()
    stopping = asyncio.ensure_future(rig.stop(channel_id))
    await let_run()
    assert (rig.is_watchable(), stopping.done()) == (True, False)

    rig.release_database()
    await stopping
    assert not rig.is_watchable()


async def test_without_a_database_nothing_is_half_done(rig):
    rig.publish()
    rig.hold_database()
    rig.wait_for_commits(HASTY_S)
    with pytest.raises(NotPossible) as raised:
        await rig.start(formats=("flv",))
    assert raised.value.kind == "unavailable"
    rig.release_database()
    await rig.settle()

    assert (rig.is_watchable(), rig.push(), rig.recorder.requests, await rig.rows()) == (False, None, [], [])


@pytest.mark.parametrize(
    "operate",
    [
        lambda rig, channel_id: rig.stop(channel_id),
        lambda rig, channel_id: rig.start(targets=(TARGET,), formats=("flv",)),
        lambda rig, channel_id: rig.pushes.add_target(channel_id, TARGET),
        lambda rig, channel_id: rig.pushes.remove_target(channel_id, "t"),
    ],
    ids=["stop", "start again", "add a target", "remove a target"],
)
async def test_without_a_database_a_push_stays_as_it_is(rig, operate):
    rig.publish()
    begun = await rig.start()
    rig.hold_database()
    rig.wait_for_commits(HASTY_S)
    with pytest.raises(NotPossible, match="does not answer"):
        await operate(rig, begun.kept.push.channel_id)
    rig.release_database()
    await rig.settle()

    assert (rig.is_watchable(), tuple(rig.pushes)) == (True, (begun.kept,))
    assert await rig.select("SELECT * FROM push_targets") == []
    assert await rig.select("SELECT * FROM pushes WHERE ended_at IS NOT NULL OR formats <> '[]'") == []


class Slow:
    """A database whose commit is done and not told of before the test says so: a disk that hangs in a sync."""

    def __init__(self, database):
        self.database = database
        self.committed = asyncio.Event()
        self.told = asyncio.Event()

    def submit(self, work):
        return asyncio.ensure_future(self._submit(work))

    async def _submit(self, work):
        result = await self.database.submit(work)
        self.committed.set()
        await self.told.wait()
        return result


async def do_too_late(rig, operation):
    """Have an operation whose commit is told of only when nobody waits for it any more."""
    slow = rig.commits._database = Slow(rig.database)
    rig.wait_for_commits(HASTY_S)
    operating = asyncio.ensure_future(operation())
    await slow.committed.wait()
    with pytest.raises(NotPossible, match="does not answer"):
        await operating
    slow.told.set()
    rig.commits._database = rig.database
    rig.wait_for_commits(PATIENCE_S)
    await let_run()
    await rig.settle()


async def test_a_start_that_is_committed_too_late_is_taken_back(rig):
    rig.publish()
    await do_too_late(rig, lambda: rig.start(formats=("flv",)))

    assert (rig.is_watchable(), rig.push(), rig.recorder.requests) == (False, None, [])
    await rig.restart()
    assert rig.push() is None


async def test_a_stop_that_is_committed_too_late_is_one(rig):
    rig.publish()
    channel_id = (await rig.start()).kept.push.channel_id
    await do_too_late(rig, lambda: rig.stop(channel_id))

    assert (rig.is_watchable(), rig.push()) == (False, None)
    assert await rig.stop(channel_id) == [(True, True, False)]


async def test_what_a_second_start_adds_too_late_is_taken_back(rig):
    rig.publish()
    await rig.start()
    await do_too_late(rig, lambda: rig.start(targets=(TARGET,), formats=("flv",)))
    await rig.restart()

    (kept,) = rig.pushes
    assert (kept.push.formats, kept.targets) == ((), ())


async def test_who_asked_for_a_push_may_go_before_it_is_on(rig):
    rig.publish()
    rig.hold_database()
    starting = asyncio.ensure_future(rig.start())
    await let_run()
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    rig.release_database()

    await until(rig.is_watchable)
    assert (await rig.start()).already


async def test_a_publisher_may_go_before_its_push_is_on(rig):
    publication = rig.publish()
    rig.hold_database()
    starting = asyncio.ensure_future(rig.start())
    await let_run()
    rig.lose(publication)
    rig.release_database()
    begun = await starting

    assert begun.kept.push.waiting_since == rig.now
    assert begun.notes == ["nobody publishes it now: it is on again when somebody does"]
    await rig.settle()
    assert (await rig.rows())[0][2] == rig.now


async def test_what_happens_while_the_database_takes_nothing_is_written_later(rig):
    publication = rig.publish()
    await rig.start()
    rig.hold_database()
    rig.lose(publication)
    rig.publish(public=True)
    rig.release_database()
    await rig.settle()

    assert [(mode, since) for _, mode, since, _ in await rig.rows()] == [("auto", None)]


async def test_a_push_goes_on_while_one_of_the_same_stream_is_written_off(rig):
    publication = rig.publish()
    first = (await rig.start()).kept.push.channel_id
    rig.lose(publication)
    rig.hold_database()
    rig.pushes.tick(rig.now + 3600)
    rig.publish()
    starting = asyncio.ensure_future(rig.start())
    await let_run()
    rig.release_database()
    second = (await starting).kept.push.channel_id
    await rig.settle()

    assert {row[0]: row[3] is None for row in await rig.rows()} == {first: False, second: True}


async def test_what_was_noted_before_does_not_undo_what_is_committed_after(rig):
    rig.publish(public=True)
    rig.writing.cancel()  # notes wait from now on
    begun = await rig.start(formats=("flv",))
    await rig.stop(begun.kept.push.channel_id)
    rig.writing = rig.tasks.supervise(rig.commits.run(), "commits")
    await rig.settle()
    await rig.restart()
    assert rig.push().formats == ()

    rig.writing.cancel()
    rig.pushes.recording_stopped("none of ours")
    task_id = (await rig.start(formats=("mp4",))).kept.push.record_task_id
    assert task_id is None  # nobody publishes it
    rig.publish()
    publication = rig.registry.find("live", "s").publication
    rig.pushes.recording_stopped(rig.push().record_task_id)
    rig.lose(publication)
    await rig.start(formats=("flv",))
    rig.writing = rig.tasks.supervise(rig.commits.run(), "commits")
    await rig.settle()
    await rig.restart()
    assert rig.push().formats == ("flv",)


# Targets


async def test_targets_are_added_and_taken_while_a_push_is_on(rig):
    rig.publish()
    channel_id = (await rig.start()).kept.push.channel_id

    target, already = await rig.pushes.add_target(channel_id, TARGET)
    assert (target.url, already) == (TARGET, False)
    assert await rig.pushes.add_target(channel_id, TARGET) == (target, True)
    await rig.restart()
    assert [kept.targets for kept in rig.pushes] == [(target,)]

    assert await rig.pushes.remove_target(channel_id, target.target_id) is False
    assert await rig.pushes.remove_target(channel_id, target.target_id) is True
    await rig.restart()
    assert [kept.targets for kept in rig.pushes] == [()]


async def test_targets_that_cannot_be_are_refused(rig):
    rig.publish()
    channel_id = (await rig.start(targets=tuple(f"rtmp://a/{n}" for n in range(TARGETS)))).kept.push.channel_id

    for operation, kind in (
        (rig.pushes.add_target(channel_id, TARGET), "conflict"),
        (rig.start(targets=(TARGET,)), "conflict"),
        (rig.pushes.add_target("never", TARGET), "unknown"),
        (rig.pushes.remove_target("never", "t"), "unknown"),
        (rig.pushes.remove_target(channel_id, "never"), "unknown"),
    ):
        with pytest.raises(NotPossible) as raised:
            await operation
        assert raised.value.kind == kind
    assert [len(kept.targets) for kept in rig.pushes] == [TARGETS]


async def test_a_target_of_a_hook_can_be_taken_before_it_is_stored(rig):
    publication = rig.publish()
    channel_id = (await rig.start()).kept.push.channel_id
    rig.lose(publication)
    await rig.settle()
    rig.writing.cancel()  # from now on nothing is written that is only noted
    rig.publish(targets=(TARGET,))
    ((target,),) = [kept.targets for kept in rig.pushes]

    assert await rig.pushes.remove_target(channel_id, target.target_id) is False
    rig.writing = rig.tasks.supervise(rig.commits.run(), "commits")
    await rig.settle()
    await rig.restart()
    assert [kept.targets for kept in rig.pushes] == [()]


# Recordings


async def test_a_push_is_recorded_as_long_as_it_lasts(rig):
    rig.publish()
    begun = await rig.start(formats=("flv", "mp4"))
    (request,) = rig.recorder.requests
    assert (request.formats, request.record_type, request.push) == (("flv", "mp4"), "video", True)
    assert begun.recorded.task_id == begun.kept.push.record_task_id == request.task_id

    await rig.stop(begun.kept.push.channel_id)
    await rig.settle()
    assert rig.recorder.stopped == [request.task_id]


async def test_a_recording_goes_on_with_its_push_or_begins_again(rig):
    publication = rig.publish()
    first = (await rig.start(formats=("flv",))).recorded.task_id
    rig.lose(publication)
    publication = rig.publish()
    assert rig.recorder.running == [first] == [rig.push().record_task_id]

    rig.lose(publication)
    rig.recorder.give_up_waiting()
    rig.publish()
    assert rig.recorder.running == [rig.push().record_task_id] != [first]
    await rig.settle()
    second = rig.push().record_task_id
    await rig.restart()
    assert rig.push().record_task_id == second


async def test_a_push_that_cannot_be_recorded_is_on_and_says_so(rig):
    rig.publish()
    rig.recorder.refuse = "MP4 cannot carry vp08"
    begun = await rig.start(formats=("mp4",))
    assert rig.is_watchable()
    assert (begun.recorded.task_id, begun.notes) == (None, ["not recorded: MP4 cannot carry vp08"])

    rig.recorder.refuse = ""
    again = await rig.start(formats=("flv",))
    assert (again.already, again.notes, again.kept.push.formats) == (True, [], ("flv",))
    assert rig.recorder.running == [again.recorded.task_id]


async def test_a_recording_that_was_stopped_for_itself_does_not_begin_again(rig):
    publication = rig.publish()
    task_id = (await rig.start(formats=("flv",))).recorded.task_id
    await rig.recorder.stop(task_id)
    rig.pushes.recording_stopped("another")
    rig.pushes.recording_stopped(task_id)
    rig.lose(publication)
    rig.publish()

    assert rig.recorder.running == []
    await rig.settle()
    await rig.restart()
    assert (rig.push().formats, rig.push().record_task_id) == ((), task_id)


async def test_a_recording_that_a_kill_left_without_its_push_ends_when_the_stream_is_back(rig):
    rig.publish()
    begun = await rig.start(formats=("flv",))
    rig.hold_database()
    stopping = asyncio.ensure_future(rig.stop(begun.kept.push.channel_id))
    await let_run()
    rig.pushes._recordings.end = lambda _stream: None  # killed between the commit and what follows
    rig.release_database()
    await stopping
    await rig.restart()
    assert rig.recorder.running == [begun.recorded.task_id]

    rig.publish()
    await rig.settle()
    assert rig.recorder.running == []


async def test_a_recording_of_which_a_kill_left_no_note_is_the_pushs(rig):
    rig.publish()
    rig.writing.cancel()
    task_id = (await rig.start(formats=("flv",))).recorded.task_id
    await rig.restart()
    assert rig.push().record_task_id is None

    rig.publish()
    assert rig.push().record_task_id == task_id
    assert rig.recorder.running == [task_id]


# The log


async def test_what_happens_is_said_and_no_key_is(rig):
    publication = rig.publish()
    begun = await rig.start(targets=(TARGET,), formats=("flv",))
    target, _ = await rig.pushes.add_target(begun.kept.push.channel_id, "rtmp://b/secret-other")
    rig.lose(publication)
    rig.publish()
    await rig.pushes.remove_target(begun.kept.push.channel_id, target.target_id)
    await rig.stop(begun.kept.push.channel_id)
    await rig.settle()

    assert [values["event"] for _, values in rig.lines] == [
        "push started",
        "record requested",
        "push target added",
        "push waiting",
        "push resumed",
        "push target removed",
        "push stopped",
        "record stopped",
    ]
    assert all(values["stream"] == "live/s" for _, values in rig.lines)
    assert "secret" not in str(rig.lines)
