"""What the console shows, of whatever name, on whatever screen, and to whom."""

from __future__ import annotations

import re

import pytest

from rtmpd import logs
from rtmpd.control.models import Track
from tests.helpers.console import EVIL
from tests.helpers.operations import PUBLISHED, FakeOperations, stream_info

pytestmark = [pytest.mark.e2e, pytest.mark.peer("chromium")]

VIEWS = ["streams", "recordings", "clients", "relays", "callbacks", "events"]
PHONE = (360, 780)
LEAST_CONTRAST = 4.5
"""Of text, WCAG 2.2 level AA."""


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


@pytest.mark.parametrize("size", [PHONE, (1280, 800)])
def test_the_clients_of_a_stream_are_shown_whole(page, size):
    shown = page("streams/live/me")
    shown.resize(*size)
    shown.wait_for_text("127.0.0.1", ".stream-main table")

    assert shown.evaluate("document.querySelector('.stream-main .scroll').scrollWidth") <= shown.evaluate(
        "document.querySelector('.stream-main .scroll').clientWidth"
    )


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
    shown.reload()
    assert shown.evaluate(back) == dark

    shown.click("Dark or light colours")
    assert shown.evaluate(back) == light
    shown.evaluate("localStorage.clear()")


@pytest.mark.parametrize("colours", ["dark", "light"])
def test_every_text_can_be_read_on_what_is_behind_it(page, browser, colours):
    browser.prefer(colours)
    shown = page()
    rendered = {
        name: shown.evaluate(
            "(() => { const probe = document.createElement('i'); document.body.append(probe);"
            f"probe.style.color = 'var(--{name})'; return getComputedStyle(probe).color; }})()"
        )
        for name in ("text", "dim", "accent", "good", "warn", "bad", "on-accent", "back", "panel", "raised")
    }
    pairs = [(text, behind) for text in ("text", "dim", "accent", "bad") for behind in ("back", "panel", "raised")]
    pairs += [("good", "raised"), ("warn", "raised"), ("on-accent", "accent"), ("panel", "bad")]

    contrasts = {pair: contrast(rendered[pair[0]], rendered[pair[1]]) for pair in pairs}

    assert {pair: found for pair, found in contrasts.items() if found < LEAST_CONTRAST} == {}


def contrast(one, other):
    """As WCAG 2.2 has it, of two colours as a browser writes them."""
    dark, light = sorted(map(luminance, (one, other)))
    return (light + 0.05) / (dark + 0.05)


def luminance(colour):
    shares = [int(each) / 255 for each in re.findall(r"\d+", colour)[:3]]
    red, green, blue = (each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in shares)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("view", [*VIEWS, "streams/live/me"])
def test_everything_that_can_be_used_has_a_name_and_every_view_a_heading(page, view):
    shown = page(view)
    shown.wait_for("document.querySelector('#main').innerText.length > 30")

    nameless = shown.evaluate(
        "[...document.querySelectorAll('button, a, input, select, textarea')].filter((each) => each.checkVisibility()"
        " && !(each.ariaLabel || each.innerText.trim() || each.labels?.length || each.title)).map((each) => each.outerHTML)"
    )

    assert nameless == []
    assert shown.evaluate("[...document.querySelectorAll('h1')].filter((each) => each.checkVisibility()).length") == 1
    ids = shown.evaluate("[...document.querySelectorAll('[id]')].map((each) => each.id)")
    assert len(ids) == len(set(ids))


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
