"""The console in a browser, over a server that is made up: what it shows, how it is reached, and what it survives."""

from __future__ import annotations

import contextlib
import io
from http import HTTPStatus

import pytest
import structlog

from rtmpd import logs
from rtmpd.control.models import Callback, CallbackList, Track
from rtmpd.errors import NotPossible
from rtmpd.web.problems import Refusal
from tests.helpers.console import FakeMedia, FakeSessions, fragment, jpeg_of
from tests.helpers.console_page import ConsolePage
from tests.helpers.operations import (
    CHANNEL,
    CLIENT,
    EVENT,
    FILE,
    NOW_S,
    PUBLISHED,
    TASK,
    FakeOperations,
    file,
    stream_info,
)
from tests.helpers.processes import wait_until
from tests.helpers.site import TOKEN, RunningSite

pytestmark = [pytest.mark.e2e, pytest.mark.peer("chromium")]

EVIL = "live/<img src=x onerror=document.title='evil'>\"'"
VIEWS = ["streams", "recordings", "clients", "relays", "callbacks", "events"]
PHONE = (360, 780)
DESK = (1280, 800)


class Operations(FakeOperations):
    """Names of everything come from whoever is out there."""

    def __init__(self):
        super().__init__()
        self.public = True
        self.recordings_of = 1
        self.pages = None

    def streams(self):
        answer = super().streams()
        changed = [
            each.model_copy(update={"public": self.public, "recordings": self.recordings_of}) for each in answer.streams
        ]
        return answer.model_copy(update={"streams": changed})

    async def recordings(self, query):
        answer = await super().recordings(query)
        found = [
            each.model_copy(
                update={"path": f"live/me/{each.file_id}{EVIL[5:]}.mp4", "url": "http://x.example/r", "stream": EVIL}
            )
            for each in answer.recordings
        ]
        if self.pages:
            found = [file(f"f-{number}") for number in range(self.pages)]
        return answer.model_copy(update={"recordings": found[query.offset : query.offset + query.limit]})

    async def callbacks(self, query):
        self._note("callbacks", query)
        callback = Callback(
            event_id=EVENT,
            event_type=100,
            stream=EVIL,
            url="http://a.example/<script>document.title='evil'</script>",
            state="dead",
            attempts=3,
            created_at=NOW_S,
            next_try_at=None,
            last_error="answered <b onmouseover=\"document.title='evil'\">500</b>",
            body={},
        )
        return CallbackList(pending=0, dead=1, callbacks=[callback])


@pytest.fixture(autouse=True)
def logging():
    """Events are log lines."""
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
    return Operations()


@pytest.fixture
def site(tmp_path, media, sessions, operations):
    media.going.set()
    with RunningSite(tmp_path / "site", operations, outputs=[sessions, media]) as site:
        yield site
        media.going.clear()


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with ConsolePage(tmp_path_factory.mktemp("browser")) as browser:
        yield browser


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


def asked(operations, verb):
    return [each for each in operations.asked if each[0] == verb]


def test_streams_are_shown_with_what_is_known_of_them(page, site, operations):
    shown = page()

    shown.wait_for_text("live/me", ".card")
    card = shown.text(".card")
    assert "H.264 1280\u00d7720, AAC 48 kHz stereo" in card
    assert "2.00 Mbit/s" in card
    assert "3 players" in card
    shown.wait_for("document.querySelector('.card .thumbnail img').naturalWidth === 320")


def test_a_stream_that_ends_vanishes_and_one_that_begins_appears(page, site, operations):
    shown = page("clients")  # no list is polled that tells of streams
    shown.wait_for_text("2", "#nav .badge")

    operations.paths.append("live/another")
    site.loop.call_soon_threadsafe(lambda: logs.get_logger().info("publish started", stream="live/another"))
    shown.wait_for_text("3", "#nav .badge")

    operations.paths.clear()
    site.loop.call_soon_threadsafe(lambda: logs.get_logger().info("closed", stream="live/another"))
    shown.wait_for("document.querySelector('#nav .badge').hidden")


def test_without_streams_it_says_how_to_publish_one(page, operations):
    operations.paths.clear()
    shown = page()

    shown.wait_for_text("No stream yet")
    assert "ffmpeg -re -i video.mp4 -c copy -f flv rtmp://127.0.0.1/live/me" in shown.text("#main")


