"""The recordings of pushes: one for each, adopted, refused, ended."""

from __future__ import annotations

import json

import pytest

from rtmpd.control.commits import Commits
from rtmpd.control.push_recordings import PushRecordings
from rtmpd.control.push_values import PushRequest
from rtmpd.control.pushes import Pushes
from rtmpd.control.rooms import Named
from rtmpd.net.tasks import Tasks
from rtmpd.store import pushes as store
from tests.helpers import studio
from tests.helpers.live import new_registry, publish_to
from tests.helpers.pushes import LIVE_S, PlayedRecorder, PlayedRow, PlayedStatus
from tests.helpers.studio import logger_to, until


class Rig:
    def __init__(self):
        self.lines, self.failures = [], []
        self.recorder = PlayedRecorder()
        self.recordings = PushRecordings(self.recorder, Tasks(self.failures.append), logger_to(self.lines))
        self.stream = publish_to(new_registry()).stream

    def runs(self, task_id, *, push=True, phase="running", stream="s"):
        row = PlayedRow(f"r-{task_id}", task_id, "live", stream, push=push)
        self.recorder.statuses.append(PlayedStatus(row, phase))


@pytest.fixture
def rig():
    return Rig()


def test_what_nobody_asked_for_is_not_recorded(rig):
    assert rig.recordings.keep(rig.stream, ()).task_id is None
    assert rig.recorder.requests == []


@pytest.mark.parametrize(
    ("formats", "record_type"),
    [(("flv",), "video"), (("hls", "mp4"), "video"), (("mp3",), "audio"), (("flv", "mp3"), "video")],
)
def test_sound_alone_is_recorded_where_only_sound_is_wanted(rig, formats, record_type):
    recorded = rig.recordings.keep(rig.stream, formats, 7)

    (request,) = rig.recorder.requests
    assert (request.formats, request.record_type, request.push) == (formats, record_type, True)
    assert request.record_id == 7
    assert recorded.task_id == request.task_id == recorded.started.row.task_id
    assert rig.recordings.find(LIVE_S) == request.task_id


@pytest.mark.parametrize("phase", ["starting", "running", "waiting"])
def test_what_records_the_stream_for_its_push_already_goes_on(rig, phase):
    rig.runs("t", phase=phase)

    assert rig.recordings.keep(rig.stream, ("flv",)).task_id == "t"
    assert rig.recorder.requests == []


@pytest.mark.parametrize(
    "other", [{"push": False}, {"stream": "other"}, {"phase": "ending"}, {"phase": "ended"}], ids=str
)
def test_other_recordings_are_none_of_a_push(rig, other):
    rig.runs("t", **other)

    assert rig.recordings.find(LIVE_S) is None
    assert rig.recordings.keep(rig.stream, ("flv",)).task_id != "t"


def test_what_cannot_be_recorded_is_said(rig):
    rig.recorder.refuse = "MP4 cannot carry vp08"
    recorded = rig.recordings.keep(rig.stream, ("mp4",))

    assert (recorded.task_id, recorded.notes) == (None, ["not recorded: MP4 cannot carry vp08"])
    assert [values["reason"] for _, values in rig.lines] == ["MP4 cannot carry vp08"]


async def test_ending_ends_what_is_the_streams_and_the_pushs(rig):
    for task_id, other in (("mine", {}), ("asked for", {"push": False}), ("another", {"stream": "other"})):
        rig.runs(task_id, **other)
    rig.recordings.end(LIVE_S)
    rig.recordings.end(Named("live", "never"))
    await until(lambda: rig.recorder.stopped)

    assert rig.recorder.stopped == ["mine"]
    assert [values["event"] for _, values in rig.lines] == ["record stopped"]


async def test_an_index_that_does_not_answer_is_said(rig):
    rig.runs("t")
    rig.recorder.not_entered = "the index did not answer"
    rig.recordings.end(LIVE_S)
    await until(lambda: rig.lines)

    assert [values["event"] for _, values in rig.lines] == ["record not stopped in time"]
    assert rig.failures == []


