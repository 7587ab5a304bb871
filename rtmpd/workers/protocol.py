"""
What the server and a media worker say to each other: one JSON object a packet, on a Unix SOCK_SEQPACKET socketpair.

The kernel keeps the packets apart and in order, and a packet is sent whole or not at all, so any thread may send. The
descriptor of a feed travels with its `Start` (SCM_RIGHTS). Both ends are the same program in the same version: a
packet that cannot be read is a bug of ours, not a peer's mistake. End of the socket: the other side is gone.

This module is imported by both sides and imports neither asyncio nor a muxer.
"""

from __future__ import annotations

import array
import errno
import json
import os
import socket
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias, TypedDict, get_args

from rtmpd.errors import UsageError

DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
"""Numbers of errors that pass when there is room; either side waits for it."""
PICTURE = "picture"
"""Kind of the job that makes a JPEG; its result is in a descriptor, it has no facts."""
PACKET_BYTES = 64 * 1024
"""The largest packet; the longest has two paths of 4 KiB for each of five formats."""
MAX_DESCRIPTORS = 4
QUEUE_BYTES = 64 * 1024 * 1024
"""What a worker keeps of one recording while its disk does not take it."""
REPORT_INTERVAL_S = 1.0
"""The least time between two `Written` of one recording: what is reported late is recorded twice when a worker dies."""
MEMORY_BYTES = 1024 * 1024 * 1024
"""What all recordings of a worker together may keep while their disks do not take it."""


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
class Grant:
    """A file that may be made: its row is in the index already, so that no crash leaves a file that nobody knows."""

    file_id: str
    path: str
    """Absolute; its folders are made."""
    resume: bool = False
    """Go on in what an earlier worker left there (HLS)."""


@dataclass(frozen=True, slots=True)
class Output:
    """One format that a recording is written in."""

    file_format: str
    """A key of `muxers.formats.FORMATS`."""
    grants: tuple[Grant, ...]
    """The first file, and the one after it, so that nothing waits where the first one ends."""
    cut_after_ms: int = 0
    """Media time after which the next file begins; 0: never."""
    cut_after_bytes: int = 0
    hls_segment_ms: int = 2_000
    hls_segment_type: Literal["fmp4", "ts"] = "fmp4"
    sound_only: bool = False
    """Leave the pictures out, whatever the format could carry: the files begin and are cut at sound then."""


@dataclass(frozen=True, slots=True)
class Start:
    """To the worker, with one descriptor: record what comes from this feed."""

    recording_id: str
    sequence: int
    """Of the feed."""
    outputs: tuple[Output, ...]


@dataclass(frozen=True, slots=True)
class MayOpen:
    """To the worker: the file after the next cut, or after a failure."""

    recording_id: str
    sequence: int
    file_format: str
    grant: Grant


@dataclass(frozen=True, slots=True)
class Job:
    """
    To the worker: something to do with a file that is not being recorded.

    The job "picture" comes with one or two descriptors of memory: it writes the picture into the first, and where there
    is a second one, what it shows is in that and not in a file.
    """

    job_id: int
    kind: str
    """A key of `rtmpd.workers.jobs.JOBS`, or PICTURE."""
    file_format: str
    path: str


@dataclass(frozen=True, slots=True)
class Package:
    """
    To a packager, with two descriptors: package what comes from this feed, and send it back on it (`fragment_feed`).

    The second is that of the marker (`rtmpd.workers.marker`), the same each time.
    """

    packaging_id: int
    part_ms: int


@dataclass(frozen=True, slots=True)
class Ready:
    """From the worker: it has started."""


@dataclass(frozen=True, slots=True)
class Opened:
    """From the worker: a file is open and locked."""

    recording_id: str
    sequence: int
    file_format: str
    file_id: str


@dataclass(frozen=True, slots=True)
class Written:
    """From the worker: so much of the feed is in every file of the recording that is open."""

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
    file_id: str
    facts: FileFacts


@dataclass(frozen=True, slots=True)
class Failed:
    """From the worker: a file ended before its time; the format needs another grant to go on."""

    recording_id: str
    sequence: int
    file_format: str
    file_id: str
    reason: str
    errno: int
    """The operating system's number of the error; 0 for any other kind."""
    facts: FileFacts | None
    """What the file has all the same; None when it was never opened."""


@dataclass(frozen=True, slots=True)
class Ended:
    """From the worker: every file of the feed was reported closed or failed; the feed is closed."""

    recording_id: str
    sequence: int


@dataclass(frozen=True, slots=True)
class JobDone:
    """From the worker: what became of a job."""

    job_id: int
    outcome: str
    """"done"; "failed"; "busy": somebody writes the file, or the disk is full: to be asked again later."""
    reason: str = ""
    facts: FileFacts | None = None
    """Of a file that was repaired; None when nothing was in it."""


@dataclass(frozen=True, slots=True)
class Packaged:
    """From a packager: the feed has ended and everything was sent back; the descriptor is closed next."""

    packaging_id: int


@dataclass(frozen=True, slots=True)
class Health:
    """From the worker, every few seconds: how it is."""

    resident_bytes: int
    queued_bytes: int
    """Of all recordings: what the disks have not taken yet; of all packagings: what the server has not taken."""


Packet: TypeAlias = (
    Start | MayOpen | Job | Package | Ready | Opened | Written | Closed | Failed | Ended | JobDone | Packaged | Health
)
OfRecording: TypeAlias = Opened | Written | Closed | Failed | Ended
"""What a worker says of one feed."""
_KINDS: dict[str, type[Packet]] = {kind.__name__: kind for kind in get_args(Packet)}


def socketpair() -> tuple[socket.socket, socket.socket]:
    """Make the two ends of a control connection, both blocking."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def encode(packet: Packet) -> bytes:
    """
    Encode one packet.

    Raises:
        UsageError: it is longer than PACKET_BYTES.
    """
    text = json.dumps([type(packet).__name__, asdict(packet)], separators=(",", ":"), ensure_ascii=False)
    data = text.encode("utf-8", "surrogatepass")  # a path may be any bytes
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
        fields["outputs"] = tuple(_output(**output) for output in fields["outputs"])
    if kind is MayOpen:
        fields["grant"] = Grant(**fields["grant"])
    return kind(**fields)


def _output(*, grants: list[dict[str, Any]], **fields: Any) -> Output:
    return Output(grants=tuple(Grant(**grant) for grant in grants), **fields)


def _descriptors(ancillary: list[tuple[int, int, bytes]]) -> list[int]:
    descriptors = array.array("i")
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            descriptors.frombytes(data[: len(data) - len(data) % descriptors.itemsize])
    return list(descriptors)
