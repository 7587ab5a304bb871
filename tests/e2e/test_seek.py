"""A browser plays a recorded MP4 from a web server and seeks in it, without reading all of it."""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import pytest
from av.audio.frame import AudioFrame
from av.video.frame import VideoFrame

from muxers.mp4 import Mp4Muxer
from rtmpd.wire.flv import TagReader
from tests.helpers.browser import Browser
from tests.helpers.ranges import RangeServer

pytestmark = [pytest.mark.e2e, pytest.mark.peer("chromium")]

SECONDS = 40
PICTURES_PER_S = 10
WIDTH, HEIGHT = 320, 180
SAMPLES_PER_S = 48_000
BYTES_PER_S = 1_000_000
"""Of the web server: the whole file would take 20 s. What it sends while the browser sleeps is in nobody's hands but counts."""
TYPE = 'video/mp4; codecs="avc1.64000d, mp4a.40.2"'
PAGE = """<!doctype html>
<video id="video" preload="metadata" muted src="recorded.mp4"></video>
<script>
const video = document.getElementById("video");
const happened = (name) => new Promise((resolve, reject) => {
  video.addEventListener(name, resolve, {once: true});
  video.addEventListener("error", () => reject(new Error(video.error.message)), {once: true});
});
async function opened() {
  if (video.readyState < HTMLMediaElement.HAVE_METADATA) await happened("loadedmetadata");
  return [video.duration, video.videoWidth, video.videoHeight];
}
async function seek(seconds) {
  const seeked = happened("seeked");
  video.currentTime = seconds;
  await seeked;
  const canvas = new OffscreenCanvas(video.videoWidth, video.videoHeight);
  const context = canvas.getContext("2d");
  context.drawImage(video, 0, 0);
  const pixels = context.getImageData(0, 0, canvas.width, canvas.height).data;
  let sum = 0;
  for (let at = 0; at < pixels.length; at += 4) sum += pixels[at + 1];
  return sum / (pixels.length / 4);
}
</script>
"""


class Sight(NamedTuple):
    """What the page showed."""

    playable: str
    """The browser's own word."""
    opened: list[float]
    """Duration in seconds, width, height."""
    green: dict[float, float]
    """Mean of the picture's green, 0 .. 255, by the second that was sought."""
    asked: list[tuple[int, str]]
    """Status and range of what the web server had answered when the first seek was done."""
    sent_bytes: int
    """Of the file, up to then."""
    size_bytes: int


def luma_of(second):
    """The picture of each second has a grey of its own."""
    return 40 + 4 * second


def green_of(second):
    """The same as a screen shows it: luma is 16 to 235."""
    return (luma_of(second) - 16) * 255 / 219


def make_recording(path: Path) -> None:
    """Record the MP4 as a media worker does: some 500 KB a second, for the grey is full of noise."""
    sent = io.BytesIO()
    with av.open(sent, "w", format="flv") as output:
        video = output.add_stream("libx264", rate=PICTURES_PER_S, options={"preset": "ultrafast", "crf": "4"})
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        video.codec_context.gop_size = PICTURES_PER_S
        video.codec_context.profile = "High"
        audio = output.add_stream("aac", rate=SAMPLES_PER_S, layout="stereo")
        packets = [packet for frame in [*_pictures(), None] for packet in video.encode(frame)]
        packets += [packet for frame in [*_sounds(), None] for packet in audio.encode(frame)]
        output.mux(sorted(packets, key=lambda packet: packet.dts * packet.time_base))
    muxer = Mp4Muxer(path)
    muxer.open()
    muxer.write(TagReader().feed(sent.getvalue()))
    muxer.close()


def _pictures():
    noise = bytes((number * number * 7919 >> 7) % 33 for number in range(WIDTH * HEIGHT + 997 * PICTURES_PER_S))
    for number in range(SECONDS * PICTURES_PER_S):
        start = number % PICTURES_PER_S * 997
        darkest = luma_of(number // PICTURES_PER_S) - 16
        grey = VideoFrame(WIDTH, HEIGHT, "yuv420p")
        grey.planes[0].update(bytes(darkest + each for each in noise[start : start + WIDTH * HEIGHT]))
        for plane in grey.planes[1:]:
            plane.update(b"\x80" * plane.buffer_size)
        grey.pts, grey.time_base = number, Fraction(1, PICTURES_PER_S)
        yield grey


def _sounds():
    for number in range(SECONDS * SAMPLES_PER_S // 1024):
        silence = AudioFrame("fltp", "stereo", 1024)
        for plane in silence.planes:
            plane.update(bytes(plane.buffer_size))
        silence.sample_rate, silence.pts, silence.time_base = SAMPLES_PER_S, number * 1024, Fraction(1, SAMPLES_PER_S)
        yield silence


@pytest.fixture(scope="module")
def sight(tmp_path_factory):
    directory = tmp_path_factory.mktemp("seek")
    site = directory / "site"
    site.mkdir()
    make_recording(site / "recorded.mp4")
    (site / "index.html").write_text(PAGE)
    with RangeServer(site, BYTES_PER_S) as server, Browser(directory) as browser:
        browser.navigate(server.url("index.html"))
        playable = browser.evaluate(f"video.canPlayType({TYPE!r})")
        opened = browser.evaluate("opened()")
        green = {20.5: browser.evaluate("seek(20.5)")}
        answers = [answer for answer in server.answers if answer.path == "recorded.mp4"]
        sent_bytes = sum(answer.sent_bytes for answer in answers)
        asked = [(answer.status, answer.range) for answer in answers]
        green |= {second: browser.evaluate(f"seek({second})") for second in (5.5, 38.5, 0.0)}
    return Sight(playable, opened, green, asked, sent_bytes, (site / "recorded.mp4").stat().st_size)


def test_the_browser_plays_what_is_recorded(sight):
    assert sight.playable == "probably"
    assert sight.opened == [pytest.approx(SECONDS, abs=0.2), WIDTH, HEIGHT]


def test_each_seek_shows_the_picture_of_its_time(sight):
    for second, green in sight.green.items():
        assert green == pytest.approx(green_of(int(second)), abs=2), f"at {second} s"


def test_a_seek_asks_for_ranges_and_does_not_read_the_whole_file(sight):
    assert {status for status, _ in sight.asked} == {206}
    assert len({asked for _, asked in sight.asked}) > 1
    assert sight.sent_bytes < sight.size_bytes / 2
