"""The recorder: which streams are recorded, and that nothing is missing when a worker dies."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
from pathlib import Path

import pytest
import structlog

from rtmpd.config import validate
from rtmpd.live.log import Log
from rtmpd.net.fanout import FanOut, Pace
from rtmpd.net.poller import Poller
from rtmpd.wire.flv import TagReader
from rtmpd.workers import recorder as recorder_module
from rtmpd.workers.recorder import Recorder
from rtmpd.workers.recording import Recording, RecordingEnded, RecordingFailed, WorkerDied
from tests.helpers.live import inter_frame, key_frame, new_registry, publish_to, video_header


class FakeSupervisor:
    """Hands out feeds and keeps their other ends."""

    def __init__(self, on_event):
        self.on_event = on_event
        self.recordings = []
        self.stopped = False

    def start_recording(self, request):
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.setblocking(False)
        recording = Recording(request, ours, 0)
        self.recordings.append((recording, theirs))
        return recording

    async def start(self):
        pass

    async def stop(self, timeout_s):
        self.stopped = True
        return ()

    def received(self, index):
        data = bytearray()
        try:
            while part := self.recordings[index][1].recv(1 << 20):
                data += part
        except BlockingIOError:
            pass
        return bytes(data)


class Studio:
    def __init__(self, monkeypatch, tmp_path, **app):
        monkeypatch.setattr(recorder_module, "Supervisor", FakeSupervisor)
        loop = asyncio.get_running_loop()
        self.poller = Poller(loop, 0.005)
        self.fanout = FanOut(loop, self.poller, Pace())
        self.registry = new_registry()
        self.lines = []
        log = structlog.wrap_logger(
            None, processors=[self._keep], wrapper_class=structlog.make_filtering_bound_logger(0)
        )
        config = validate({"apps": {"live": {"record": "auto"} | app}})
        self.recorder = Recorder(tmp_path, config.apps, 10.0, self.fanout, self.poller, log)
        self.registry.observers.append(self.recorder)
        self.supervisor = self.recorder.supervisor

    def _keep(self, _logger, method, event):
        self.lines.append((method, event))
        raise structlog.DropEvent

    def send(self, publication, *messages):
        for message in messages:
            publication.append(message, asyncio.get_running_loop().time())
        self.fanout.mark(publication.stream.logs)

    async def settle(self):
        for _ in range(5):
            await asyncio.sleep(0.002)

    def close(self):
        self.poller.close()
        for recording, theirs in self.supervisor.recordings:
            recording.finish()
            theirs.close()


@pytest.fixture
async def studio(monkeypatch, tmp_path):
    studio = Studio(monkeypatch, tmp_path)
    yield studio
    studio.close()


def frames(data):
    return [(tag.timestamp_ms, tag.body[:2]) for tag in TagReader().feed(data)]


async def test_published_stream_is_fed_from_its_first_message_to_its_last(studio):
    publication = publish_to(studio.registry)
    studio.send(publication, video_header(), key_frame(0), inter_frame(40))
    studio.registry.unpublish(publication, "done", None)

    assert frames(studio.supervisor.received(0)) == [(0, b"\x17\0"), (0, b"\x17\1"), (40, b"\x27\1")]
    assert studio.supervisor.recordings[0][0].feed.fileno() < 0


async def test_manual_application_is_not_recorded(monkeypatch, tmp_path):
    studio = Studio(monkeypatch, tmp_path, record="manual")
    publish_to(studio.registry)

    assert studio.supervisor.recordings == []
    studio.close()


async def test_recording_goes_on_over_a_publisher_that_returns(studio):
    publication = publish_to(studio.registry)
    studio.send(publication, video_header(), key_frame(0))
    studio.registry.unpublish(publication, "lost", 1e9)
    again = publish_to(studio.registry)
    studio.send(again, video_header(), key_frame(0))
    await studio.settle()

    assert len(studio.supervisor.recordings) == 1
    times = [time for time, _ in frames(studio.supervisor.received(0))]
    assert times == sorted(times)


def assert_below(path, directory):
    assert Path(os.path.normpath(path)).is_relative_to(directory)


async def test_file_lies_in_the_recordings_folder_under_the_streams_name(studio, tmp_path):
    publish_to(studio.registry, name="../../x")
    (output,) = studio.supervisor.recordings[0][0].request.outputs

    assert_below(output.path, tmp_path)
    assert Path(output.path).suffix == ".flv"


async def test_dead_workers_recording_goes_on_at_the_key_frame_before_what_was_confirmed(studio):
    publication = publish_to(studio.registry)
    studio.send(publication, video_header(), key_frame(0), inter_frame(40))
    await studio.settle()
    old = studio.supervisor.recordings[0][0]
    first = studio.supervisor.received(0)
    studio.send(publication, key_frame(1000), inter_frame(1040))
    await studio.settle()
    first += studio.supervisor.received(0)
    confirmed = len(first)
    studio.send(publication, inter_frame(1080), key_frame(2000))
    await studio.settle()
    old.feed_bytes = confirmed
    studio.supervisor.on_event(WorkerDied(1, "killed by signal 9", (old,)))
    studio.send(publication, inter_frame(2040))
    await studio.settle()

    new = studio.supervisor.recordings[1][0]
    assert new.request.recording_id == old.request.recording_id
    assert new.request.sequence == 2
    assert [time for time, _ in frames(studio.supervisor.received(1))] == [1000, 1000, 1040, 1080, 2000, 2040]
    assert old.feed.fileno() < 0


async def test_worker_that_dies_after_the_streams_end_leaves_nothing_out_either(studio):
    publication = publish_to(studio.registry)
    studio.send(publication, video_header(), key_frame(0), inter_frame(40))
    studio.registry.unpublish(publication, "done", None)
    old = studio.supervisor.recordings[0][0]
    studio.supervisor.on_event(WorkerDied(1, "killed by signal 9", (old,)))

    assert [time for time, _ in frames(studio.supervisor.received(1))] == [0, 0, 40]
    assert studio.supervisor.recordings[1][0].feed.fileno() < 0


async def test_log_of_a_recorded_stream_is_freed_with_its_recording_without_the_collector(studio):
    gc.collect()
    gc.disable()
    try:
        before = sum(type(each) is Log for each in gc.get_objects())
        publication = publish_to(studio.registry)
        studio.send(publication, video_header(), key_frame(0))
        studio.registry.unpublish(publication, "done", None)
        recording = studio.supervisor.recordings[0][0]
        studio.supervisor.on_event(RecordingEnded(recording))
        del publication, recording
        await studio.settle()
        after = sum(type(each) is Log for each in gc.get_objects())
    finally:
        gc.enable()

    assert after == before


async def test_recording_that_failed_ends_alone_and_the_stream_goes_on(studio):
    publication = publish_to(studio.registry)
    studio.send(publication, video_header(), key_frame(0))
    recording = studio.supervisor.recordings[0][0]
    studio.supervisor.on_event(RecordingFailed(recording, "flv", "No space left on device", 28, 13, None))
    studio.supervisor.on_event(RecordingEnded(recording))
    studio.send(publication, inter_frame(40))
    await studio.settle()

    assert [event["reason"] for method, event in studio.lines if method == "error"] == ["No space left on device"]
    assert publication.current
    assert len(publication.stream.flv_log().cursors) == 0


async def test_worker_that_closes_its_end_is_let_go_of_without_a_fuss(studio):
    publication = publish_to(studio.registry)
    studio.send(publication, video_header(), key_frame(0))
    studio.supervisor.recordings[0][1].close()
    await studio.settle()
    studio.send(publication, inter_frame(40))
    await studio.settle()

    assert len(publication.stream.flv_log().cursors) == 0


async def test_stop_waits_until_every_recording_has_ended(studio):
    publication = publish_to(studio.registry)
    studio.send(publication, video_header(), key_frame(0))
    stopping = asyncio.ensure_future(studio.recorder.stop(5.0))
    await studio.settle()
    assert not studio.supervisor.stopped
    studio.supervisor.on_event(RecordingEnded(studio.supervisor.recordings[0][0]))
    await stopping

    assert studio.supervisor.stopped
