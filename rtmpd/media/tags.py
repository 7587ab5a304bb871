"""
The first bytes of audio and video bodies: what a message is, without touching what it carries.

`classify` runs for every frame of every publisher, so it is two table look-ups; only key frames, headers and bodies
with nested headers are looked at closer. It never raises: a body that nobody can read is an ordinary frame, passed on
untouched. The `parse_*` functions are for consumers that take bodies apart, and raise `MediaError` where they cannot.

FLV 10.1 sections E.4.2 and E.4.3; E-RTMP v2, "Enhanced Audio" and "Enhanced Video".
"""

from __future__ import annotations

from typing import NamedTuple

from rtmpd.errors import MediaError
from rtmpd.media.codecs import AUDIO_FOURCC, COMPOSITION_TIME, LEGACY_AUDIO, LEGACY_VIDEO, VIDEO_FOURCC
from rtmpd.media.heads import (
    AAC,
    CODED_FRAMES,
    CODED_FRAMES_X,
    COMMAND,
    EXTENDED_AUDIO,
    FRAME_COMMAND,
    FRAME_DISPOSABLE,
    FRAME_KEY,
    MANY_CODECS,
    MAX_TRACKS,
    MODEX,
    MPEG2TS_SEQUENCE_START,
    MULTICHANNEL_CONFIG,
    MULTITRACK,
    ONE_TRACK,
    PACKET_TYPE_BYTE,
    SEQUENCE_END,
    SEQUENCE_START,
    VIDEO_METADATA,
    Head,
    has_default_track,
    payload_offset,
    read_head,
    unsigned24,
)
from rtmpd.wire.messages import AUDIO, VIDEO

KEY_FRAME = 1
"""A player may start here: a key frame of the default track."""
SEQUENCE_HEADER = 2
"""What a late joiner needs before frames: configurations, channel layouts, colour metadata."""
EMPTY = 4
"""Nothing that a decoder would miss: no payload, or a seek mark of a video command frame."""
END_OF_SEQUENCE = 8
"""The publisher says that a track ends: no frame, but to be passed on."""
DISPOSABLE = 16
"""A frame that no other frame needs."""
_LOOK_CLOSER = 128

_PACKET_FLAGS = {
    VIDEO: {
        SEQUENCE_START: SEQUENCE_HEADER,
        SEQUENCE_END: END_OF_SEQUENCE,
        VIDEO_METADATA: SEQUENCE_HEADER,
        MPEG2TS_SEQUENCE_START: SEQUENCE_HEADER,
        COMMAND: EMPTY,
    },
    AUDIO: {
        SEQUENCE_START: SEQUENCE_HEADER,
        SEQUENCE_END: END_OF_SEQUENCE,
        MULTICHANNEL_CONFIG: SEQUENCE_HEADER,
    },
}
_FRAME_FLAGS = {FRAME_KEY: KEY_FRAME, FRAME_DISPOSABLE: DISPOSABLE}
_WITHOUT_CONFIGURATION = frozenset({b".mp3", b"ac-3", b"ec-3"})

_AUDIO_RATES = (5_512, 11_025, 22_050, 44_100)
_FIXED_AUDIO_RATES = {4: 16_000, 5: 8_000, 7: 8_000, 8: 8_000, 11: 16_000, 14: 8_000}
_MONO = frozenset({4, 5, 11})


class Track(NamedTuple):
    """One track's part of a multitrack body."""

    track_id: int
    codec: str
    composition_time_ms: int
    data_offset: int
    """Where the part's payload begins in the body."""
    data_end: int
    """Where it ends."""


class VideoTag(NamedTuple):
    """The head of a video body; for a multitrack body that of its first track."""

    codec: str
    """The codec's name; empty for an extended command frame, which has none."""
    frame_type: int
    """1 key, 2 inter, 3 disposable, 4 generated key, 5 command; without meaning for metadata."""
    packet_type: int
    """As on the wire (the one inside for multitrack and ModEx), or `COMMAND`; 1 for legacy codecs that have none."""
    composition_time_ms: int
    """Presentation time minus the message's timestamp; may be negative."""
    data_offset: int
    """Where the payload begins in the body."""
    extended: bool = False
    """Sent with the header of Enhanced RTMP."""
    track_id: int | None = None
    """None for a body that is not multitrack: the default track."""
    timestamp_offset_ns: int = 0
    """To be added to the presentation time."""
    tracks: tuple[Track, ...] = ()
    """Every track of a multitrack body."""


