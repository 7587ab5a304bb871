"""The operations put together: what a restart, a reload and an end mean to all of them."""

from __future__ import annotations

import time
from contextlib import asynccontextmanager

import pytest

from rtmpd.address import Address
from rtmpd.config_file import validate
from rtmpd.control import models, operations_office
from rtmpd.control.commits import Commits
from rtmpd.control.draining import Drainer
from rtmpd.control.meter import STILL
from rtmpd.control.operations_office import Around, OperationsOffice
from rtmpd.control.publications import Publications
from rtmpd.control.pulls import Pulls
from rtmpd.control.streams import Measures
from rtmpd.control.urls import Listening
from rtmpd.control.words import RTMP
from rtmpd.errors import NotPossible, StartError
from rtmpd.live.terms import Terms
from rtmpd.store.database import Database
from rtmpd.store.publications import PublicationBook
from tests.helpers.pushes import PlayedRecorder
from tests.helpers.rig import Rig
from tests.helpers.store import HoldUp


class Server:
    """Real connections, streams and a real database, and operations on them."""

    def __init__(self, rig, database, directory, config):
        self.rig = rig
        self.recorder = PlayedRecorder()
        rig.services.registry.observers.append(self.recorder)
        rig.policy.terms = Terms(is_public=False)
        around = Around(
            services=rig.services,
            database=database,
            recorder=self.recorder,
            publications=Publications(PublicationBook(database), rig.services.log, "n", rig.loop.time),
            recordings=directory / "recordings",
            listening=Listening(Address("", 1935), Address("127.0.0.1", 8080)),
            measures=Measures(lambda _stream: (), lambda _stream: STILL),
            pulls=Pulls(validate(config), rig.services, None),
            wake=lambda: None,
            drainer=Drainer(rig.services, lambda: None),
            describe=lambda: None,
            reload=lambda: None,
        )
        self.office = OperationsOffice(validate(config), around)
        self.operations = self.office.operations


@asynccontextmanager
async def serving(directory, config=None):
    database = await Database.open(directory / "rtmpd.db")
    async with Rig() as rig:
        server = Server(rig, database, directory, config or {})
        await server.office.open()
        yield server
        rig.services.registry.end_all("server stops")
        await server.office.close(20.0)
        assert rig.failures == []
    await database.close()


START = models.PushStart(stream="live/s", channel_name="n")


def rtmp_url(push):
    return next(each.play_url for each in push.urls if each.type == RTMP)


async def test_a_player_of_a_private_stream_waits_for_its_push_and_hears_of_its_end(tmp_path):
    async with serving(tmp_path) as server:
        await server.rig.publisher()
        player = server.rig.connect()
        await player.open()
        await player.command("play", 3, None, "s", message_stream_id=1)
        await server.rig.until(lambda: server.operations.stream("live/s").players == 1)
        assert not server.operations.stream("live/s").public

        started = await server.operations.start_push(START)
        await player.status("NetStream.Play.Start")
        (stopped,) = (await server.operations.stop_pushes(models.PushStop(channel_ids=[started.channel_id]))).results
        await player.status("NetStream.Play.UnpublishNotify")
        assert stopped.state == "stopped"


async def test_a_push_outlives_a_server_that_stops(tmp_path):
    async with serving(tmp_path) as server:
        await server.rig.publisher()
        first = await server.operations.start_push(START)
    async with serving(tmp_path) as server:
        (push,) = server.operations.pushes().pushes
        assert (push.channel_id, push.state) == (first.channel_id, "waiting")
        assert push.waiting_since == pytest.approx(time.time(), abs=60)

        await server.rig.publisher()
        shown = server.operations.stream("live/s")
        assert (shown.public, shown.channel_id) == (True, first.channel_id)


async def test_the_recorder_hears_of_a_stream_before_its_push_does(tmp_path):
    async with serving(tmp_path) as server:
        assert server.rig.services.registry.observers[0] is server.recorder


async def test_what_is_reloaded_holds_from_then_on(tmp_path):
    async with serving(tmp_path) as server:
        await server.rig.publisher()
        assert rtmp_url(await server.operations.start_push(START)) == "rtmp://127.0.0.1:1935/live/s"

        config = {
            "urls": {"rtmp": "rtmp://live.example.com"},
            "rooms": {"bizid": "7"},
            "apps": {"live": {"push_kept_s": 0}},
        }
        server.office.reload(validate(config))
        assert rtmp_url(await server.operations.start_push(START)) == "rtmp://live.example.com/live/s"
        in_a_room = models.PushStart(stream=models.Room(room="1", user="2"), channel_name="n")
        with pytest.raises(NotPossible, match="nobody publishes live/7_"):
            await server.operations.start_push(in_a_room)
        server.rig.services.registry.end_all("gone")
        server.office.tick(time.time() + 1)
        assert server.operations.pushes().pushes == []


async def test_a_publisher_that_is_disconnected_has_gone(tmp_path):
    async with serving(tmp_path) as server:
        await server.rig.publisher()
        server.rig.policy.terms = Terms()
        server.operations.disconnect_publisher("live/s")

        assert server.operations.stream("live/s").state == "grace"
        assert server.operations.clients().clients == []


async def test_a_database_that_does_not_answer_is_no_start(tmp_path, monkeypatch):
    monkeypatch.setattr(operations_office, "Commits", lambda database, log: Commits(database, log, timeout_s=0.02))
    database = await Database.open(tmp_path / "rtmpd.db")
    held = HoldUp(database)
    async with Rig() as rig:
        server = Server(rig, database, tmp_path, {})
        with pytest.raises(StartError, match="cannot read the pushes: the database does not answer"):
            await server.office.open()
    held.release()
    await database.close()


async def test_an_end_does_not_wait_for_a_disk_for_ever(tmp_path):
    database = await Database.open(tmp_path / "rtmpd.db")
    async with Rig() as rig:
        server = Server(rig, database, tmp_path, {})
        await server.office.open()
        await server.office._commits.flush(20.0)
        await rig.publisher()
        await server.operations.start_push(START)
        held = HoldUp(database)
        rig.services.registry.end_all("server stops")
        await server.office.close(0.02)
        held.release()

        assert [line["reason"] for line in rig.lines if line["event"] == "pushes not written"] == [
            "the database did not take everything"
        ]
    await database.close()
