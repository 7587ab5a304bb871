"""
The script tags by which whoever feeds a muxer speaks to it: what the media itself does not say.

They are AMF0 like any script tag, so they pass through everything that carries FLV. A gap is part of the recording's
story and stays in formats that can hold it; a resumption is only an instruction.
"""

from __future__ import annotations

import math

from rtmpd.errors import AmfError
from rtmpd.wire import amf0

ON_GAP = amf0.encode("onGap")
"""How a tag begins that says: media is missing here. Its object has `from_ms` and `to_ms`, the publisher's times."""
ON_RESUME = amf0.encode("onResume")
"""
The publisher was gone and is back: the next frame continues the file's time one frame after the newest one, by one
offset for all tracks.
"""


def read_gap_ms(body: bytes) -> int:
    """
    Read how much a gap lacks.

    Args:
        body: begins with `ON_GAP`.

    Returns:
        Milliseconds; 0 where it does not say so, or nonsense.
    """
    try:
        values, _ = amf0.decode_prefix(body, 2)
    except AmfError:
        return 0
    gap = values[-1]
    if not isinstance(gap, dict):
        return 0
    begin, end = gap.get("from_ms"), gap.get("to_ms")
    if not isinstance(begin, float) or not isinstance(end, float) or not math.isfinite(end - begin):
        return 0
    return max(0, int(end - begin))
