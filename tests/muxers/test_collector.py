"""The facts of a file."""

from __future__ import annotations

import pytest

from muxers import collector
from muxers.base import TrackFacts
from muxers.collector import FactsCollector
from rtmpd.media.tags import classify
from rtmpd.wire import amf0
from rtmpd.wire.messages import AUDIO, VIDEO
from tests.helpers.footage import footage, tags_of

MP3 = b"\x2e\xff\xfb"
H263 = b"\x12key"


def collect(*tags):
    facts = FactsCollector()
    for type_id, body, time_ms in tags:
        facts.add_media(type_id, body, time_ms, classify(type_id, body))
    return facts


def header(video=None, audio=None):
    """The sequence header that an encoder makes."""
    type_id = VIDEO if video else AUDIO
    return next(tag.body for tag in tags_of(footage(video, audio)) if tag.type_id == type_id)


@pytest.mark.parametrize(
    ("video", "codec"),
    [("libx264", "avc1"), ("libx265", "hvc1"), ("libsvtav1", "av01")],
)
def test_a_video_track_is_known_by_its_header(video, codec):
    facts = collect((VIDEO, header(video=video), 0), (VIDEO, b"\x27\x01\0\0\0frame", 0))

    assert facts.tracks == (TrackFacts("video", 0, codec, width=64, height=48),)


@pytest.mark.parametrize(("audio", "codec"), [("aac", "mp4a"), ("libopus", "Opus")])
def test_an_audio_track_is_known_by_its_header(audio, codec):
    facts = collect((AUDIO, header(audio=audio), 0), (AUDIO, b"\xaf\x01frame", 0))

    assert facts.tracks == (TrackFacts("audio", 0, codec, sample_rate=48_000, channels=2),)


def test_a_track_without_a_header_is_known_by_its_first_frame():
    facts = collect((AUDIO, MP3, 0), (VIDEO, H263, 0), (AUDIO, b"\xff??", 10))

    assert facts.tracks == (
        TrackFacts("video", 0, "sorenson"),
        TrackFacts("audio", 0, ".mp3", sample_rate=44_100, channels=1),
    )


def test_a_track_that_nobody_can_name_is_a_track():
    facts = collect((VIDEO, b"\xa1zzzzframe", 0), (AUDIO, b"\x91qqqqframe", 0))

    assert facts.tracks == (TrackFacts("video", 0, ""), TrackFacts("audio", 0, ""))


def test_a_header_without_frames_makes_no_track():
    facts = collect((AUDIO, header(audio="aac"), 0), (VIDEO, H263, 0))

    assert [track.kind for track in facts.tracks] == ["video"]


def test_the_last_header_counts():
    aac_44100_mono = bytes.fromhex("af001208")

    facts = collect((AUDIO, header(audio="aac"), 0), (AUDIO, aac_44100_mono, 0), (AUDIO, b"\xaf\x01frame", 0))

    assert facts.tracks == (TrackFacts("audio", 0, "mp4a", sample_rate=44_100, channels=1),)


def test_headers_are_read_once_each_and_not_without_end(monkeypatch):
    read = []
    monkeypatch.setattr(collector, "describe_header", lambda _type_id, body: read.append(body))

    collect(*[(AUDIO, b"\xaf\x00\x11\x90", 0)] * 50)
    assert len(read) == 1

    collect(*((AUDIO, b"\xaf\x00" + number.to_bytes(4), 0) for number in range(1000)))
    assert len(read) == 1 + 256


def test_a_file_lasts_until_the_end_of_its_last_frame():
    facts = collect(*((VIDEO, H263, time_ms) for time_ms in (0, 40, 80)), (AUDIO, MP3, 0), (AUDIO, MP3, 70))

    assert facts.duration_ms == 140


def test_a_pause_is_not_taken_for_the_length_of_a_frame():
    facts = collect(*((VIDEO, H263, time_ms) for time_ms in (0, 40, 60_000)))

    assert facts.duration_ms == 60_040


@pytest.mark.parametrize(
    ("values", "gap_ms"),
    [
        ([{"from_ms": 1000, "to_ms": 4000}], 3000),
        ([{"from_ms": 4000, "to_ms": 1000}], 0),
        ([{"from_ms": float("nan"), "to_ms": float("inf")}], 0),
        ([{"from_ms": "1000"}], 0),
        ([], 0),
        (["text"], 0),
    ],
)
def test_a_gap_is_counted_even_when_its_length_cannot_be_read(values, gap_ms):
    facts = FactsCollector()

    facts.add_script(amf0.encode("onGap", *values))
    facts.add_script(amf0.encode("onGap") + b"\xff")
    facts.add_script(amf0.encode("onCuePoint", {}))

    assert (facts.gaps, facts.gap_ms) == (2, gap_ms)