@pytest.mark.parametrize("view", [*VIEWS, "streams/live/me"])
def test_no_view_is_wider_than_a_phone(page, operations, view):
    operations.paths.append(EVIL)
    shown = page(view)
    shown.resize(*PHONE)

    shown.wait_for("document.querySelector('#main').innerText.length > 30")

    assert shown.evaluate("document.documentElement.scrollWidth") <= PHONE[0]


@pytest.mark.parametrize("view", [*VIEWS, "streams/live/%3Cimg%20src%3Dx%20onerror%3Ddocument.title%3D'evil'%3E%22'"])
def test_what_comes_from_outside_is_text(page, site, operations, view):
    operations.paths.append(EVIL)
    operations.paths.reverse()
    operations.address = "<script>document.title='evil'</script>"
    site.loop.call_soon_threadsafe(lambda: logs.get_logger().warning("play refused", stream=EVIL, why=EVIL))
    shown = page(view)

    shown.wait_for_text("<img src=x onerror=document.title='evil'>\"'", "#main")

    assert shown.evaluate("document.querySelectorAll('#main img[src=x], #main script').length") == 0


def test_colours_follow_the_system_until_they_are_chosen(page, browser):
    browser.prefer("dark")
    shown = page()
    back = "getComputedStyle(document.body).backgroundColor"
    dark = shown.evaluate(back)
    shown.prefer("light")
    light = shown.evaluate(back)
    assert dark != light

    shown.click("Dark or light colours")
    assert shown.evaluate(back) == dark
    shown.evaluate("globalThis.isOld = true, location.reload()")
    shown.wait_for("!globalThis.isOld && document.readyState === 'complete'")
    assert shown.evaluate(back) == dark

    shown.click("Dark or light colours")
    assert shown.evaluate(back) == light
    shown.evaluate("localStorage.clear()")


def test_everything_is_reached_by_keyboard_in_the_order_of_the_page(page):
    shown = page()
    shown.wait_for_text("live/me", ".card")
    expected = [
        "Skip to content",
        "rtmpd",
        *(view.capitalize() for view in VIEWS),
        "Connected",
        "Dark or light colours",
    ]
    expected += ["Filter streams by name", "Play live/me live", PUBLISHED, "Stop recording", "Stop push"]
    reached = []
    for _ in expected:
        shown.key("Tab")
        reached.append(shown.focused().split("\n")[0])
        assert shown.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid", reached
    assert reached == expected


def test_the_skip_link_leads_to_the_content_and_a_view_to_its_heading(page):
    shown = page()
    shown.key("Tab")
    shown.key("Enter")
    assert shown.evaluate("document.activeElement.id") == "main"

    shown.evaluate("[...document.querySelectorAll('#nav a')][2].focus()")
    shown.key("Enter")
    shown.wait_for_text("Clients", "#main h1")
    assert shown.focused() == "Clients"


def test_escape_closes_a_dialog_and_gives_the_focus_back(page):
    shown = page("streams/live/me")
    shown.wait_for_text("Disconnect", "#main")
    shown.evaluate("[...document.querySelectorAll('button')].find((each) => each.innerText === 'Disconnect').focus()")
    shown.key("Enter")
    shown.wait_for("document.querySelector('dialog[open]')")

    shown.key("Escape")

    shown.wait_for("!document.querySelector('dialog')")
    assert shown.focused() == "Disconnect"


def test_a_publisher_is_disconnected_after_it_was_asked(page, operations):
    shown = page("streams/live/me")
    shown.click("Disconnect", "#main")
    shown.wait_for_text("Disconnect the publisher?", "dialog")
    assert not asked(operations, "disconnect_publisher")

    shown.click("Disconnect", "dialog")

    wait_until(lambda: asked(operations, "disconnect_publisher"), "the request")
    shown.wait_for("!document.querySelector('dialog')")
    assert asked(operations, "disconnect_publisher") == [("disconnect_publisher", PUBLISHED)]