class Server:
    """Pushes over the real recorder, with a media worker that the test plays."""

    def __init__(self, rig):
        self.rig = rig
        tasks = Tasks(rig.faults.append)
        commits = Commits(rig.database, logger_to(rig.lines))
        recordings = PushRecordings(rig.recorder, tasks, logger_to(rig.lines))
        log = logger_to(rig.lines)
        self.pushes = Pushes(commits, rig.registry, recordings, rig.config.apps, tasks=tasks, log=log)
        rig.registry.observers.append(self.pushes)
        self.tasks = tasks
        self.commits = commits

    @classmethod
    async def open(cls, directory, **app):
        server = cls(await studio.Rig.open(directory, push="manual", record="manual", **app))
        await server.pushes.take_up()
        server.tasks.supervise(server.commits.run(), "commits")
        return server

    async def start(self, *formats, record_id=None):
        begun = await self.pushes.start(LIVE_S, PushRequest("n", formats=formats, record_id=record_id))
        await begun.recorded.started.entered()
        return begun

    async def kill(self):
        await self.commits.flush(studio.PATIENCE_S)
        await self.rig.settle()
        await self.tasks.cancel()
        await self.rig.close()

    async def finish(self):
        """Let what ends come to its end."""
        while any(each.row.push for each in self.rig.recorder.statuses):
            await self.rig.settle()
            for worker in self.rig.supervisor.running:
                worker.finish()
        await self.rig.settle()

    @property
    def running(self):
        return [(each.row.task_id, each.phase) for each in self.rig.recorder.statuses if each.row.push]


async def test_a_recording_goes_on_with_its_push_over_lost_publishers_and_kills(tmp_path):
    server = await Server.open(tmp_path)
    publication = server.rig.publish(is_public=False)
    server.rig.send(publication, "k.")
    task_id = (await server.start("flv", record_id=754)).recorded.task_id
    await server.rig.settle()
    assert server.running == [(task_id, "running")]

    server.rig.end(publication)
    await server.rig.settle()
    assert server.running == [(task_id, "waiting")]
    publication = server.rig.publish(is_public=False)
    server.rig.send(publication, "k.")
    await server.rig.settle()
    assert server.running == [(task_id, "running")]
    await server.kill()

    server = await Server.open(tmp_path)
    publication = server.rig.publish(is_public=False)
    server.rig.send(publication, "k.")
    await server.rig.settle()
    assert server.running == [(task_id, "running")]
    (kept,) = server.pushes
    assert (kept.push.record_task_id, publication.stream.is_watchable) == (task_id, True)

    await server.pushes.stop([kept.push.channel_id])
    await server.finish()
    assert not publication.stream.is_watchable
    assert set((await server.rig.recordings()).values()) == {"ended"}
    turns = [json.loads(body) for body in await server.rig.owed(332)]
    assert turns[-1]["record_event"] == "record_ended"
    assert {(each["task_id"], each["record_id"]) for each in turns} == {(task_id, 754)}
    await server.kill()


async def test_a_recording_that_has_waited_too_long_begins_again_with_its_push(tmp_path):
    server = await Server.open(tmp_path, resume_s=5)
    publication = server.rig.publish(is_public=False)
    server.rig.send(publication, "k.")
    first = (await server.start("flv")).recorded.task_id
    await server.rig.settle()
    server.rig.end(publication)
    await server.rig.pass_time(6)
    await server.finish()
    assert server.running == []

    publication = server.rig.publish(is_public=False)
    server.rig.send(publication, "k.")
    await server.rig.settle()
    ((second, phase),) = server.running
    assert (second != first, phase) == (True, "running")
    assert [kept.push.record_task_id for kept in server.pushes] == [second]
    await server.kill()


async def test_what_a_kill_left_of_a_push_that_was_stopped_ends_when_the_stream_is_back(tmp_path):
    server = await Server.open(tmp_path)
    publication = server.rig.publish(is_public=False)
    server.rig.send(publication, "k.")
    begun = await server.start("flv")
    await server.rig.settle()
    await server.rig.database.submit(lambda connection: store.end(connection, begun.kept.push.channel_id, 5.0))
    await server.kill()  # right after the commit of the stop

    server = await Server.open(tmp_path)
    publication = server.rig.publish(is_public=False)
    server.rig.send(publication, "k.")
    await server.finish()
    assert (server.running, tuple(server.pushes), publication.stream.is_watchable) == ([], (), False)
    await server.kill()
