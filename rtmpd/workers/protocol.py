"""
What the server and a media worker say to each other: one JSON object a packet, on a Unix SOCK_SEQPACKET socketpair.

The kernel keeps the packets apart and in order, and a packet is sent whole or not at all, so any thread may send. The
descriptor of a feed travels with its `Start` (SCM_RIGHTS). Both ends are the same program in the same version: a
packet that cannot be read is a bug of ours, not a peer's mistake. End of the socket: the other side is gone.

This module is imported by both sides and imports neither asyncio nor a muxer.
"""

from __future__ import annotations

import array
import json
import os
import socket
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias, TypedDict

from rtmpd.errors import UsageError

PACKET_BYTES = 64 * 1024
"""The largest packet; the longest has a path of 4 KiB for each of a recording's files."""
MAX_DESCRIPTORS = 4
QUEUE_BYTES = 64 * 1024 * 1024
"""What a worker keeps of one recording while its disk does not take it."""
REPORT_INTERVAL_S = 0.2
"""The least time between two `Written` of one recording."""


class TrackFacts(TypedDict):
    """One track of a file: `muxers.base.TrackFacts` as it travels."""

    kind: str
    track_id: int
    codec: str
    width: int
    height: int
    sample_rate: int
    channels: int


class FileFacts(TypedDict):
    """What is known of a file: `muxers.base.FileFacts` as it travels, described there."""

    path: str
    file_format: str
    size_bytes: int
    duration_ms: int
    start_ms: int
    video_frames: int
    audio_frames: int
    key_frames: int
    tracks: list[TrackFacts]
    gaps: int
    gap_ms: int
    jumps: int
    left_out: int
    empty: bool


@dataclass(frozen=True, slots=True)
class Output:
    """One file that a recording writes."""

    file_format: str
    """A key of `rtmpd.workers.writer.FORMATS`."""
    path: str
    """Absolute; its folders are made, and a taken name gets a number."""


@dataclass(frozen=True, slots=True)
class Start:
    """To the worker, with one descriptor: record what comes from this feed."""

    recording_id: str
    sequence: int
    outputs: tuple[Output, ...]


@dataclass(frozen=True, slots=True)
class Ready:
    """From the worker: it has started."""


@dataclass(frozen=True, slots=True)
class Opened:
    """From the worker: a file is open and locked."""

    recording_id: str
    sequence: int
    file_format: str
    path: str
    """The name it really got."""


@dataclass(frozen=True, slots=True)
class Written:
    """From the worker: so much of the feed is in every file of the recording that has not failed."""

    recording_id: str
    sequence: int
    feed_bytes: int
    """Bytes of the feed up to the end of the last tag that is wholly in the files."""
    queued_bytes: int
    """Bytes of the feed that the worker has read and the files do not have yet."""


@dataclass(frozen=True, slots=True)
class Closed:
    """From the worker: a file is complete."""

    recording_id: str
    sequence: int
    file_format: str
    feed_bytes: int
    facts: FileFacts


@dataclass(frozen=True, slots=True)
class Failed:
    """From the worker: a file ended before its feed."""

    recording_id: str
    sequence: int
    file_format: str
    feed_bytes: int
    """Bytes of the feed up to the end of the last tag that is wholly in this file."""
    reason: str
    errno: int
    """The operating system's number of the error; 0 for any other kind."""
    facts: FileFacts | None
    """What the file has all the same; None when it was never opened."""


@dataclass(frozen=True, slots=True)
class Ended:
    """From the worker: every file of the recording was reported closed or failed; its feed is closed."""

    recording_id: str
    sequence: int


Packet: TypeAlias = Start | Ready | Opened | Written | Closed | Failed | Ended
_KINDS: dict[str, type[Packet]] = {
    kind.__name__: kind for kind in (Start, Ready, Opened, Written, Closed, Failed, Ended)
}


def socketpair() -> tuple[socket.socket, socket.socket]:
    """Make the two ends of a control connection, both blocking."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def encode(packet: Packet) -> bytes:
    """
    Encode one packet.

    Raises:
        UsageError: it is longer than PACKET_BYTES.
    """
    data = json.dumps([type(packet).__name__, asdict(packet)], separators=(",", ":")).encode()
    if len(data) > PACKET_BYTES:
        raise UsageError(f"a packet of {len(data)} bytes does not fit the control connection")
    return data


def decode(data: bytes) -> Packet:
    """
    Decode one packet.

    Raises:
        UsageError: the bytes are no packet of this version.
    """
    try:
        kind, fields = json.loads(data)
        return _build(_KINDS[kind], fields)
    except (ValueError, TypeError, KeyError) as error:
        raise UsageError(f"no packet: {data[:80]!r}") from error


def send(control: socket.socket, data: bytes, descriptors: Sequence[int] = (), flags: int = 0) -> None:
    """
    Send one encoded packet.

    Args:
        control: this side's end.
        data: from `encode`.
        descriptors: at most MAX_DESCRIPTORS; the sender keeps its own and closes them.
        flags: of sendmsg, such as MSG_DONTWAIT.

    Raises:
        BlockingIOError: the socket or the flags say not to wait, and there is no room; nothing was sent.
        OSError: the other side is gone.
    """
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
    control.sendmsg([data], rights, flags)


def receive(control: socket.socket) -> tuple[Packet, list[int]] | None:
    """
    Receive one packet.

    Args:
        control: this side's end.

    Returns:
        The packet and the descriptors that came with it, now the caller's to close; None at the end of the socket.

    Raises:
        BlockingIOError: a non-blocking socket has no packet.
        UsageError: the packet cannot be read.
    """
    room = socket.CMSG_SPACE(MAX_DESCRIPTORS * array.array("i").itemsize)
    try:
        data, ancillary, flags, _ = control.recvmsg(PACKET_BYTES, room, socket.MSG_CMSG_CLOEXEC)
    except ConnectionResetError:  # the other side died with packets of ours unread
        return None
    if not data:
        return None
    descriptors = _descriptors(ancillary)
    try:
        return decode(data if not flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC) else b"cut off"), descriptors
    except UsageError:
        for descriptor in descriptors:
            os.close(descriptor)
        raise


def _build(kind: type[Packet], fields: dict[str, Any]) -> Packet:
    if kind is Start:
        fields["outputs"] = tuple(Output(**output) for output in fields["outputs"])
    return kind(**fields)


def _descriptors(ancillary: list[tuple[int, int, bytes]]) -> list[int]:
    descriptors = array.array("i")
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            descriptors.frombytes(data[: len(data) - len(data) % descriptors.itemsize])
    return list(descriptors)
