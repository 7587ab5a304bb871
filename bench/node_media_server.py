"""
The peer for HTTP-FLV: Node-Media-Server from npm, installed once into the user's cache, at its defaults.

It serves FLV over HTTP to whoever asks; nginx-rtmp does not, and its forks that do are no packages.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

from bench.errors import BenchError
from bench.place import Place

PACKAGE = "node-media-server@4.4.3"
CHUNK_SIZE = 60_000
"""That it announces."""
_INSTALL_S = 120


def command(place: Place) -> list[str]:
    """
    Write the configuration.

    Args:
        place: of the measurement.

    Returns:
        The command line that starts it.

    Raises:
        BenchError: node or npm is not installed, or the package cannot be.
    """
    path = place.directory / "config.json"
    path.write_text(json.dumps(_config(place)))
    return [_program("node"), str(_installed()), "--config", str(path)]


def version() -> str:
    """Name what was measured, for example "node-media-server@4.4.3, node v18.20.4"."""
    node = subprocess.run([_program("node"), "--version"], capture_output=True, text=True, check=False).stdout
    return f"{PACKAGE}, node {node.strip()}"


def _installed() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rtmpd-bench"
    path = cache / "node_modules" / "node-media-server" / "bin" / "app.js"
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        options = ["--no-audit", "--no-fund", "--ignore-scripts", "--no-update-notifier"]
        npm = [_program("npm"), "install", *options, "--prefix", str(cache), PACKAGE]
        try:
            subprocess.run(npm, capture_output=True, text=True, check=True, timeout=_INSTALL_S)
        except subprocess.SubprocessError as error:
            raise BenchError(f"{PACKAGE} cannot be installed: {error}") from error
    return path


def _config(place: Place) -> dict[str, object]:
    return {
        "bind": "127.0.0.1",
        "rtmp": {"port": place.port},
        "http": {"port": place.http_port},
        "auth": {"secret": "of the bench", "jwt": {"secret": "of the bench", "users": []}},
        "store": {"path": str(place.directory / "store")},
        "record": {"auto": False, "path": str(place.directory / "record")},
        "webadmin": {"enable": False},
    }


def _program(name: str) -> str:
    program = shutil.which(name)
    if program is None:
        raise BenchError(f"{name} is not installed (Debian: apt install nodejs npm)")
    return program
