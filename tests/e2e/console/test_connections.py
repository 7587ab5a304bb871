"""Who gets into the console, and what it survives: restarts, other tabs, a server whose event streams are taken."""

from __future__ import annotations

import contextlib
from http import HTTPStatus

import pytest

from rtmpd import logs
from rtmpd.web.problems import Refusal
from tests.helpers.console import ConsoleOperations, FakeSessions
from tests.helpers.processes import wait_until
from tests.helpers.site import TOKEN, RunningSite

pytestmark = [pytest.mark.e2e, pytest.mark.peer("chromium")]


def test_who_needs_a_token_is_asked_for_it_and_can_leave(browser, tmp_path, media, operations):
    sessions = FakeSessions(TOKEN)
    with RunningSite(tmp_path / "site", operations, outputs=[sessions, media]) as site:
        browser.navigate(f"{site.url}/#/clients")
        browser.wait_for("document.activeElement.id === 'token'")
        assert browser.evaluate("document.querySelector('#shell').hidden")

        browser.type("#token", "wrong")
        browser.key("Enter")
        browser.wait_for_text("This is not a token of the server.", "#login")
        browser.type("#token", TOKEN)
        browser.key("Enter")
        browser.wait_for_text("Clients", "#main h1")
        browser.wait_for_text("Connected", "#server")
        assert TOKEN not in browser.evaluate("JSON.stringify(localStorage) + document.documentElement.outerHTML")

        browser.click("Connected", "header")
        browser.click("Sign out", "dialog")
        browser.wait_for("document.activeElement.id === 'token'")
        browser.wait_for("!document.querySelector('#login-fault').innerText")
        assert browser.text("#main") == ""


def test_it_goes_on_by_itself_after_a_restart_that_forgot_its_session(browser, tmp_path, media, operations, port):
    with RunningSite(tmp_path / "one", operations, outputs=[FakeSessions(), media], port=port) as first:
        browser.navigate(f"{first.url}/#/streams")
        browser.wait_for_text("live/me", ".card")
        browser.evaluate("globalThis.before = true")
    browser.wait_for_text("Connection lost", "#banner")

    sessions = FakeSessions()
    with RunningSite(tmp_path / "two", operations, outputs=[sessions, media], port=port):
        operations.paths.append("live/after")
        browser.wait_for("document.querySelector('#banner').hidden")
        browser.wait_for_text("live/after")
        assert browser.evaluate("before")


def test_a_page_that_is_left_gives_its_connections_back(browser, site):
    browser.navigate(f"{site.url}/#/streams/live/me")
    browser.wait_for("document.querySelector('video[src]')?.currentTime > 0.2")
    wait_until(lambda: site.site._events.followers == 1, "the page to follow")

    browser.navigate("about:blank")

    wait_until(lambda: site.site._events.followers == 0, "the page to be gone")
    browser.go_back()
    browser.wait_for("location.hash === '#/streams/live/me'")
    browser.wait_for_text("Connected", "#server")


def hide(page, hidden):
    """Have the page believe that nobody, or somebody, sees it."""
    page.evaluate(
        f"Object.defineProperty(document, 'hidden', {{value: {'true' if hidden else 'false'}, configurable: true}}),"
        "document.dispatchEvent(new Event('visibilitychange'))"
    )


def test_a_tab_that_nobody_sees_holds_no_connection_and_goes_on_when_it_is_seen(page, site):
    shown = page("streams/live/me")
    shown.wait_for("document.querySelector('video[src]')?.currentTime > 0.2")

    hide(shown, hidden=True)
    shown.wait_for("!document.querySelector('video[src]')")
    wait_until(lambda: site.site._events.followers == 0, "the page to follow no more")

    hide(shown, hidden=False)
    shown.wait_for("document.querySelector('video[src]')?.currentTime > 0.2")
    wait_until(lambda: site.site._events.followers == 1, "the page to follow again")


def test_the_page_of_a_stream_that_ends_plays_no_more_until_it_is_back(page, site, operations):
    shown = page("streams/live/me")
    shown.wait_for("document.querySelector('video[src]')?.currentTime > 0.2")

    operations.paths.clear()
    shown.wait_for_text("Nobody publishes this stream", "#main")
    shown.wait_for("!document.querySelector('video[src]')")

    operations.paths.append("live/me")
    shown.wait_for("document.querySelector('video[src]')?.currentTime > 0.2")


def test_lists_are_fetched_where_as_many_follow_events_as_may(browser, tmp_path, media, operations):
    site = RunningSite(tmp_path / "site", operations, outputs=[FakeSessions(), media], http={"event_streams": 1})
    with site, contextlib.closing(site.connection()) as other:
        other.request("GET", "/api/v1/events")
        other.getresponse()
        browser.navigate(f"{site.url}/#/callbacks")
        browser.wait_for_text("No live events. 1 clients follow events already", "#banner")

        operations.paths.append("live/another")

        browser.wait_for_text("3", "#nav .badge")
        other.sock.close()


class SlowOperations(ConsoleOperations):
    """The list of callbacks is answered when its gate is open."""

    def __init__(self):
        super().__init__()
        self.held = 0

    async def callbacks(self, query):
        self.held += not self.gate.is_set()
        await self.gate.wait()
        return await super().callbacks(query)


def test_what_is_answered_late_does_not_hide_why_a_token_is_asked_for(browser, tmp_path, media, logging):
    sessions, operations = FakeSessions(TOKEN), SlowOperations()
    sessions.is_open = True
    with RunningSite(tmp_path / "site", operations, outputs=[sessions, media]) as site:
        browser.navigate(f"{site.url}/#/streams")
        browser.wait_for_text("live/me", ".card")
        browser.wait_for_text("Connected", "#server")
        site.loop.call_soon_threadsafe(operations.gate.clear)
        site.loop.call_soon_threadsafe(lambda: logs.get_logger().info("callback given up"))
        wait_until(lambda: operations.held, "the list to be asked for")

        sessions.is_open = False
        operations.refuse = Refusal(HTTPStatus.UNAUTHORIZED, "Authorization: Bearer TOKEN is expected")
        browser.wait_for_text("The session has ended: sign in again.", "#login")
        answered = len(operations.asked_for("callbacks"))
        site.loop.call_soon_threadsafe(operations.gate.set)
        wait_until(lambda: len(operations.asked_for("callbacks")) > answered, "the answer")
        browser.evaluate("new Promise((resolve) => setTimeout(resolve, 600))")

        assert "The session has ended: sign in again." in browser.text("#login")


def test_a_session_that_ends_meanwhile_is_asked_for_again(browser, tmp_path, media, operations):
    sessions = FakeSessions(TOKEN)
    sessions.is_open = True
    with RunningSite(tmp_path / "site", operations, outputs=[sessions, media]) as site:
        browser.navigate(f"{site.url}/#/streams")
        browser.wait_for_text("live/me", ".card")

        sessions.is_open = False
        operations.refuse = Refusal(HTTPStatus.UNAUTHORIZED, "Authorization: Bearer TOKEN is expected")

        browser.wait_for("document.activeElement.id === 'token'")
        browser.wait_for_text("The session has ended: sign in again.", "#login")
        operations.refuse = None
        browser.type("#token", TOKEN)
        browser.key("Enter")
        browser.wait_for_text("live/me", ".card")
