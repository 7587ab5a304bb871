"""The console's live player in a browser: close to the edge, over breaks, and with words where it cannot play."""

from __future__ import annotations

import json

import pytest

from tests.helpers.console import FakeMedia, FakeSessions, fragment
from tests.helpers.console_page import PICTURE
from tests.helpers.processes import wait_until
from tests.helpers.site import RunningSite

pytestmark = [pytest.mark.e2e, pytest.mark.peer("chromium")]

BEHIND_S = 1.5
"""No further behind what has come the picture may be."""
BARE = "/console/theme.js"
"""A document under the console's policy without its scripts: the text of one."""
START = """
(async () => {
  const { play } = await import("/console/player.js");
  document.body.replaceChildren();
  globalThis.video = document.createElement("video");
  video.muted = true;
  document.body.append(video);
  globalThis.states = [];
  globalThis.playing = play(video, %s, { onState: (state) => states.push(state) });
})()
"""


@pytest.fixture(scope="module")
def media(sources, tmp_path_factory):
    return FakeMedia(fragment(sources.mp4("relayed"), tmp_path_factory.mktemp("media") / "relayed.mp4"))


@pytest.fixture(scope="module")
def site(media, tmp_path_factory):
    with RunningSite(tmp_path_factory.mktemp("site"), outputs=[FakeSessions(), media]) as site:
        yield site


@pytest.fixture
def page(browser, site, media):
    """Plays /live/cam.mp4 in a page of the site."""
    media.going.set()
    media.missing = False
    media.pace = 1.0
    browser.navigate(f"{site.url}{BARE}")

    def start(url="/live/cam.mp4"):
        browser.evaluate(START % json.dumps(url))
        return browser

    yield start
    browser.evaluate("globalThis.playing?.stop()")
    media.going.set()


def names_of(page):
    return page.evaluate("states.map((each) => each.name)")


def plays_on(page):
    before = page.evaluate("video.currentTime")
    page.wait_for(f"video.currentTime > {before + 0.5}")


def test_it_shows_pictures_that_move_and_stays_at_the_live_edge(page):
    shown = page()
    shown.wait_for("video.currentTime > 1 && !video.paused")

    first = shown.evaluate(PICTURE)
    plays_on(shown)

    assert names_of(shown) == ["connecting", "playing"]
    shown.wait_for(f"{PICTURE} !== {json.dumps(first)}")
    # Media that come after a stall are in the buffer for a moment before the picture leaps over them.
    shown.wait_for(f"playing.lead() >= 0 && playing.lead() < {BEHIND_S}")
    assert shown.complaints == []


def test_a_picture_that_fell_behind_leaps_to_the_edge(page):
    shown = page()
    shown.wait_for("video.currentTime > 4")

    shown.evaluate("video.currentTime -= 3")

    shown.wait_for(f"!video.seeking && playing.lead() < {BEHIND_S}")
    plays_on(shown)


def test_it_goes_on_by_itself_when_the_stream_breaks_off_and_comes_back(page, media):
    shown = page()
    shown.wait_for("states.at(-1).name === 'playing'")
    asked = media.asked

    media.missing = True
    media.going.clear()
    wait_until(lambda: media.asked >= asked + 2, "the player to try again")
    shown.wait_for("states.at(-1).name === 'waiting' && states.at(-1).detail === 'nobody publishes it'")
    media.missing = False
    media.going.set()

    shown.wait_for("states.at(-1).name === 'playing'")
    plays_on(shown)


def test_a_codec_that_the_browser_does_not_know_is_named_and_not_tried_again(page, media):
    whole = media.init
    media.init = whole.replace(b"avc1", b"xyz1", 1)
    try:
        shown = page()
        shown.wait_for("states.at(-1).name === 'unsupported'")
    finally:
        media.init = whole

    assert shown.evaluate("states.at(-1).detail") == "This browser does not play xyz1 with mp4a.40.2."


def test_what_is_stopped_asks_for_nothing_more_and_lets_go_of_the_video(page, media):
    shown = page()
    shown.wait_for("states.at(-1).name === 'playing'")

    shown.evaluate("playing.stop()")
    media.going.clear()
    told, asked = len(names_of(shown)), media.asked
    shown.wait_for("!video.getAttribute('src') && video.readyState === 0")
    shown.evaluate("new Promise((resolve) => setTimeout(resolve, 600))")

    assert (len(names_of(shown)), media.asked) == (told, asked)


