"""
FLAC: the STREAMINFO block that serves as sequence header.

RFC 9639 sections 6, 8.1 and 8.2.
"""

from __future__ import annotations

from rtmpd.errors import MediaError
from rtmpd.media.bits import BitCursor
from rtmpd.media.codecs import AudioConfiguration

_MAGIC = b"fLaC"
_STREAMINFO = 0
_STREAMINFO_BYTES = 34


def parse_flac(header: bytes) -> AudioConfiguration:
    """
    Read the start of a FLAC stream.

    Args:
        header: the body of a FLAC sequence header behind its head: "fLaC" and a STREAMINFO block, or, as some write it,
            the content of that block alone.

    Returns:
        Its facts.

    Raises:
        MediaError: it ends early, begins with another block, or has no rate.
    """
    cursor = BitCursor(header, "FLAC header")
    if header[:4] == _MAGIC:
        cursor.skip(32 + 1)
        kind, size = cursor.unsigned(7), cursor.unsigned(24)
        if kind != _STREAMINFO or size != _STREAMINFO_BYTES:
            raise MediaError(f"FLAC header begins with a block of type {kind} and {size} bytes")
    cursor = BitCursor(cursor.take(_STREAMINFO_BYTES), "FLAC STREAMINFO")
    cursor.skip(16 + 16 + 24 + 24)  # block and frame sizes
    rate, channels = cursor.unsigned(20), cursor.unsigned(3) + 1
    if rate == 0:
        raise MediaError("FLAC STREAMINFO without a rate")
    return AudioConfiguration("fLaC", rate, channels, "", "fLaC")
