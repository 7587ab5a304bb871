"""A receiver of callbacks for end-to-end tests: a server in threads that keeps what it gets, and goes wrong as it is told."""

from __future__ import annotations

import contextlib
import enum
import hashlib
import hmac
import json
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.helpers.ports import reserved_ports
from tests.helpers.processes import PATIENCE_S, wait_until

KEY = "callback-key"
LARGE_BYTES = 10 * 1024 * 1024


class Odd(enum.Enum):
    """What a receiver may do instead of an answer with nothing but a status."""

    HANG = "reads, and never answers"
    CLOSE = "reads, and closes the connection"
    LOSE = "takes it, and closes the connection without an answer"
    REDIRECT = "sends the callback elsewhere, to a place that would take it"
    LARGE_ERROR = "500, with a body of 10 MB"
    LARGE = "200, with a body of 10 MB"


_ELSEWHERE = "/elsewhere"
_TAKEN = (200, Odd.LARGE, Odd.LOSE)


class CallbackServer:
    """Answers 200, or what it is told to, and checks the signature of everything."""

    def __init__(self) -> None:
        """Listen on a free port, which is kept while it is down."""
        self.bodies: list[dict[str, Any]] = []
        """Everything that was taken, in the order of arrival."""
        self.attempts: list[dict[str, Any]] = []
        """Everything that came."""
        self.answer: Callable[[dict[str, Any]], int | Odd] = lambda _body: 200
        """The status for a body, or what is done instead; called with one body at a time."""
        self.faults: list[str] = []
        self._lock = threading.Lock()
        self._up: _Listening | None = None
        self._reserved = contextlib.ExitStack()
        (self.port,) = self._reserved.enter_context(reserved_ports(1))
        self.come_back()

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        self.close()
        if kind is None:
            assert not self.faults, self.faults

    @property
    def config(self) -> str:
        """The table of the configuration that names it."""
        return callbacks_config(self)

    @property
    def url(self) -> str:
        """Where it takes callbacks."""
        return f"http://127.0.0.1:{self.port}/callbacks"

    def go_down(self) -> None:
        """Refuse connections and end those that there are, after the answers that are due; harmless when called again."""
        if self._up is not None:
            self._up.stop()
            self._up = None

    def come_back(self) -> None:
        """Listen again, on the same port."""
        self._up = _Listening(self.port, self._take, self.faults)

    def close(self) -> None:
        """Stop listening, and give up the port."""
        self.go_down()
        self._reserved.close()

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

    def _take(self, path: str, text: bytes, signature: str) -> int | Odd:
        body = json.loads(text)
        expected = "sha256=" + hmac.new(KEY.encode(), text, hashlib.sha256).hexdigest()
        if not hmac.compare_digest(signature, expected):
            self.faults.append(f"signature header {signature!r}")
        if body["sign"] != hashlib.md5(f"{KEY}{body['t']}".encode()).hexdigest():
            self.faults.append(f"sign {body['sign']!r}")
        if path == _ELSEWHERE:
            self.faults.append("a redirect was followed")
        with self._lock:
            self.attempts.append(body)
            answer = self.answer(body)
            if answer in _TAKEN:
                self.bodies.append(body)
        return answer


def callbacks_config(*receivers: CallbackServer, **settings: float) -> str:
    """
    Make the table of the configuration that names receivers.

    Args:
        receivers: all of them.
        settings: further keys.
    """
    values = {"longest_pause_s": 0.2, **settings}
    lines = [f"urls = {json.dumps([each.url for each in receivers])}", f'key = "{KEY}"']
    lines += [f"{name} = {value}" for name, value in values.items()]
    return "\n[callbacks]\n" + "\n".join(lines) + "\n"


def first_arrivals(bodies: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Leave out what came before under the same event_id."""
    known: dict[str, dict[str, Any]] = {}
    for body in bodies:
        known.setdefault(body["event_id"], body)
    return list(known.values())


def assert_never_altered(attempts: list[dict[str, Any]]) -> None:
    """See that whatever has the same event_id is the same, but for the time of the attempt and its signature."""
    known: dict[str, dict[str, Any]] = {}
    for body in attempts:
        fixed = {name: value for name, value in body.items() if name not in {"t", "sign"}}
        assert known.setdefault(body["event_id"], fixed) == fixed


class _Listening(ThreadingHTTPServer):
    """One time of being up."""

    daemon_threads = True

    def __init__(self, port: int, take: Callable[[str, bytes, str], int | Odd], faults: list[str]) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.take = take
        self.stopped = threading.Event()
        self._faults = faults
        self._lock = threading.Lock()
        self._connections: set[socket.socket] = set()
        self._answered = threading.Condition()
        self._answering = 0
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        with self._lock:
            self._connections.add(connection)
        return connection, address

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, _request: Any, _address: Any) -> None:
        # Who sends may be killed at any moment.
        if not isinstance(sys.exception(), OSError):
            self._faults.append(repr(sys.exception()))

    @contextlib.contextmanager
    def answering(self) -> Iterator[bool]:
        """Have `stop` wait for an answer, or say that it is too late for one."""
        with self._answered:
            in_time = not self.stopped.is_set()
            self._answering += in_time
        try:
            yield in_time
        finally:
            with self._answered:
                self._answering -= in_time
                self._answered.notify_all()

    def stop(self) -> None:
        with self._answered:
            self.stopped.set()
        self.shutdown()
        self.server_close()
        # What was taken and not answered would come again.
        with self._answered:
            self._answered.wait_for(lambda: not self._answering, PATIENCE_S)
        with self._lock:
            for connection in self._connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Listening

    def do_POST(self) -> None:
        size = int(self.headers["Content-Length"])
        text = self.rfile.read(size)
        with self.server.answering() as in_time:
            if in_time and len(text) == size:  # else its sender was killed, or we go down
                self._respond(text)
            else:
                self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass

    def _respond(self, text: bytes) -> None:
        answer = self.server.take(self.path, text, self.headers["X-Rtmpd-Signature"] or "")
        match answer:
            case Odd.HANG:
                self.server.stopped.wait()
                self.close_connection = True
            case Odd.CLOSE | Odd.LOSE:
                self.close_connection = True
            case Odd.REDIRECT:
                self._answer(302, Location=_ELSEWHERE)
            case Odd.LARGE:
                self._answer(200, bytes(LARGE_BYTES))
            case Odd.LARGE_ERROR:
                self._answer(500, bytes(LARGE_BYTES))
            case int():
                self._answer(answer)

    def _answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
