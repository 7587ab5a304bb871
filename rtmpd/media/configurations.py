"""
What a sequence header says about its track: size, rate, profile, and the name that players know the codec by.

One parser a codec, in a module of its own; this is their front. They are for consumers that need to know (metadata,
playlists, file headers) and cost up to a millisecond: call them when a header changed, never for each message.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from rtmpd.media.aac import parse_aac
from rtmpd.media.av1 import parse_av1
from rtmpd.media.avc import parse_avc
from rtmpd.media.codecs import AudioConfiguration, VideoConfiguration
from rtmpd.media.flac import parse_flac
from rtmpd.media.heads import SEQUENCE_START
from rtmpd.media.hevc import parse_hevc
from rtmpd.media.opus import parse_opus
from rtmpd.media.tags import parse_audio, parse_video
from rtmpd.media.vp9 import parse_vp9
from rtmpd.wire.messages import AUDIO, VIDEO

__all__ = [
    "AudioConfiguration",
    "VideoConfiguration",
    "describe_configuration",
    "describe_header",
    "parse_aac",
    "parse_av1",
    "parse_avc",
    "parse_flac",
    "parse_hevc",
    "parse_opus",
    "parse_vp9",
]

_PARSERS: Mapping[str, Callable[[bytes], VideoConfiguration | AudioConfiguration]] = {
    "avc1": parse_avc,
    "hvc1": parse_hevc,
    "av01": parse_av1,
    "vp08": partial(parse_vp9, codec="vp08"),
    "vp09": parse_vp9,
    "mp4a": parse_aac,
    "Opus": parse_opus,
    "fLaC": parse_flac,
}


def describe_header(type_id: int, body: bytes) -> VideoConfiguration | AudioConfiguration | None:
    """
    Read an RTMP sequence header.

    Args:
        type_id: the message type.
        body: the message's body; of a multitrack body the first track is described.

    Returns:
        What its configuration says, or None for what is not a configuration (other messages, metadata, channel
        layouts) and for codecs whose configuration is not read here.

    Raises:
        MediaError: the head or the configuration cannot be read.
    """
    if type_id == VIDEO:
        video = parse_video(body)
        packet_type, codec, offset, tracks = video.packet_type, video.codec, video.data_offset, video.tracks
    elif type_id == AUDIO:
        audio = parse_audio(body)
        packet_type, codec, offset, tracks = audio.packet_type, audio.codec, audio.data_offset, audio.tracks
    else:
        return None
    if packet_type != SEQUENCE_START:
        return None
    return describe_configuration(codec, body[offset : tracks[0].data_end if tracks else len(body)])


def describe_configuration(codec: str, configuration: bytes) -> VideoConfiguration | AudioConfiguration | None:
    """
    Read what a sequence header carries for one track.

    Args:
        codec: as `rtmpd.media.tags` names it.
        configuration: the track's part of the header.

    Returns:
        What it says; None for codecs whose configuration is not read here.

    Raises:
        MediaError: it cannot be read.
    """
    parse = _PARSERS.get(codec)
    return None if parse is None else parse(configuration)
