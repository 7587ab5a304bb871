"""
AAC: the AudioSpecificConfig of sequence headers.

ISO/IEC 14496-3 sections 1.6.2.1 (AudioSpecificConfig), 1.6.5 (signalling of SBR and PS), 4.4.1 (GASpecificConfig) and
4.5.1.1 (program_config_element).
"""

from __future__ import annotations

from rtmpd.errors import MediaError
from rtmpd.media.bits import BitCursor
from rtmpd.media.codecs import AudioConfiguration

_RATES = (96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350)
_ESCAPE_RATE = 15
_CHANNELS = (0, 1, 2, 3, 4, 5, 6, 8, 0, 0, 0, 7, 8, 24, 8)
"""By channelConfiguration; 0 is the program config element's business, the other zeros are reserved."""

_LC, _SBR, _SCALABLE, _ER_BSAC, _PS = 2, 5, 6, 22, 29
_ESCAPE_TYPE = 31
_GENERAL_AUDIO = frozenset({1, 2, 3, 4, 6, 7, 17, 19, 20, 21, 22, 23})
_SCALABLE_TYPES = frozenset({_SCALABLE, 20})
_RESILIENT = frozenset({17, 19, 20, 23})
_FIRST_RESILIENT = 17
_SBR_SYNC = 0x2B7
_PS_SYNC = 0x548
_NAMES = {1: "Main", _LC: "LC", 3: "SSR", 4: "LTP", _SBR: "HE-AAC", 23: "LD", _PS: "HE-AACv2", 39: "ELD", 42: "xHE-AAC"}


def parse_aac(config: bytes) -> AudioConfiguration:
    """
    Read an AudioSpecificConfig.

    SBR and PS count where they are signalled, in front (hierarchical) or behind (backward compatible). Encoders that
    signal neither leave it to the decoder to find out; then rate and channels are the core's.

    Args:
        config: the body of an AAC sequence header behind its head.

    Returns:
        Its facts, rate and channels as they come out of a decoder.

    Raises:
        MediaError: it ends early or names a rate or channel layout that does not exist.
    """
    cursor = BitCursor(config, "AudioSpecificConfig")
    kind = _read_object_type(cursor)
    rate = _read_rate(cursor)
    layout = cursor.unsigned(4)
    outer = kind
    if kind in (_SBR, _PS):
        rate = _read_rate(cursor)
        kind = _read_object_type(cursor)
        if kind == _ER_BSAC:
            cursor.skip(4)
    channels = _channels_of(layout)
    if kind in _GENERAL_AUDIO:
        channels = _read_general_audio(cursor, kind, layout) or channels
        if outer == kind and kind < _FIRST_RESILIENT:
            outer, rate = _read_extension(cursor, kind, rate)
    if outer == _PS and channels == 1:
        channels = 2
    return AudioConfiguration("mp4a", rate, channels, _NAMES.get(outer, f"type {outer}"), f"mp4a.40.{outer}")


def _read_object_type(cursor: BitCursor) -> int:
    kind = cursor.unsigned(5)
    kind = 32 + cursor.unsigned(6) if kind == _ESCAPE_TYPE else kind
    if kind == 0:
        raise MediaError("AudioSpecificConfig of no object type")
    return kind


def _read_rate(cursor: BitCursor) -> int:
    index = cursor.unsigned(4)
    rate = cursor.unsigned(24) if index == _ESCAPE_RATE else _RATES[index] if index < len(_RATES) else 0
    if rate == 0:
        raise MediaError("AudioSpecificConfig of an unknown rate")
    return rate


def _channels_of(layout: int) -> int:
    channels = _CHANNELS[layout] if layout < len(_CHANNELS) else 0
    if layout and not channels:
        raise MediaError(f"AudioSpecificConfig of channel layout {layout}")
    return channels


def _read_general_audio(cursor: BitCursor, kind: int, layout: int) -> int:
    """The channels of a program config element; 0 without one."""
    cursor.flag()  # frameLengthFlag
    if cursor.flag():
        cursor.skip(14)  # coreCoderDelay
    extended = cursor.flag()
    channels = _read_program_config(cursor) if layout == 0 else 0
    if kind in _SCALABLE_TYPES:
        cursor.skip(3)  # layerNr
    if extended:
        cursor.skip(16 if kind == _ER_BSAC else 3 if kind in _RESILIENT else 0)
        cursor.flag()  # extensionFlag3
    return channels


def _read_program_config(cursor: BitCursor) -> int:
    cursor.skip(4 + 2 + 4)  # tag, object type, rate
    front, side, back = (cursor.unsigned(4) for _ in range(3))
    low_frequency, data, coupling = cursor.unsigned(2), cursor.unsigned(3), cursor.unsigned(4)
    for bits in (4, 4, 3):  # mono, stereo, matrix mixdown
        if cursor.flag():
            cursor.skip(bits)
    pairs = 0
    for _ in range(front + side + back):
        pairs += cursor.flag()
        cursor.skip(4)
    cursor.skip(4 * low_frequency + 4 * data + 5 * coupling)
    cursor.align()
    cursor.skip(8 * cursor.unsigned(8))  # comment
    return front + side + back + pairs + low_frequency


def _read_extension(cursor: BitCursor, kind: int, rate: int) -> tuple[int, int]:
    """Object type and rate with the extension that decoders without SBR do not see."""
    if cursor.remaining < 16 or cursor.unsigned(11) != _SBR_SYNC or _read_object_type(cursor) != _SBR:
        return kind, rate
    if not cursor.flag():
        return kind, rate
    rate = _read_rate(cursor)
    if cursor.remaining >= 12 and cursor.unsigned(11) == _PS_SYNC and cursor.flag():
        return _PS, rate
    return _SBR, rate
