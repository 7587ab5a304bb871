"""What `rtmpd ctl` asks with: HTTP over the control socket, by the standard library alone."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator, Mapping
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import Any
from urllib.parse import quote, urlencode

PATIENCE_S = 60.0
"""Stopping a recording waits 10 s for its files, and events have a heartbeat every 15 s."""


class NoServer(Exception):
    """Nobody answers at the socket: one line for the user."""


class ServerSaidNo(Exception):
    """The server answered with a problem document."""

    def __init__(self, detail: str, errors: list[str]) -> None:
        """
        Take over what it said.

        Args:
            detail: one line.
            errors: each fault in a line, where there are several.
        """
        super().__init__(detail)
        self.lines = errors or [detail]


class _UnixConnection(HTTPConnection):
    def __init__(self, path: str, timeout_s: float) -> None:
        super().__init__("rtmpd", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Client:
    """Asks the server behind a control socket."""

    def __init__(self, path: str, timeout_s: float = PATIENCE_S) -> None:
        """
        Connect to nothing yet.

        Args:
            path: of the socket.
            timeout_s: for each answer, and between the events of a stream of them.
        """
        self.path = path
        self._timeout_s = timeout_s

    def ask(
        self, method: str, *segments: str, body: Mapping[str, Any] | None = None, query: Mapping[str, Any] | None = None
    ) -> bytes:
        """
        Ask once.

        Args:
            method: of HTTP.
            segments: of the path below /api/v1/; a slash in one is part of it.
            body: sent as JSON.
            query: what is None in it is left out.

        Returns:
            The answer's body, JSON.

        Raises:
            NoServer: nobody is there, or it went away.
            ServerSaidNo: it refused.
        """
        with self._asked(method, segments, body, query) as response:
            return response.read()

    def events(self, query: Mapping[str, Any]) -> Iterator[bytes]:
        """
        Follow what happens, until the server ends.

        Args:
            query: filters; what is None is left out.

        Yields:
            The data of each event, JSON.

        Raises:
            NoServer: nobody is there, or it ended.
            ServerSaidNo: it refused.
        """
        with self._asked("GET", ("events",), None, query) as response:
            while line := response.readline():
                name, _, data = line.rstrip(b"\n").partition(b": ")
                if name == b"data":
                    yield data
        raise NoServer(f"the server at {self.path} has ended")

    @contextlib.contextmanager
    def _asked(
        self, method: str, segments: tuple[str, ...], body: Mapping[str, Any] | None, query: Mapping[str, Any] | None
    ) -> Iterator[HTTPResponse]:
        target = "/api/v1/" + "/".join(quote(each, safe="") for each in segments)
        if given := {name: value for name, value in (query or {}).items() if value is not None}:
            target += f"?{urlencode(given)}"
        headers = {} if body is None else {"Content-Type": "application/json"}
        connection = _UnixConnection(self.path, self._timeout_s)
        try:
            connection.request(method, target, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            if response.status >= 400:
                raise _refusal(response)
            yield response
        except (FileNotFoundError, ConnectionRefusedError):
            raise NoServer(f"no server answers at {self.path} (is it running? --socket PATH says where)") from None
        except TimeoutError:
            raise NoServer(f"the server at {self.path} does not answer within {self._timeout_s:g} s") from None
        except (ConnectionError, HTTPException):
            raise NoServer(f"the server at {self.path} went away") from None
        except OSError as error:
            raise NoServer(f"cannot ask the server at {self.path}: {error.strerror or error}") from None
        finally:
            connection.close()


def _refusal(response: HTTPResponse) -> ServerSaidNo:
    try:
        problem = json.loads(response.read())
        return ServerSaidNo(str(problem["detail"]), [str(each) for each in problem["errors"]])
    except (ValueError, KeyError, TypeError):
        return ServerSaidNo(f"the server answered {response.status} {response.reason}", [])
