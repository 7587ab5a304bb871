"""
MPEG transport streams, cut at access units, with the tables that a segment must begin with.

The program tables (PAT and PMT) are taken out where FFmpeg repeats them by the clock, and put in at the start of each
segment, which is where RFC 8216 section 3.2 wants them and the only place where an HLS reader looks; they are numbered
here, so that no counter ever jumps. Everything else passes through untouched. ISO/IEC 13818-1 sections 2.4.3 and 2.4.4.
"""

from __future__ import annotations

import mmap
from collections import deque
from collections.abc import Mapping
from typing import NamedTuple

from muxers.pieces import Cut, Part, Piece, StreamError

PACKET_BYTES = 188
FIRST_PID = 0x100
"""Of the first track, by FFmpeg's custom; the others follow."""
UNITS_PER_MS = 90

_SYNC = b"\x47"
_PAT_PID = 0
_LAST_RESERVED_PID = 0x1F
_NULL_PID = 0x1FFF
_PMT_PID_OFFSET = 1 + 8 + 2
"""In the payload of a PAT packet: behind the pointer, the table's header and the first program's number."""
_DISCONTINUITY, _RANDOM_ACCESS = 0x80, 0x40
_TURN = 1 << 33
_LONGEST_FRAME_MS = 1_000


class Start(NamedTuple):
    """The first packet of a frame."""

    is_video: bool
    is_key: bool
    starts_run: bool
    """Marked as not continuing what was before it in its track."""
    time: int | None
    """Decoding time, 33 bits of 90 kHz."""


