"""Media: totality on any bytes, and the one property that a timeline is for."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rtmpd.errors import MediaError
from rtmpd.media.configurations import (
    describe_header,
    parse_aac,
    parse_av1,
    parse_avc,
    parse_flac,
    parse_hevc,
    parse_opus,
    parse_vp9,
)
from rtmpd.media.tags import (
    EMPTY,
    END_OF_SEQUENCE,
    KEY_FRAME,
    SEQUENCE_HEADER,
    classify,
    header_slot,
    parse_audio,
    parse_video,
)
from rtmpd.media.timeline import JUMP_MS, Timeline
from rtmpd.wire.messages import AUDIO, VIDEO
from tests.corpus.media.make import HERE, read_tags

REAL = [tag for path in sorted(HERE.glob("*.flv")) for tag in read_tags(path.read_bytes())]
PARSERS = [parse_avc, parse_hevc, parse_av1, parse_vp9, parse_aac, parse_opus, parse_flac]

media_types = st.sampled_from([AUDIO, VIDEO])
first_bytes = st.sampled_from([0x17, 0x27, 0x90, 0x91, 0x93, 0x94, 0x95, 0x96, 0x97, 0xA6, 0xA7, 0xAF, 0xD1, 0xD4])
fourccs = st.sampled_from([b"avc1", b"hvc1", b"av01", b"vp09", b"vvc1", b"mp4a", b"Opus", b".mp3", b"fLaC", b"none"])
bodies = st.one_of(
    st.binary(max_size=64),
    st.tuples(
        first_bytes.map(lambda first: bytes([first])), st.binary(max_size=3), fourccs, st.binary(max_size=40)
    ).map(b"".join),
)


@st.composite
def damaged(draw):
    """A real body, cut and with some of its bytes changed."""
    tag = draw(st.sampled_from(REAL))
    body = bytearray(tag.body[: draw(st.integers(0, min(len(tag.body), 160)))])
    for _ in range(draw(st.integers(0, 6))):
        if body:
            body[draw(st.integers(0, len(body) - 1))] = draw(st.integers(0, 255))
    return tag.type_id, bytes(body)


messages = st.one_of(damaged(), st.tuples(media_types, bodies))


@given(messages)
@example((VIDEO, b"\x97" + b"\0\0\x77" * 1_000))
@example((VIDEO, b"\x96\x11av01" + b"\1\0\0\0" * 300))
def test_any_body_has_a_class_and_a_slot(message):
    flags = classify(*message)
    assert 0 <= flags < 32
    assert not (flags & SEQUENCE_HEADER and flags & (KEY_FRAME | EMPTY | END_OF_SEQUENCE))
    type_id, track, packet_type = header_slot(*message)
    assert type_id == message[0]
    assert 0 <= track < 512
    assert not flags & SEQUENCE_HEADER or packet_type in (0, 4)


@given(messages)
def test_any_body_is_parsed_or_refused_and_agrees_with_its_class(message):
    type_id, body = message
    try:
        tag = parse_video(body) if type_id == VIDEO else parse_audio(body)
    except MediaError:
        return
    assert tag.data_offset <= len(body)
    for track in tag.tracks:
        assert 0 < track.data_offset <= track.data_end <= len(body)
    flags = classify(type_id, body)
    if flags & KEY_FRAME:
        assert tag.frame_type == 1
        assert tag.packet_type in (1, 3)
    if flags & SEQUENCE_HEADER:
        assert tag.packet_type in (0, 4, 5)


@given(messages)
def test_any_header_is_described_or_refused(message):
    with suppress(MediaError):
        describe_header(*message)


@pytest.mark.parametrize("parse", PARSERS)
@given(st.data())
def test_any_configuration_is_read_or_refused(parse, data):
    record = data.draw(st.one_of(st.binary(max_size=200), damaged().map(lambda message: message[1][5:])))
    try:
        configuration = parse(record)
    except MediaError:
        return
    assert configuration.codec_string
    assert all(part >= 0 for part in configuration if isinstance(part, int))


@given(
    st.sampled_from([2**24, 2**31, 2**32]),
    st.lists(st.integers(0, JUMP_MS), min_size=1, max_size=60),
    st.integers(0, 100_000),
)
def test_monotone_streams_keep_their_steps_across_any_wrap(width, steps, before):
    """A stream that starts some time before the wrap, long enough to come to it with large steps and small ones."""
    truth = [max(0, width - before)]
    for step in steps:
        truth.append(truth[-1] + step)
    timeline = Timeline()
    values = [timeline.unwrap(time % width) for time in truth]
    assert [value - values[0] for value in values] == [time - truth[0] for time in truth]
    assert timeline.jump is None


@given(
    st.sampled_from([2**24, 2**31, 2**32]),
    st.lists(st.integers(-500, 1_000), min_size=1, max_size=60),
)
def test_small_steps_back_stay_small_across_any_wrap(width, steps):
    truth = [width - 20_000, width + 20_000]
    for step in steps:
        truth.append(max(width - 40_000, truth[-1] + step))
    timeline = Timeline(threshold_ms=40_000)
    values = [timeline.unwrap(time % width) for time in truth]
    assert values == truth
    assert timeline.jump is None


@given(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=100))
@example([0, 2**31] * 50)
@example([2**24 - 1, 0, 2**24 - 1, 0, 2**31 - 1, 0, 2**31 - 1, 2**32 - 1, 0])
def test_any_timestamps_are_followed_by_less_than_one_turn_a_step(raws):
    timeline = Timeline()
    value = timeline.unwrap(raws[0])
    for raw_ms in raws[1:]:
        before, value = value, timeline.unwrap(raw_ms)
        assert abs(value - before) <= 2**31
        assert (value - raw_ms) % 2**24 == 0
        assert value == timeline.value_ms
        jump = timeline.take_jump()
        assert (jump is not None) == (abs(value - before) > JUMP_MS)
        assert jump is None or (jump.from_ms, jump.to_ms) == (before, value)
