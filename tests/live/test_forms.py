"""How messages are written into a log."""

import pytest

from rtmpd.live.forms import CHUNK_FORM, FLV_FORM
from rtmpd.wire.chunk_writer import OUT_CHUNK_SIZE
from rtmpd.wire.flv import encode_file_header
from rtmpd.wire.messages import AUDIO, DATA_AMF0, VIDEO


@pytest.mark.parametrize("form", [CHUNK_FORM, FLV_FORM])
@pytest.mark.parametrize("timestamp_ms", [0, 0xFFFFFE, 0xFFFFFF, 0x1000000])
@pytest.mark.parametrize("size", [1, OUT_CHUNK_SIZE - 1, OUT_CHUNK_SIZE, OUT_CHUNK_SIZE + 1, 2 * OUT_CHUNK_SIZE + 1])
def test_body_taken_back_out_is_the_body_put_in(form, timestamp_ms, size):
    body = bytes(range(256)) * (size // 256 + 1)
    body = body[:size]

    assert form.body(memoryview(form.frame(VIDEO, timestamp_ms, body))) == body


@pytest.mark.parametrize(
    ("kinds", "audio", "video"),
    [((), True, True), ((DATA_AMF0,), True, True), ((VIDEO,), False, True), ((AUDIO, DATA_AMF0), True, False)],
)
def test_flv_opens_with_the_kinds_that_are_known_to_come_and_with_both_where_nothing_is(kinds, audio, video):
    assert FLV_FORM.opening_for(set(kinds)) == encode_file_header(audio=audio, video=video)
