"""
Glass to glass: how old a picture is when a browser shows it, over fragmented MP4 and over low-latency HLS.

bench.camera takes pictures that carry their own time, rtmpd passes them on, headless Chromium decodes and shows them, and
the page reads the time back from the pixels of each frame that was presented (requestVideoFrameCallback). Encoder,
server, network, players and decoder are all in it, and all of them share this machine's cores.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.errors import BenchError
from bench.options import Options, Row
from bench.scenarios import Tell
from bench.servers import HOST, Kind, Server, running, stop
from tests.helpers.browser import Browser
from tests.helpers.watching import Site, Watcher, install

_PLAYERS = {
    "console": ("console", ".mp4"),
    "mse": ("mse", ".mp4"),
    "llhls": ("llhls", ".m3u8"),
    "hls": ("hls", ".m3u8"),
    "flv": ("flv", ".flv"),
}
"""By the row's name: how the page plays, and what."""
_CODECS = "avc1.42c00d,mp4a.40.2"
"""Of bench.camera."""
_START_S = 20.0


def glass(kind: Kind, options: Options, tell: Tell) -> list[Row]:
    """
    Measure each player by itself.

    Args:
        kind: rtmpd.
        options: glass_s.
        tell: for progress.

    Returns:
        A row a player.
    """
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="bench-glass-") as name, running(kind) as server:
        directory = Path(name)
        camera = _start_camera(server)
        try:
            with Site(install(directory)) as site:
                for player in _PLAYERS:
                    rows.append({"player": player, **_watch(player, server, site, directory, options.glass_s)})
                    tell(f"{player}: {rows[-1]['median_ms']:.0f} ms, p95 {rows[-1]['p95_ms']:.0f} ms")
        finally:
            stop(camera)
    return rows


def _start_camera(server: Server) -> subprocess.Popen[bytes]:
    url = f"rtmp://{HOST}:{server.port}/live/camera"
    return subprocess.Popen([sys.executable, "-m", "bench.camera", url], stdin=subprocess.DEVNULL)


def _watch(player: str, server: Server, site: Site, directory: Path, seconds: float) -> Row:
    how, suffix = _PLAYERS[player]
    profile = directory / player
    profile.mkdir()
    with Browser(profile) as browser:
        watcher = Watcher(browser, site)
        if how == "console":  # its player may be used by pages of the server alone
            watcher.move(f"http://{HOST}:{server.http_port}/console/theme.js")
        watcher.watch(player, how, f"http://{HOST}:{server.http_port}/live/camera{suffix}", _CODECS)
        _until_it_plays(watcher, player)
        time.sleep(seconds / 2)  # players work off what they were given at the start, and come to their distance
        watcher.settle()
        time.sleep(seconds)
        seen = watcher.seen()[player]
    if not seen.ages_ms:
        raise BenchError(f"{player} showed nothing: {seen.notes}")
    ages = sorted(seen.ages_ms)
    return {
        "pictures": len(ages),
        "median_ms": statistics.median(ages),
        "p95_ms": ages[len(ages) * 95 // 100],
        "worst_ms": ages[-1],
        "stall_ms": seen.stall_ms,
    }


def _until_it_plays(watcher: Watcher, player: str) -> None:
    deadline = time.monotonic() + _START_S
    while not watcher.seen()[player].ages_ms:
        if time.monotonic() > deadline:
            raise BenchError(f"{player} does not begin: {watcher.seen()[player].notes}")
        time.sleep(0.1)