def test_what_it_played_long_ago_is_not_kept(page, media):
    media.pace = 0.0  # all at once, so that the picture leaps over half a minute
    shown = page()

    shown.wait_for("video.currentTime > 30 && video.buffered.start(0) > 20")


@pytest.mark.parametrize(
    ("entry", "box", "data", "codec"),
    [
        ("avc1", "avcC", "01640028", "avc1.640028"),
        ("hvc1", "hvcC", "010160000000900000000000" + "7b", "hvc1.1.6.L123.90"),
        ("hvc1", "hvcC", "0122" + "20000000" + "b00000000000" + "99", "hvc1.2.4.H153.B0"),
        ("av01", "av1C", "81084c00", "av01.0.08M.10"),
        ("av01", "av1C", "8108" + "0c00", "av01.0.08M.08"),
        ("vp09", "vpcC", "01000000" + "00298201", "vp09.00.41.08"),
        (
            "mp4a",
            "esds",
            "00000000" + "0319000100" + "0411" + "4015000000000000000000000000"[:26] + "0502" + "1190",
            "mp4a.40.2",
        ),
        ("mp4a", "esds", "00000000" + "0319000100" + "0411" + "6b15000000000000000000000000"[:26], "mp4a.6B"),
        ("Opus", "dOps", "00", "opus"),
        ("ac-3", "dac3", "00", "ac-3"),
        ("fLaC", "dfLa", "00", "flac"),
        ("avc1", "free", "00", "avc1"),
    ],
)
def test_codecs_are_named_as_rfc_6381_has_it(browser, site, entry, box, data, codec):
    kind = "vide" if entry in {"avc1", "hvc1", "av01", "vp09"} else "soun"
    init = moov(kind, entry, boxed(box, bytes.fromhex(data)))
    if browser.evaluate("location.origin") != site.url:
        browser.navigate(f"{site.url}{BARE}")

    found = browser.evaluate(f"import('/console/mp4.js').then((mp4) => mp4.contentOf(Uint8Array.from({list(init)})))")

    assert found == {"mime": f'{"video" if kind == "vide" else "audio"}/mp4; codecs="{codec}"', "codecs": [codec]}


@pytest.mark.parametrize("version", [0, 1])
def test_a_segment_begins_with_the_earliest_of_its_tracks(browser, site, version):
    bytes_of_time = 8 if version else 4

    def timed(kind, data):
        return boxed(kind, bytes([version, 0, 0, 0]) + data)

    def track(number, timescale):
        times = bytes(2 * bytes_of_time)
        described = timed("tkhd", times + number.to_bytes(4)) + boxed(
            "mdia", timed("mdhd", times + timescale.to_bytes(4))
        )
        return boxed("trak", described)

    def fragment(number, time):
        return boxed("traf", timed("tfhd", number.to_bytes(4)) + timed("tfdt", time.to_bytes(bytes_of_time)))

    init = boxed("moov", track(1, 90_000) + track(2, 48_000))
    segment = boxed("moof", fragment(1, 180_000) + fragment(2, 72_000))
    if browser.evaluate("location.origin") != site.url:
        browser.navigate(f"{site.url}{BARE}")

    arguments = ", ".join(f"Uint8Array.from({list(data)})" for data in (init, segment))
    assert browser.evaluate(f"import('/console/mp4.js').then((mp4) => mp4.startOf({arguments}))") == 1.5


def boxed(kind, data):
    return (8 + len(data)).to_bytes(4) + kind.encode() + data


def moov(kind, entry, inside):
    """The init section of one track, but for what nobody reads here."""
    described = boxed("stsd", bytes(7) + b"\1" + boxed(entry, bytes(78 if kind == "vide" else 28) + inside))
    handler = boxed("hdlr", bytes(8) + kind.encode() + bytes(13))
    media = boxed("mdia", handler + boxed("minf", boxed("stbl", described)))
    return boxed("ftyp", b"isom") + boxed("moov", boxed("trak", media))
