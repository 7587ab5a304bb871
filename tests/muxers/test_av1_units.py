"""AV1 frames lose what MP4 forbids, and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muxers.av1_units import without_framing

DELIMITER = b"\x12\0"
FRAME = b"\x32\x03abc"


def unit(kind, body, extension=b""):
    """An OBU with its size."""
    return bytes([kind << 3 | 2 | (4 if extension else 0)]) + extension + bytes([len(body)]) + body


@pytest.mark.parametrize(
    ("payload", "wanted"),
    [
        (FRAME, FRAME),
        (DELIMITER + FRAME, FRAME),
        (DELIMITER, b""),
        (unit(1, b"header") + FRAME, unit(1, b"header") + FRAME),
        (unit(15, b"padding") + FRAME + unit(15, b""), FRAME),
        (unit(6, b"a", b"\x08") + unit(7, b"again", b"\x08") + unit(8, b"tiles"), unit(6, b"a", b"\x08")),
        (unit(5, bytes(100)) + unit(15, b"") + b"\x30no size", unit(5, bytes(100)) + b"\x30no size"),
        (b"\x32\x83\x00abc" + DELIMITER, b"\x32\x83\x00abc"),
    ],
    ids=["frame", "delimiter", "nothing else", "header", "padding", "extension", "last without size", "long size"],
)
def test_only_what_mp4_forbids_is_taken_out(payload, wanted):
    assert without_framing(payload) == wanted


@pytest.mark.parametrize("payload", [b"\x32\x09short", b"\x32\xff", b"\x36", b"\x32" + b"\xff" * 9])
def test_what_cannot_be_read_stays(payload):
    assert without_framing(payload) == payload


@given(st.binary(max_size=40))
def test_any_bytes_are_taken(payload):
    assert len(without_framing(payload)) <= len(payload)
