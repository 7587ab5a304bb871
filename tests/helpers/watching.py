"""
A page that watches live outputs in a browser as other people's pages do: from another origin, with players from npm.

Each player has a <video> of its own. The page notes, at every frame that it draws, how far each of them has come: the
longest time without progress is the longest stall.
"""

from __future__ import annotations

import http.server
import json
import os
import subprocess
import threading
from pathlib import Path
from typing import NamedTuple

import pytest

PACKAGES = {"hls.js": "1.7.4", "mpegts.js": "1.8.2"}
_INSTALL_S = 90
_SCRIPTS = {"/hls.js": "hls.js/dist/hls.min.js", "/mpegts.js": "mpegts.js/dist/mpegts.js"}
_PAGE = """<!doctype html>
<meta charset="utf-8">
<title>watching</title>
<script src="hls.js"></script>
<script src="mpegts.js"></script>
<script src="watch.js"></script>
"""
_WATCH = """
const watched = {};

const players = {
  // The browser's own player, from a URL: a growing MP4, or HLS where it can.
  url(video, url) {
    video.src = url;
  },
  hls(video, url, note) {
    const hls = new Hls({lowLatencyMode: false, enableWorker: false});
    recovering(hls, video, url, note);
  },
  llhls(video, url, note) {
    const hls = new Hls({lowLatencyMode: true, enableWorker: false});
    recovering(hls, video, url, note);
  },
  flv(video, url, note) {
    const player = mpegts.createPlayer({type: "flv", isLive: true, url}, {enableWorker: false, liveBufferLatencyChasing: true});
    player.on(mpegts.Events.ERROR, (kind, detail) => note(`${kind} ${detail}`));
    player.attachMediaElement(video);
    player.load();
  },
  // The console's own, in a page of the server.
  async console(video, url, note) {
    const {play} = await import("/console/player.js");
    play(video, url, {onState: ({name, detail}) => note(`${name} ${detail || ""}`)});
  },
  async mse(video, url, note, codecs) {
    const source = new MediaSource();
    video.src = URL.createObjectURL(source);
    await new Promise((resolve) => source.addEventListener("sourceopen", resolve, {once: true}));
    const buffer = source.addSourceBuffer(`video/mp4; codecs="${codecs}"`);
    const reader = (await fetch(url)).body.getReader();
    for (;;) {
      const {value, done} = await reader.read();
      if (done) return note("ended");
      buffer.appendBuffer(value);
      await new Promise((resolve) => buffer.addEventListener("updateend", resolve, {once: true}));
      if (!buffer.buffered.length) continue;  // as yet the initialisation section alone
      const end = buffer.buffered.end(buffer.buffered.length - 1);
      if (video.currentTime < end - 2 || video.currentTime < buffer.buffered.start(0)) video.currentTime = end - 0.1;
    }
  },
};

// What every page with hls.js does (its documentation's chapter on errors): begin again, or let the decoder recover.
function recovering(hls, video, url, note) {
  hls.on(Hls.Events.ERROR, (_event, error) => {
    note(`${error.type} ${error.details} ${error.fatal}`);
    if (!error.fatal) return;
    if (error.type === Hls.ErrorTypes.MEDIA_ERROR) hls.recoverMediaError();
    else setTimeout(() => { hls.loadSource(url); hls.startLoad(); }, 500);
  });
  hls.loadSource(url);
  hls.attachMedia(video);
}

// How old each picture of bench.camera is when it is shown: its upper rows are 32 fields, black or white.
function age(video, state) {
  const canvas = new OffscreenCanvas(320, 180);
  const context = canvas.getContext("2d", {willReadFrequently: true});
  const look = () => {
    const now = Date.now();
    context.drawImage(video, 0, 0, 320, 180);
    const row = context.getImageData(0, 12, 320, 1).data;
    let taken = 0;
    for (let bit = 0; bit < 32; bit += 1) taken = taken * 2 + (row[(bit * 10 + 5) * 4 + 1] > 127 ? 1 : 0);
    state.ages.push((now - taken) % 2 ** 32);
    state.taken = now - state.ages.at(-1);
    video.requestVideoFrameCallback(look);
  };
  video.requestVideoFrameCallback(look);
}

function watch(name, kind, url, codecs) {
  const video = document.createElement("video");
  video.muted = true;
  video.autoplay = true;
  video.crossOrigin = "anonymous";
  video.width = 320;
  document.body.append(video);
  const state = watched[name] = {video, notes: [], at: 0, movedAt: 0, stall: 0, began: false, pictures: new Set(), waits: 0, ages: [], taken: 0};
  age(video, state);
  const note = (text) => state.notes.push(String(text));
  video.addEventListener("error", () => note(`error ${video.error && video.error.message}`));
  video.addEventListener("waiting", () => { if (state.began) state.waits += 1; });
  Promise.resolve(players[kind](video, url, note, codecs)).catch((error) => note(error));
}

function look() {
  const now = performance.now();
  for (const state of Object.values(watched)) {
    const at = state.video.currentTime;
    if (at !== state.at) {
      state.began = true;
      state.at = at;
      state.movedAt = now;
    } else if (state.began) {
      state.stall = Math.max(state.stall, now - state.movedAt);
    }
  }
  requestAnimationFrame(look);
}
requestAnimationFrame(look);

// What is on a video now, as a number: pictures that differ have different ones.
function picture(video) {
  const canvas = new OffscreenCanvas(64, 36);
  const context = canvas.getContext("2d", {willReadFrequently: true});
  context.drawImage(video, 0, 0, 64, 36);
  return context.getImageData(0, 0, 64, 36).data.reduce((sum, value) => (sum * 31 + value) >>> 0, 7);
}

setInterval(() => {
  for (const {video, pictures} of Object.values(watched)) if (video.videoWidth) pictures.add(picture(video));
}, 500);

// Forget stalls so far: what comes at the start of a player is no stall.
function settle() {
  for (const state of Object.values(watched)) {
    state.stall = 0;
    state.waits = 0;
    state.movedAt = performance.now();
    state.pictures.clear();
    state.ages.length = 0;
    state.from = state.video.currentTime;
  }
}

function report() {
  return Object.fromEntries(Object.entries(watched).map(([name, {video, notes, stall, waits, pictures, ages, taken, from, movedAt, began}]) => [name, {
    position_s: video.currentTime,
    advanced_s: video.currentTime - (from || 0),
    stall_ms: Math.max(stall, began ? performance.now() - movedAt : 0),
    waits,
    pictures: pictures.size,
    frames: video.getVideoPlaybackQuality().totalVideoFrames,
    width: video.videoWidth,
    height: video.videoHeight,
    ages_ms: ages,
    taken_ms: taken,
    notes: notes.slice(-20),
  }]));
}
"""


