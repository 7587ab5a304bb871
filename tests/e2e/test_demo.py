"""The demo: a stream to watch for who has just installed it."""

from __future__ import annotations

import os
import signal

import pytest

from rtmpd import demo
from tests.helpers.clients import pyav_look
from tests.helpers.processes import wait_until
from tests.helpers.server import Server, is_alive

pytestmark = pytest.mark.e2e


def test_the_demo_serves_a_picture_at_the_url_that_it_prints(directory):
    with Server(directory, verb="demo") as server:
        url = server.url("live/demo")
        assert url in server.wait_for_line(url)
        server.wait_for("publish started", stream="live/demo")

        assert pyav_look(url) == (demo.WIDTH, demo.HEIGHT, True)


def test_the_demo_goes_on_when_its_publisher_dies(directory):
    with Server(directory, verb="demo") as server:
        server.wait_for("publish started")
        os.kill(server.child("rtmpd.demo"), signal.SIGKILL)

        server.wait_for("the demo's publisher ended")
        server.wait_for("publish started", count=2)


def test_nothing_of_the_demo_outlives_a_killed_server(directory):
    with Server(directory, verb="demo") as server:
        server.wait_for("publish started")
        children = server.children()
        server.kill()

        wait_until(lambda: not any(map(is_alive, children)), "the end of the demo's publisher")
