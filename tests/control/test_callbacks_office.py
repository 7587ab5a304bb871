"""Callbacks put together: a publisher that comes and goes is told of to whoever is configured, over restarts."""

from __future__ import annotations

import contextlib

import pytest

from rtmpd.address import Address
from rtmpd.config_file import validate
from rtmpd.control.callbacks_office import CallbacksOffice
from rtmpd.control.urls import Listening
from rtmpd.store.database import Database
from rtmpd.store.outbox import Outbox
from tests.helpers.callback_server import KEY, CallbackServer
from tests.helpers.live import key_frame, video_header
from tests.helpers.rig import Rig


@pytest.fixture
def receiver():
    with CallbackServer() as receiver:
        yield receiver


def config(*urls):
    return validate({"callbacks": {"urls": list(urls), "key": KEY}})


@contextlib.asynccontextmanager
async def running(path, settings):
    database = await Database.open(path)
    async with Rig() as rig:
        office = CallbacksOffice(
            settings, database, rig.services, Listening(Address("127.0.0.1", 1935), Address("127.0.0.1", 8080)), "here"
        )
        await office.open()
        rig.office, rig.outbox = office, Outbox(database)
        try:
            yield rig
        finally:
            for connection in list(rig.services.connections):
                connection.evict("test ends")
            await office.close(5.0)
            await database.close()


async def publish_and_leave(rig, name="s"):
    path = f"live/{name}"
    publisher = await rig.publisher(name)
    await publisher.send(video_header(), key_frame(0))
    await publisher.ping()
    await rig.until(lambda: any(line["event"] == "push abnormal" and line["stream"] == path for line in rig.lines))
    publisher.close()
    await rig.until(lambda: not rig.services.connections)


async def test_a_publisher_that_comes_and_goes_is_told_to_the_receiver(tmp_path, receiver):
    async with running(tmp_path / "db", config(f"http://127.0.0.1:{receiver.port}/")) as rig:
        await publish_and_leave(rig)

    # The header that tests send cannot be read, which is told as well.
    assert [body["event_type"] for body in receiver.of("live/s")] == [1, 321, 0]
    assert {body["app"] for body in receiver.bodies} == {"127.0.0.1"}
    assert {body["node"] for body in receiver.bodies} == {"here"}


async def test_a_receiver_that_is_configured_later_is_told_what_happens_from_then_on(tmp_path, receiver):
    async with running(tmp_path / "db", config()) as rig:
        await publish_and_leave(rig, "before")
        assert await rig.office.publications.flush(5.0)
        rig.office.reload(config(f"http://127.0.0.1:{receiver.port}/"))
        await rig.until(lambda: rig.office.delivery._adopted)
        await publish_and_leave(rig, "after")

    assert {body["stream_id"] for body in receiver.bodies} == {"after"}
    assert [body["event_type"] for body in receiver.bodies] == [1, 321, 0]


async def test_what_was_not_delivered_is_delivered_by_the_next_server(tmp_path, receiver):
    url = f"http://127.0.0.1:{receiver.port}/"
    receiver.answer = lambda _body: 500
    async with running(tmp_path / "db", config(url)) as rig:
        await publish_and_leave(rig)
    receiver.answer = lambda _body: 200
    async with running(tmp_path / "db", config(url)) as rig:
        await rig.until(lambda: len(receiver.bodies) == 3)

    assert [body["event_type"] for body in receiver.bodies] == [1, 321, 0]
    assert {body["event_id"] for body in receiver.attempts} == {body["event_id"] for body in receiver.bodies}
