"""Recording, put together, with real media workers: whole paths from a stream to its files and the index."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from rtmpd.config_file import validate
from rtmpd.errors import StartError, StoreError
from rtmpd.live.log import Retention
from rtmpd.live.registry import Registry, Takeover
from rtmpd.net.fanout import FanOut, Pace
from rtmpd.net.poller import Poller
from rtmpd.net.tasks import Tasks
from rtmpd.store.database import Database
from rtmpd.store.listing import Query
from rtmpd.store.outbox import Outbox
from rtmpd.store.recordings import RecordingIndex
from rtmpd.wire.messages import Message
from rtmpd.workers import child
from rtmpd.workers.recording_office import RecordingOffice
from rtmpd.workers.request import RecordingRequest
from tests.helpers.footage import demux, footage, relative, tags_of, tracks_of
from tests.helpers.studio import PATIENCE_S, logger_to, rows_of, until

STOP_S = 20.0


class House:
    """A server as far as recording needs one."""

    def __init__(self, directory, database, **config):
        loop = asyncio.get_running_loop()
        self.directory = directory
        self.database = database
        self.index = RecordingIndex(database)
        self.lines = []
        self.failures = []
        self.poller = Poller(loop, 0.005)
        self.fanout = FanOut(loop, self.poller, Pace())
        self.tasks = Tasks(self.failures.append)
        self.config = validate({"apps": {"live": {"record": "auto"}}} | config)
        self.office = RecordingOffice(
            self.config,
            directory / "recordings",
            database,
            fanout=self.fanout,
            poller=self.poller,
            tasks=self.tasks,
            log=logger_to(self.lines),
        )
        self.registry = Registry(Retention())
        self.registry.observers.append(self.office.recorder)

    @classmethod
    async def open(cls, directory, **config):
        house = cls(directory, await Database.open(directory / "rtmpd.db"), **config)
        await house.office.open()
        return house

    @property
    def supervisor(self):
        return self.office.recorder._studio.supervisor

    def publish(self, name="s"):
        return self.registry.publish("live", name, "me", Takeover.SAME, lambda _reason: None)

    def send(self, publication, tags):
        for tag in tags:
            publication.append(Message(tag.type_id, tag.timestamp_ms, 1, tag.body), asyncio.get_running_loop().time())
        self.fanout.mark(publication.stream.logs)

    async def files(self):
        return [entry.file for entry in reversed(await self.index.list(Query()))]

    async def wait(self, event, count=1):
        await until(lambda: sum(values["event"] == event for _, values in self.lines) >= count)

    async def wait_until_written(self):
        """Wait until the one stream that is recorded is in its files as far as it was sent."""
        (stream,) = self.registry
        log = stream.flv_log()
        wanted = len(log.form.opening) + log.end
        await until(lambda: [feed.feed_bytes for feed in self.supervisor.feeds] == [wanted])

    async def wait_until_known(self, *states):
        """Wait until the index has files in these states, in their order: it hears of a file after that is there."""
        async with asyncio.timeout(PATIENCE_S):
            while [file.state for file in await self.files()] != list(states):
                await asyncio.sleep(0.001)

    async def stop(self):
        self.registry.end_all("server stops")
        await self.office.recorder.close(STOP_S)
        await self.close()

    async def kill(self):
        """End as with SIGKILL of the server and of its workers."""
        for pid in filter(None, self.supervisor.pids):
            os.kill(pid, signal.SIGKILL)
        self.supervisor._release()
        await self.close()

    async def close(self):
        await self.office.close()
        await self.tasks.cancel()
        self.poller.close()
        await self.database.close()
        assert self.failures == []


async def test_a_stream_becomes_a_file_a_row_and_a_callback(tmp_path):
    house = await House.open(tmp_path)
    publication = house.publish()
    house.send(publication, tags_of(footage()))
    await house.stop()

    tables = rows_of(tmp_path / "rtmpd.db")
    (file,) = tables["files"]
    path = house.directory / "recordings" / file["path"]
    assert (file["state"], file["size_bytes"]) == ("closed", path.stat().st_size)
    assert relative(demux(path)) == relative(demux(footage()))
    assert sorted(row["event_type"] for row in tables["outbox"]) == [100, 332, 332]


async def test_a_recording_by_request_begins_at_the_last_key_frame_and_ends_at_its_stop(tmp_path):
    house = await House.open(tmp_path, apps={"live": {"record": "manual"}})
    tags = tags_of(footage())
    publication = house.publish()
    house.send(publication, [tag for tag in tags if tag.timestamp_ms < 1_500])
    started = house.office.recorder.start(publication.stream, RecordingRequest("t", "n", formats=("flv", "mp4", "hls")))
    await started.entered()
    house.send(publication, [tag for tag in tags if 1_500 <= tag.timestamp_ms < 2_500])
    stopped = await house.office.recorder.stop("t")
    house.send(publication, [tag for tag in tags if tag.timestamp_ms >= 2_500])

    pictures = [packet for packet in demux(footage()) if packet.kind == "video"]
    wanted = [packet.payload for packet in pictures if 1_000 <= packet.dts_ms < 2_500]
    assert (stopped.state, sorted(file.file_format for file in stopped.files)) == ("closed", ["flv", "hls", "mp4"])
    for file in stopped.files:
        tracks = tracks_of(tmp_path / "recordings" / file.path)
        assert len(tracks["video 0"]) == len(wanted), file.file_format
        assert file.duration_ms == pytest.approx(1_500, abs=50)
    (flv,) = [file for file in stopped.files if file.file_format == "flv"]
    assert [packet.payload for packet in tracks_of(tmp_path / "recordings" / flv.path)["video 0"]] == wanted
    await house.stop()


async def test_sound_alone_is_recorded_beside_the_whole_stream(tmp_path):
    house = await House.open(tmp_path)
    publication = house.publish()
    house.send(publication, tags_of(footage()))
    wish = RecordingRequest("t", record_type="audio", formats=("flv", "hls", "m4a"))
    await house.office.recorder.start(publication.stream, wish).entered()
    stopped = await house.office.recorder.stop("t")
    await house.stop()

    for file in stopped.files:
        assert list(tracks_of(tmp_path / "recordings" / file.path)) == ["audio 0"]
        assert file.duration_ms == pytest.approx(1_000, abs=50)  # from the last key frame on
    assert len(stopped.files) == 3
    (whole,) = [row for row in rows_of(tmp_path / "rtmpd.db")["files"] if row["video_frames"]]
    assert relative(demux(tmp_path / "recordings" / whole["path"])) == relative(demux(footage()))


async def test_a_worker_that_is_killed_costs_no_frame(tmp_path):
    house = await House.open(tmp_path)
    tags = tags_of(footage())
    publication = house.publish()
    house.send(publication, tags[: len(tags) // 2])
    await house.wait_until_written()
    os.kill(house.supervisor.pids[0], signal.SIGKILL)
    await house.wait("media worker died")
    house.send(publication, tags[len(tags) // 2 :])
    await house.wait("recording started", count=2)
    await house.wait("recording repaired")
    await house.stop()

    first, second = (demux(tmp_path / "recordings" / row["path"]) for row in rows_of(tmp_path / "rtmpd.db")["files"])
    wanted = {packet.payload for packet in demux(footage())}
    assert {packet.payload for packet in [*first, *second]} == wanted


async def test_a_server_that_is_killed_leaves_a_file_that_the_next_one_makes_whole(tmp_path):
    house = await House.open(tmp_path)
    tags = tags_of(footage())
    house.send(house.publish(), tags)
    await house.wait_until_written()
    await house.wait_until_known("open", "reserved")
    (path,) = (tmp_path / "recordings").rglob("*.flv")
    await house.kill()
    assert [row["state"] for row in rows_of(tmp_path / "rtmpd.db")["files"]] == ["open", "reserved"]

    again = await House.open(tmp_path, apps={"live": {"record": "manual"}})
    await again.wait("recording repaired")
    (file,) = await again.files()
    assert (file.state, file.fault, file.size_bytes) == ("closed", None, path.stat().st_size)
    assert relative(demux(path)) == relative(demux(footage()))
    assert sorted(owed.event_type for owed in await Outbox(again.database).pending(9)) == [100, 332, 332]
    await again.stop()


async def test_a_reloaded_configuration_counts_from_the_next_stream_on(tmp_path):
    house = await House.open(tmp_path)
    house.publish("a")
    house.office.reload(validate({"apps": {"live": {}}, "recordings": {"max_age_s": 9}}))
    house.publish("b")

    assert [each.path for each in house.office.recorder.recordings] == ["live/a"]
    assert house.office._retention.rules.max_age_s == 9
    await house.stop()


async def test_what_the_configuration_forbids_to_stay_is_removed(tmp_path):
    house = await House.open(tmp_path)
    house.send(house.publish(), tags_of(footage()))
    await house.stop()
    again = await House.open(tmp_path, recordings={"max_bytes": 1})
    await again.wait("recording deleted")

    assert list((tmp_path / "recordings").rglob("*.flv")) == []
    await again.stop()


async def test_a_damaged_index_starts_no_worker(tmp_path):
    database = await Database.open(tmp_path / "rtmpd.db")
    await database.submit(lambda connection: connection.execute("DROP TABLE files"))
    house = House(tmp_path, database)
    with pytest.raises(StoreError):
        await house.office.open()

    assert house.supervisor.pids == ()
    await house.close()


async def test_a_worker_that_cannot_be_started_is_said_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(child.sys, "executable", "/nowhere/python")
    house = House(tmp_path, await Database.open(tmp_path / "rtmpd.db"))
    with pytest.raises(StartError):
        await house.office.open()

    await house.close()
