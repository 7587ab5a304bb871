"""Recordings that somebody asks for, and those that the terms of a publisher ask for: begun, answered, ended."""

from __future__ import annotations

import asyncio
import json

import pytest

from rtmpd.config_file import validate
from rtmpd.errors import StoreError
from rtmpd.workers import answers
from rtmpd.workers import recorder as recorder_module
from rtmpd.workers.answers import NotEntered
from rtmpd.workers.request import RequestRefused
from tests.helpers.studio import Rig, until


@pytest.fixture
async def rig(tmp_path):
    rig = await Rig.open(tmp_path)
    yield rig
    await rig.close()


def frames_of(rig, file):
    return rig.frames(file.path)


async def finish_feeds(rig):
    """Let the workers write what is left, and close what has ended."""
    await rig.settle()
    for worker in rig.supervisor.running:
        worker.finish()
    await rig.settle()


async def stop(rig, task_id):
    """Stop a task while its worker does what it has to."""
    stopping = asyncio.ensure_future(rig.recorder.stop(task_id))
    while not stopping.done():
        await finish_feeds(rig)
        await asyncio.sleep(0)
    return await stopping


class TestRequests:
    """Recordings on demand."""

    @pytest.fixture
    async def rig(self, tmp_path):
        rig = await Rig.open(tmp_path, record="manual")
        yield rig
        await rig.close()

    async def test_records_from_the_newest_key_frame_to_the_stop_under_its_own_name(self, rig):
        publication = rig.publish(query="room=5")
        rig.send(publication, "k.")
        numbers = rig.send(publication, "k.")
        started = rig.request(publication, task_id="t", file_name="Lesson 7", tags=("a",))
        await started.entered()
        numbers += rig.send(publication, ".k")
        stopped = await stop(rig, "t")

        (file,) = stopped.files
        assert (started.already, started.notes, stopped.already, stopped.state) == (False, (), False, "closed")
        assert (stopped.row.task_id, stopped.row.tags, stopped.row.stream_param) == ("t", ("a",), "room=5")
        assert frames_of(rig, file) == numbers
        assert (file.state, file.size_bytes) == ("closed", 4 * len(numbers))
        assert file.path == f"live/s/Lesson%207-{started.row.recording_id}-001.flv"
        (body,) = map(json.loads, await rig.owed(100))
        assert (body["task_id"], body["file_id"]) == ("t", file.file_id)
        turns = [json.loads(body) for body in await rig.owed(332)]
        assert [turn["record_event"] for turn in turns] == ["record_start_succeeded", "record_ended"]
        assert {turn["task_id"] for turn in turns} == {"t"}
        assert turns[-1]["record_detail"]["reason"] == "it was told to stop"

    async def test_asked_again_while_it_runs_changes_nothing(self, rig):
        publication = rig.publish()
        first = rig.request(publication, task_id="t", file_name="n")
        again = rig.request(publication, task_id="u", file_name="n")

        assert (again.already, again.row.task_id) == (True, "t")
        assert again.recorder is first.recorder
        assert len(rig.recorder.recordings) == 1

    async def test_asked_again_after_its_stop_is_another_recording(self, rig):
        publication = rig.publish()
        rig.request(publication, task_id="t").recorder.end("stopped")

        assert not rig.request(publication, task_id="u").already

    async def test_another_wish_is_another_recording(self, rig):
        publication = rig.publish()
        for wish in ({}, {"file_name": "n"}, {"record_type": "audio"}, {"formats": ("hls",)}, {"push": True}):
            assert not rig.request(publication, **wish).already

        assert len(rig.recorder.recordings) == 5

    async def test_a_stream_has_a_bounded_number_of_recordings(self, rig, monkeypatch):
        monkeypatch.setattr(recorder_module, "AT_ONCE", 2)
        publication = rig.publish()
        for name in "ab":
            rig.request(publication, file_name=name)

        with pytest.raises(RequestRefused, match="2 recordings of live/s are running"):
            rig.request(publication, file_name="c")
        assert rig.request(publication, file_name="a").already

    async def test_what_cannot_be_recorded_is_refused_and_leaves_nothing(self, rig):
        publication = rig.publish()
        for wish in ({"file_name": "../x"}, {"formats": ("avi",)}):
            with pytest.raises(RequestRefused):
                rig.request(publication, **wish)
        rig.end(publication)
        with pytest.raises(RequestRefused, match="live/s is not being published"):
            rig.request(publication)
        publication = rig.publish()
        rig.recorder.apps = {}
        with pytest.raises(RequestRefused, match="there is no application 'live'"):
            rig.request(publication)

        assert rig.recorder.recordings == ()
        assert await rig.recordings() == {}

    async def test_nothing_is_begun_while_the_server_stops(self, rig):
        publication = rig.publish()
        await rig.recorder.close(1.0)

        with pytest.raises(RequestRefused, match="stopping"):
            rig.request(publication)

    async def test_sound_alone_is_asked_of_the_worker(self, rig):
        publication = rig.publish()
        rig.request(publication, record_type="audio", formats=("flv", "m4a"))
        await rig.settle()

        assert [output.sound_only for output in rig.worker.feed.request.outputs] == [True, True]

    async def test_an_answer_follows_the_commit(self, rig):
        publication = rig.publish()
        rig.hold_database()
        started = rig.request(publication, task_id="t")
        answer = asyncio.ensure_future(started.entered())
        await rig.settle()
        assert not answer.done()

        rig.release_database()
        await answer
        assert list((await rig.recordings()).values()) == ["running"]

    async def test_a_database_that_takes_nothing_is_not_waited_for_for_ever(self, rig, monkeypatch):
        monkeypatch.setattr(answers, "ENTER_S", 0.01)
        monkeypatch.setattr(recorder_module, "ENTER_S", 0.01)
        monkeypatch.setattr(recorder_module, "FILES_S", 0.01)
        publication = rig.publish()
        numbers = rig.send(publication, "k")
        rig.hold_database()
        started = rig.request(publication, task_id="t")
        with pytest.raises(NotEntered, match="as task t"):
            await started.entered()
        with pytest.raises(NotEntered, match="has not answered"):
            await rig.recorder.stop("t")
        rig.release_database()
        await finish_feeds(rig)

        assert [frames_of(rig, file) for file in await rig.files(task_id="t")] == [numbers]
        assert list((await rig.recordings()).values()) == ["ended"]

    async def test_an_index_that_refuses_to_say_anything_is_said(self, rig, monkeypatch):
        def find_task(_task_id):
            raise StoreError("damaged")

        monkeypatch.setattr(rig.index, "find_task", find_task)
        with pytest.raises(NotEntered, match="damaged"):
            await rig.recorder.stop("t")

    async def test_a_stop_that_the_index_cannot_take_is_not_called_unknown(self, rig, monkeypatch):
        monkeypatch.setattr(recorder_module, "FILES_S", 0.01)
        publication = rig.publish()
        rig.request(publication, task_id="t")

        async def find_task(_task_id):
            return None

        monkeypatch.setattr(rig.index, "find_task", find_task)
        with pytest.raises(NotEntered, match="it ends all the same"):
            await rig.recorder.stop("t")

    async def test_a_stop_that_is_not_written_down_is_not_called_done(self, rig, monkeypatch):
        monkeypatch.setattr(recorder_module, "FILES_S", 0.01)
        publication = rig.publish()
        await rig.request(publication, task_id="t").entered()
        full = StoreError("database or disk is full", cause="SQLITE_FULL")
        refused = []

        async def refuse(*_values):
            refused.append(1)
            raise full

        with monkeypatch.context() as patch:
            patch.setattr(rig.index, "ending", refuse)
            with pytest.raises(NotEntered, match="is the disk full"):
                await rig.recorder.stop("t")
            await until(lambda: refused)

    async def test_files_that_take_long_are_named_with_their_final_ids(self, rig, monkeypatch):
        monkeypatch.setattr(recorder_module, "FILES_S", 0.01)
        publication = rig.publish()
        rig.send(publication, "k.")
        await rig.request(publication, task_id="t").entered()
        await rig.settle()
        rig.worker.write()
        rig.worker.cut()
        await rig.settle()
        closing = await rig.recorder.stop("t")
        assert (closing.state, closing.already) == ("closing", False)
        assert [file.state for file in closing.files] == ["closed", "open"]
        again = await rig.recorder.stop("t")
        assert (again.state, again.already) == ("closing", True)

        rig.send(publication, ".")
        await finish_feeds(rig)
        closed = await rig.recorder.stop("t")
        assert (closed.state, closed.already) == ("closed", True)
        assert closed.files[0].file_id == closing.files[0].file_id

    async def test_nobody_knows_a_task_that_was_never_asked_for(self, rig):
        assert await rig.recorder.stop("nobody") is None
        assert rig.recorder.find("nobody") is None

    async def test_a_recording_ends_when_it_has_lasted_as_long_as_it_may(self, rig):
        publication = rig.publish()
        numbers = rig.send(publication, "k.")
        started = rig.request(publication, task_id="t", max_duration_s=30.0)
        assert started.row.ends_at == pytest.approx(started.row.started_at + 30)
        await rig.pass_time(29)
        assert rig.recorder.find("t").phase == "running"
        await rig.pass_time(2)
        await finish_feeds(rig)

        assert rig.recorder.find("t") is None
        assert [frames_of(rig, file) for file in await rig.files()] == [numbers]
        assert json.loads((await rig.owed(332))[-1])["record_detail"]["reason"] == "its maximum duration is over"

    async def test_what_runs_can_be_listed(self, rig):
        rig.recorder.apps = validate({"apps": {"live": {"record": "auto"}}}).apps
        publication = rig.publish()
        rig.send(publication, "k.")
        rig.request(publication, task_id="t", push=True)
        await rig.settle()
        for worker in rig.supervisor.workers:
            worker.write()
        automatic, requested = rig.recorder.statuses

        assert (automatic.row.origin, automatic.row.task_id, automatic.phase) == ("auto", None, "running")
        assert (requested.row.task_id, requested.row.push, requested.row.formats) == ("t", True, ("flv",))
        assert requested == rig.recorder.find("t")
        assert rig.recorder.statuses_of("live", "s") == (automatic, requested)
        assert rig.recorder.statuses_of("live", "other") == ()
        assert requested.recorded_bytes == rig.worker.feed.feed_bytes > 0

    async def test_a_dead_worker_does_not_make_what_was_recorded_less(self, rig):
        publication = rig.publish()
        rig.send(publication, "k.")
        rig.request(publication, task_id="t")
        await rig.settle()
        rig.worker.write()
        before = rig.recorder.find("t").recorded_bytes
        rig.supervisor.die(rig.worker)
        await rig.settle()

        assert rig.recorder.find("t").recorded_bytes == before

    async def test_a_lost_publisher_and_its_return_are_told_in_order(self, rig):
        publication = rig.publish()
        rig.send(publication, "k.")
        rig.request(publication, task_id="t")
        await rig.settle()
        rig.worker.write()
        rig.end(publication)
        await rig.settle()
        assert rig.recorder.find("t").phase == "waiting"
        rig.publish()
        await rig.settle()
        await stop(rig, "t")

        turns = [json.loads(body) for body in await rig.owed(332)]
        assert [(turn["record_event"], turn["seq"]) for turn in turns] == [
            ("record_start_succeeded", 1),
            ("record_paused", 2),
            ("record_resumed", 3),
            ("record_ended", 4),
        ]


