"""Players that read at once and look for the marks of the source: how late frames are, when the first key frame is there."""

from __future__ import annotations

import socket
import struct
import time

from bench.errors import BenchError
from bench.source import CLOCK_MARK, KEY_FRAME_END

_READ_BYTES = 1 << 20
_clock_from = struct.Struct(">Q").unpack_from
_CLOCK_BYTES = len(CLOCK_MARK) + 8


class Probe:
    """One player that is listened to."""

    def __init__(self, connection: socket.socket, asked_ns: int) -> None:
        """
        Take over a connection that plays.

        Args:
            connection: non-blocking.
            asked_ns: monotonic time at which `play` was sent.
        """
        self.socket = connection
        self.latencies_ms: list[float] = []
        """From the publisher's `send` of each video frame to its arrival here; cleared by who reads it."""
        self.key_frame_ms: float | None = None
        """From `play` to the last byte of the first key frame."""
        self._asked_ns = asked_ns
        self._tail = b""

    def read(self) -> None:
        """
        Read what is there.

        Raises:
            BenchError: the server closed the connection.
        """
        try:
            data = self.socket.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            raise BenchError(f"a probe lost its connection: {error}") from error
        if not data:
            raise BenchError("the server closed a probe's connection")
        self.look(data, time.monotonic_ns())

    def look(self, data: bytes, now_ns: int) -> None:
        """
        Find the marks in what was received.

        Args:
            data: the next bytes of the connection.
            now_ns: monotonic time of their arrival.
        """
        data = self._tail + data
        end = 0
        at = data.find(CLOCK_MARK)
        while 0 <= at <= len(data) - _CLOCK_BYTES:
            end = at + _CLOCK_BYTES
            self.latencies_ms.append((now_ns - _clock_from(data, at + len(CLOCK_MARK))[0]) / 1e6)
            at = data.find(CLOCK_MARK, end)
        if self.key_frame_ms is None and KEY_FRAME_END in data:
            self.key_frame_ms = (now_ns - self._asked_ns) / 1e6
        self._tail = data[max(end, len(data) - _CLOCK_BYTES + 1) :]
