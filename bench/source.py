"""
The stream that benchmarks send: 720p30 H.264 and AAC, 2.13 Mb/s, 73 messages a second, a key frame every 2 s.

The bodies are made up, always the same ones: real sequence headers, real tag headers and NAL lengths, random
payload. No server decodes a live stream, so nothing but sizes and times counts, and a made-up stream has exactly
the rate that the tables name, with room for a clock in every video frame. One loop is 2 s long and is serialised
once; only the timestamp and the clock are patched before a send. Where somebody does decode, footage.py has a loop
of the same numbers that was really encoded.
"""

from __future__ import annotations

import functools
import random
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from bench import wire

LOOP_MS = 2_000
LOOP_S = LOOP_MS / 1_000

CLOCK_MARK = b"\xf5rtmpNOW"
"""Stands before the 8-byte send time (ns, monotonic clock, big endian) in every video frame."""
KEY_FRAME_END = b"\xf5rtmpKEY"
"""The last bytes of every key frame."""

VIDEO_FRAMES = 60
AUDIO_FRAMES = 86
"""In a loop; 44,100 samples a second would make 86.13."""
_AUDIO_BODY_BYTES = 372
_KEY_FRAME_BYTES = 60_032
_VIDEO_BYTES = 500_544
AUDIO, VIDEO, _DATA = 8, 9, 18
_CHUNK_STREAMS = {AUDIO: 4, VIDEO: 6, _DATA: 5}
# x264's headers for 1280x720, High profile, 30 frames a second
_SPS = bytes.fromhex("6764001facd9405005ba10000003001000000303c0f1831960")
_PPS = bytes.fromhex("68ef8fcb")
_AAC_LC = bytes.fromhex("1210")  # 44,100 Hz, stereo
_SMALLEST_HEADER_BYTES = 8  # fmt 1, which nginx-rtmp sends for all but the first message


@dataclass(slots=True)
class Template:
    """One message of the loop, in chunks."""

    offset_ms: int
    """When it is due, from the start of the loop."""
    header: int
    """The first four bytes of its chunk header with a timestamp of zero."""
    data: bytearray
    """What is sent, once timestamp and clock are patched."""
    clock_at: int
    """Where the clock goes; 0 where there is none: in audio, and in footage."""
    fan_out_bytes: int
    """The fewest bytes in which the server can pass the message on to a player."""


class Loop(NamedTuple):
    """What is sent, before it is cut into chunks."""

    headers: tuple[tuple[int, bytes], ...]
    """Types and bodies of metadata and both sequence headers."""
    messages: list[tuple[int, int, bytes]]
    """When each is due, from the start of the loop in ms, its type and body."""


class Source:
    """The loop for one size of chunks towards the server and one towards the players."""

    def __init__(self, chunk_size: int, player_chunk_size: int, loop: Loop | None = None) -> None:
        """
        Serialise the loop.

        Args:
            chunk_size: bytes a chunk from publisher to server.
            player_chunk_size: bytes a chunk from server to players, for what a player is owed.
            loop: what to send; the made-up stream by default.
        """
        loop = loop or made_up_loop()
        self.chunk_size = chunk_size
        self.preamble = b"".join(
            wire.chunks(type_id, 0, 1, _CHUNK_STREAMS[type_id], body, chunk_size) for type_id, body in loop.headers
        )
        """What a publisher sends before the first frame: metadata and both sequence headers."""
        messages = sorted(loop.messages, key=lambda message: message[0])
        self.templates = [self._template(*message, player_chunk_size) for message in messages]
        self.bytes_per_s = sum(template.fan_out_bytes for template in self.templates) / LOOP_S

    def _template(self, offset_ms: int, type_id: int, body: bytes, player_chunk_size: int) -> Template:
        chunk_stream_id = _CHUNK_STREAMS[type_id]
        clock_at = body.find(CLOCK_MARK)
        continuations = (len(body) - 1) // player_chunk_size
        return Template(
            offset_ms,
            chunk_stream_id << 24,
            bytearray(wire.chunks(type_id, 0, 1, chunk_stream_id, body, self.chunk_size)),
            wire.HEADER_BYTES + clock_at + len(CLOCK_MARK) if clock_at >= 0 else 0,
            len(body) + _SMALLEST_HEADER_BYTES + continuations,
        )


@functools.cache
def made_up_loop() -> Loop:
    """
    Make the loop that nobody can decode.

    Returns:
        Metadata, sequence headers, and the messages of one loop.
    """
    headers = (METADATA, (VIDEO, b"\x17\x00\x00\x00\x00" + _avc_configuration()), (AUDIO, b"\xaf\x00" + _AAC_LC))
    return Loop(headers, spread(VIDEO, _pictures()) + spread(AUDIO, _sounds()))


def spread(type_id: int, bodies: Sequence[bytes]) -> list[tuple[int, int, bytes]]:
    """
    Place messages evenly over the loop.

    Args:
        type_id: message type.
        bodies: of all messages of the type.

    Returns:
        Milliseconds from the start of the loop, type and body of each.
    """
    return [(number * LOOP_MS // len(bodies), type_id, body) for number, body in enumerate(bodies)]


def _pictures() -> list[bytes]:
    generator = random.Random(1)
    weights = [generator.uniform(*((1.6, 2.4) if frame % 3 == 1 else (0.4, 0.8))) for frame in range(1, VIDEO_FRAMES)]
    share = (_VIDEO_BYTES - _KEY_FRAME_BYTES) / sum(weights)
    sizes = [_KEY_FRAME_BYTES, *(round(weight * share) for weight in weights)]
    return [_frame(size, generator) for size in sizes]


def _frame(size: int, generator: random.Random) -> bytes:
    """Make one AVC frame; a key frame's size is a multiple of 128, so that no chunk header cuts its last bytes."""
    key = size == _KEY_FRAME_BYTES
    head = (b"\x17" if key else b"\x27") + b"\x01\x00\x00\x00" + struct.pack(">I", size - 9)
    head += (b"\x65" if key else b"\x41") + CLOCK_MARK + bytes(8)
    tail = KEY_FRAME_END if key else b""
    return head + generator.randbytes(size - len(head) - len(tail)) + tail


def _sounds() -> list[bytes]:
    generator = random.Random(2)
    return [b"\xaf\x01" + generator.randbytes(_AUDIO_BODY_BYTES - 2) for _ in range(AUDIO_FRAMES)]


def _avc_configuration() -> bytes:
    parameter_sets = b"\xe1" + struct.pack(">H", len(_SPS)) + _SPS + b"\x01" + struct.pack(">H", len(_PPS)) + _PPS
    return b"\x01" + _SPS[1:4] + b"\xff" + parameter_sets + b"\xfd\xf8\xf8\x00"


_METADATA_VALUES: dict[str, wire.Amf] = {
    "width": 1280.0,
    "height": 720.0,
    "framerate": 30.0,
    "videodatarate": 2_000.0,
    "videocodecid": 7.0,
    "audiodatarate": 128.0,
    "audiosamplerate": 44_100.0,
    "stereo": True,
    "audiocodecid": 10.0,
    "encoder": "bench",
}
METADATA = (_DATA, wire.amf0("@setDataFrame", "onMetaData", _METADATA_VALUES))
"""Type and body of what describes the stream."""
