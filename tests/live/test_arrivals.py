"""When a log last took pictures and sound."""

from __future__ import annotations

import pytest

from rtmpd.live.arrivals import Arrivals, newest_arrivals
from tests.helpers.live import (
    audio_frame,
    audio_header,
    inter_frame,
    key_frame,
    metadata,
    new_stream,
    publish,
    video_header,
)


def stream_of(*messages):
    """A stream with one message a second, from second 1 on."""
    stream = new_stream()
    publication = publish(stream)
    for second, message in enumerate(messages, 1):
        publication.append(message, float(second))
    return stream


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([], Arrivals(None, None, is_whole=True)),
        ([key_frame(0), audio_frame(0), inter_frame(40), audio_frame(50)], Arrivals(3.0, 4.0, is_whole=True)),
        ([key_frame(0), audio_frame(0), audio_frame(20)], Arrivals(1.0, 3.0, is_whole=True)),
        ([video_header(), audio_header(), metadata()], Arrivals(None, None, is_whole=True)),
        ([audio_frame(0), video_header()], Arrivals(None, 1.0, is_whole=True)),
    ],
)
def test_newest_frames_are_found_and_headers_are_none(messages, expected):
    assert newest_arrivals(stream_of(*messages).log, 0, 100) == expected


def test_what_was_looked_at_before_is_not_looked_at_again():
    stream = stream_of(key_frame(0), audio_frame(0))
    seen = stream.log.end
    assert newest_arrivals(stream.log, seen, 100) == Arrivals(None, None, is_whole=True)

    stream.publication.append(audio_frame(20), 9.0)
    assert newest_arrivals(stream.log, seen, 100) == Arrivals(None, 9.0, is_whole=True)


def test_a_look_that_is_cut_short_says_so():
    stream = stream_of(key_frame(0), *(audio_frame(20 * n) for n in range(5)))

    assert newest_arrivals(stream.log, 0, 6) == Arrivals(1.0, 6.0, is_whole=True)
    assert newest_arrivals(stream.log, 0, 5) == Arrivals(None, 6.0, is_whole=False)
    stream.publication.append(key_frame(200), 7.0)
    assert newest_arrivals(stream.log, 0, 5) == Arrivals(7.0, 6.0, is_whole=True)
