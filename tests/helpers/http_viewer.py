"""Someone who watches FLV over HTTP by a socket of his own: he reads when he is told to, and leaves as he likes."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct

from rtmpd.wire.flv import FlvTag, TagReader
from tests.helpers.processes import PATIENCE_S

_END_OF_HEAD = b"\r\n\r\n"


class HttpViewer:
    """One connection with one request; to be used as a context manager."""

    def __init__(
        self,
        address: tuple[str, int],
        path: str,
        *,
        source: str = "127.0.0.1",
        headers: str = "",
        tls: ssl.SSLContext | None = None,
        receive_buffer_bytes: int | None = None,
    ) -> None:
        """
        Ask for a stream.

        Args:
            address: of the server.
            path: with its query.
            source: our own address, any of 127.0.0.0/8.
            headers: more lines, each with its end.
            tls: speak HTTPS.
            receive_buffer_bytes: what the kernel may keep for us.
        """
        self._socket = socket.socket()
        self._socket.settimeout(PATIENCE_S)
        self._received = b""
        self._reader = TagReader()
        self.tags: list[FlvTag] = []
        """What came so far."""
        self.body_bytes = 0
        try:
            if receive_buffer_bytes is not None:
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
            self._socket.bind((source, 0))
            self._socket.connect(address)
            if tls is not None:
                self._socket = tls.wrap_socket(self._socket, server_hostname=address[0])
            self._socket.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n".encode())
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_error) -> None:
        self.close()

    def read_head(self) -> str:
        """Read the head of the answer."""
        while _END_OF_HEAD not in self._received:
            data = self._socket.recv(65536)
            assert data, self._received
            self._received += data
        head, _, body = self._received.partition(_END_OF_HEAD)
        self._received = head + _END_OF_HEAD
        if head.startswith(b"HTTP/1.1 200 ") and b"video/x-flv" in head:
            self._take(body)
        return head.decode()

    def read(self) -> bool:
        """Read some of the body, behind the head; whether it was not the end."""
        if not self._received:
            assert self.read_head().startswith("HTTP/1.1 200 ")
        try:
            data = self._socket.recv(1 << 18)
        except (ConnectionResetError, ssl.SSLEOFError):
            data = b""
        self._take(data)
        return bool(data)

    def read_tags(self, count: int) -> list[FlvTag]:
        """Read until there are so many tags."""
        while len(self.tags) < count:
            assert self.read(), f"ended after {len(self.tags)} tags"
        return self.tags

    def read_to_end(self) -> list[FlvTag]:
        """Read until the server closes."""
        while self.read():
            pass
        return self.tags

    def reset(self) -> None:
        """Leave by a reset."""
        with contextlib.suppress(OSError):
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    def close(self) -> None:
        """Leave."""
        self._socket.close()

    def _take(self, data: bytes) -> None:
        self.body_bytes += len(data)
        self.tags += self._reader.feed(data)
