"""What a stream is made of, described once for each change of its headers."""

from __future__ import annotations

import gc

import pytest

from rtmpd.control import portrait as portrait_module
from rtmpd.control.models import Track
from rtmpd.control.portrait import facts_of, size_of, tracks_of
from tests.corpus.media.make import HERE, read_tags
from tests.helpers.live import audio_header, key_frame, metadata, new_stream, publish, video_header

HEADER = read_tags((HERE / "h264-high-50x38.flv").read_bytes())[0].body
LARGE = read_tags((HERE / "hevc-main10-1280x720.flv").read_bytes())[0].body


@pytest.fixture
def stream():
    return new_stream()


@pytest.fixture
def publication(stream):
    return publish(stream)


@pytest.fixture
def described(monkeypatch):
    """How often headers were described."""
    times = []
    real = portrait_module.describe_tracks
    monkeypatch.setattr(portrait_module, "describe_tracks", lambda headers: (times.append(1), real(headers))[1])
    return times


def test_a_stream_without_headers_has_no_tracks_and_no_size(stream):
    assert tracks_of(stream) == ()
    assert size_of(stream) == (0, 0)


def test_tracks_are_those_of_the_headers_and_what_they_do_not_say_is_none(stream, publication):
    publication.append(video_header(HEADER), 0.0)
    publication.append(audio_header(), 0.0)

    assert tracks_of(stream) == (
        Track(kind="video", codec="avc1", track_id=0, width=50, height=38),
        Track(kind="audio", codec="mp4a", track_id=0, sample_rate=48_000, channels=2),
    )
    assert size_of(stream) == (50, 38)


def test_a_stream_is_described_again_only_when_its_headers_changed(stream, publication, described):
    publication.append(video_header(HEADER), 0.0)
    for _ in range(3):
        tracks_of(stream)
        size_of(stream)
        facts_of(stream.headers)
        publication.append(key_frame(0), 0.0)
        publication.append(video_header(HEADER), 0.0)
    assert len(described) == 1

    publication.append(video_header(LARGE), 0.0)
    assert size_of(stream) == (1280, 720)
    assert len(described) == 2


def test_headers_that_are_not_in_force_any_more_are_not_kept(stream, publication):
    gc.collect()
    before = len(portrait_module._portraits)
    for width in range(100):
        publication.append(metadata(width=width, height=38), float(width))
        tracks_of(stream)
    stream.end("over")
    gc.collect()

    assert len(portrait_module._portraits) <= before + 1


def test_size_is_that_of_the_default_track(stream, publication):
    both = read_tags((HERE / "h264-two-tracks-64x48.flv").read_bytes())
    publication.append(video_header(both[1].body), 0.0)
    assert size_of(stream) == (64, 48)

    publication.append(video_header(HEADER), 0.0)
    assert [track.track_id for track in tracks_of(stream)] == [1, 0]
    assert size_of(stream) == (50, 38)
