from __future__ import annotations

import pytest

from rtmpd.errors import MediaError
from rtmpd.media.heads import (
    COMMAND,
    MANY_CODECS,
    MANY_TRACKS,
    ONE_TRACK,
    Head,
    has_default_track,
    is_extended,
    payload_offset,
    read_head,
    unsigned24,
)
from rtmpd.wire.messages import AUDIO, VIDEO


def test_the_two_kinds_of_header_are_told_apart_by_the_first_byte():
    assert [first for first in range(256) if is_extended(VIDEO, first)] == list(range(0x80, 0x100))
    assert [first for first in range(256) if is_extended(AUDIO, first)] == list(range(0x90, 0xA0))


@pytest.mark.parametrize(
    ("type_id", "body", "head", "payload"),
    [
        (VIDEO, "17 00 000000", Head(0, 1), 5),
        (VIDEO, "22 aa", Head(1, 1), 1),
        (AUDIO, "af 01", Head(1, 1), 2),
        (AUDIO, "2f ff", Head(1, 1), 1),
        (VIDEO, "91 68766331 000000", Head(1, 1), 8),
        (VIDEO, "91 61763031", Head(1, 1), 5),
        (VIDEO, "93 68766331", Head(3, 1), 5),
        (VIDEO, "d1 00", Head(COMMAND, 1), 5),
        (VIDEO, "d4 68766331", Head(4, 1), 5),
        (VIDEO, "96 01 68766331 01", Head(1, 2, ONE_TRACK), 10),
        (VIDEO, "96 11 61763031 01 000001 aa", Head(1, 2, MANY_TRACKS), 10),
        (AUDIO, "95 21 6d703461 01 000001 aa", Head(1, 2, MANY_CODECS), 10),
        (VIDEO, "97 02 000005 06 01 61763031 01", Head(1, 7, ONE_TRACK, 5), 12),
    ],
)
def test_heads_and_where_the_payload_behind_them_begins(type_id, body, head, payload):
    body = bytes.fromhex(body)
    assert read_head(type_id, body) == head
    assert payload_offset(type_id, body, head) == payload


@pytest.mark.parametrize("body", ["", "97", "97 00", "96"])
def test_a_body_that_ends_inside_its_head_is_an_index_error(body):
    with pytest.raises(IndexError):
        read_head(VIDEO, bytes.fromhex(body))


def test_multitrack_does_not_nest():
    for inner in (6, 7):
        with pytest.raises(MediaError, match="inside multitrack"):
            read_head(VIDEO, bytes([0x96, inner]))


def test_the_default_track_is_found_wherever_it_is():
    body = bytes.fromhex("96 11 61763031 01 000001 aa 00 000001 bb")
    assert has_default_track(body, read_head(VIDEO, body))
    body = bytes.fromhex("96 21 61763031 01 000001 aa 61763031 00 000001 bb")
    assert has_default_track(body, read_head(VIDEO, body))
    assert not has_default_track(b"\x96\1av01\1", Head(1, 2, ONE_TRACK))
    assert has_default_track(b"\x91av01", Head(1, 1))


def test_24_bits_are_read_whole_or_not_at_all():
    assert unsigned24(b"\xff\x01\x02\x03", 1) == 0x010203
    with pytest.raises(IndexError):
        unsigned24(b"\1\2", 0)
