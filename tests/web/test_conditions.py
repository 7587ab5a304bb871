"""What conditions and ranges make of a request for a file (RFC 9110, 13 and 14)."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtmpd.web.conditions import Version, format_date, judge, parse_date

MODIFIED_S = 784_111_777
DATE = "Sun, 06 Nov 1994 08:49:37 GMT"
EARLIER, LATER = "Sun, 06 Nov 1994 08:49:36 GMT", "Sun, 06 Nov 1994 08:49:38 GMT"
CLOSED = Version(1000, '"a-3e8"', MODIFIED_S)
GROWING = Version(1000, None, None)
WHOLE = (200, 0, 1000)


@pytest.mark.parametrize(
    ("asked", "verdict"),
    [
        ("bytes=0-499", (206, 0, 500)),
        ("bytes=500-999", (206, 500, 500)),
        ("bytes=500-", (206, 500, 500)),
        ("bytes=-500", (206, 500, 500)),
        ("bytes=-5000", (206, 0, 1000)),
        ("bytes=0-", (206, 0, 1000)),
        ("bytes=990-5000", (206, 990, 10)),
        ("Bytes= 1-1 ", (206, 1, 1)),
        ("bytes=1000-", (416, 0, 0)),
        ("bytes=1000-2000", (416, 0, 0)),
        ("bytes=-0", (416, 0, 0)),
        # No range, or one that is not understood: RFC 9110 has it ignored.
        ("bytes=-", WHOLE),
        ("bytes=5-1", WHOLE),
        ("bytes=a-b", WHOLE),
        ("bytes=0-1,5-6", WHOLE),
        ("pieces=0-1", WHOLE),
        ("bytes", WHOLE),
        ("", WHOLE),
        (f"bytes={'9' * 5000}-", WHOLE),
        ("bytes=²-", WHOLE),
    ],
)
def test_a_range_is_what_is_asked_for_as_far_as_it_is_there(asked, verdict):
    assert judge({"Range": asked}, CLOSED) == verdict


@pytest.mark.parametrize("asked", ["bytes=0-", "bytes=-1", "bytes=0-0"])
def test_of_an_empty_file_no_range_can_be_had(asked):
    assert judge({"Range": asked}, Version(0, '"x"', 1)) == (416, 0, 0)
    assert judge({}, Version(0, '"x"', 1)) == (200, 0, 0)


@pytest.mark.parametrize(
    ("version", "same", "status"),
    [
        (CLOSED, '"a-3e8"', 206),
        (CLOSED, DATE, 206),
        (CLOSED, '"another"', 200),
        (CLOSED, 'W/"a-3e8"', 200),
        (CLOSED, EARLIER, 200),
        (CLOSED, LATER, 200),
        (CLOSED, "rubbish", 200),
        (GROWING, '"a-3e8"', 200),
        (GROWING, DATE, 200),
    ],
)
def test_a_range_of_another_version_is_never_sent(version, same, status):
    assert judge({"Range": "bytes=1-2", "If-Range": same}, version).status == status


@pytest.mark.parametrize(
    ("version", "headers", "status"),
    [
        (CLOSED, {"If-None-Match": '"a-3e8"'}, 304),
        (CLOSED, {"If-None-Match": '"b", W/"a-3e8"'}, 304),
        (CLOSED, {"If-None-Match": "*"}, 304),
        (CLOSED, {"If-None-Match": '"b"', "If-Modified-Since": DATE}, 200),
        (CLOSED, {"If-Modified-Since": DATE}, 304),
        (CLOSED, {"If-Modified-Since": LATER}, 304),
        (CLOSED, {"If-Modified-Since": EARLIER}, 200),
        (CLOSED, {"If-Modified-Since": "yesterday"}, 200),
        (CLOSED, {"If-None-Match": '"a-3e8"', "Range": "bytes=0-1"}, 304),
        (CLOSED, {"If-Match": '"a-3e8"'}, 200),
        (CLOSED, {"If-Match": '"b", "a-3e8"'}, 200),
        (CLOSED, {"If-Match": "*"}, 200),
        (CLOSED, {"If-Match": '"b"'}, 412),
        (CLOSED, {"If-Match": 'W/"a-3e8"'}, 412),
        (CLOSED, {"If-Unmodified-Since": DATE}, 200),
        (CLOSED, {"If-Unmodified-Since": EARLIER}, 412),
        (CLOSED, {"If-Match": '"a-3e8"', "If-Unmodified-Since": EARLIER}, 200),
        (GROWING, {"If-None-Match": '"a-3e8"'}, 200),
        (GROWING, {"If-Match": '"a-3e8"'}, 412),
        (GROWING, {"If-Modified-Since": LATER, "If-Unmodified-Since": EARLIER}, 200),
    ],
)
def test_conditions_are_kept(version, headers, status):
    assert judge(headers, version).status == status


def test_dates_are_read_as_they_are_written():
    assert parse_date(DATE) == MODIFIED_S
    assert format_date(MODIFIED_S) == DATE


HEADERS = ("Range", "If-Range", "If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since")
TEXTS = st.one_of(
    st.text(max_size=60),
    st.text(string.digits + 'bytes=-, W/"*', max_size=40),
    st.from_regex(r"bytes=[0-9]{0,4}-[0-9]{0,4}", fullmatch=True),
    st.sampled_from([DATE, '"a-3e8"']),
)


@given(st.dictionaries(st.sampled_from(HEADERS), TEXTS), st.sampled_from([CLOSED, GROWING, Version(0, None, None)]))
def test_whatever_is_asked_what_is_sent_is_in_the_file(headers, version):
    status, start, size_bytes = judge(headers, version)

    assert status in {200, 206, 304, 412, 416}
    assert 0 <= start <= start + size_bytes <= version.size_bytes
    assert status in {200, 206} or size_bytes == 0
    assert status != 200 or size_bytes == version.size_bytes
    assert status != 206 or ("Range" in headers and size_bytes > 0)