class AudioTag(NamedTuple):
    """The head of an audio body; for a multitrack body that of its first track."""

    codec: str
    packet_type: int
    """As on the wire (the one inside for multitrack and ModEx); 1 for legacy codecs that have none."""
    data_offset: int
    """Where the payload begins in the body."""
    extended: bool = False
    """Sent with the header of Enhanced RTMP."""
    sample_rate: int = 0
    """Hz by the legacy header; 0 where only the configuration or the frames tell (AAC, extended codecs)."""
    channels: int = 0
    """By the legacy header; 0 where only the configuration or the frames tell."""
    track_id: int | None = None
    """None for a body that is not multitrack: the default track."""
    timestamp_offset_ns: int = 0
    """To be added to the presentation time."""
    tracks: tuple[Track, ...] = ()
    """Every track of a multitrack body."""


def classify(type_id: int, body: bytes) -> int:
    """
    Say what an audio or video message is to a live stream.

    Args:
        type_id: the message type; anything but audio and video is 0.
        body: the message's body, any bytes.

    Returns:
        Flags `KEY_FRAME`, `SEQUENCE_HEADER`, `EMPTY`, `END_OF_SEQUENCE`, `DISPOSABLE`; 0 for an ordinary frame and
        for what cannot be read.
    """
    try:
        flags = _FLAGS[type_id][body[0]][body[1]]
    except IndexError:
        return EMPTY if type_id in MULTITRACK else 0
    if flags < _LOOK_CLOSER:
        return flags
    try:
        return _look_closer(type_id, body)
    except (MediaError, IndexError):
        return 0


def header_slot(type_id: int, body: bytes) -> tuple[int, int, int]:
    """
    Name the place that a header takes among those in force: a later one with the same name replaces it.

    The codec is no part of the name, so a publisher that changes codec replaces its old header. A body of many tracks
    has names of its own, as replacing it by one of a single track would lose the others. There are some 2,000 names:
    who keeps headers needs a bound of their number and bytes.

    Args:
        type_id: audio or video.
        body: a body that `classify` calls a `SEQUENCE_HEADER`; other bodies get a name too.

    Returns:
        Message type, track (256 and above for bodies of many tracks), packet type.
    """
    try:
        head = read_head(type_id, body)
        track = 0 if head.multitrack is None else body[head.tracks_offset]
    except (MediaError, IndexError, KeyError):
        return type_id, 0, SEQUENCE_START
    if head.multitrack not in (None, ONE_TRACK):
        track += MAX_TRACKS
    if type_id == VIDEO and head.packet_type == MPEG2TS_SEQUENCE_START:
        return type_id, track, SEQUENCE_START
    return type_id, track, head.packet_type


def parse_video(body: bytes) -> VideoTag:
    """
    Read the head of a video body.

    Args:
        body: the body of a video message.

    Returns:
        What the head says and where the payload begins.

    Raises:
        MediaError: the body is too short, nests too deep, or its codec is unknown.
    """
    try:
        return _parse_extended_video(body) if body[0] & 0x80 else _parse_legacy_video(body)
    except IndexError:
        raise MediaError(f"a video body of {len(body)} bytes ends inside its header") from None


def parse_audio(body: bytes) -> AudioTag:
    """
    Read the head of an audio body.

    Args:
        body: the body of an audio message.

    Returns:
        What the head says and where the payload begins.

    Raises:
        MediaError: the body is too short, nests too deep, or its codec is unknown.
    """
    try:
        return _parse_extended_audio(body) if body[0] >> 4 == EXTENDED_AUDIO else _parse_legacy_audio(body)
    except IndexError:
        raise MediaError(f"an audio body of {len(body)} bytes ends inside its header") from None


