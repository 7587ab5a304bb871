"""
Where an HTTP player's bytes go: a socket of its own, or a transport of the loop that somebody else reads from.

A plain connection is taken over whole, and then costs the fan-out what an RTMP player does. TLS and WebSocket cannot be:
the loop's TLS state cannot be moved, and a WebSocket goes on being read. They are written to through the transport, one
bounded piece at a time, each copied: what a transport keeps must not be a view of a log.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import struct
from collections.abc import Callable
from typing import Protocol

from rtmpd.net.sink import NO_DESCRIPTOR

PIECE_BYTES = 64 * 1024
"""Written at a time: so much of a stream may wait in a transport, and is sent though its player is far behind."""
_BINARY_FRAME = 0x82
"""Of a WebSocket: the only one of its message (RFC 6455 section 5.2)."""
_SHORT, _MIDDLE = 126, 0x1_0000


class Outlet(Protocol):
    """What a sink is made of, and how it is closed."""

    @property
    def descriptor(self) -> int:
        """To be watched by the poller; NO_DESCRIPTOR if the owner hears of room by itself."""

    @property
    def send(self) -> Callable[[memoryview | bytearray], int]:
        """As a sink has it."""

    @property
    def settle(self) -> Callable[[], bool] | None:
        """As a sink has it."""

    def close(self) -> None:
        """Let go of the connection."""


class SocketOutlet:
    """A plain socket that nobody else uses any more."""

    def __init__(self, connection: socket.socket) -> None:
        """
        Write to a socket.

        Args:
            connection: connected and tuned.
        """
        self._socket = connection
        self.descriptor = connection.fileno()
        self.send: Callable[[memoryview | bytearray], int] = connection.send
        self.settle = None

    def recv_into(self, buffer: memoryview) -> int:
        """Read what the peer sends all the same; 0 at its end."""
        return self._socket.recv_into(buffer)

    def close(self) -> None:
        """Close it; the kernel still sends what it has taken."""
        self._socket.close()


class TransportOutlet:
    """
    A transport of the loop; whoever has its protocol tells the player of room, and closes it.

    The transport's limits are set so that it asks for a pause as soon as the socket does not take a piece whole, and
    for more when nothing of it is left.
    """

    def __init__(self, transport: asyncio.WriteTransport, frame: Callable[[memoryview], bytes] = bytes) -> None:
        """
        Write to a transport.

        Args:
            transport: of the loop.
            frame: makes of each piece what is written, `websocket_frame` or a copy.
        """
        self._transport = transport
        self._frame = frame
        self.descriptor = NO_DESCRIPTOR
        # TLS pauses at the limit and plain sockets above it: 0 would have TLS pause with nothing to wait for.
        transport.set_write_buffer_limits(high=0 if transport.get_extra_info("sslcontext") is None else 1, low=0)

    def close(self) -> None:
        """Leave that to the one who has the protocol: a WebSocket says goodbye."""

    @property
    def settle(self) -> Callable[[], bool]:
        """Whether the transport has nothing left; it writes by itself."""
        return self._is_empty

    def send(self, data: memoryview | bytearray) -> int:
        """Write until the transport keeps something; raises BlockingIOError where it does already."""
        sent = 0
        # Not one piece alone: there is word of room again only after the transport has kept something.
        while sent < len(data) and self._is_empty():
            if self._transport.is_closing():
                raise ConnectionResetError(errno.ECONNRESET, "connection lost")
            # Released, as what a socket raises keeps this frame for a while, and a buffer that is viewed cannot shrink.
            with memoryview(data) as view, view[sent : sent + PIECE_BYTES] as piece:
                self._transport.write(self._frame(piece))
                sent += len(piece)
        if not sent:
            raise BlockingIOError
        return sent

    def _is_empty(self) -> bool:
        return not self._transport.get_write_buffer_size()


def websocket_frame(payload: memoryview) -> bytes:
    """
    Make a binary message of one frame, as a server sends it (RFC 6455 section 5.2).

    Args:
        payload: of the message.

    Returns:
        The frame.
    """
    size = len(payload)
    if size < _SHORT:
        head = struct.pack(">BB", _BINARY_FRAME, size)
    elif size < _MIDDLE:
        head = struct.pack(">BBH", _BINARY_FRAME, _SHORT, size)
    else:
        head = struct.pack(">BBQ", _BINARY_FRAME, _SHORT + 1, size)
    return head + payload