def test_a_refusal_is_told_in_its_own_words_where_it_was_asked(page, operations):
    shown = page("clients")
    shown.click(f"Disconnect client {CLIENT}", "#main")
    shown.wait_for("document.querySelector('dialog[open]')")
    operations.refuse = NotPossible("conflict", "it is <b>busy</b>")

    shown.click("Disconnect", "dialog")

    shown.wait_for_text("it is <b>busy</b>", "dialog .fault")
    operations.refuse = None
    shown.click("Disconnect", "dialog")
    shown.wait_for("!document.querySelector('dialog')")
    assert len(asked(operations, "kick")) == 2


def test_a_recording_is_started_in_the_formats_that_are_chosen(page, operations):
    operations.recordings_of = 0
    shown = page("streams/live/me")
    shown.click("Record", "#main")
    shown.evaluate("document.querySelector('dialog [value=mp4]').click()")
    shown.type("dialog [name=file]", "evening")

    shown.click("Start recording", "dialog")

    shown.wait_for_text("Recording live/me as MP4.", "#notices")
    ((_, request),) = asked(operations, "start_record")
    assert (request.stream, request.formats, request.file_name) == (PUBLISHED, ["mp4"], "evening")


def test_a_recording_is_stopped_from_its_stream(page, operations):
    operations.paths.remove("events/2026/me")
    shown = page("streams/live/me")

    shown.click("Stop", "#main .stream-side")

    shown.wait_for_text("Recorded: 1 file.", "#notices")
    assert asked(operations, "stop_record") == [("stop_record", TASK)]


def test_a_push_is_stopped_and_a_target_is_added(page, operations):
    shown = page("streams/live/me")
    shown.wait_for_text("rtmp://a.example/app/…", ".stream-side")
    shown.type("[name=url]", "rtmp://b.example/app/key")
    shown.click("Relay there", ".stream-side")
    wait_until(lambda: asked(operations, "add_target"), "the target")
    shown.wait_for("document.querySelector('[name=url]').value === ''")
    shown.type("[name=url]", "http://b.example")
    shown.click("Relay there", ".stream-side")
    shown.wait_for_text("is expected", ".stream-side .fault")

    shown.click("Stop push", "#main")

    wait_until(lambda: asked(operations, "stop_pushes"), "the stop")
    assert asked(operations, "stop_pushes")[0][1].channel_ids == [CHANNEL]


def test_a_recording_is_deleted_after_it_was_asked(page, operations):
    shown = page("recordings")
    shown.click(f"Delete {FILE}{EVIL[5:]}.mp4", "#main")
    assert not asked(operations, "delete_recording")

    shown.click("Delete", "dialog")

    shown.wait_for_text("Nothing recorded yet")
    assert asked(operations, "delete_recording") == [("delete_recording", FILE)]


def test_recordings_are_turned_page_by_page_and_found_by_stream(page, operations):
    operations.pages = 30
    shown = page("recordings")
    shown.wait_for_text("1 to 25", ".pages")
    assert shown.evaluate("document.querySelectorAll('tbody tr').length") == 25

    shown.click("Older", ".pages")
    shown.wait_for_text("26 to 30", ".pages")
    assert shown.evaluate("document.querySelectorAll('tbody tr').length") == 5

    shown.type("#main [type=search]", "live/me")
    wait_until(lambda: asked(operations, "recordings")[-1][1].stream == "live/me", "the question")
    shown.type("#main [type=search]", "live")
    wait_until(lambda: asked(operations, "recordings")[-1][1].app == "live", "the question")
    shown.type("#main [type=search]", "/?/")
    shown.wait_for_text("expected", "#main .fault")


def test_a_callback_that_was_given_up_is_delivered_again(page, operations):
    shown = page("callbacks")
    shown.wait_for_text("given up", "tbody")
    shown.wait_for_text("1", "#nav .badge.bad")

    shown.click("Deliver now", "#main")

    wait_until(lambda: asked(operations, "retry_callback"), "the request")
    assert asked(operations, "retry_callback") == [("retry_callback", EVENT)]


def test_events_are_shown_as_they_happen_and_filtered(page, site):
    shown = page("events")
    log = logs.get_logger()
    for number in range(3):
        site.loop.call_soon_threadsafe(lambda number=number: log.info("play refused", client=number, why="no key"))
    site.loop.call_soon_threadsafe(lambda: log.warning("relay lost", reason="gone"))
    shown.wait_for_text("relay lost", ".events")
    assert shown.text(".events li").endswith("reason gone")

    shown.type("#main [type=search]", "client=1 -relay")
    shown.wait_for("document.querySelectorAll('.events li').length === 1")
    shown.type("#main [type=search]", "")
    shown.type("#main select", "warning")
    shown.wait_for("[...document.querySelectorAll('.events strong')].every((each) => each.innerText === 'relay lost')")


