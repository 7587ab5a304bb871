"""A publisher that sends each message of the source when it is due, as an encoder does."""

from __future__ import annotations

import socket
import struct
import time

from bench.errors import BenchError
from bench.source import LOOP_MS, LOOP_S, Source

_patch_header = struct.Struct(">I").pack_into
_patch_clock = struct.Struct(">Q").pack_into
_BACKLOG_BYTES = 1 << 20
_PATIENCE_S = 20.0


class Publisher:
    """One accepted publish."""

    __slots__ = ("_backlog", "_index", "_loop_ms", "_started_s", "_templates", "due_s", "fan_out_bytes", "socket")

    def __init__(self, connection: socket.socket, source: Source, start_s: float) -> None:
        """
        Send what comes before the first frame.

        Args:
            connection: non-blocking, on which the server has accepted a publish.
            source: what to send.
            start_s: monotonic time of the first frame.
        """
        self.socket = connection
        self.due_s = start_s
        """Monotonic time at which the next message is due."""
        self.fan_out_bytes = 0
        """What every player is owed so far, at least."""
        self._backlog = bytearray()
        self._templates = source.templates
        self._index = 0
        self._loop_ms = 0
        self._started_s = start_s
        self._send(source.preamble)

    @property
    def frames(self) -> int:
        """How many messages of the loop it has sent."""
        return self._loop_ms // LOOP_MS * len(self._templates) + self._index

    def send_due(self, now_s: float) -> float:
        """
        Send every message whose time has come, each by itself.

        Args:
            now_s: monotonic time.

        Returns:
            Seconds by which the first of them was late.

        Raises:
            BenchError: the server closed the connection, or does not read from it.
        """
        late_s = now_s - self.due_s
        while self.due_s <= now_s:
            template = self._templates[self._index]
            data = template.data
            _patch_header(data, 0, template.header | self._loop_ms + template.offset_ms)
            if template.clock_at:
                _patch_clock(data, template.clock_at, time.monotonic_ns())
            self._send(data)
            self.fan_out_bytes += template.fan_out_bytes
            self._next()
        return late_s

    def drain(self) -> None:
        """
        Throw away what the server says: acknowledgements.

        Raises:
            BenchError: it closed the connection.
        """
        try:
            data = self.socket.recv(65_536)
        except BlockingIOError:
            return
        except OSError as error:
            raise BenchError(f"a publisher lost its connection: {error}") from error
        if not data:
            raise BenchError("the server closed a publisher's connection")

    def finish(self) -> None:
        """
        Send what is left, and say that nothing follows.

        Raises:
            BenchError: the server closed the connection, or does not read from it.
        """
        self.socket.settimeout(_PATIENCE_S)
        try:
            self.socket.sendall(self._backlog)
            self.socket.shutdown(socket.SHUT_WR)
        except OSError as error:
            raise BenchError(f"a publisher lost its connection: {error}") from error

    def close(self) -> None:
        """
        Wait until the server has closed too: a reset could overtake what it has not read yet.

        Raises:
            BenchError: it does not close.
        """
        try:
            while self.socket.recv(65_536):
                pass
        except OSError as error:
            raise BenchError(f"a publisher's connection did not end: {error}") from error
        self.socket.close()

    def _next(self) -> None:
        self._index += 1
        if self._index == len(self._templates):
            self._index = 0
            self._loop_ms += LOOP_MS
        offset_ms = self._templates[self._index].offset_ms
        self.due_s = self._started_s + (self._loop_ms + offset_ms) / LOOP_MS * LOOP_S

    def _send(self, data: bytes | bytearray) -> None:
        backlog = self._backlog
        try:
            if not backlog:
                sent = self.socket.send(data)
                if sent < len(data):
                    backlog += data[sent:]
                return
            backlog += data
            del backlog[: self.socket.send(backlog)]
        except BlockingIOError:
            if not backlog:
                backlog += data
        except OSError as error:
            raise BenchError(f"a publisher lost its connection: {error}") from error
        if len(backlog) > _BACKLOG_BYTES:
            raise BenchError(f"the server has not read {len(backlog)} bytes of a publisher: it is overloaded")
