"""A client of the control API, by the control socket or over HTTP, with the standard library alone."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from tests.helpers.processes import PATIENCE_S, wait_until


class Answer(NamedTuple):
    """What the API said."""

    status: int
    body: Any
    """JSON as values; text where it is none."""
    headers: dict[str, str]


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("rtmpd", timeout=PATIENCE_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class Api:
    """One surface of a server's API."""

    def __init__(self, where: Path | tuple[str, int], token: str | None = None) -> None:
        """
        Talk to a surface.

        Args:
            where: the control socket's path, or host and port.
            token: sent with each request.
        """
        self._where = where
        self._token = token

    def get(self, path: str, **headers: str) -> Answer:
        """Ask for a resource below /api/v1/."""
        return self.request("GET", path, None, headers)

    def post(self, path: str, body: object = None, **headers: str) -> Answer:
        """Post JSON to a resource below /api/v1/."""
        return self.request("POST", path, body, headers)

    def delete(self, path: str, **headers: str) -> Answer:
        """Delete a resource below /api/v1/."""
        return self.request("DELETE", path, None, headers)

    def request(self, method: str, path: str, body: object, headers: dict[str, str]) -> Answer:
        """
        Make any request.

        Args:
            method: of HTTP.
            path: below /api/v1/, or from the root where it begins with a slash.
            body: JSON value, or bytes that are sent as they are.
            headers: more of them; `_` in a name stands for "-".
        """
        connection = self.connection()
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if self._token is not None:
            sent.setdefault("Authorization", f"Bearer {self._token}")
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        if data is not None:
            sent.setdefault("Content-Type", "application/json")
        try:
            connection.request(method, path if path.startswith("/") else f"/api/v1/{path}", data, sent)
            response = connection.getresponse()
            text = response.read()
        finally:
            connection.close()
        found = {name.lower(): value for name, value in response.getheaders()}
        is_json = found.get("content-type", "").split(";")[0].endswith("json")
        return Answer(response.status, json.loads(text) if is_json else text.decode(), found)

    def connection(self) -> http.client.HTTPConnection:
        """A connection, for what `request` cannot do."""
        if isinstance(self._where, tuple):
            return http.client.HTTPConnection(*self._where, timeout=PATIENCE_S)
        return _UnixConnection(self._where)

    def state(self) -> object:
        """All that callers can change: pushes, recordings, files, and who publishes."""
        lists = (self.get(path).body for path in ("pushes", "records", "recordings"))
        names = {"task_id", "file_id", "channel_id", "state", "targets"}
        kept = [
            [{name: each[name] for name in names & each.keys()} for each in body] for (body,) in map(dict.values, lists)
        ]
        return kept, [
            each["publisher"]["client_id"] for each in self.get("streams").body["streams"] if each["publisher"]
        ]

    @contextlib.contextmanager
    def nothing_is_done(self) -> Iterator[None]:
        """See that what happens inside the block changes nothing."""
        before = self.state()
        yield
        assert self.state() == before

    # What tests do all the time; each fails where the server says no.

    def stream(self, path: str) -> dict[str, Any]:
        """A stream's description."""
        return _ok(self.get(f"streams/{quote(path)}"))

    def wait_for_stream(self, path: str) -> dict[str, Any]:
        """A stream's description, once somebody publishes it and its tracks are known."""
        wait_until(lambda: (found := self.get(f"streams/{quote(path)}")).status == 200 and found.body["tracks"], path)
        return self.stream(path)

    def start_push(self, stream: object, **fields: object) -> dict[str, Any]:
        """Start a push."""
        return _ok(self.post("pushes", {"stream": stream, "channel_name": "test", **fields}))

    def stop_push(self, channel_id: str) -> dict[str, Any]:
        """Stop one push."""
        (result,) = _ok(self.post("pushes/stop", {"channel_ids": [channel_id]}))["results"]
        return result

    def start_record(self, stream: object, **fields: object) -> dict[str, Any]:
        """Start a recording."""
        return _ok(self.post("records", {"stream": stream, **fields}))

    def stop_record(self, task_id: str) -> dict[str, Any]:
        """Stop a recording."""
        return _ok(self.post(f"records/{task_id}/stop"))


def refused(answer: Answer, status: int) -> list[str]:
    """
    See that a request was refused with a problem document.

    Args:
        answer: to it.
        status: that is expected.

    Returns:
        What a person reads: one line, or one for each fault.
    """
    assert (answer.status, answer.body["status"]) == (status, status), answer
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.body["errors"] or [answer.body["detail"]]


def _ok(answer: Answer) -> Any:
    assert answer.status in {200, 201}, answer
    return answer.body
