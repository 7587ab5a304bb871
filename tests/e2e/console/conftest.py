"""What the tests of the console share: a browser, a server that is made up, and a page of it."""

from __future__ import annotations

import io

import pytest
import structlog

from rtmpd import logs
from tests.helpers.console import ConsoleOperations, FakeMedia, FakeSessions, fragment, jpeg_of
from tests.helpers.console_page import ConsolePage
from tests.helpers.ports import reserved_ports
from tests.helpers.processes import wait_until
from tests.helpers.site import RunningSite

DESK = (1280, 800)


@pytest.fixture
def logging():
    """Events are log lines, of whoever listens."""
    logs.configure("info", io.StringIO())
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="module")
def media(sources, tmp_path_factory):
    media = FakeMedia(fragment(sources.mp4("long"), tmp_path_factory.mktemp("media") / "long.mp4"))
    media.picture = jpeg_of(sources.mp4("long"))
    return media


@pytest.fixture
def sessions():
    return FakeSessions()


@pytest.fixture
def operations():
    return ConsoleOperations()


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with ConsolePage(tmp_path_factory.mktemp("browser")) as browser:
        yield browser


@pytest.fixture
def site(tmp_path, media, sessions, operations, logging, browser):
    """Ends after the page has been left, which may be playing."""
    media.going.set()
    with RunningSite(tmp_path / "site", operations, outputs=[sessions, media]) as site:
        yield site
        browser.navigate("about:blank")
        media.going.clear()
        wait_until(lambda: not media.playing, "the player to be gone")


@pytest.fixture
def port():
    """For servers that come one after another, while the page tries to reach them."""
    with reserved_ports(1) as (port,):
        yield port


@pytest.fixture
def page(browser, site):
    """Opens a view."""
    browser.navigate("about:blank")
    browser.resize(*DESK)

    def open_view(view="streams"):
        browser.navigate(f"{site.url}/#/{view}")
        browser.wait_for("document.querySelector('#main h1')")
        browser.wait_for_text("Connected", "#server")
        return browser

    yield open_view
    assert browser.complaints == []
    assert browser.evaluate("document.title") != "evil"
