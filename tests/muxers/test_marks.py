"""What the feed says to muxers by script tags."""

from __future__ import annotations

import pytest

from muxers.marks import ON_GAP, ON_RESUME, read_gap_ms
from rtmpd.wire import amf0


def test_marks_are_the_beginnings_of_amf0_bodies():
    assert amf0.encode("onGap", {"from_ms": 1.0, "to_ms": 2.0}).startswith(ON_GAP)
    assert amf0.decode(ON_RESUME) == ["onResume"]


@pytest.mark.parametrize(
    ("rest", "gap_ms"),
    [
        (amf0.encode({"from_ms": 1000.0, "to_ms": 4000.0}), 3000),
        (amf0.encode({"from_ms": 4000.0, "to_ms": 1000.0}), 0),
        (amf0.encode({"from_ms": float("-inf"), "to_ms": 1.0}), 0),
        (amf0.encode({"to_ms": 1.0}), 0),
        (amf0.encode(5.0), 0),
        (b"", 0),
        (b"\xff\xff", 0),
    ],
)
def test_a_gap_is_as_long_as_it_says_and_nonsense_is_0(rest, gap_ms):
    assert read_gap_ms(ON_GAP + rest) == gap_ms