def _parse_legacy_video(body: bytes) -> VideoTag:
    frame_type, codec_id = body[0] >> 4, body[0] & 15
    codec = LEGACY_VIDEO.get(codec_id)
    if codec is None:
        raise MediaError(f"unknown video codec {codec_id}")
    if frame_type == FRAME_COMMAND:
        return VideoTag(codec, frame_type, COMMAND, 0, 1)
    if codec_id not in PACKET_TYPE_BYTE:
        return VideoTag(codec, frame_type, CODED_FRAMES, 0, 1)
    packet_type = body[1]
    if packet_type > SEQUENCE_END:
        raise MediaError(f"unknown packet type {packet_type} of {codec}")
    composition_time_ms = _signed24(body, 2)
    return VideoTag(codec, frame_type, packet_type, composition_time_ms if packet_type == CODED_FRAMES else 0, 5)


def _parse_extended_video(body: bytes) -> VideoTag:
    frame_type = body[0] >> 4 & 7
    head = read_head(VIDEO, body)
    if head.packet_type == COMMAND:
        return VideoTag("", frame_type, COMMAND, 0, head.offset, extended=True)
    if head.packet_type > MPEG2TS_SEQUENCE_START:
        raise MediaError(f"unknown video packet type {head.packet_type}")
    tracks = _read_tracks(VIDEO, body, head)
    return VideoTag(
        tracks[0].codec,
        frame_type,
        head.packet_type,
        tracks[0].composition_time_ms,
        tracks[0].data_offset,
        extended=True,
        track_id=None if head.multitrack is None else tracks[0].track_id,
        timestamp_offset_ns=head.timestamp_offset_ns,
        tracks=() if head.multitrack is None else tracks,
    )


def _parse_legacy_audio(body: bytes) -> AudioTag:
    first = body[0]
    sound_format = first >> 4
    codec = LEGACY_AUDIO.get(sound_format)
    if codec is None:
        raise MediaError(f"unknown audio codec {sound_format}")
    if sound_format == AAC:
        if body[1] > CODED_FRAMES:
            raise MediaError(f"unknown packet type {body[1]} of {codec}")
        return AudioTag(codec, body[1], 2)
    rate = _FIXED_AUDIO_RATES.get(sound_format) or _AUDIO_RATES[first >> 2 & 3]
    return AudioTag(codec, CODED_FRAMES, 1, sample_rate=rate, channels=1 if sound_format in _MONO else 1 + (first & 1))


def _parse_extended_audio(body: bytes) -> AudioTag:
    head = read_head(AUDIO, body)
    if head.packet_type not in (SEQUENCE_START, CODED_FRAMES, SEQUENCE_END, MULTICHANNEL_CONFIG):
        raise MediaError(f"unknown audio packet type {head.packet_type}")
    tracks = _read_tracks(AUDIO, body, head)
    return AudioTag(
        tracks[0].codec,
        head.packet_type,
        tracks[0].data_offset,
        extended=True,
        track_id=None if head.multitrack is None else tracks[0].track_id,
        timestamp_offset_ns=head.timestamp_offset_ns,
        tracks=() if head.multitrack is None else tracks,
    )


def _read_tracks(type_id: int, body: bytes, head: Head) -> tuple[Track, ...]:
    names = VIDEO_FOURCC if type_id == VIDEO else AUDIO_FOURCC
    codec = _codec_at(names, body, head.offset)
    if head.multitrack is None:
        return (_track(type_id, head, body, 0, codec, head.tracks_offset, len(body)),)
    offset = head.tracks_offset
    tracks: list[Track] = []
    while True:
        track_id, start, end = _track_span(head, body, offset)
        tracks.append(_track(type_id, head, body, track_id, codec, start, end))
        if end == len(body):
            return tuple(tracks)
        if len(tracks) == MAX_TRACKS:
            raise MediaError(f"more than {MAX_TRACKS} tracks in one body")
        offset = end
        if head.multitrack == MANY_CODECS:
            codec = _codec_at(names, body, offset)
            offset += 4


def _track_span(head: Head, body: bytes, offset: int) -> tuple[int, int, int]:
    """Track id, and the start and end of the track's data."""
    track_id = body[offset]
    if head.multitrack == ONE_TRACK:
        return track_id, offset + 1, len(body)
    size = unsigned24(body, offset + 1)
    end = offset + 4 + size
    if end > len(body):
        raise MediaError(f"track {track_id} of {size} bytes ends {end - len(body)} bytes behind its body")
    return track_id, offset + 4, end


