"""
Messages in, chunks out.

Rule: each message is written as if it were the first of the connection. It begins with fmt 0 and goes on with fmt 3, so
its bytes depend on nothing that was sent before, and one encoding serves every player. It costs 4 bytes a message
against fmt 1, and keeps clear of the fmt 3 message starts that readers disagree about. An extended timestamp is
repeated in every fmt 3 header: ffmpeg, librtmp and nginx-rtmp demand it. RTMP 1.0 section 5.3.1.
"""

from __future__ import annotations

from struct import Struct

from rtmpd.errors import UsageError
from rtmpd.wire.messages import Message

LONGEST_BODY_BYTES = 0xFFFFFF
OUT_CHUNK_SIZE = 65536
"""What the server announces to every client and writes its logs with: the same for all, or log bytes could not be shared."""

_EXTENDED = 0xFFFFFF
_words = Struct(">III").pack


def encode_message(message: Message, chunk_size: int) -> bytes:
    """
    Write one message on the chunk stream that it names.

    Args:
        message: what to send.
        chunk_size: the one in force for the receiver, in bytes.

    Returns:
        Its chunks.

    Raises:
        UsageError: a field that no header can hold.
    """
    type_id, timestamp_ms, message_stream_id, body, chunk_stream_id = message
    return encode_chunks(type_id, timestamp_ms, message_stream_id, chunk_stream_id, body, chunk_size)


def encode_chunks(
    type_id: int, timestamp_ms: int, message_stream_id: int, chunk_stream_id: int, body: bytes, chunk_size: int
) -> bytes:
    """
    Write one message that is not (or not yet) a `Message`.

    Args:
        type_id: message type.
        timestamp_ms: absolute, 0 .. 2**32 - 1.
        message_stream_id: 0 .. 2**32 - 1.
        chunk_stream_id: 2 .. 65599.
        body: up to 16 MiB - 1.
        chunk_size: the one in force for the receiver, in bytes.

    Returns:
        Its chunks.

    Raises:
        UsageError: a field that no header can hold.
    """
    size = len(body)
    header = encode_header(type_id, timestamp_ms, message_stream_id, chunk_stream_id, size)
    if size <= chunk_size:
        return header + body
    if chunk_size < 1:
        raise UsageError(f"chunk size {chunk_size}")
    separator = _basic_header(3, chunk_stream_id) + _extension(timestamp_ms)
    # Slices of a view: 3.2 us for 60 KB in chunks of 4096 bytes, against 4.3 us when each slice is a copy.
    view = memoryview(body)
    return header + separator.join([view[start : start + chunk_size] for start in range(0, size, chunk_size)])


def encode_header(
    type_id: int, timestamp_ms: int, message_stream_id: int, chunk_stream_id: int, body_bytes: int
) -> bytes:
    """
    Write the fmt 0 header of a message.

    Args:
        type_id: message type.
        timestamp_ms: absolute, 0 .. 2**32 - 1.
        message_stream_id: 0 .. 2**32 - 1.
        chunk_stream_id: 2 .. 65599.
        body_bytes: length of the whole body, up to 16 MiB - 1.

    Returns:
        What comes before the first byte of the body.

    Raises:
        UsageError: a field that no header can hold.
    """
    if (
        0 <= timestamp_ms < _EXTENDED
        and 1 < chunk_stream_id < 64
        and 0 <= message_stream_id < 256
        and 0 <= type_id < 256
        and 0 <= body_bytes <= LONGEST_BODY_BYTES
    ):
        # What nearly every header is, in one packing: 0.2 us against 0.7 us. The message stream id is little-endian.
        return _words(chunk_stream_id << 24 | timestamp_ms, body_bytes << 8 | type_id, message_stream_id << 24)
    if not (
        0 <= type_id < 256
        and 0 <= timestamp_ms < 1 << 32
        and 0 <= message_stream_id < 1 << 32
        and 2 <= chunk_stream_id <= 65599
        and 0 <= body_bytes <= LONGEST_BODY_BYTES
    ):
        raise UsageError(
            f"no chunk header for type {type_id}, {timestamp_ms} ms, message stream {message_stream_id}, "
            f"chunk stream {chunk_stream_id}, {body_bytes} bytes"
        )
    return b"".join(
        (
            _basic_header(0, chunk_stream_id),
            min(timestamp_ms, _EXTENDED).to_bytes(3, "big"),
            body_bytes.to_bytes(3, "big"),
            type_id.to_bytes(1, "big"),
            message_stream_id.to_bytes(4, "little"),
            _extension(timestamp_ms),
        )
    )


def _basic_header(fmt: int, chunk_stream_id: int) -> bytes:
    if chunk_stream_id < 64:
        return bytes((fmt << 6 | chunk_stream_id,))
    if chunk_stream_id < 320:
        return bytes((fmt << 6, chunk_stream_id - 64))
    return bytes((fmt << 6 | 1,)) + (chunk_stream_id - 64).to_bytes(2, "little")


def _extension(timestamp_ms: int) -> bytes:
    return b"" if timestamp_ms < _EXTENDED else timestamp_ms.to_bytes(4, "big")
