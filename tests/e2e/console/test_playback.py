"""Recorded HLS in the page: played from the first second to the last, sought in, while it grows and over discontinuities."""

from __future__ import annotations

import asyncio
import json
import re
from http import HTTPStatus

import pytest
from aiohttp import web

from muxers.hls import HlsMuxer
from rtmpd.web.problems import Refusal
from rtmpd.web.recordings import with_query
from rtmpd.wire.messages import VIDEO
from tests.helpers.console import FakeSessions
from tests.helpers.console_page import PICTURE
from tests.helpers.footage import shifted
from tests.helpers.processes import wait_until
from tests.helpers.site import RunningSite

pytestmark = [pytest.mark.e2e, pytest.mark.peer("chromium")]

BARE = "/console/theme.js"
"""A document under the console's policy without its scripts: the text of one."""
START = """
(async (url) => {
  const { playRecorded } = await import("/console/playback.js");
  document.body.replaceChildren();
  globalThis.video = document.createElement("video");
  video.muted = video.autoplay = true;
  document.body.append(video);
  globalThis.faults = [];
  globalThis.playing = playRecorded(video, url, (fault) => faults.push(fault));
})(%s)
"""


class Folder:
    """A folder of recordings over HTTP, as far as a player sees it."""

    def __init__(self, directory):
        self.directory = directory
        self.asked = []
        """Paths with queries, in the order of requests."""
        self.is_down = False
        self.held = ""
        """End of the path that is not answered."""

    def routes(self):
        return [web.get("/recordings/{path:.+}", self._answer)]

    def reload(self, config):
        """Nothing."""

    async def _answer(self, request):
        path = request.match_info["path"]
        self.asked.append(request.path_qs)
        if self.is_down:
            raise Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "the disk hangs")
        while self.held and path.endswith(self.held):
            await asyncio.sleep(0.05)
        if path.endswith(".m3u8") and request.query_string:
            playlist = (self.directory / path).read_bytes()
            return web.Response(body=with_query(playlist, request.query_string))
        return web.FileResponse(self.directory / path)

    def has_been_asked_for(self, end):
        return any(path.endswith(end) for path in self.asked)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return Folder(tmp_path_factory.mktemp("recordings"))


@pytest.fixture(scope="module")
def site(folder, tmp_path_factory):
    with RunningSite(tmp_path_factory.mktemp("site"), outputs=[FakeSessions(), folder]) as site:
        yield site


@pytest.fixture(scope="module")
def tags(sources):
    return sources.tags("long")


@pytest.fixture
def begin(folder, request):
    """Begins a recording that lasts."""

    def begin(tags=(), **options):
        name = re.sub(r"\W", "-", request.node.name)
        muxer = HlsMuxer(folder.directory / f"{name}.m3u8", segment_ms=1000, **options)
        muxer.open()
        muxer.write(tags)
        return muxer

    return begin


@pytest.fixture
def record(begin):
    """Makes a whole recording."""

    def record(tags, **options):
        muxer = begin(tags, **options)
        muxer.close()
        return muxer

    return record


@pytest.fixture
def page(browser, site, folder):
    """Plays a recording in a page of the site."""
    folder.is_down = False
    folder.held = ""
    folder.asked.clear()
    browser.navigate(f"{site.url}{BARE}")

    def start(muxer, query="", before="undefined"):
        browser.evaluate(before)
        browser.evaluate(START % json.dumps(f"/recordings/{muxer.facts().path.rpartition('/')[2]}{query}"))
        return browser

    yield start
    folder.held = ""
    browser.evaluate("globalThis.playing?.stop()")
    assert browser.complaints == []


def repeated(tags, times):
    """The same again and again, in one go."""
    length_ms = tags[-1].timestamp_ms + 40
    return [tag for number in range(times) for tag in shifted(tags, number * length_ms)]


def seek(shown, time_s):
    shown.evaluate(f"video.currentTime = {time_s}")
    shown.wait_for("!video.seeking && video.readyState >= 2")


