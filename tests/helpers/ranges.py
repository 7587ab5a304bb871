"""
Files of a directory over HTTP/1.1, with ranges, as a web server gives recordings to a browser. RFC 9110 section 14.

Every answer is noted with what was really sent: who seeks in a file by its index must not read all of it.
"""

from __future__ import annotations

import http.server
import math
import re
import threading
import urllib.parse
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import ClassVar

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".mp4": "video/mp4",
    ".m4a": "audio/mp4",
    ".m4s": "video/iso.segment",
    ".m3u8": "application/vnd.apple.mpegurl",
    ".ts": "video/mp2t",
    ".flv": "video/x-flv",
    ".jpg": "image/jpeg",
    ".js": "text/javascript",
}
_PIECE_BYTES = 64 * 1024
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


@dataclass
class Answer:
    """One request, from the moment at which it is answered."""

    path: str
    """Below the directory."""
    range: str | None
    """As the client asked; None for the whole file."""
    status: int
    sent_bytes: int = 0
    """Of the body so far; less than promised when the client goes away."""


class RangeServer:
    """A web server on a free port of 127.0.0.1, to be used as a context manager."""

    def __init__(self, directory: Path, bytes_per_s: float = math.inf) -> None:
        """
        Prepare.

        Args:
            directory: what is in it, folders included, is served.
            bytes_per_s: of each answer, as of a network that is slower than a machine's memory: what is sent says
                little about what was wanted where megabytes go into buffers at once.
        """
        self.answers: list[Answer] = []
        """In the order in which they began."""

        class Handler(_Handler):
            root = directory.resolve()
            answers = self.answers
            pause_s = _PIECE_BYTES / bytes_per_s

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_error) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def url(self, path: str) -> str:
        """Make the URL of a file, named below the directory."""
        return f"http://127.0.0.1:{self._server.server_port}/{urllib.parse.quote(path)}"


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    root: ClassVar[Path]
    answers: ClassVar[list[Answer]]
    pause_s: ClassVar[float]

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def log_message(self, *_arguments) -> None:
        """Be silent: `answers` says more."""

    def _answer(self, *, with_body: bool) -> None:
        name = urllib.parse.unquote(self.path.partition("?")[0]).lstrip("/")
        path = (self.root / name).resolve()
        if not path.is_relative_to(self.root) or not path.is_file():
            self._refuse(name, HTTPStatus.NOT_FOUND)
            return
        size = path.stat().st_size
        asked = self.headers.get("Range")
        span = _span(asked, size)
        if span is None:
            self._refuse(name, HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, {"Content-Range": f"bytes */{size}"})
            return
        status = HTTPStatus.PARTIAL_CONTENT if asked else HTTPStatus.OK
        headers = {"Content-Type": TYPES.get(path.suffix, "application/octet-stream"), "Accept-Ranges": "bytes"}
        if asked:
            headers["Content-Range"] = f"bytes {span.start}-{span.stop - 1}/{size}"
        answer = Answer(name, asked, status)
        self.answers.append(answer)
        try:
            self._head(status, len(span), headers)
            if with_body:
                self._send(path, span, answer)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def _send(self, path: Path, span: range, answer: Answer) -> None:
        pace = threading.Event()
        for piece in _pieces(path, span):
            self.wfile.write(piece)
            answer.sent_bytes += len(piece)
            pace.wait(self.pause_s)

    def _refuse(self, name: str, status: HTTPStatus, headers: dict[str, str] | None = None) -> None:
        self.answers.append(Answer(name, self.headers.get("Range"), status))
        self._head(status, 0, headers or {})

    def _head(self, status: HTTPStatus, size: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(size))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()


def _span(asked: str | None, size: int) -> range | None:
    """Read a Range header; None where it names nothing in the file. Of several ranges the first is given."""
    if asked is None:
        return range(size)
    match = _RANGE.match(asked)
    if match is None or match[0] == "bytes=-":
        return None
    first, last = match[1], match[2]
    start = int(first) if first else max(0, size - int(last))
    end = min(size, int(last) + 1) if first and last else size
    return range(start, end) if start < end else None


def _pieces(path: Path, span: range):
    with path.open("rb") as file:
        file.seek(span.start)
        left = len(span)
        while left and (piece := file.read(min(left, _PIECE_BYTES))):
            left -= len(piece)
            yield piece
