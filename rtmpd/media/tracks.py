"""
The tracks of a stream, as its headers in force describe them: sequence headers first, onMetaData where these say nothing.

A description costs up to a millisecond a track: make one when headers changed, never for each message.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, NamedTuple, TypeAlias

from rtmpd.errors import AmfError, MediaError
from rtmpd.media.codecs import (
    AUDIO_FOURCC,
    LEGACY_AUDIO,
    LEGACY_VIDEO,
    VIDEO_FOURCC,
    AudioConfiguration,
    VideoConfiguration,
)
from rtmpd.media.configurations import describe_configuration
from rtmpd.media.heads import MPEG2TS_SEQUENCE_START, SEQUENCE_START
from rtmpd.media.tags import parse_audio, parse_video
from rtmpd.wire import amf0
from rtmpd.wire.messages import AUDIO, DATA_AMF0, VIDEO

Kind: TypeAlias = Literal["video", "audio"]

MAX_TRACKS = 16
"""Of one stream that are described: headers of 500 KB could name thousands, and their description take seconds."""
METADATA_ELEMENTS = 512
"""Values of an onMetaData that are read; what counts stands in front of any index of key frames."""
MAX_SIDE = 65_535
"""Pixels that a publisher's metadata may claim for a side."""
UNKNOWN = "unknown"
"""Codec of a header whose first bytes already mean nothing."""
_HEADERLESS = frozenset({*LEGACY_VIDEO.values(), *LEGACY_AUDIO.values(), "ac-3", "ec-3"}) - {
    "avc1",
    "hvc1",
    "vvc1",
    "av01",
    "mp4a",
}
"""Codecs that are sent without a sequence header, so that only metadata tells of them."""
_HEADER_PACKETS = {VIDEO: (SEQUENCE_START, MPEG2TS_SEQUENCE_START), AUDIO: (SEQUENCE_START,)}


class TrackFacts(NamedTuple):
    """What is known of a track; 0 is what is not."""

    kind: Kind
    track_id: int
    """0 for the default track."""
    codec: str
    """As `rtmpd.media.tags` names it; `UNKNOWN` where it could not be read."""
    width: int = 0
    """Pixels."""
    height: int = 0
    sample_rate: int = 0
    """Hz."""
    channels: int = 0
    fault: str = ""
    """Why its header could not be read; empty where it could."""


class Tracks(NamedTuple):
    """The tracks of a stream."""

    described: tuple[TrackFacts, ...]
    """Those with a sequence header, and those whose codec has none but that metadata speak of."""
    announced: frozenset[Kind]
    """Kinds that headers or metadata speak of, whether or not anything came of them."""


def describe_tracks(headers: Iterable[tuple[int, bytes]]) -> Tracks:
    """
    Describe the tracks of a stream.

    Args:
        headers: message type and body of those in force, such as `rtmpd.live.headers.Headers`.

    Returns:
        The tracks, each kind and id once; a header that cannot be read gives the codec alone.
    """
    metadata: Mapping[str, Any] = {}
    found: dict[tuple[Kind, int], TrackFacts] = {}
    for type_id, body in headers:
        if type_id == DATA_AMF0:
            metadata = _read_metadata(body)
        elif len(found) < MAX_TRACKS:
            for facts, configuration in _read_header(type_id, body):
                key = facts.kind, facts.track_id
                if key not in found and len(found) < MAX_TRACKS:
                    found[key] = _describe(facts, configuration)
    claimed = _read_claims(metadata)
    for claim in claimed:
        key = (claim.kind, 0)
        if key in found:
            found[key] = _with_claimed_size(found[key], claim)
        elif claim.codec in _HEADERLESS and not any(kind == claim.kind for kind, _ in found):
            found[key] = claim
    return Tracks(tuple(found.values()), frozenset(each.kind for each in (*found.values(), *claimed)))


def _read_header(type_id: int, body: bytes) -> Iterator[tuple[TrackFacts, bytes | None]]:
    """Take a header apart: what its head says of each track, and the track's configuration where there is one to read."""
    kind: Kind = "video" if type_id == VIDEO else "audio"
    try:
        tag = parse_video(body) if type_id == VIDEO else parse_audio(body)
    except MediaError as error:
        yield TrackFacts(kind, 0, UNKNOWN, fault=str(error)), None
        return
    if tag.packet_type not in _HEADER_PACKETS[type_id]:
        return
    is_read = tag.packet_type == SEQUENCE_START
    if not tag.tracks:
        yield TrackFacts(kind, 0, tag.codec), body[tag.data_offset :] if is_read else None
    for track in tag.tracks:
        configuration = body[track.data_offset : track.data_end] if is_read else None
        yield TrackFacts(kind, track.track_id, track.codec), configuration


def _describe(facts: TrackFacts, configuration: bytes | None) -> TrackFacts:
    if configuration is None:
        return facts
    try:
        said = describe_configuration(facts.codec, configuration)
    except MediaError as error:
        return facts._replace(fault=str(error))
    match said:
        case VideoConfiguration():
            return facts._replace(width=said.width, height=said.height)
        case AudioConfiguration():
            return facts._replace(sample_rate=said.sample_rate, channels=said.channels)
        case _:
            return facts


def _read_metadata(body: bytes) -> Mapping[str, Any]:
    try:
        values, _ = amf0.decode_prefix(body, 2, max_elements=METADATA_ELEMENTS)
    except AmfError:
        return {}
    return values[1] if len(values) > 1 and isinstance(values[1], dict) else {}


def _read_claims(metadata: Mapping[str, Any]) -> list[TrackFacts]:
    """Say which tracks metadata speak of; publishers write them before they have sent anything."""
    claims = []
    video = _codec(metadata.get("videocodecid"), LEGACY_VIDEO, VIDEO_FOURCC)
    width, height = (_whole(metadata.get(name), MAX_SIDE) for name in ("width", "height"))
    if video or (width and height):
        claims.append(TrackFacts("video", 0, video or UNKNOWN, width, height))
    audio = _codec(metadata.get("audiocodecid"), LEGACY_AUDIO, AUDIO_FOURCC)
    if audio:
        rate = _whole(metadata.get("audiosamplerate"), 384_000)
        stereo = metadata.get("stereo")
        channels = {True: 2, False: 1}[stereo] if isinstance(stereo, bool) else 0
        claims.append(TrackFacts("audio", 0, audio, sample_rate=rate, channels=channels))
    return claims


def _codec(claimed: Any, legacy: Mapping[int, str], four_ccs: Mapping[bytes, str]) -> str:
    """Read a codec id: a legacy number, a FourCC as a number (E-RTMP v1), or the FourCC itself; empty for anything else."""
    if isinstance(claimed, str):
        return four_ccs.get(claimed.encode("utf-8", "replace"), "")
    number = _whole(claimed, 0xFFFF_FFFF)
    if isinstance(claimed, bool) or number != claimed:
        return ""
    return legacy.get(number) or four_ccs.get(number.to_bytes(4, "big"), "")


def _whole(value: Any, most: int) -> int:
    """A number of metadata as a whole one; 0 for what is none, or not within bounds."""
    return int(value) if isinstance(value, float) and 0 <= value <= most else 0


def _with_claimed_size(facts: TrackFacts, claim: TrackFacts) -> TrackFacts:
    if facts.kind != "video" or facts.width:
        return facts
    return facts._replace(width=claim.width, height=claim.height)
