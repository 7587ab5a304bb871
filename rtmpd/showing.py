"""`rtmpd demo` beside the server: what a newcomer is told, and the process that publishes the test stream."""

from __future__ import annotations

import asyncio
import os
import shlex
import sys
import time
from pathlib import Path
from typing import TextIO

from rtmpd.config import AppConfig
from rtmpd.control.credentials import KEY_PARAMETER
from rtmpd.control.signed_urls import sign
from rtmpd.logs import Logger

_RESTART_S = 2.0
_SOCKET_UNSAID = Path("data/rtmpd.sock")
"""Where `rtmpd ctl` looks by itself."""
_SIGNED_S = 60.0
"""For the publisher to connect with a signed URL; it makes no other use of it."""


def tell(url: str, api: str, control: Path, out: TextIO) -> None:
    """
    Tell a newcomer what to do next.

    Args:
        url: of the test stream.
        api: base URL of the console and the control API.
        control: path of the control socket.
        out: a terminal, most likely.
    """
    out.write(f"\n  A test stream is live. Watch it, in a browser (the console) or in a player:\n\n      {api}/\n")
    out.write(f"      ffplay {url}\n      vlc {url}\n\n")
    out.write(f"  Publish your own:\n\n      ffmpeg -re -i FILE -c copy -f flv {url.rpartition('/')[0]}/mystream\n\n")
    ctl = "rtmpd ctl" if control == _SOCKET_UNSAID else f"rtmpd ctl --socket {shlex.quote(str(control))}"
    out.write(f"  Record it, and see who watches:\n\n      {ctl} record start {'/'.join(url.split('/')[-2:])}\n")
    out.write(f"      {ctl} clients          (or the API: {api}/api/v1/openapi.json)\n\n")
    out.flush()


async def publish(url: str, app: AppConfig, log: Logger) -> None:
    """
    Have the test stream published until cancelled; a publisher that ends is started again.

    Args:
        url: of the stream.
        app: its application, for the key that it may need.
        log: for publishers that end.
    """
    while True:
        command = (sys.executable, "-m", "rtmpd.demo", "--parent", str(os.getpid()), url + _query(url, app))
        process = await asyncio.create_subprocess_exec(*command, stdin=asyncio.subprocess.DEVNULL)
        try:
            code = await process.wait()
        except asyncio.CancelledError:
            process.terminate()
            await process.wait()
            raise
        log.warning("the demo's publisher ended", exit_code=code)
        await asyncio.sleep(_RESTART_S)


def _query(url: str, app: AppConfig) -> str:
    if app.publish_key:
        return f"?{KEY_PARAMETER}={app.publish_key[0]}"
    if app.publish_secret:
        expires_at = round(time.time() + _SIGNED_S)
        return "?" + sign(app.publish_secret[0], url.rpartition("/")[2], expires_at)
    return ""
