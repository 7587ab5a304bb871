"""Streams whose applications are called like a path of the server's own are watched over HTTP like any other."""

from __future__ import annotations

import contextlib
import http.client

import pytest

from rtmpd.config_types import RESERVED
from rtmpd.web.console import Console
from rtmpd.web.recordings import PREFIX
from rtmpd.web.routes import ROUTES
from rtmpd.web.session_desk import PATH
from tests.helpers.processes import PATIENCE_S, wait_until
from tests.helpers.rtmp_client import LivePublisher
from tests.helpers.server import Server

pytestmark = pytest.mark.e2e

OWN = [*(route.path for route in ROUTES), PREFIX, PATH, *(route.path for route in Console().routes())]
NAMES = sorted({path.split("/")[1] for path in OWN} - {""} - RESERVED)
CONFIG = "".join(f"[apps.{name}]\n" for name in NAMES)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Server(tmp_path_factory.mktemp("server"), CONFIG) as server:
        yield server


def get(server, path, method="GET"):
    """Ask; status and the beginning of the body, which may have no end."""
    with contextlib.closing(http.client.HTTPConnection(*server.http_address, timeout=PATIENCE_S)) as connection:
        connection.request(method, path)
        response = connection.getresponse()
        return response.status, response.read1(200_000)


def test_the_names_are_those_that_the_server_uses():
    assert {"console", "healthz", "metrics", "session"} <= set(NAMES)
    assert {path.split("/")[1] for path in OWN} >= RESERVED


@pytest.mark.parametrize("name", NAMES)
def test_an_application_may_be_called_like_a_path_of_the_server(server, sources, name):
    with LivePublisher(server.address, "s", sources.tags("long"), app=name) as publisher:
        publisher.wait_until_sent(1_500)
        # First what has a whole segment: a key frame, which a picture is made of, is there by then.
        wait_until(lambda: get(server, f"/{name}/s.m3u8")[0] == 200, "a playlist")
        _, playlist = get(server, f"/{name}/s.m3u8")
        segment = next(line for line in playlist.decode().split() if line.endswith(".m4s"))
        assert get(server, f"/{name}/{segment}")[0] == 200
        for ending, begins in (("flv", b"FLV"), ("mp4", b"\0\0\0"), ("jpg", b"\xff\xd8")):
            status, body = get(server, f"/{name}/s.{ending}")
            assert (status, body[: len(begins)]) == (200, begins)