class TestTerms:
    """What was settled when the publisher was admitted wins over the configuration."""

    @pytest.mark.parametrize(("configured", "terms", "is_recorded"), [("manual", True, True), ("auto", False, False)])
    async def test_say_whether_a_stream_is_recorded(self, tmp_path, configured, terms, is_recorded):
        rig = await Rig.open(tmp_path, record=configured)
        rig.publish(record=terms)
        await rig.settle()

        assert len(rig.supervisor.workers) == is_recorded
        await rig.close()

    async def test_say_as_what_it_is_recorded_and_their_query_is_kept(self, rig):
        rig.publish(record_formats=("hls", "mp4"), query="room=5")
        await rig.settle()
        (recorder,) = rig.recorder.recordings

        assert rig.worker.formats == ("hls", "mp4")
        assert recorder.row.stream_param == "room=5"

    async def test_a_publisher_that_returns_and_is_not_to_be_recorded_ends_what_waits(self, rig):
        publication = rig.publish()
        rig.request(publication, task_id="t")
        await rig.settle()
        rig.end(publication)
        rig.publish(record=False)
        await finish_feeds(rig)

        assert [each.row.task_id for each in rig.recorder.recordings] == ["t"]
        assert sorted((await rig.recordings()).values()) == ["ended", "running"]
