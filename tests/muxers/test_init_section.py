"""Initialisation sections of every codec, and of what is none."""

from __future__ import annotations

import pytest

from muxers.base import MuxError
from muxers.fragments import read_tracks, walk
from muxers.init_section import make_init_section
from muxers.samples import Track
from rtmpd.wire.messages import AUDIO, VIDEO
from tests.helpers.containers import first_payloads, samples_of
from tests.helpers.footage import footage, tags_of


@pytest.mark.parametrize(
    ("video", "audio", "codecs", "timescales"),
    [
        ("libx264", "aac", "avc1.42c00a,mp4a.40.2", [16_000, 48_000]),
        ("libsvtav1", "flac", "av01.0.00M.08,flac", [16_000, 44_100]),
        ("libvpx-vp9", "libmp3lame", "vp09.00.10.08,mp4a.40.34", [16_000, 44_100]),
        (None, "libopus", "opus", [48_000]),
        (None, "ac3", "ac-3", [48_000]),
        ("libx264", "eac3", "avc1.42c00a,ec-3", [16_000, 48_000]),
    ],
)
def test_a_section_has_its_tracks_in_their_order_and_no_frame(video, audio, codecs, timescales):
    tracks = first_payloads(samples_of(tags_of(footage(video, audio))))

    section = make_init_section(tracks)

    assert [box.kind for box in walk(section.data)] == [b"ftyp", b"moov"]
    assert section.codecs == codecs
    assert section.has_video == (video is not None)
    assert list(section.places) == list(tracks)
    assert [place.timescale for place in section.places.values()] == timescales
    assert {place.track_id for place in section.places.values()} == set(read_tracks(section.data))


@pytest.mark.parametrize(
    ("track", "payload"),
    [
        (Track(AUDIO, 0, "mp4a", b"\xff"), b"sound"),
        (Track(AUDIO, 0, "ac-3", b""), b"no frame"),
        (Track(VIDEO, 0, "avc1", b"\x01"), b"\0\0\0\x01x"),
        (Track(VIDEO, 0, "hvc1", b"nothing"), b"frame"),
    ],
)
def test_what_ffmpeg_makes_nothing_of_is_refused(track, payload):
    with pytest.raises(MuxError):
        make_init_section({track: payload})
