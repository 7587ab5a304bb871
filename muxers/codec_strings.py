"""
The names that players know codecs by: RFC 6381, as `CODECS` of playlists and `MediaSource.isTypeSupported` want them.

What the configuration says is read by `rtmpd.media`; here is what containers and browsers add to it.
"""

from __future__ import annotations

from collections.abc import Iterable

from muxers.samples import Track
from rtmpd.errors import MediaError
from rtmpd.media.configurations import describe_configuration

_FIXED = {
    # Apple's authoring rules for HLS; browsers know it as "mp3", and hls.js translates.
    ".mp3": "mp4a.40.34",
    "ac-3": "ac-3",
    "ec-3": "ec-3",
    # The name in MP4 is "fLaC", but Firefox has long known the lower case only.
    "fLaC": "flac",
}


def codec_string(track: Track) -> str:
    """
    Name the codec of a track.

    Args:
        track: with its configuration.

    Returns:
        Such as "avc1.64001f"; the bare name of a codec whose configuration cannot be read.
    """
    fixed = _FIXED.get(track.codec)
    if fixed is not None:
        return fixed
    try:
        said = describe_configuration(track.codec, track.configuration or b"")
    except MediaError:
        said = None
    return track.codec if said is None else said.codec_string


def codec_strings(tracks: Iterable[Track]) -> str:
    """
    Name the codecs of a container.

    Returns:
        "avc1.64001f,mp4a.40.2": one name for each track, in their order.
    """
    return ",".join(map(codec_string, tracks))
