"""
What a connection reads from and writes to: a plain socket, or TLS over one.

Both are non-blocking and speak in the socket's own terms (`recv_into`, `send`, BlockingIOError), so that the plain
one is the socket itself and costs nothing.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from typing import Protocol

MAX_RECORD_BATCH_BYTES = 64 * 1024
"""Plaintext encrypted at a time: a record that is partly written cannot be taken back, so the cursor has moved."""
_CIPHERTEXT = bytearray(32 * 1024)
"""
Read into by all connections in turn: it is emptied before the next one reads. With the record of 16 KB that may have
been incomplete it fits the buffer that plaintext is read into, so none is left where the poller cannot see it.
"""
_LONGEST_TIMEOUT_MS = 0x7FFF_FFFF
NOTSENT_LOWAT_BYTES = 128 * 1024
"""Without it the kernel hides 4 MB, 16 s of lag, for each player that stalls."""
USER_TIMEOUT_SLACK_S = 10.0
"""The kernel's give-up time for dead peers counts stalled readers too: it must come after our own, which says why."""


class Transport(Protocol):
    """A connected, non-blocking byte stream."""

    def recv_into(self, buffer: memoryview, /) -> int:
        """Read some bytes; 0 at the end. Raises BlockingIOError where there are none."""

    def send(self, data: memoryview | bytearray, /) -> int:
        """Write some bytes and say how many. Raises BlockingIOError where none fit."""

    def fileno(self) -> int:
        """The socket's descriptor."""

    def close(self) -> None:
        """Close the socket."""


def tune(connection: socket.socket, patience_s: float) -> None:
    """
    Set the options that live streaming over TCP wants; those that a system lacks are left out.

    Args:
        connection: just accepted.
        patience_s: how long we wait ourselves for a peer that takes nothing.
    """
    connection.setblocking(False)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # Nagle would cost 20 to 40 ms
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    give_up_ms = min(round((patience_s + USER_TIMEOUT_SLACK_S) * 1000), _LONGEST_TIMEOUT_MS)
    for option, value in (("TCP_NOTSENT_LOWAT", NOTSENT_LOWAT_BYTES), ("TCP_USER_TIMEOUT", give_up_ms)):
        if hasattr(socket, option):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)


class TlsTransport:
    """TLS by memory buffers, so that the fan-out can write to it like to a socket."""

    __slots__ = ("_incoming", "_outgoing", "_shaken", "_socket", "_tls", "_unsent")

    def __init__(self, connection: socket.socket, context: ssl.SSLContext, server_name: str = "") -> None:
        """
        Begin; the handshake goes on in `recv_into`, or in `shake_hands`.

        Args:
            connection: non-blocking.
            context: with certificate and key; of a client with whom to trust.
            server_name: as a client, whose certificate to ask for; empty as the server.
        """
        self._socket = connection
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._incoming, self._outgoing, server_side=not server_name, server_hostname=server_name or None
        )
        self._unsent = bytearray()
        self._shaken = False

    def shake_hands(self) -> bool:
        """
        Go on with the handshake as far as the peer lets us; whether it is done. Call it again when there is more to read.

        Raises:
            OSError: the peer has left, speaks no TLS, or shows a certificate that is not trusted.
        """
        self._fill()
        try:
            self._tls.do_handshake()
            self._shaken = True
        except ssl.SSLWantReadError:
            pass
        finally:
            self.settle()
        return self._shaken

    def recv_into(self, buffer: memoryview, /) -> int:
        """Read plaintext: all that the socket has, as far as it fits."""
        ended = self._fill()
        got = 0
        try:
            if not self._shaken:
                self._tls.do_handshake()
                self._shaken = True
            while got < len(buffer):
                size = self._tls.read(len(buffer) - got, buffer[got:])
                if not size:
                    break
                got += int(size)
        except ssl.SSLWantReadError:
            pass
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):  # the second: closed without goodbye, as many clients do
            ended = True
        self.settle()
        if not got and not ended:
            raise BlockingIOError
        return got

    def send(self, data: memoryview | bytearray, /) -> int:
        """Encrypt up to `MAX_RECORD_BATCH_BYTES`; what was encrypted counts as sent."""
        if not self.settle():
            raise BlockingIOError
        try:
            taken = self._tls.write(memoryview(data)[:MAX_RECORD_BATCH_BYTES])
        except ssl.SSLWantReadError:
            raise BlockingIOError from None
        self.settle()
        return taken

    def settle(self) -> bool:
        """Write what `send` has taken and the socket has not; whether nothing is left."""
        self._unsent += self._outgoing.read()
        while self._unsent:
            try:
                sent = self._socket.send(self._unsent)
            except BlockingIOError:
                return False
            del self._unsent[:sent]
        return True

    def fileno(self) -> int:
        """The socket's descriptor."""
        return self._socket.fileno()

    def close(self) -> None:
        """Say goodbye if there is room for it and close the socket."""
        with contextlib.suppress(OSError):
            if self._shaken:
                self._tls.unwrap()
        with contextlib.suppress(OSError):
            self.settle()
        self._socket.close()

    def _fill(self) -> bool:
        """Move ciphertext from the socket to the decoder; whether the peer has ended its side."""
        try:
            size = self._socket.recv_into(_CIPHERTEXT)
        except BlockingIOError:
            return False
        if not size:
            self._incoming.write_eof()
            return True
        self._incoming.write(memoryview(_CIPHERTEXT)[:size])
        return False