def plays_to(shown, time_s):
    shown.wait_for(f"video.currentTime > {time_s} && !video.seeking")


def test_the_length_is_known_at_once_and_no_more_is_fetched_than_is_played_soon(page, record, tags, folder):
    shown = page(record(repeated(tags, 5)))

    plays_to(shown, 1)
    shown.wait_for("video.buffered.end(0) > 29")

    assert shown.evaluate("video.duration") == pytest.approx(100, abs=1)
    assert shown.evaluate("video.buffered.end(0) - video.currentTime") < 33
    assert not folder.has_been_asked_for("/00050.m4s")


def test_sound_alone_is_played_too(page, record, sources):
    shown = page(record(sources.tags("audio only")))

    shown.wait_for("video.ended")

    assert shown.evaluate("[video.currentTime > 2.5, faults]") == [True, []]


def test_any_place_can_be_sought_and_the_end_ends_it(page, record, tags, folder):
    shown = page(record(repeated(tags, 5)))
    plays_to(shown, 0.5)
    first = shown.evaluate(PICTURE)

    seek(shown, 98.3)
    assert shown.evaluate(PICTURE) != first
    plays_to(shown, 98.8)
    shown.wait_for("video.ended")
    assert not folder.has_been_asked_for("/00050.m4s")

    seek(shown, 0)
    shown.evaluate("video.play()")
    plays_to(shown, 0.5)
    seek(shown, 50.5)
    plays_to(shown, 51)
    assert shown.evaluate("[video.buffered.length, faults]") == [1, []]


def test_a_place_that_is_sought_does_not_wait_for_the_one_before(page, record, tags, folder):
    folder.held = "/00003.m4s"
    shown = page(record(repeated(tags, 2)))
    wait_until(lambda: folder.has_been_asked_for("/00003.m4s"), "a segment to be asked for")

    shown.evaluate("video.currentTime = 30.5")

    plays_to(shown, 31)


def test_what_is_far_behind_is_thrown_away_and_fetched_again_when_it_is_sought(page, record, tags):
    shown = page(record(repeated(tags, 5)))
    for time_s in (25, 50, 75):
        shown.wait_for(f"video.buffered.length && video.buffered.end(0) > {time_s + 1}")
        seek(shown, time_s)

    shown.wait_for("video.buffered.start(0) > 40")
    seek(shown, 41)
    plays_to(shown, 41.5)
    seek(shown, 3)
    plays_to(shown, 3.5)


def test_a_browser_that_holds_less_is_given_less(page, record, tags):
    little = """
    (() => {
      const whole = SourceBuffer.prototype.appendBuffer;
      SourceBuffer.prototype.appendBuffer = function (data) {
        const held = this.buffered;
        if (held.length && held.end(held.length - 1) - held.start(0) > 9)
          throw new DOMException("full", "QuotaExceededError");
        return whole.call(this, data);
      };
    })()
    """
    shown = page(record(tags), before=little)
    plays_to(shown, 1)
    shown.evaluate("video.playbackRate = 4")

    shown.wait_for("video.ended")

    assert shown.evaluate("[video.currentTime > 19, faults]") == [True, []]


@pytest.mark.parametrize("later_ms", [20_040, 3_600_000], ids=["goes on", "leaps by an hour"])
def test_a_run_with_other_codecs_follows_the_one_before(page, record, tags, sources, later_ms):
    shown = page(record([*tags, *shifted(sources.tags("av1+opus"), later_ms)]))
    plays_to(shown, 0.5)

    seek(shown, 18.5)
    shown.wait_for("video.ended")
    seek(shown, 22)
    first = shown.evaluate(PICTURE)
    seek(shown, 5)
    shown.evaluate("video.play()")
    plays_to(shown, 5.5)

    assert shown.evaluate(PICTURE) != first
    assert shown.evaluate("video.duration") == pytest.approx(23, abs=0.3)