class Seen(NamedTuple):
    """What one player showed."""

    position_s: float
    advanced_s: float
    """Media time that it moved on since `settle`."""
    stall_ms: float
    """The longest time in which it did not move, since `settle`."""
    waits: int
    """How often it ran dry."""
    pictures: int
    """Different ones, of two looks a second."""
    frames: int
    """Decoded, from the start."""
    width: int
    height: int
    ages_ms: list[float]
    """Of each picture since `settle`, where bench.camera took it: from then until it was shown."""
    taken_ms: float
    """When the picture that is shown was taken, unix ms; 0 before the first."""
    notes: list[str]
    """Errors and ends that the player told of."""


def install(directory: Path) -> Path:
    """
    Install the players by npm. Where that fails the test fails if peers are required, else it is skipped.

    Args:
        directory: is there; gets node_modules.

    Returns:
        The folder of the packages.
    """
    names = [f"{name}@{version}" for name, version in PACKAGES.items()]
    options = ["--no-audit", "--no-fund", "--ignore-scripts", "--no-update-notifier"]
    command = ["npm", "install", *options, "--prefix", directory, *names]
    try:
        subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_INSTALL_S, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        give_up = pytest.fail if os.environ.get("RTMPD_REQUIRE_PEERS") == "1" else pytest.skip
        give_up(f"{', '.join(names)} cannot be installed: {error}\n{getattr(error, 'stderr', '')}")
    return directory / "node_modules"


class Site:
    """Serves the page, on an origin of its own; a context manager."""

    def __init__(self, packages: Path) -> None:
        """
        Begin to answer.

        Args:
            packages: as `install` returned it.
        """
        files = {
            "/": ("text/html", _PAGE.encode()),
            "/watch.js": ("text/javascript", _WATCH.encode()),
            **{path: ("text/javascript", (packages / name).read_bytes()) for path, name in _SCRIPTS.items()},
        }

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                kind, body = files.get(self.path, ("text/plain", None))
                self.send_response(404 if body is None else 200)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body or b"")))
                self.end_headers()
                self.wfile.write(body or b"")

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    @property
    def url(self) -> str:
        """Of the page."""
        return f"http://127.0.0.1:{self._server.server_port}/"

    def __enter__(self):
        return self

    def __exit__(self, *_error) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class Watcher:
    """The page in a browser."""

    def __init__(self, browser, site: Site) -> None:
        """
        Open it.

        Args:
            browser: of `tests.helpers.browser`.
            site: serves the page.
        """
        self._browser = browser
        browser.navigate(site.url)

    def move(self, url: str) -> None:
        """
        Watch in another page than that of the site, which has no scripts of its own.

        Args:
            url: of the page.
        """
        self._browser.navigate(url)
        self._browser.evaluate(f"{_WATCH}; true")

    def watch(self, name: str, kind: str, url: str, codecs: str = "") -> None:
        """
        Begin to play.

        Args:
            name: of the player, for the report.
            kind: url, hls, llhls, flv, mse or console.
            url: what to play.
            codecs: for mse, as RFC 6381 has them.
        """
        self._browser.evaluate(
            f"watch({json.dumps(name)}, {json.dumps(kind)}, {json.dumps(url)}, {json.dumps(codecs)})"
        )

    def settle(self) -> None:
        """Forget what the players did so far."""
        self._browser.evaluate("settle()")

    def seen(self) -> dict[str, Seen]:
        """Say what each player has done since it was settled, by name."""
        return {name: Seen(**figures) for name, figures in self._browser.evaluate("report()").items()}

    def now_ms(self) -> int:
        """The browser's time of day, unix ms."""
        return self._browser.evaluate("Date.now()")

    def can_play(self, content_type: str) -> bool:
        """Whether the browser's own player says that it may play a type."""
        return bool(self._browser.evaluate(f"document.createElement('video').canPlayType({json.dumps(content_type)})"))
