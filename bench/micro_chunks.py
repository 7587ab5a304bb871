"""
What reading and writing chunks costs: `python bench/micro_chunks.py`.

Compare the ratios, not the microseconds, between machines and days: the reference is measured in the same run, turn by
turn with what it is compared with. It does what a reader must (headers of all four kinds, interleaving, Set Chunk Size)
in the plain way, chunk by chunk, and checks less.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import NamedTuple

from rtmpd.wire.chunk_reader import ChunkReader
from rtmpd.wire.chunk_writer import encode_message
from rtmpd.wire.messages import SET_CHUNK_SIZE, Message

BODIES = {"200 B audio": (8, 200), "3.6 KB video": (9, 3_600), "60 KB video": (9, 60_000)}
CHUNK_SIZES = (65_536, 4_096, 128)
MESSAGES_PER_FEED = (1, 20)
ROUNDS = 7
ROUND_S = 0.02

FIELD_BYTES = (11, 7, 3, 0)


class Row(NamedTuple):
    """One line of the table."""

    what: str
    chunk_size: int
    messages_per_feed: int
    us_per_message: float
    mb_per_s: float
    reference_us: float


class Stream:
    """A chunk stream of the reference reader."""

    def __init__(self) -> None:
        self.timestamp = self.delta = self.length = self.type_id = self.msid = 0
        self.body = bytearray()


class ReferenceReader:
    """Reads chunk by chunk; the losing alternative."""

    def __init__(self) -> None:
        self.chunk_size = 128
        self.streams: dict[int, Stream] = {}
        self.buffer = bytearray()

    def feed(self, data: memoryview, messages: list[Message]) -> None:
        """Append `data` to what is buffered, and take out all whole chunks."""
        self.buffer += data
        position = 0
        while (end := self.read_chunk(position, messages)) > 0:
            position = end
        del self.buffer[:position]

    def read_chunk(self, position: int, messages: list[Message]) -> int:
        """Return where the chunk ends, or 0 if it is not all there."""
        buffer = self.buffer
        if position >= len(buffer):
            return 0
        fmt, csid = buffer[position] >> 6, buffer[position] & 63
        stream = self.streams.setdefault(csid, Stream())
        position += 1
        body_at = position + FIELD_BYTES[fmt]
        length = int.from_bytes(buffer[position + 3 : position + 6], "big") if fmt < 2 else stream.length
        size = min(length - len(stream.body), self.chunk_size)
        if len(buffer) < body_at + size:
            return 0
        if fmt < 3:
            stream.delta = int.from_bytes(buffer[position : position + 3], "big")
        if fmt < 2:
            stream.length, stream.type_id = length, buffer[position + 6]
        if fmt < 1:
            (stream.msid,) = struct.unpack_from("<I", buffer, position + 7)
            stream.timestamp = 0
        if not stream.body:
            stream.timestamp = (stream.timestamp + stream.delta) & 0xFFFFFFFF
        stream.body += buffer[body_at : body_at + size]
        if len(stream.body) == length:
            self.finish(stream, csid, messages)
        return body_at + size

    def finish(self, stream: Stream, csid: int, messages: list[Message]) -> None:
        """Hand a whole message out."""
        body = bytes(stream.body)
        stream.body = bytearray()
        if stream.type_id == SET_CHUNK_SIZE:
            self.chunk_size = int.from_bytes(body, "big")
        messages.append(Message(stream.type_id, stream.timestamp, stream.msid, body, csid))


def reference_encode(message: Message, chunk_size: int) -> bytes:
    """Write chunk by chunk; the losing alternative."""
    type_id, timestamp, msid, body, csid = message
    wire = bytearray((csid,))
    wire += timestamp.to_bytes(3, "big") + len(body).to_bytes(3, "big") + bytes((type_id,)) + msid.to_bytes(4, "little")
    wire += body[:chunk_size]
    for start in range(chunk_size, len(body), chunk_size):
        wire.append(0xC0 | csid)
        wire += body[start : start + chunk_size]
    return bytes(wire)


def seconds_per_call(calls: Iterable[Callable[[], object]]) -> list[float]:
    """Return the best time of each, measured in turns so that a disturbance hits all."""
    best = []
    counts = []
    for call in calls:
        start = time.perf_counter()
        call()
        counts.append((call, max(3, int(ROUND_S / (time.perf_counter() - start)))))
        best.append(float("inf"))
    for _ in range(ROUNDS):
        for index, (call, count) in enumerate(counts):
            start = time.perf_counter()
            for _ in range(count):
                call()
            best[index] = min(best[index], (time.perf_counter() - start) / count)
    return best


def reading(reader: ChunkReader | ReferenceReader, wire: bytes, chunk_size: int, repeat: int) -> Callable[[], object]:
    """Return a call that feeds `repeat` messages of fmt 1, as encoders send them."""
    messages: list[Message] = []
    reader.feed(
        memoryview(encode_message(Message(SET_CHUNK_SIZE, 0, 0, chunk_size.to_bytes(4, "big"), 2), 128)), messages
    )
    reader.feed(memoryview(wire), messages)
    feed = reader.feed
    # Fmt 1 is fmt 0 without the message stream id; a delta of 33 ms stands where the timestamp was.
    as_fmt_1 = bytes((0x40 | wire[0],)) + (33).to_bytes(3, "big") + wire[4:8] + wire[12:]
    view = memoryview(bytearray(as_fmt_1 * repeat))

    def call() -> list[Message]:
        taken: list[Message] = []
        feed(view, taken)
        return taken

    if len(call()) != repeat:
        raise AssertionError("the reader lost a message")
    return call


def measure() -> list[Row]:
    """Measure everything."""
    rows = []
    for name, (type_id, size) in BODIES.items():
        message = Message(type_id, 1000, 1, bytes(size), 4)
        for chunk_size in CHUNK_SIZES:
            wire = encode_message(message, chunk_size)
            for repeat in MESSAGES_PER_FEED:
                ours, reference = seconds_per_call(
                    reading(reader, wire, chunk_size, repeat)
                    for reader in (ChunkReader(body_limits=[1 << 24] * 256), ReferenceReader())
                )
                rows.append(row(f"read {name}", chunk_size, repeat, size, ours, reference))
            ours, reference = seconds_per_call(
                (
                    partial(encode_message, message, chunk_size),
                    partial(reference_encode, message, chunk_size),
                )
            )
            rows.append(row(f"write {name}", chunk_size, 1, size, ours, reference))
    return rows


def row(what: str, chunk_size: int, repeat: int, size: int, ours: float, reference: float) -> Row:
    """Turn seconds a call into a line of the table."""
    return Row(what, chunk_size, repeat, ours / repeat * 1e6, size * repeat / ours / 1e6, reference / repeat * 1e6)


def main() -> None:
    """Print the table."""
    print(f"{'':18} {'chunk':>6} {'a feed':>6} {'us/message':>10} {'MB/s':>7} {'reference us':>12} {'ratio':>6}")
    for line in sorted(measure(), key=lambda line: line.what.split()[0]):
        print(
            f"{line.what:18} {line.chunk_size:6} {line.messages_per_feed:6} {line.us_per_message:10.2f} "
            f"{line.mb_per_s:7.0f} {line.reference_us:12.2f} {line.reference_us / line.us_per_message:6.1f}"
        )


if __name__ == "__main__":
    main()
