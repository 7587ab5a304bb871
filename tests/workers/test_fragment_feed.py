"""What a packager sends back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtmpd.errors import UsageError
from rtmpd.live.fragments import Init, Part
from rtmpd.workers.fragment_feed import RECORD_BYTES, RecordReader, Refusal, encode_record

codecs = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=60)
records = st.one_of(
    st.builds(Init, st.binary(max_size=200), codecs, st.booleans()),
    st.builds(
        Part, st.binary(max_size=200), st.integers(-(2**63), 2**63 - 1), st.integers(0, 2**32 - 1), st.booleans()
    ),
    st.builds(Refusal, st.text(max_size=80)),
)


@given(st.lists(records, max_size=6), st.data())
def test_records_are_read_as_they_were_written_however_they_are_split(sent, data):
    stream = b"".join(map(encode_record, sent))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    reader = RecordReader()

    read = [
        record
        for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)
        for record in reader.feed(stream[start:end])
    ]

    assert read == sent


@pytest.mark.parametrize(
    "data",
    [b"\x09\0\0\0\0", b"\x02\0\0\0\x01x", b"\x01\0\0\0\0", b"\x03\0\0\0\x01\xff", b"\x02\xff\xff\xff\xff"],
    ids=["kind", "short part", "short init", "no text", "too long"],
)
def test_what_is_no_record_is_a_bug_of_ours(data):
    with pytest.raises(UsageError):
        RecordReader().feed(data)


def test_a_record_that_is_too_long_is_not_sent():
    with pytest.raises(UsageError):
        encode_record(Part(bytes(RECORD_BYTES), 0, 200, is_independent=True))
