"""Headers: the newest of each kind, in order, without growing."""

from __future__ import annotations

from rtmpd.live.forms import FLV_FORM
from rtmpd.live.headers import MAX_HEADER_BYTES, MAX_HEADER_SLOTS, MAX_HEADERS_BYTES, Headers
from rtmpd.wire.flv import TagReader
from rtmpd.wire.messages import AUDIO, DATA_AMF0, VIDEO


def test_a_later_header_replaces_the_one_of_its_slot_and_keeps_its_place():
    headers = Headers().updated("v", VIDEO, b"1").updated("a", AUDIO, b"2").updated("v", VIDEO, b"3")

    assert list(headers) == [(VIDEO, b"3"), (AUDIO, b"2")]


def test_an_identical_repetition_changes_nothing():
    headers = Headers().updated("v", VIDEO, b"1")

    assert headers.updated("v", VIDEO, b"1") is headers


def test_older_headers_are_not_touched_by_newer_ones():
    old = Headers().updated("v", VIDEO, b"1")
    old.updated("v", VIDEO, b"2")

    assert list(old) == [(VIDEO, b"1")]


def test_headers_are_bounded_in_number_and_size():
    headers = Headers()
    for number in range(MAX_HEADER_SLOTS + 10):
        headers = headers.updated(number, VIDEO, b"x")
    assert len(headers) == MAX_HEADER_SLOTS

    assert headers.updated(0, VIDEO, b"x" * (MAX_HEADER_BYTES + 1)) is headers


def test_headers_are_bounded_together():
    headers = Headers()
    for number in range(MAX_HEADER_SLOTS):
        headers = headers.updated(number, VIDEO, b"x" * MAX_HEADER_BYTES)

    assert sum(len(body) for _, body in headers) <= MAX_HEADERS_BYTES


def test_headers_are_written_at_one_time_but_metadata_always_at_zero():
    headers = Headers().updated("m", DATA_AMF0, b"m").updated("v", VIDEO, b"\x17\0v").updated("a", AUDIO, b"\xaf\0a")

    tags = TagReader().feed(headers.serialise(FLV_FORM, 5000))

    assert [(tag.type_id, tag.timestamp_ms) for tag in tags] == [(DATA_AMF0, 0), (VIDEO, 5000), (AUDIO, 5000)]
