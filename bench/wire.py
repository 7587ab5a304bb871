"""
The few bytes of RTMP that a load generator speaks, made before the clock starts.

Shares no code with the server under test: both servers get the same bytes, and a mistake of ours does not meet
its mirror image. RTMP 1.0 sections 5.2 (handshake), 5.3.1 (chunks), 7.2 (commands); AMF 0 section 2.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import TypeAlias

VERSION = b"\x03"
HANDSHAKE_BYTES = 1536
# time 0, zero, then anything: servers read bytes 4..7 = 0 as the plain handshake
C0_C1 = VERSION + bytes(8) + bytes(range(256)) * 5 + bytes(HANDSHAKE_BYTES - 8 - 1280)
S0_S1_S2_BYTES = 1 + 2 * HANDSHAKE_BYTES

HEADER_BYTES = 12
"""A fmt 0 header of a chunk stream below 64."""

_COMMAND_STREAM = 3
_STREAM_COMMAND_STREAM = 8
_DEFAULT_CHUNK_SIZE = 128

Amf: TypeAlias = "bool | float | str | Mapping[str, Amf] | None"


def chunks(
    type_id: int, timestamp_ms: int, message_stream_id: int, chunk_stream_id: int, body: bytes, chunk_size: int
) -> bytes:
    """
    Serialise one message as a fmt 0 chunk and fmt 3 continuations.

    Args:
        type_id: message type.
        timestamp_ms: absolute, below 0xFFFFFF.
        message_stream_id: as the server gave it.
        chunk_stream_id: 2 .. 63.
        body: the message.
        chunk_size: bytes a chunk, as announced to the server.

    Returns:
        The bytes to send.
    """
    header = struct.pack(">IHBB", chunk_stream_id << 24 | timestamp_ms, len(body) >> 8, len(body) & 0xFF, type_id)
    header += struct.pack("<I", message_stream_id)
    pieces = [body[at : at + chunk_size] for at in range(0, len(body), chunk_size)]
    return header + bytes([0xC0 | chunk_stream_id]).join(pieces)


def set_chunk_size(chunk_size: int) -> bytes:
    """
    Announce the size of the chunks that follow.

    Args:
        chunk_size: bytes.

    Returns:
        The control message, in one chunk.
    """
    return chunks(1, 0, 0, 2, struct.pack(">I", chunk_size), _DEFAULT_CHUNK_SIZE)


def connect(app: str, url: str, chunk_size: int = _DEFAULT_CHUNK_SIZE) -> bytes:
    """
    Make the first command of every client.

    Args:
        app: the application.
        url: tcUrl.
        chunk_size: in force for the bytes that the server gets.

    Returns:
        The command, in chunks.
    """
    properties: Mapping[str, Amf] = {
        "app": app,
        "type": "nonprivate",
        "flashVer": "LNX 9,0,124,2",
        "tcUrl": url,
        "audioCodecs": 4071.0,
        "videoCodecs": 252.0,
        "objectEncoding": 0.0,
    }
    return _command(0, "connect", 1.0, properties, chunk_size=chunk_size)


def create_stream(chunk_size: int = _DEFAULT_CHUNK_SIZE) -> bytes:
    """
    Ask for a message stream: the first of a connection is number 1 with every server that we know.

    Args:
        chunk_size: in force for the bytes that the server gets.

    Returns:
        The command, in chunks.
    """
    return _command(0, "createStream", 2.0, None, chunk_size=chunk_size)


def play(stream: str) -> bytes:
    """
    Ask to play on message stream 1.

    Args:
        stream: its name.

    Returns:
        The command, in chunks.
    """
    return _command(1, "play", 3.0, None, stream, chunk_size=_DEFAULT_CHUNK_SIZE)


def publish(stream: str, chunk_size: int) -> bytes:
    """
    Ask to publish on message stream 1.

    Args:
        stream: its name.
        chunk_size: in force for the bytes that the server gets.

    Returns:
        The command, in chunks.
    """
    return _command(1, "publish", 3.0, None, stream, "live", chunk_size=chunk_size)


def amf0(*values: Amf) -> bytes:
    """
    Encode values one after the other.

    Args:
        values: None, booleans, numbers, strings below 64 KB and objects of them.

    Returns:
        AMF 0.
    """
    return b"".join(_encode(value) for value in values)


def _command(message_stream_id: int, *values: Amf, chunk_size: int) -> bytes:
    chunk_stream_id = _STREAM_COMMAND_STREAM if message_stream_id else _COMMAND_STREAM
    return chunks(20, 0, message_stream_id, chunk_stream_id, amf0(*values), chunk_size)


def _encode(value: Amf) -> bytes:
    match value:
        case None:
            return b"\x05"
        case bool():
            return bytes([1, value])
        case int() | float():
            return struct.pack(">Bd", 0, value)
        case str():
            return b"\x02" + _text(value)
        case _:
            return b"\x03" + b"".join(_text(key) + _encode(item) for key, item in value.items()) + b"\x00\x00\x09"


def _text(value: str) -> bytes:
    data = value.encode()
    return struct.pack(">H", len(data)) + data
