"""Pictures over HTTP: of what, to whom, and for how long they may be kept."""

from __future__ import annotations

import pytest
import structlog
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from rtmpd.control.recorded import RecordedFile
from rtmpd.control.rooms import Named
from rtmpd.errors import NotPossible, Refused
from rtmpd.live.log import Retention
from rtmpd.live.registry import Registry
from rtmpd.net.policy import PlayGrant
from rtmpd.web.guard import Guard
from rtmpd.web.media import Media
from rtmpd.web.problems import answering
from rtmpd.web.thumbnails import Pictures
from tests.helpers.live import PRIVATE, publish_to
from tests.helpers.site import config_of
from tests.helpers.transports import close_transports

JPEG = b"\xff\xd8picture\xff\xd9"


class FakePolicy:
    def __init__(self):
        self.asked = []
        self.refuses = False
        self.shows = None

    async def admit_player(self, request, address, client):
        self.asked.append((request.app, request.stream, request.query))
        if self.refuses:
            raise Refused("NetStream.Play.Failed", "not for you")
        return PlayGrant(request.app, self.shows or request.stream)


class FakeThumbnails:
    def __init__(self):
        self.asked = []
        self.picture = JPEG

    async def of_stream(self, stream):
        self.asked.append(stream.path)
        return self.picture

    async def of_recording(self, path, file_format, file_id):
        self.asked.append((path, file_format, file_id))
        return self.picture


class FakeFiles:
    async def find(self, file_id):
        if file_id != "f":
            raise NotPossible("unknown", "there is no such file")
        return RecordedFile("f", Named("live", "s"), "mp4", "live/s/x.mp4", is_final=True)


class Wall:
    """Pictures served in the test's loop."""

    def __init__(self, directory):
        self.policy, self.thumbnails = FakePolicy(), FakeThumbnails()
        self.registry = Registry(Retention())
        config = config_of(directory)
        media = Media(Guard(config), self.policy, config)
        self.pictures = Pictures(media, self.thumbnails, self.registry, FakeFiles())
        application = web.Application(middlewares=[answering(structlog.get_logger())])
        application.add_routes(self.pictures.routes())
        self.client = TestClient(TestServer(application))

    async def ask(self, path, method="GET"):
        async with self.client.request(method, path) as response:
            return response.status, response.headers, await response.read()


@pytest.fixture
async def wall(tmp_path):
    wall = Wall(tmp_path)
    await wall.client.start_server()
    yield wall
    await wall.client.close()
    await close_transports()


async def test_a_streams_picture_may_be_kept_for_as_long_as_it_is_the_same(wall):
    publish_to(wall.registry)
    status, headers, body = await wall.ask("/live/s.jpg?key=k")

    assert (status, body, headers["Content-Type"]) == (200, JPEG, "image/jpeg")
    assert headers["Cache-Control"] == "private, max-age=5"
    assert headers["Access-Control-Allow-Origin"] == "*"
    assert wall.policy.asked == [("live", "s", "key=k")]
    assert await wall.ask("/live/s.jpg", "HEAD") == (200, (await wall.ask("/live/s.jpg"))[1], b"")


async def test_names_are_what_they_are_however_they_are_written(wall):
    wall.registry.publish("a/b", "Zoë 50%.x", "me", None, lambda _: None)
    for path in ("/a/b/Zo%C3%AB%2050%25.x.jpg", "/a%2Fb/Zo%C3%AB%2050%25.x.jpg"):
        assert (await wall.ask(path))[0] == 200
    assert set(wall.thumbnails.asked) == {"a/b/Zoë 50%.x"}
    for path in ("/a/b/Zo%25C3%25AB%2050%2525.x.jpg", "/a/b/%ff.jpg", "/a/b/.jpg", "/x.jpg"):
        assert (await wall.ask(path))[0] == 404


async def test_nobody_sees_what_nobody_publishes_or_nobody_may_watch(wall):
    wall.registry.publish("live", "private", "me", None, lambda _: None, PRIVATE)
    for name in ("none", "private"):
        status, headers, body = await wall.ask(f"/live/{name}.jpg")
        assert (status, b"nobody publishes" in body) == (404, True)
        assert headers["Access-Control-Allow-Origin"] == "*"
    assert len(wall.registry) == 1
    assert wall.thumbnails.asked == []


async def test_who_may_not_play_sees_nothing(wall):
    publish_to(wall.registry)
    wall.policy.refuses = True
    for path in ("/live/s.jpg", "/recordings/f.jpg"):
        status, _, body = await wall.ask(path)
        assert (status, b"not for you" in body) == (403, True)
    assert wall.thumbnails.asked == []


async def test_a_hook_chooses_what_is_shown_but_not_of_recordings(wall):
    publish_to(wall.registry, "other")
    wall.policy.shows = "other"
    assert (await wall.ask("/live/s.jpg"))[0] == 200
    assert wall.thumbnails.asked == ["live/other"]
    status, _, body = await wall.ask("/recordings/f.jpg")
    assert (status, b"shown another one" in body) == (403, True)


async def test_a_recordings_picture_is_had_by_its_id(wall):
    status, headers, body = await wall.ask("/recordings/f.jpg")
    assert (status, body, headers["Cache-Control"]) == (200, JPEG, "private, max-age=3600")
    assert wall.thumbnails.asked == [("live/s/x.mp4", "mp4", "f")]
    assert (await wall.ask("/recordings/g.jpg"))[0] == 404


async def test_what_has_no_picture_is_not_there(wall):
    publish_to(wall.registry)
    wall.thumbnails.picture = None
    for path in ("/live/s.jpg", "/recordings/f.jpg"):
        status, headers, body = await wall.ask(path)
        assert (status, b"there is no picture" in body, headers["Cache-Control"]) == (404, True, "no-store")


async def test_another_configuration_is_asked_again(wall):
    publish_to(wall.registry)
    for _ in range(2):
        await wall.ask("/live/s.jpg")
    assert len(wall.policy.asked) == 1
    wall.pictures.forget_admissions()
    await wall.ask("/live/s.jpg")
    assert len(wall.policy.asked) == 2
