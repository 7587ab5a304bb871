"""The console over a real server: what a person does there is done, and what happens there is seen."""

from __future__ import annotations

import contextlib
import signal

import pytest

from tests.helpers.clients import pyav_player, pyav_publisher
from tests.helpers.processes import wait_until
from tests.helpers.rtmp_client import LivePublisher
from tests.helpers.server import Server
from tests.helpers.site import TOKEN

pytestmark = [pytest.mark.e2e, pytest.mark.peer("chromium")]

LIVE = "live/me"
PRIVATE = "private/me"
CONFIG = '[apps.live]\ngrace_s = 0\nresume_s = 0\n[apps.private]\npush = "manual"\ngrace_s = 0\n'


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Server(tmp_path_factory.mktemp("server"), CONFIG) as server:
        yield server


@pytest.fixture
def page(browser, server):
    """Opens a view."""

    def open_view(view="streams"):
        browser.navigate("about:blank")
        browser.navigate(f"{url_of(server)}/#/{view}")
        browser.wait_for_text("Connected", "#server")
        return browser

    yield open_view
    assert browser.complaints == []


@pytest.fixture
def publishing(server, sources):
    """Publishes a stream from now on."""
    with contextlib.ExitStack() as stack:

        def publish(path):
            app, name = path.split("/")
            publisher = LivePublisher(server.address, name, sources.tags("h264+aac"), app=app)
            stack.enter_context(publisher)
            server.api.wait_for_stream(path)
            return publisher

        yield publish
    wait_until(lambda: not server.api.get("streams").body["streams"], "all streams to have ended")


def url_of(server):
    host, port = server.http_address
    return f"http://{host}:{port}"


def test_a_stream_appears_when_its_publisher_comes_and_vanishes_when_it_goes(page, server, sources):
    shown = page()
    shown.wait_for_text("No stream yet")
    with pyav_publisher(sources.flv("long"), server.url(LIVE)) as publisher:
        shown.wait_for_text("H.264 320\u00d7180, AAC 48 kHz stereo", ".card")
        shown.wait_for("document.querySelector('.card .rates').innerText.includes('bit/s')")
        publisher.signal(signal.SIGTERM)
        publisher.wait()
    shown.wait_for_text("No stream yet")


def test_addresses_are_those_that_work(page, server, publishing):
    publishing(LIVE)
    shown = page(f"streams/{LIVE}")

    shown.wait_for_text(server.url(LIVE), ".stream-side")

    assert f"ffmpeg -re -i video.mp4 -c copy -f flv {server.url(LIVE)}" in shown.text(".stream-side")
    assert server.url("live") in shown.text(".stream-side")


def test_a_stream_that_nobody_publishes_has_the_address_to_publish_it_to(page, server):
    shown = page("streams/live/nobody")

    shown.wait_for_text(f"ffmpeg -re -i video.mp4 -c copy -f flv {server.url('live/nobody')}", "#main")


def test_a_stream_is_recorded_and_what_was_recorded_is_deleted(page, server, publishing):
    publisher = publishing(LIVE)
    shown = page(f"streams/{LIVE}")
    shown.click("Record", "#main")
    shown.evaluate("document.querySelector('dialog [value=mp4]').click()")
    shown.click("Start recording", "dialog")
    shown.wait_for_text("MP4, running", ".stream-side")
    publisher.wait_until_sent(publisher.sent_ms + 1500)

    shown.click("Stop", ".stream-side")
    shown.wait_for_text("Recorded: 1 file.", "#notices")
    shown.click("Files of this stream", ".stream-side")
    shown.wait_for_text("complete", "tbody")
    (path,) = server.recordings()
    assert path.name in shown.text("tbody")
    shown.click(f"Delete {path.name}", "tbody")
    shown.click("Delete", "dialog")

    shown.wait_for_text("No files.", ".pages")
    assert server.recordings() == []


def test_a_private_stream_is_made_watchable_and_private_again(page, server, publishing):
    publishing(PRIVATE)
    shown = page(f"streams/{PRIVATE}")
    shown.wait_for_text("Private: nobody can watch it.", ".stream-side")

    shown.click("Start push", "#main")
    shown.wait_for_text(f"ffplay -fflags nobuffer {server.url(PRIVATE)}", ".stream-side")
    assert server.api.stream(PRIVATE)["public"]

    shown.click("Stop push", "#main")
    shown.wait_for_text("Private: nobody can watch it.", ".stream-side")
    assert not server.api.stream(PRIVATE)["public"]


def test_a_player_is_seen_and_thrown_out(page, server, publishing):
    publishing(LIVE)
    with pyav_player(server.url(LIVE)) as player:
        shown = page("clients")
        shown.wait_for_text("1 publisher, 1 player")
        (number,) = (each["client_id"] for each in server.api.get("clients").body["clients"] if each["role"] == "play")

        shown.click(f"Disconnect client {number}", "tbody")
        shown.click("Disconnect", "dialog")

        player.wait()
        shown.wait_for_text("1 publisher, 0 players")


def test_a_publisher_is_thrown_out(page, server, publishing):
    publishing(LIVE)
    shown = page(f"streams/{LIVE}")
    shown.click("Disconnect", "#main")
    shown.click("Disconnect", "dialog")

    server.wait_for("publisher disconnected", stream=LIVE)
    shown.wait_for_text("Nobody publishes this stream", "#main")


def test_what_happens_is_told_with_what_happened_before(page, server, publishing):
    publishing(LIVE)
    shown = page("events")

    shown.wait_for_text("publish started", ".events")
    shown.wait_for_text("serving", ".events")


def test_a_token_opens_the_console_and_a_restart_asks_for_it_again(browser, tmp_path, port):
    config = f'[http]\ntoken = "{TOKEN}"\n{CONFIG}'
    listen = ["--http", f"127.0.0.1:{port}"]
    with Server(tmp_path / "one", config, arguments=listen) as server:
        browser.navigate(f"{url_of(server)}/#/clients")
        browser.wait_for("document.activeElement.id === 'token'")
        browser.type("#token", "another")
        browser.key("Enter")
        browser.wait_for_text("This is not a token of the server.", "#login")
        browser.type("#token", TOKEN)
        browser.key("Enter")
        browser.wait_for_text("Connected", "#server")
        browser.wait_for_text("Nobody is connected", "#main")
    browser.wait_for_text("Connection lost", "#banner")

    with Server(tmp_path / "two", config, arguments=listen):
        browser.wait_for("document.activeElement.id === 'token'")
        browser.type("#token", TOKEN)
        browser.key("Enter")
        browser.wait_for_text("Connected", "#server")
        assert browser.evaluate("location.hash") == "#/clients"
    assert browser.complaints == []
