"""
The client's half of a connection up to its media: handshake, connect, createStream, then publish or play.

Bytes to wait for and bytes to answer with stand in a table made beforehand, so that bringing up a player costs
the load a few microseconds. RTMP 1.0 sections 5.2.5 and 7.2.
"""

from __future__ import annotations

import socket
import time
from typing import NamedTuple

from bench import wire
from bench.errors import BenchError

APP = "live"
_RESULT = b"_result"
_REFUSALS = (b"HTTP/1.1 4", b"HTTP/1.1 5", b"_error", b"\x00\x05error", b"NetStream.Play.StreamNotFound")


class Script(NamedTuple):
    """What a client says, and what it waits for before it goes on."""

    first: bytes
    """Sent with C2."""
    steps: tuple[tuple[bytes, bytes], ...]
    """Pairs: bytes of the answer to wait for, bytes to send then."""
    hello: bytes = wire.C0_C1
    """Sent at once; what is no handshake is all that the client says."""


def player_script(port: int, stream: str) -> Script:
    """
    Make the script of a player.

    Args:
        port: of the server, for tcUrl.
        stream: what to play.

    Returns:
        The script; its last answer is the status before the media.
    """
    return Script(
        wire.connect(APP, f"rtmp://127.0.0.1:{port}/{APP}"),
        ((_RESULT, wire.create_stream()), (_RESULT, wire.play(stream)), (b"NetStream.Play.Start", b"")),
    )


def http_script(port: int, path: str) -> Script:
    """
    Make the script of a player over HTTP.

    Args:
        port: of the server.
        path: what to ask for.

    Returns:
        The script; media follows the head of the answer.
    """
    hello = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
    return Script(b"", ((b" 200 OK\r\n", b""), (b"\r\n\r\n", b"")), hello)


def publisher_script(port: int, stream: str, chunk_size: int) -> Script:
    """
    Make the script of a publisher.

    Args:
        port: of the server, for tcUrl.
        stream: what to publish.
        chunk_size: bytes a chunk, announced before anything else.

    Returns:
        The script; media may follow its last answer.
    """
    connect = wire.connect(APP, f"rtmp://127.0.0.1:{port}/{APP}", chunk_size)
    steps = (
        (_RESULT, wire.create_stream(chunk_size)),
        (_RESULT, wire.publish(stream, chunk_size)),
        (b"NetStream.Publish.Start", b""),
    )
    return Script(wire.set_chunk_size(chunk_size) + connect, steps)


class Dialog:
    """One connection while it is being set up."""

    __slots__ = ("_greeted", "_script", "_step", "asked_ns", "received", "socket")

    def __init__(self, address: tuple[str, int], script: Script) -> None:
        """
        Start to connect, without waiting.

        Args:
            address: of the server.
            script: what to say.
        """
        self.socket = socket.socket()
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.connect_ex(address)
        self.received = bytearray()
        """After the end: media that came with the last answer."""
        self.asked_ns = 0
        """Monotonic time at which the last thing of the script was sent, `play` for a player."""
        self._script = script
        self._greeted = False
        self._step = -1

    def advance(self) -> bool:
        """
        Do what the socket's state allows.

        Returns:
            Whether the script is at its end.

        Raises:
            BenchError: the server refused or closed.
        """
        if not self._greeted:
            self._greeted = True
            self._send(self._script.hello)
            if self._script.hello != wire.C0_C1:
                self.asked_ns = time.monotonic_ns()
                self._step = 0
            return False
        self._receive()
        if self._step < 0:
            if len(self.received) < wire.S0_S1_S2_BYTES:
                return False
            c2 = bytes(self.received[1 : 1 + wire.HANDSHAKE_BYTES])
            del self.received[: wire.S0_S1_S2_BYTES]
            self._step = 0
            self._send(c2 + self._script.first)
        return self._answer()

    def _answer(self) -> bool:
        steps = self._script.steps
        while self._step < len(steps):
            awaited, reply = steps[self._step]
            at = self.received.find(awaited)
            if at < 0:
                self._raise_if_refused()
                return False
            del self.received[: at + len(awaited)]
            self._step += 1
            if reply:
                self.asked_ns = time.monotonic_ns()
                self._send(reply)
        return True

    def _receive(self) -> None:
        try:
            data = self.socket.recv(65_536)
        except BlockingIOError:
            return
        except OSError as error:
            raise BenchError(f"connection lost while it was set up: {error}") from error
        if not data:
            self._raise_if_refused()
            raise BenchError("connection closed by the server while it was set up")
        # not sticky: the kernel goes back to delayed acknowledgements by itself, and Nagle at the other end then
        # makes 40 ms of each connection to nginx
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        self.received += data

    def _send(self, data: bytes) -> None:
        try:
            sent = self.socket.send(data)
        except OSError as error:
            raise BenchError(f"connection lost while it was set up: {error}") from error
        if sent != len(data):
            raise BenchError("the send buffer of a new connection is full")

    def _raise_if_refused(self) -> None:
        for refusal in _REFUSALS:
            at = self.received.find(refusal)
            if at >= 0:
                raise BenchError(f"refused by the server: {bytes(self.received[at : at + 200])!r}")
