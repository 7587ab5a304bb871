"""
The plain handshake: one version byte and two blocks of 1536 bytes each way, in any split.

Both sides send version and an own block, and answer the peer's block with its echo. The server answers as soon as the
peer's block is complete: ffmpeg and GStreamer send C2 only after they have read S2. An echo is read and never compared,
as clients change it. Bytes 4 - 7 of our block are zero, which tells ffmpeg not to look for a digest in it.

RTMP 1.0 section 5.2; RTMP Errata and Addenda section 3.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from rtmpd.errors import HandshakeError, UsageError

VERSION = 3
BLOCK_BYTES = 1536
RANDOM_BYTES = BLOCK_BYTES - 8

_TLS_HANDSHAKE = 0x16
_RTMPE_VERSIONS = frozenset({6, 8, 9})


class _Handshake(ABC):
    """What both sides do: version, block, echo."""

    __slots__ = ("_awaited_echo_bytes", "_block", "_received", "done", "remainder")

    def __init__(self, random_bytes: bytes, now_ms: int) -> None:
        """
        Prepare our block.

        Args:
            random_bytes: RANDOM_BYTES of them; a peer only uses them to tell connections apart.
            now_ms: the time field, of any epoch; taken modulo 2**32.

        Raises:
            UsageError: the number of random bytes is wrong.
        """
        if len(random_bytes) != RANDOM_BYTES:
            raise UsageError(f"a handshake needs {RANDOM_BYTES} random bytes, not {len(random_bytes)}")
        self._block = (now_ms & 0xFFFFFFFF).to_bytes(4, "big") + bytes(4) + random_bytes
        self._received = bytearray()
        self._awaited_echo_bytes = BLOCK_BYTES
        self.done = False
        """Whether the peer's version, block and echo have all been read."""
        self.remainder = b""
        """When done: what came in behind the handshake, the first bytes of the chunk stream."""

    def feed(self, data: bytes | bytearray | memoryview) -> bytes:
        """
        Take the next bytes of the peer.

        Args:
            data: any number of bytes; not kept, so a shared receive buffer will do.

        Returns:
            What is to be sent now, often nothing.

        Raises:
            HandshakeError: the first byte is not RTMP's; it says what the peer speaks instead. The connection is to be
                closed.
            UsageError: the handshake was done before.
        """
        if self.done:
            raise UsageError("bytes behind the handshake belong to the chunk reader")
        view = memoryview(data)
        output = b""
        missing = 1 + BLOCK_BYTES - len(self._received)
        if missing > 0:
            self._received += view[:missing]
            _check_version(self._received)
            view = view[missing:]
            if len(self._received) == 1 + BLOCK_BYTES:
                output = self._answer(bytes(self._received[1:]))
        self._skip_echo(view)
        return output

    def _skip_echo(self, view: memoryview) -> None:
        skipped = min(len(view), self._awaited_echo_bytes)
        self._awaited_echo_bytes -= skipped
        if not self._awaited_echo_bytes:
            self.done = True
            self.remainder = bytes(view[skipped:])

    @abstractmethod
    def _answer(self, peer_block: bytes) -> bytes:
        """Make what is sent when the peer's block is complete."""


class ServerHandshake(_Handshake):
    """The side that waits: C0 and C1 in, S0, S1 and S2 out as one write, C2 in."""

    __slots__ = ()

    def _answer(self, peer_block: bytes) -> bytes:
        return bytes((VERSION,)) + self._block + peer_block


class ClientHandshake(_Handshake):
    """The side that begins: C0 and C1 out, S0 and S1 in, C2 out, S2 in."""

    __slots__ = ()

    def first_bytes(self) -> bytes:
        """Make C0 and C1, to be sent before anything is fed."""
        return bytes((VERSION,)) + self._block

    def _answer(self, peer_block: bytes) -> bytes:
        return peer_block


def _check_version(received: bytearray) -> None:
    if received and received[0] != VERSION:
        raise HandshakeError(_name_of_protocol(received[0]), offset=0)


def _name_of_protocol(first_byte: int) -> str:
    if first_byte == _TLS_HANDSHAKE:
        return "TLS on the plain RTMP port"
    if chr(first_byte).isascii() and chr(first_byte).isalpha():
        return f"HTTP on the RTMP port (first byte {chr(first_byte)!r})"
    if first_byte in _RTMPE_VERSIONS:
        return f"RTMPE (version {first_byte}), which is not supported"
    return f"no RTMP: version {first_byte} where {VERSION} is due"