def _track(type_id: int, head: Head, body: bytes, track_id: int, codec: str, offset: int, end: int) -> Track:
    if type_id != VIDEO or head.packet_type != CODED_FRAMES or codec not in COMPOSITION_TIME:
        return Track(track_id, codec, 0, offset, end)
    if offset + 3 > end:
        raise MediaError(f"a frame of {codec} ends inside its composition time")
    return Track(track_id, codec, _signed24(body, offset), offset + 3, end)


def _codec_at(names: dict[bytes, str], body: bytes, offset: int) -> str:
    fourcc = body[offset : offset + 4]
    if len(fourcc) < 4:
        raise MediaError("the body ends inside its FourCC")
    codec = names.get(fourcc)
    if codec is None:
        raise MediaError(f"unknown FourCC {fourcc.hex()}")
    return codec


def _signed24(body: bytes, offset: int) -> int:
    value = unsigned24(body, offset)
    return value - (value >> 23 << 24)


def _look_closer(type_id: int, body: bytes) -> int:
    head = read_head(type_id, body)
    flags = _packet_flags(type_id, body[0], head.packet_type)
    if not flags & (KEY_FRAME | SEQUENCE_HEADER):
        return flags
    if payload_offset(type_id, body, head) >= len(body) and not _needs_no_payload(body, head):
        return EMPTY
    # Key frames of other tracks come at their own times; a player that started at one would lack the default track.
    return flags if flags & SEQUENCE_HEADER or has_default_track(body, head) else 0


def _packet_flags(type_id: int, first: int, packet_type: int) -> int:
    if type_id == VIDEO and packet_type in (CODED_FRAMES, CODED_FRAMES_X):
        return _FRAME_FLAGS.get(first >> 4 & 7, 0)
    return _PACKET_FLAGS[type_id].get(packet_type, 0)


def _needs_no_payload(body: bytes, head: Head) -> bool:
    complete = head.multitrack is None or head.tracks_offset < len(body)
    return complete and body[head.offset : head.offset + 4] in _WITHOUT_CONFIGURATION


def _video_row(first: int) -> bytes:
    packet_type, extended = first & 15, first & 0x80
    command = first >> 4 & 7 == FRAME_COMMAND
    if extended and packet_type == MODEX:
        return bytes([_LOOK_CLOSER]) * 256
    if command and not (extended and packet_type == VIDEO_METADATA):
        return bytes([EMPTY]) * 256
    if extended and packet_type == MULTITRACK[VIDEO]:
        return bytes(_table_flags(VIDEO, first, inner) for inner in range(16)) * 16
    if not extended and packet_type in PACKET_TYPE_BYTE:
        return bytes(_table_flags(VIDEO, first, second) for second in range(SEQUENCE_END + 1)) + bytes(253)
    return bytes([_table_flags(VIDEO, first, packet_type if extended else CODED_FRAMES)]) * 256


def _audio_row(first: int) -> bytes:
    sound_format, packet_type = first >> 4, first & 15
    if sound_format == AAC:
        return bytes([_LOOK_CLOSER]) + bytes(255)
    if sound_format != EXTENDED_AUDIO:
        return bytes(256)
    if packet_type == MODEX:
        return bytes([_LOOK_CLOSER]) * 256
    if packet_type == MULTITRACK[AUDIO]:
        return bytes(_table_flags(AUDIO, first, inner) for inner in range(16)) * 16
    return bytes([_table_flags(AUDIO, first, packet_type)]) * 256


def _table_flags(type_id: int, first: int, packet_type: int) -> int:
    """Key frames and headers may turn out empty or of another track; they are rare enough to look."""
    flags = _packet_flags(type_id, first, packet_type)
    return _LOOK_CLOSER if flags & (KEY_FRAME | SEQUENCE_HEADER) else flags


_ROWS = {VIDEO: tuple(map(_video_row, range(256))), AUDIO: tuple(map(_audio_row, range(256)))}
_FLAGS = tuple(_ROWS.get(type_id, (bytes(256),) * 256) for type_id in range(256))
"""Flags by message type, first and second byte of the body; `_LOOK_CLOSER` where these two do not settle it."""
