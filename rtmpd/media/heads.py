"""
The bytes before the codec data, of all forms an audio or video body may take: legacy, extended, ModEx, multitrack.

Everything here may raise IndexError where the body ends too early; `rtmpd.media.tags` turns that into its own answer.

FLV 10.1 sections E.4.2 and E.4.3; E-RTMP v2, "Enhanced Audio" and "Enhanced Video".
"""

from __future__ import annotations

from typing import NamedTuple

from rtmpd.errors import MediaError
from rtmpd.media.codecs import COMPOSITION_TIME, VIDEO_FOURCC
from rtmpd.wire.messages import AUDIO, VIDEO

SEQUENCE_START = 0
CODED_FRAMES = 1
SEQUENCE_END = 2
CODED_FRAMES_X = 3
VIDEO_METADATA = 4
MULTICHANNEL_CONFIG = 4
MPEG2TS_SEQUENCE_START = 5
MODEX = 7
COMMAND = 16
"""Packet type of a video command frame; beyond the four bits of those on the wire."""
MULTITRACK = {VIDEO: 6, AUDIO: 5}
ONE_TRACK, MANY_TRACKS, MANY_CODECS = range(3)

FRAME_KEY = 1
FRAME_DISPOSABLE = 3
FRAME_COMMAND = 5

MAX_MODEX = 8
MAX_TRACKS = 256

PACKET_TYPE_BYTE = frozenset({7, 9, 12, 13, 14})
"""Legacy video codecs whose second byte is a packet type, followed by a composition time."""
AAC = 10
EXTENDED_AUDIO = 9
TIMESTAMP_OFFSET_NANO = 0


class Head(NamedTuple):
    """What stands before the FourCC."""

    packet_type: int
    """The one inside ModEx and multitrack; 1 for legacy codecs that have none."""
    offset: int
    """Where the FourCC begins; behind the first byte for legacy bodies."""
    multitrack: int | None = None
    """One of `ONE_TRACK`, `MANY_TRACKS`, `MANY_CODECS`; None for a body that is not multitrack."""
    timestamp_offset_ns: int = 0

    @property
    def tracks_offset(self) -> int:
        """Where the first track id stands: behind a FourCC, be it that of all tracks or the first one's own."""
        return self.offset + 4


def is_extended(type_id: int, first: int) -> bool:
    """
    Tell the two kinds of header apart.

    Args:
        type_id: audio or video.
        first: the first byte of the body.

    Returns:
        Whether the body has a header of Enhanced RTMP.
    """
    return first & 0x80 != 0 if type_id == VIDEO else first >> 4 == EXTENDED_AUDIO


def read_head(type_id: int, body: bytes) -> Head:
    """
    Read a body up to its FourCC.

    Args:
        type_id: audio or video.
        body: the message's body.

    Returns:
        The head; nothing behind it is checked.

    Raises:
        MediaError: headers nest too deep or in a way that is not defined.
        IndexError: the body ends inside the head.
    """
    first = body[0]
    if not is_extended(type_id, first):
        return Head(_legacy_packet_type(type_id, body), 1)
    packet_type, offset, nanoseconds = _skip_modex(body)
    if type_id == VIDEO and first >> 4 & 7 == FRAME_COMMAND and packet_type != VIDEO_METADATA:
        return Head(COMMAND, offset)
    if packet_type != MULTITRACK[type_id]:
        return Head(packet_type, offset, None, nanoseconds)
    kind, packet_type = body[offset] >> 4, body[offset] & 15
    if kind > MANY_CODECS:
        raise MediaError(f"unknown multitrack type {kind}")
    if packet_type in (MULTITRACK[type_id], MODEX):
        raise MediaError(f"packet type {packet_type} inside multitrack")
    return Head(packet_type, offset + 1, kind, nanoseconds)


def payload_offset(type_id: int, body: bytes, head: Head) -> int:
    """
    Find where the payload of the first track begins, whether or not its codec is known.

    Args:
        type_id: audio or video.
        body: the message's body.
        head: what `read_head` said of it.

    Returns:
        An offset that may lie behind the end of the body.
    """
    first = body[0]
    if not is_extended(type_id, first):
        if type_id == AUDIO:
            return 2 if first >> 4 == AAC else 1
        return 5 if first & 15 in PACKET_TYPE_BYTE else 1
    offset = head.tracks_offset
    if head.multitrack is not None:
        offset += 1 if head.multitrack == ONE_TRACK else 4
    reorders = VIDEO_FOURCC.get(body[head.offset : head.offset + 4]) in COMPOSITION_TIME
    return offset + 3 if reorders and head.packet_type == CODED_FRAMES else offset


def has_default_track(body: bytes, head: Head) -> bool:
    """
    Look for track 0 in a body.

    Args:
        body: the message's body.
        head: what `read_head` said of it.

    Returns:
        Whether the default track is in it; true for every body that is not multitrack.

    Raises:
        IndexError: the body ends before the track is found.
    """
    if head.multitrack is None:
        return True
    offset = head.tracks_offset
    if head.multitrack == ONE_TRACK:
        return body[offset] == 0
    between = 8 if head.multitrack == MANY_CODECS else 4
    for _ in range(MAX_TRACKS):
        if body[offset] == 0:
            return True
        offset += between + unsigned24(body, offset + 1)
    return False


def unsigned24(body: bytes, offset: int) -> int:
    """
    Read a UI24.

    Args:
        body: the message's body.
        offset: where it stands.

    Returns:
        Its value.

    Raises:
        IndexError: the body ends inside it; a slice would be cut short in silence.
    """
    return body[offset] << 16 | body[offset + 1] << 8 | body[offset + 2]


def _legacy_packet_type(type_id: int, body: bytes) -> int:
    if type_id == VIDEO:
        return body[1] if body[0] & 15 in PACKET_TYPE_BYTE else CODED_FRAMES
    return body[1] if body[0] >> 4 == AAC else CODED_FRAMES


def _skip_modex(body: bytes) -> tuple[int, int, int]:
    packet_type, offset, nanoseconds = body[0] & 15, 1, 0
    for _ in range(MAX_MODEX + 1):
        if packet_type != MODEX:
            return packet_type, offset, nanoseconds
        size, offset = body[offset] + 1, offset + 1
        if size == 256:
            size, offset = (body[offset] << 8 | body[offset + 1]) + 1, offset + 2
        kind = body[offset + size] >> 4
        if kind == TIMESTAMP_OFFSET_NANO and size >= 3:
            nanoseconds = unsigned24(body, offset)
        packet_type, offset = body[offset + size] & 15, offset + size + 1
    raise MediaError(f"more than {MAX_MODEX} ModEx headers")