class TransportSplitter:
    """Takes a transport stream apart; a track's index is its PID less `FIRST_PID`."""

    def __init__(self, near_ms: int = 0) -> None:
        """
        Start before the first packet.

        Args:
            near_ms: a time within 13 hours of the first frame's, as the stream's own clock turns over.
        """
        self._rest = bytearray()
        self._cuts: deque[Cut] = deque()
        self._tables: dict[int, list[bytearray]] = {}
        self._counters: dict[int, int] = {}
        self._pmt_pid = -1
        self._near = near_ms * UNITS_PER_MS
        self._clocks: dict[int, _Clock] = {}
        self._kinds: dict[int, str] = {}
        self._video: int | None = None
        self.init = None
        """There is none."""

    @property
    def kinds(self) -> Mapping[int, str]:
        """By the index of each track that has had a frame: "video" or "audio"."""
        return self._kinds

    @property
    def rest_bytes(self) -> int:
        """How many of the bytes fed belong to no whole packet yet."""
        return len(self._rest)

    def plan(self, cut: Cut) -> None:
        """Begin a segment with the first frame of the leading track at or after that time."""
        self._cuts.append(cut)

    def feed(self, data: bytes) -> list[Piece]:
        """
        Take the next bytes.

        Returns:
            The packets that became whole, a piece more than there are cuts among them. A frame may be in several.

        Raises:
            StreamError: the bytes are no transport stream.
        """
        self._rest += data
        whole = len(self._rest) // PACKET_BYTES * PACKET_BYTES
        packets = bytes(self._rest[:whole])
        del self._rest[:whole]
        if packets[::PACKET_BYTES].strip(_SYNC):
            raise StreamError("lost the packets of the transport stream")
        pieces: list[Piece] = []
        current = _Piece(self._near_ms)
        copied = 0  # this loop runs for each packet, so media is copied in runs of packets
        starts = zip(range(0, whole, PACKET_BYTES), packets[1::PACKET_BYTES], packets[2::PACKET_BYTES], strict=True)
        for offset, high, low in starts:
            pid = (high & 0x1F) << 8 | low
            if pid <= _LAST_RESERVED_PID or pid in (self._pmt_pid, _NULL_PID):
                current.data += packets[copied:offset]
                copied = offset + PACKET_BYTES
                self._keep_table(pid, packets[offset:copied])
            elif high & 0x40 and (start := read_start(packets[offset : offset + PACKET_BYTES])) is not None:
                time_ms = self._place(start)
                starts_run = not self._clocks
                if self._reaches_cut(pid - FIRST_PID, time_ms) or starts_run:
                    current.data += packets[copied:offset]
                    copied = offset
                    pieces += current.finish()
                    current = _Piece(time_ms, starts_segment=True, starts_run=starts_run and start.starts_run)
                    current.data += self._numbered_tables()
                self._count(current, pid - FIRST_PID, start, time_ms)
        current.data += packets[copied:]
        return pieces + current.finish()

    @property
    def _near_ms(self) -> int:
        return (self._near + UNITS_PER_MS // 2) // UNITS_PER_MS

    def _keep_table(self, pid: int, packet: bytes) -> None:
        """Remember a table's packet; what describes the service, and padding, is dropped."""
        if pid == _PAT_PID:
            offset = min(_payload_offset(packet), PACKET_BYTES - _PMT_PID_OFFSET - 2) + _PMT_PID_OFFSET
            self._pmt_pid = (packet[offset] & 0x1F) << 8 | packet[offset + 1]
        elif pid != self._pmt_pid:
            return
        if packet[1] & 0x40:
            self._tables[pid] = []
        self._tables.setdefault(pid, []).append(bytearray(packet))

    def _numbered_tables(self) -> bytes:
        numbered = bytearray()
        for pid in (_PAT_PID, self._pmt_pid):
            for packet in self._tables.get(pid, ()):
                counter = self._counters.get(pid, 0)
                packet[3] = packet[3] & 0xF0 | counter
                self._counters[pid] = (counter + 1) & 0x0F
                numbered += packet
        return bytes(numbered)

    def _place(self, start: Start) -> int:
        """Bring a frame's time onto a line without turns, in milliseconds."""
        if start.time is not None:
            self._near += (start.time - self._near + _TURN // 2) % _TURN - _TURN // 2
        return self._near_ms

    def _reaches_cut(self, index: int, time_ms: int) -> bool:
        """Whether a planned cut lies here; it and those before it are done."""
        reached = False
        while self._cuts and self._cuts[0].track in (None, index) and time_ms >= self._cuts[0].time_ms:
            self._cuts.popleft()
            reached = True
        return reached

    def _count(self, piece: _Piece, index: int, start: Start, time_ms: int) -> None:
        clock = self._clocks.setdefault(index, _Clock())
        clock.advance(time_ms)
        if self._kinds.setdefault(index, "video" if start.is_video else "audio") == "video":
            if self._video is None:
                self._video = index
            if self._video == index:
                piece.video_at_key = start.is_key if piece.video_at_key is None else piece.video_at_key
                piece.key_frames += start.is_key
        frames = piece.parts[index].frames if index in piece.parts else 0
        piece.parts[index] = Part(frames + 1, time_ms)
        piece.end_ms = max(piece.end_ms, clock.end_ms)


class _Piece:
    """A piece that is being put together."""

    def __init__(self, start_ms: int, *, starts_segment: bool = False, starts_run: bool = False) -> None:
        self.data = bytearray()
        self.parts: dict[int, Part] = {}
        self.video_at_key: bool | None = None
        self.key_frames = 0
        self.end_ms = start_ms
        self._start_ms = start_ms
        self._starts_segment = starts_segment
        self._starts_run = starts_run

    def finish(self) -> list[Piece]:
        """The piece, where there is one."""
        if not self.data:
            return []
        return [
            Piece(
                data=bytes(self.data),
                starts_run=self._starts_run,
                starts_segment=self._starts_segment,
                start_ms=self._start_ms,
                end_ms=self.end_ms,
                parts=self.parts,
                video_at_key=self.video_at_key,
                key_frames=self.key_frames,
            )
        ]


class _Clock:
    """Where a track's newest frame ends, if it is as long as the one before it."""

    __slots__ = ("_last_ms", "_step_ms", "end_ms")

    def __init__(self) -> None:
        self._last_ms: int | None = None
        self._step_ms = 0
        self.end_ms = 0

    def advance(self, time_ms: int) -> None:
        if self._last_ms is not None and 0 < time_ms - self._last_ms <= _LONGEST_FRAME_MS:
            self._step_ms = time_ms - self._last_ms
        self._last_ms = time_ms
        self.end_ms = time_ms + self._step_ms


def whole_bytes(data: bytes | mmap.mmap) -> int:
    """
    Say how many bytes of a growing segment, or file, a reader can use.

    Returns:
        All, unless the last packet is torn: then the frame that it belongs to is not whole, and so it and all behind
        its beginning are left out. So is everything from the first place on where there is no packet.
    """
    count = next(
        (i for i, sync in enumerate(data[::PACKET_BYTES]) if sync != _SYNC[0]),
        len(data) // PACKET_BYTES,
    )
    whole = count * PACKET_BYTES
    if whole == len(data):
        return whole
    starts = (offset for offset in range(whole - PACKET_BYTES, -1, -PACKET_BYTES) if data[offset + 1] & 0x40)
    return next(starts, 0)


def read_start(packet: bytes) -> Start | None:
    """
    Read the packet that begins a frame.

    Args:
        packet: 188 bytes, with the unit start indicator set.

    Returns:
        What its heads say; None where no frame begins.
    """
    offset = _payload_offset(packet)
    flags = packet[5] if packet[3] & 0x20 and packet[4] else 0
    if offset + 19 > PACKET_BYTES or bytes(packet[offset : offset + 3]) != b"\0\0\1":
        return None
    is_video, times = packet[offset + 3] & 0xF0 == 0xE0, packet[offset + 7] >> 6
    time = _read_time(packet, offset + (14 if times & 1 else 9)) if times else None
    return Start(is_video, bool(flags & _RANDOM_ACCESS), bool(flags & _DISCONTINUITY), time)


def _payload_offset(packet: bytes) -> int:
    return 5 + packet[4] if packet[3] & 0x20 else 4


def _read_time(packet: bytes, offset: int) -> int:
    first, high, low = packet[offset], packet[offset + 1 : offset + 3], packet[offset + 3 : offset + 5]
    return (first >> 1 & 7) << 30 | int.from_bytes(high) >> 1 << 15 | int.from_bytes(low) >> 1
