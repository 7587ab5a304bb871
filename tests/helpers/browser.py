"""
A headless Chromium that a test drives by the DevTools protocol, over the pipe that needs no WebSocket.

Messages are JSON with a NUL behind each, on descriptors 3 (to the browser) and 4 (from it):
https://chromedevtools.github.io/devtools-protocol/.
"""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.helpers.processes import PATIENCE_S

_START_S = 60.0
"""A browser is many processes, and reads much from disk when it is started for the first time."""
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
    "--remote-debugging-pipe",
)
_LAUNCH = """
import fcntl, os, sys
pipes = [fcntl.fcntl(int(number), fcntl.F_DUPFD, 10) for number in sys.argv[1:3]]
for number, pipe in zip((3, 4), pipes):
    os.dup2(pipe, number)
    os.close(pipe)
os.execvp(sys.argv[3], sys.argv[3:])
"""
"""Moves two descriptors to where the browser looks for them."""


class Browser:
    """One browser with one page, to be used as a context manager."""

    def __init__(self, directory: Path) -> None:
        """
        Start it.

        Args:
            directory: exists; takes the profile and what the browser complains of.
        """
        self._numbers = itertools.count(1)
        self._received = bytearray()
        self._events: list[dict] = []
        self._session = ""
        self._output = directory / "chromium.log"
        theirs_in, self._to = os.pipe()
        self._from, theirs_out = os.pipe()
        pipes = (theirs_in, theirs_out)
        command = ["chromium", *_FLAGS, f"--user-data-dir={directory / 'profile'}", "about:blank"]
        try:
            with self._output.open("wb") as output:
                self._process = subprocess.Popen(
                    [sys.executable, "-c", _LAUNCH, *map(str, pipes), *command],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    pass_fds=pipes,
                    start_new_session=True,
                )
        except BaseException:
            os.close(self._to)
            os.close(self._from)
            raise
        finally:
            for pipe in pipes:
                os.close(pipe)

    def __enter__(self):
        try:
            target = self._call("Target.createTarget", _START_S, url="about:blank")["targetId"]
            self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
            self._call("Page.enable")
        except BaseException as error:
            error.add_note(self._output.read_text(errors="replace")[-2000:])
            self.close()
            raise
        return self

    def __exit__(self, *_error) -> None:
        self.close()

    def navigate(self, url: str, timeout_s: float = PATIENCE_S) -> None:
        """
        Open a page.

        Args:
            url: of the page.
            timeout_s: for everything in it to be loaded.
        """
        self._events.clear()
        answer = self._call("Page.navigate", timeout_s, url=url)
        assert "errorText" not in answer, f"{url}: {answer['errorText']}"
        self._wait_for_event("Page.loadEventFired", timeout_s)

    def evaluate(self, script: str, *, await_promise: bool = True, timeout_s: float = PATIENCE_S):
        """
        Run a script in the page.

        Args:
            script: an expression.
            await_promise: return what a promise comes to.
            timeout_s: for the result.

        Returns:
            The result, which must be JSON.
        """
        answer = self._call(
            "Runtime.evaluate", timeout_s, expression=script, awaitPromise=await_promise, returnByValue=True
        )
        failure = answer.get("exceptionDetails")
        assert failure is None, failure.get("exception", {}).get("description", failure)
        return answer["result"].get("value")

    def screenshot(self, path: Path) -> None:
        """Write what the page looks like, as PNG."""
        path.write_bytes(base64.b64decode(self._call("Page.captureScreenshot")["data"]))

    def close(self) -> None:
        """End the browser with all its processes."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        os.close(self._to)
        os.close(self._from)

    def _wait_for_event(self, method: str, timeout_s: float = PATIENCE_S) -> None:
        deadline = time.monotonic() + timeout_s
        while not any(event["method"] == method for event in self._events):
            self._events.append(self._receive(deadline, method))

    def _call(self, method: str, timeout_s: float = PATIENCE_S, **parameters) -> dict:
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._to, data) :]
        deadline = time.monotonic() + timeout_s
        while (answer := self._receive(deadline, method)).get("id") != number:
            self._events.append(answer)
        assert "error" not in answer, f"{method}: {answer['error']}"
        return answer["result"]

    def _receive(self, deadline: float, what: str) -> dict:
        while (end := self._received.find(0)) < 0:
            left_s = deadline - time.monotonic()
            assert left_s > 0, f"the browser did not answer in time: {what}"
            if select.select([self._from], [], [], left_s)[0]:
                data = os.read(self._from, 1 << 20)
                assert data, f"the browser ended: {what}"
                self._received += data
        message = json.loads(self._received[:end])
        del self._received[: end + 1]
        return message
