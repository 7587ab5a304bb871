"""Every live output over HTTP is played: by ffmpeg, and by players in a real browser on a page of another origin."""

from __future__ import annotations

import math
import signal
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from itertools import pairwise
from pathlib import Path

import pytest

from tests.helpers.browser import Browser
from tests.helpers.ports import reserved_ports
from tests.helpers.processes import PATIENCE_S, Program, wait_until
from tests.helpers.server import Server
from tests.helpers.watching import Seen, Site, Watcher, install

pytestmark = pytest.mark.e2e

CODECS = "avc1.42c00d,mp4a.40.2"
"""Of bench.camera."""
PLAYERS = {
    "FLV": ("flv", "http", ".flv"),
    "FLV over WebSocket": ("flv", "ws", ".flv"),
    "MP4 by Media Source Extensions": ("mse", "http", ".mp4"),
    "MP4 by the browser": ("url", "http", ".mp4"),
    "HLS by hls.js": ("hls", "http", ".m3u8"),
    "low-latency HLS by hls.js": ("llhls", "http", ".m3u8"),
}
LISTED_SEGMENTS = 5
PROVEN_S = 60
STALL_MS = 1000
"""The machine's two cores encode one stream and decode seven at once here: what is shorter is theirs."""
VIEWERS = 500
QUICKLY_OVER = "[packaging]\nidle_s = 2\n\n[apps.live]\ngrace_s = 1\n"


@pytest.fixture(scope="module")
def packages(tmp_path_factory) -> Path:
    """The players."""
    return install(tmp_path_factory.mktemp("players"))


@contextmanager
def camera(server: Server, stream: str = "live/camera") -> Iterator[Program]:
    """Publish for as long as the block lasts."""
    count = len(server.found("publish started"))
    with Program([sys.executable, "-m", "bench.camera", server.url(stream)]) as program:
        server.wait_for("publish started", count=count + 1)
        yield program


@contextmanager
def watching(tmp_path: Path, packages: Path) -> Iterator[Watcher]:
    """Open the page."""
    profile = tmp_path / "browser"
    profile.mkdir()
    with Site(packages) as site, Browser(profile) as browser:
        yield Watcher(browser, site)


@pytest.mark.peer("ffmpeg")
@pytest.mark.parametrize("output", [".flv", ".mp4", ".m3u8"])
def test_ffmpeg_plays_it_and_its_pictures_move_on(output, directory, prove):
    seconds = 60 if prove else 4
    with Server(directory) as server, camera(server):
        if output == ".m3u8":  # ffmpeg asks once, and the first answer waits for a packager 8 s at most
            wait_until(lambda: segments_of(server, "live/camera"), "a playlist")
        command = ["ffmpeg", "-v", "error", "-i", server.http_url(f"live/camera{output}"), "-t", str(seconds)]
        with Program([*command, "-map", "0:v", "-f", "framemd5", "-"]) as player:
            assert player.wait(seconds + 40) == 0
        rows = [line.split(",") for line in player.stdout if not line.startswith("#")]
        steps = [int(after[2]) - int(before[2]) for before, after in pairwise(rows)]

    assert not player.stderr
    assert len(rows) >= seconds * 29
    assert len({row[5] for row in rows}) == len(rows)
    assert min(steps) > 0


@pytest.mark.peer("chromium", "npm")
@pytest.mark.timeout(300)
def test_a_browser_plays_every_output_and_its_pictures_move_on(directory, tmp_path, packages, prove):
    with Server(directory) as server, camera(server), watching(tmp_path, packages) as watcher:
        # Of a stream that has just begun players have less than they want to have in advance, and wait a little.
        wait_until(lambda: segments_of(server, "live/camera") >= LISTED_SEGMENTS, "a playlist of some length", 60)
        for number, (name, (how, scheme, suffix)) in enumerate(PLAYERS.items()):
            # A host for each: a browser has six connections to one, and these players need more.
            url = server.http_url(f"live/camera{suffix}", scheme).replace("127.0.0.1", f"player{number}.localhost")
            watcher.watch(name, how, url, CODECS)
        wait_until(lambda: all(seen.pictures > 4 for seen in watcher.seen().values()), "the first pictures of each", 60)
        watcher.settle()
        if prove:
            threading.Event().wait(PROVEN_S)  # what is shown is how they play on for that long
            assert not behind(watcher, PROVEN_S - 2, PROVEN_S, STALL_MS)
        # How fast, beside six decoders on a busy machine, says nothing of the server.
        wait_until(lambda: not behind(watcher, 8, 8), lambda: f"each to play on: {behind(watcher, 8, 8)}", 90)


def segments_of(server: Server, stream: str) -> int:
    """How many whole segments a playlist lists; none where the server has had nothing to list for a while."""
    try:
        with urllib.request.urlopen(server.http_url(f"{stream}.m3u8"), timeout=PATIENCE_S) as answer:
            return answer.read().count(b"#EXTINF:")
    except urllib.error.HTTPError as error:
        if error.code != HTTPStatus.SERVICE_UNAVAILABLE:
            raise
        return 0


