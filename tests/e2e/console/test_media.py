"""The console with real media: a stream that moves, a recording that is played back in the page, pictures of both."""

from __future__ import annotations

import json

import pytest

from tests.helpers.processes import wait_until
from tests.helpers.rtmp_client import LivePublisher
from tests.helpers.server import Server

pytestmark = [pytest.mark.e2e, pytest.mark.peer("chromium")]

DEMO = "live/demo"
PICTURE = """
(() => {
  const video = document.querySelector("%s");
  const canvas = new OffscreenCanvas(64, 36);
  const context = canvas.getContext("2d");
  context.drawImage(video, 0, 0, 64, 36);
  return Array.from(context.getImageData(0, 0, 64, 36).data).join();
})()
"""
WHOLE = (
    "(({currentTime, duration}) => currentTime === duration && duration > 4)(document.querySelector('dialog video'))"
)
"""It has ended where the recording does."""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Server(tmp_path_factory.mktemp("server"), verb="demo") as server:
        server.api.wait_for_stream(DEMO)
        yield server


@pytest.fixture
def page(browser, server):
    """Opens a view."""

    def open_view(view="streams"):
        host, port = server.http_address
        browser.navigate("about:blank")
        browser.navigate(f"http://{host}:{port}/#/{view}")
        browser.wait_for_text("Connected", "#server")
        return browser

    yield open_view
    assert browser.complaints == []


def test_the_demo_moves_and_counts_as_a_player(page):
    shown = page(f"streams/{DEMO}")
    shown.wait_for("document.querySelector('video').currentTime > 0.5")
    first = shown.evaluate(PICTURE % "video")
    before = shown.evaluate("document.querySelector('video').currentTime")

    shown.wait_for(f"document.querySelector('video').currentTime > {before + 1}")

    # The sound goes on by itself, and with it the time, while the process that paints rests.
    shown.wait_for(f"{PICTURE % 'video'} !== {json.dumps(first)}")
    shown.wait_for_text("1 live MP4", ".facts")
    shown.wait_for_text("live MP4", "tbody")


def test_a_card_has_a_picture_and_a_curve(page):
    shown = page()

    shown.wait_for("document.querySelector('.card .thumbnail img').naturalWidth > 300")
    shown.wait_for("document.querySelector('.card .line').getAttribute('d')?.includes('L')")
    shown.wait_for_text(" fps", ".card")


def test_a_stream_is_recorded_played_back_in_the_page_and_deleted(page, server):
    shown = page(f"streams/{DEMO}")
    shown.click("Record", "#main")
    shown.evaluate("document.querySelector('dialog [value=mp4]').click()")
    shown.click("Start recording", "dialog")
    wait_until(lambda: sum(path.stat().st_size for path in server.recordings()) > 500_000, "two seconds of it")
    shown.click("Stop", ".stream-side")
    shown.wait_for_text("Recorded: 1 file.", "#notices")

    shown.click("Files of this stream", ".stream-side")
    (path,) = server.recordings()
    shown.wait_for_text("complete", "tbody")
    shown.wait_for("document.querySelector('tbody .thumbnail img').naturalWidth > 300")
    shown.click(f"Play {path.name}", "tbody")
    shown.wait_for("document.querySelector('dialog video').currentTime > 1")
    first = shown.evaluate(PICTURE % "dialog video")
    shown.evaluate("document.querySelector('dialog video').currentTime = 0")
    shown.wait_for("!document.querySelector('dialog video').seeking")
    assert shown.evaluate(PICTURE % "dialog video") != first
    saved = shown.evaluate(
        "fetch(document.querySelector('tbody a[download]').href).then((each) => each.arrayBuffer()).then((each) => each.byteLength)"
    )
    assert saved == path.stat().st_size

    shown.click("Close", "dialog")
    shown.click(f"Delete {path.name}", "tbody")
    shown.click("Delete", "dialog")
    shown.wait_for_text("No files.", ".pages")
    assert server.recordings() == []


def test_hls_is_played_back_while_it_is_recorded_and_when_it_is_complete(page, server, sources):
    with LivePublisher(server.address, "show", sources.tags("long")):
        shown = page("streams/live/show")
        shown.click("Record", "#main")
        shown.evaluate("document.querySelector('dialog [value=hls]').click()")
        shown.click("Start recording", "dialog")
        shown.click("Files of this stream", ".stream-side")
        path = wait_for_playlist(server, "live/show")
        shown.click(f"Play {path.name}", "tbody")
        shown.wait_for("document.querySelector('dialog video').currentTime > 3")
        assert not shown.evaluate("document.querySelector('dialog video').ended")
        (task,) = [each for each in server.api.get("records").body["records"] if each["stream"] == "live/show"]
        server.api.stop_record(task["task_id"])

    shown.wait_for("document.querySelector('dialog video').ended")
    assert shown.evaluate(WHOLE)
    last = shown.evaluate(PICTURE % "dialog video")
    shown.evaluate("document.querySelector('dialog video').currentTime = 0")
    shown.wait_for("!document.querySelector('dialog video').seeking")
    assert shown.evaluate(PICTURE % "dialog video") != last
    assert shown.text("dialog .fault") == ""
    shown.click("Close", "dialog")


def test_hls_is_played_back_over_a_publisher_that_came_back_with_other_codecs(page, server, sources):
    with LivePublisher(server.address, "two", sources.tags("h264+aac")) as publisher:
        task = server.api.start_record("live/two", formats=["hls"])
        publisher.wait_until_sent(publisher.sent_ms + 3_000)
        publisher.drop()
    server.wait_for("closed", stream="live/two", role="publish")
    with LivePublisher(server.address, "two", sources.tags("av1+opus")) as publisher:
        path = wait_for_playlist(server, "live/two")
        wait_until(lambda: "#EXT-X-DISCONTINUITY\n" in path.read_text(), "media over the break")
        publisher.wait_until_sent(publisher.sent_ms + 1_000)
        server.api.stop_record(task["task_id"])

    shown = page("recordings?stream=live/two")
    shown.click(f"Play {path.name}", "tbody")
    shown.wait_for("document.querySelector('dialog video').currentTime > 1")
    first = shown.evaluate(PICTURE % "dialog video")
    shown.wait_for("document.querySelector('dialog video').ended")

    assert shown.evaluate(WHOLE)
    assert shown.evaluate(PICTURE % "dialog video") != first
    shown.click("Close", "dialog")


def wait_for_playlist(server, stream):
    """Wait for the first segment of a recording; its playlist."""

    def found():
        return [path for path in server.recordings(stream) if path.suffix == ".m3u8" and ".m4s" in path.read_text()]

    wait_until(lambda: bool(found()), "a segment")
    return found()[0]


def test_a_page_that_stays_open_does_not_keep_an_ended_stream_waiting(page, server, sources):
    with LivePublisher(server.address, "me", sources.tags("h264+aac")):
        shown = page("streams/live/me")
        shown.wait_for("document.querySelector('video[src]')?.currentTime > 0.5")
    wait_until(lambda: len(server.api.get("streams").body["streams"]) == 1, "the stream to be gone", 40)
    shown.wait_for_text("Nobody publishes this stream", "#main")

    with LivePublisher(server.address, "me", sources.tags("h264+aac")):
        shown.wait_for("document.querySelector('video[src]')?.currentTime > 0.5")