def test_a_run_whose_picture_ends_before_its_sound_is_left_for_the_next_one(page, record, tags, sources):
    cut = [tag for tag in tags if tag.type_id != VIDEO or tag.timestamp_ms < 19_000]
    shown = page(record([*cut, *shifted(sources.tags("av1+opus"), 20_040)]))
    plays_to(shown, 0.5)

    seek(shown, 17)

    plays_to(shown, 21)
    shown.wait_for("video.ended")


def test_one_that_is_still_being_recorded_goes_on_as_it_grows(page, begin, tags):
    muxer = begin()
    shown = page(muxer)
    shown.wait_for("globalThis.playing")

    muxer.write([tag for tag in tags if tag.timestamp_ms < 5_000])
    plays_to(shown, 1)
    known_s = shown.evaluate("video.duration")
    plays_to(shown, 3.5)
    assert not shown.evaluate("video.ended")
    muxer.write([tag for tag in tags if tag.timestamp_ms >= 5_000])
    shown.wait_for(f"video.duration > {known_s + 5}")
    plays_to(shown, known_s + 1)
    muxer.close()

    seek(shown, 18.5)
    shown.wait_for("video.ended")
    assert shown.evaluate("faults") == []


def test_a_server_that_was_slow_once_is_not_spared_for_long(page, begin, tags, folder):
    muxer = begin([tag for tag in tags if tag.timestamp_ms < 5_000])
    shown = page(muxer)
    plays_to(shown, 1)
    folder.asked.clear()
    folder.held = ".m3u8"
    wait_until(lambda: folder.has_been_asked_for(".m3u8"), "the playlist to be asked for")
    shown.evaluate("new Promise((resolve) => setTimeout(resolve, 2500))")

    muxer.write([tag for tag in tags if 5_000 <= tag.timestamp_ms < 10_000])
    folder.held = ""
    shown.wait_for("video.duration > 8")
    muxer.write([tag for tag in tags if tag.timestamp_ms >= 10_000])

    shown.wait_for("video.duration > 18")


def test_a_server_that_is_away_for_a_while_is_asked_again(page, record, tags, folder):
    folder.is_down = True
    shown = page(record(tags))
    shown.wait_for("faults.at(-1) === 'the disk hangs'")

    folder.is_down = False

    plays_to(shown, 1)
    assert shown.evaluate("faults") == ["the disk hangs", ""]


def test_a_query_that_admits_goes_with_every_part(page, record, tags, folder):
    shown = page(record(tags), query="?key=a-key")

    plays_to(shown, 1)

    assert folder.asked
    assert all(path.endswith("?key=a-key") for path in folder.asked)


def test_what_is_stopped_asks_for_nothing_more(page, record, tags, folder):
    folder.held = "/00003.m4s"
    shown = page(record(tags))
    wait_until(lambda: folder.has_been_asked_for("/00003.m4s"), "a segment to be asked for")

    shown.evaluate("playing.stop()")
    folder.held = ""
    asked = len(folder.asked)
    shown.evaluate("video.currentTime = 15")
    shown.evaluate("new Promise((resolve) => setTimeout(resolve, 600))")

    assert len(folder.asked) == asked


@pytest.mark.parametrize("answer", ["maybe", ""])
def test_transport_streams_are_left_to_browsers_that_have_hls_by_themselves(page, record, tags, answer):
    shown = page(
        record(tags, segment_type="ts"),
        before=f"HTMLMediaElement.prototype.canPlayType = () => '{answer}', undefined",
    )

    if answer:
        shown.wait_for("video.src.endsWith('.m3u8')")
    else:
        shown.wait_for("faults.at(-1)?.startsWith('This browser plays no HLS by itself.')")
        assert not shown.evaluate("video.src")


def test_codecs_that_media_source_extensions_lack_are_left_to_the_browser(page, record, tags):
    shown = page(record(tags), before="MediaSource.isTypeSupported = () => false, undefined")

    shown.wait_for("video.src.endsWith('.m3u8')")