def behind(watcher: Watcher, advanced_s: float, pictures: int, stall_ms: float = math.inf) -> dict[str, Seen]:
    """Name the players that have not shown so much since they were settled, or stalled for so long."""
    return {
        name: each._replace(ages_ms=each.ages_ms[-3:])
        for name, each in watcher.seen().items()
        if not (each.advanced_s > advanced_s and each.pictures > pictures and each.stall_ms < stall_ms)
    }


@pytest.mark.peer("chromium", "npm")
@pytest.mark.timeout(600)
def test_hls_goes_on_by_itself_over_publishers_that_come_back_and_a_restart(directory, tmp_path, packages, prove):
    players = {"hls": "hls", "llhls": "llhls"}
    with watching(tmp_path, packages) as watcher, reserved_ports(2) as (rtmp, http):
        listen = ["--rtmp", f"127.0.0.1:{rtmp}", "--http", f"127.0.0.1:{http}"]
        with Server(directory, arguments=listen) as server:
            with camera(server):
                for name, how in players.items():
                    watcher.watch(name, how, server.http_url("live/camera.m3u8"))
                wait_for_fresh(watcher, players)
            for _ in range(9 if prove else 1):
                with camera(server):
                    wait_for_fresh(watcher, players)
        for end in ("stops", "has nothing left", "is killed"):
            with Server(directory, QUICKLY_OVER, arguments=listen) as server:
                with camera(server):
                    wait_for_fresh(watcher, players)
                    if end == "stops":
                        server.stop()
                    elif end == "is killed":
                        server.kill()
                if end == "has nothing left":
                    settled(lambda: packaged(server), 0, "packaging to end")
        with Server(directory, arguments=listen) as server, camera(server):
            # Who begins now is told of what those before it may miss, too.
            for name, how in players.items():
                url = server.http_url("live/camera.m3u8").replace("127.0.0.1", f"{name}.localhost")
                watcher.watch(f"new {name}", how, url)
            wait_for_fresh(watcher, [*players, *(f"new {name}" for name in players)])


def wait_for_fresh(watcher: Watcher, names: Iterable[str]) -> None:
    """Wait until each shows pictures that were taken after now."""
    watcher.settle()
    began = watcher.now_ms()

    def is_fresh(seen: Seen) -> bool:
        return seen.taken_ms > began

    wait_until(
        lambda: all(is_fresh(watcher.seen()[name]) for name in names), lambda: f"new pictures: {watcher.seen()}", 60
    )


def packaged(server: Server) -> int:
    """How many streams are packaged at the moment."""
    return len(server.found("packaging started")) - len(server.found("packaging ended"))


FROZEN = """
import socket, sys, time
port, count = int(sys.argv[1]), int(sys.argv[2])
paths = sys.argv[3:]
held = []
for number in range(count):
    connection = socket.create_connection(("127.0.0.1", port))
    path = paths[number % len(paths)]
    upgrade = "Upgrade: websocket\\r\\nConnection: Upgrade\\r\\nSec-WebSocket-Version: 13\\r\\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\\r\\n"
    head = f"GET {path.removeprefix('ws:')} HTTP/1.1\\r\\nHost: 127.0.0.1\\r\\n{upgrade if path.startswith('ws:') else ''}\\r\\n"
    connection.sendall(head.encode())
    assert connection.recv(12) in (b"HTTP/1.1 200", b"HTTP/1.1 101"), path
    held.append(connection)
print("holding", flush=True)
time.sleep(600)
"""


def settled(look: Callable[[], int], most: int, what: str) -> None:
    """Wait until a count is no higher than it was."""
    wait_until(lambda: look() <= most, what, 60)


@pytest.mark.timeout(300)
def test_viewers_that_freeze_and_are_killed_leave_nothing_behind(directory):
    outputs = ["/live/camera.flv", "/live/camera.mp4", "/live/camera.m3u8", "ws:/live/camera.flv"]
    with Server(directory, QUICKLY_OVER) as server, camera(server):
        files, children = server.open_files(), len(server.children())
        with Program([sys.executable, "-c", FROZEN, str(server.http_address[1]), str(VIEWERS), *outputs]) as viewers:
            viewers.wait_for_line("holding", 60)
            viewers.signal(signal.SIGSTOP)
            wait_until(lambda: server.api.get("streams/live/camera").body["players"] > VIEWERS // 2, "the players")
            threading.Event().wait(3)  # their sockets fill up meanwhile
            viewers.kill()
        settled(lambda: server.api.get("streams/live/camera").body["players"], 0, "players to be gone")
        settled(lambda: len(server.api.get("clients").body["clients"]), 1, "clients to be gone, but for the publisher")
        settled(lambda: packaged(server), 0, "packaging to end")
        # The packager itself stays for who comes next: its process, its control connection and its pidfd.
        settled(lambda: len(server.children()), children + 1, "no more processes")
        settled(server.open_files, files + 4, "descriptors to be closed")