def test_the_live_player_plays_in_a_card_and_one_at_a_time(page, media):
    shown = page()
    shown.click("Play live/me live", "#main")
    shown.wait_for("document.querySelector('video[src]')?.currentTime > 0.5")

    shown.click("Play events/2026/me live", "#main")
    shown.wait_for("document.querySelectorAll('video[src]').length === 1")
    shown.click("Play live/me live", "#main")
    shown.wait_for("document.querySelector('video[src]')?.currentTime > 0.5")
    shown.click("Unmute", "#main")
    assert shown.evaluate("document.querySelector('video[src]').muted") is False

    shown.click("Stop playing", "#main")
    shown.wait_for("!document.querySelector('video[src]')")


def test_the_server_is_described_drained_and_told_to_read_its_configuration(page, site, operations):
    site.loop.call_soon_threadsafe(lambda: logs.get_logger().info("serving", rtmp="127.0.0.1:1935", connections=900))
    shown = page()
    shown.click("Connected", "header")
    shown.wait_for_text("Version", "dialog")
    shown.wait_for_text("900 connections", "dialog")
    shown.click("Reload configuration", "dialog")
    shown.wait_for_text("after a restart only: rtmp", "#notices")

    shown.click("Connected", "header")
    shown.click("Drain…", "dialog")
    shown.type("dialog [name=timeout]", "5")
    shown.click("Drain", "dialog")
    shown.wait_for_text("Draining: 4 clients left.", "#notices")
    assert asked(operations, "drain")[0][1].timeout == 5


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
        assert browser.text("#main") == ""


def test_it_goes_on_by_itself_after_a_restart_that_forgot_its_session(browser, tmp_path, media, operations):
    with RunningSite(tmp_path / "one", operations, outputs=[FakeSessions(), media]) as first:
        browser.navigate(f"{first.url}/#/streams")
        browser.wait_for_text("live/me", ".card")
        browser.evaluate("globalThis.before = true")
    browser.wait_for_text("Connection lost", "#banner")

    sessions = FakeSessions()
    with RunningSite(tmp_path / "two", operations, outputs=[sessions, media], port=first.port):
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
    with contextlib.suppress(IndexError):
        browser.evaluate("history.back()")
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


def test_a_session_that_ends_meanwhile_is_asked_for_again(browser, tmp_path, media, operations):
    sessions = FakeSessions(TOKEN)
    sessions.is_open = True
    with RunningSite(tmp_path / "site", operations, outputs=[sessions, media]) as site:
        browser.navigate(f"{site.url}/#/streams")
        browser.wait_for_text("live/me", ".card")

        sessions.is_open = False
        operations.refuse = Refusal(HTTPStatus.UNAUTHORIZED, "Authorization: Bearer TOKEN is expected")

        browser.wait_for("document.activeElement.id === 'token'")
        operations.refuse = None
        browser.type("#token", TOKEN)
        browser.key("Enter")
        browser.wait_for_text("live/me", ".card")


def test_of_many_streams_as_many_are_shown_as_a_browser_bears(page, operations):
    operations.paths = [f"live/number-{number}" for number in range(500)]
    shown = page()
    shown.wait_for_text("60 of 500 are shown; a filter finds the others.")
    assert shown.evaluate("document.querySelectorAll('.card').length") == 60

    shown.type("#main [type=search]", "number-499")
    shown.wait_for("document.querySelectorAll('.card').length === 1")
    assert "live/number-499" in shown.text(".card")


def test_a_stream_of_sound_alone_is_shown_without_a_picture(page, operations):
    sound = stream_info(PUBLISHED).model_copy(update={"tracks": [Track(kind="audio", codec="AAC", sample_rate=44_100)]})
    operations.streams = lambda: FakeOperations.streams(operations).model_copy(update={"streams": [sound]})
    shown = page()

    shown.wait_for_text("Sound only", ".card")
    assert "AAC 44.1 kHz" in shown.text(".card")
