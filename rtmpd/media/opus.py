"""
Opus: the identification header that serves as sequence header.

RFC 7845 section 5.1.
"""

from __future__ import annotations

from rtmpd.errors import MediaError
from rtmpd.media.codecs import AudioConfiguration

_MAGIC = b"OpusHead"
_DECODED_RATE = 48_000
_FIXED_BYTES = 19


def parse_opus(head: bytes) -> AudioConfiguration:
    """
    Read an OpusHead.

    Args:
        head: the body of an Opus sequence header behind its head.

    Returns:
        Its facts; the rate is what decoders put out, not the one the sound once had.

    Raises:
        MediaError: it is no OpusHead, ends early or maps channels that it does not have.
    """
    if head[:8] != _MAGIC:
        raise MediaError("no OpusHead in the place of one")
    if len(head) < _FIXED_BYTES:
        raise MediaError(f"OpusHead of {len(head)} bytes")
    version, channels, family = head[8], head[9], head[18]
    if version > 15 or channels == 0:
        raise MediaError(f"OpusHead of version {version} with {channels} channels")
    if family == 0 and channels > 2:
        raise MediaError(f"OpusHead with {channels} channels and no mapping of them")
    if family != 0 and len(head) < _FIXED_BYTES + 2 + channels:
        raise MediaError(f"OpusHead of {len(head)} bytes ends inside the mapping of {channels} channels")
    return AudioConfiguration("Opus", _DECODED_RATE, channels, "", "opus")
