"""A receiver of callbacks for end-to-end tests: a server in a thread that keeps what it gets."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.helpers.processes import PATIENCE_S, wait_until

KEY = "callback-key"


class CallbackServer:
    """Answers 200, or what it is told to, and checks the signature of everything."""

    def __init__(self, port: int = 0) -> None:
        """
        Listen.

        Args:
            port: one that was in use before, to be back under the same URL; 0: any.
        """
        self.bodies: list[dict[str, Any]] = []
        """Everything that was answered 200, in the order of arrival."""
        self.attempts: list[dict[str, Any]] = []
        """Everything that came."""
        self.answer: Callable[[dict[str, Any]], int] = lambda _body: 200
        """The status for a body."""
        self.faults: list[str] = []
        self._lock = threading.Lock()
        ours = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                text = self.rfile.read(int(self.headers["Content-Length"]))
                status = ours._take(text, self.headers["X-Rtmpd-Signature"] or "")
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        self.close()
        if kind is None:
            assert not self.faults, self.faults

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._server.server_address[1]

    @property
    def config(self) -> str:
        """The table of the configuration that names it."""
        return f'\n[callbacks]\nurls = "http://127.0.0.1:{self.port}/callbacks"\nkey = "{KEY}"\nlongest_pause_s = 0.2\n'

    def close(self) -> None:
        """Stop listening; harmless when called again."""
        self._server.shutdown()
        self._server.server_close()

    def of(self, stream: str, *event_types: int) -> list[dict[str, Any]]:
        """What came of a stream, of some types or all."""
        app, _, name = stream.rpartition("/")
        with self._lock:
            return [
                body
                for body in self.bodies
                if (body["appname"], body["stream_id"]) == (app, name)
                and (not event_types or body["event_type"] in event_types)
            ]

    def wait_for(self, stream: str, *event_types: int, count: int = 1, timeout_s: float = PATIENCE_S) -> list[dict]:
        """Wait until so many callbacks of a stream have come."""
        what = f"{count} callbacks {event_types} of {stream}"
        wait_until(lambda: len(self.of(stream, *event_types)) >= count, what, timeout_s)
        return self.of(stream, *event_types)

    def _take(self, text: bytes, signature: str) -> int:
        body = json.loads(text)
        expected = "sha256=" + hmac.new(KEY.encode(), text, hashlib.sha256).hexdigest()
        if not hmac.compare_digest(signature, expected):
            self.faults.append(f"signature header {signature!r}")
        if body["sign"] != hashlib.md5(f"{KEY}{body['t']}".encode()).hexdigest():
            self.faults.append(f"sign {body['sign']!r}")
        with self._lock:
            self.attempts.append(body)
            status = self.answer(body)
            if status == 200:
                self.bodies.append(body)
        return status
