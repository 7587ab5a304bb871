"""The tracks of a stream, from its headers in force."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtmpd.media import tracks as tracks_module
from rtmpd.media.tags import SEQUENCE_HEADER, classify
from rtmpd.media.tracks import MAX_TRACKS, UNKNOWN, TrackFacts, describe_tracks
from rtmpd.wire import amf0
from rtmpd.wire.messages import AUDIO, DATA_AMF0, VIDEO
from tests.corpus.media.make import HERE, read_tags


def headers_of(*names):
    """The sequence headers of files of the corpus, as a stream would keep them."""
    tags = [tag for name in names for tag in read_tags((HERE / f"{name}.flv").read_bytes())]
    return [(tag.type_id, tag.body) for tag in tags if classify(tag.type_id, tag.body) & SEQUENCE_HEADER]


def metadata(**values):
    return DATA_AMF0, amf0.encode("onMetaData", amf0.EcmaArray(values))


AVCC = headers_of("h264-high-50x38")[0][1][5:]


def video(track_id=0, codec="avc1", width=50, height=38, **fields):
    return TrackFacts("video", track_id, codec, width, height, **fields)


def audio(track_id=0, codec="mp4a", sample_rate=48_000, channels=2, **fields):
    return TrackFacts("audio", track_id, codec, sample_rate=sample_rate, channels=channels, **fields)


def many_tracks(count, first=0):
    """A multitrack header of one codec: each track with the same configuration."""
    tracks = b"".join(bytes([first + n]) + len(AVCC).to_bytes(3) + AVCC for n in range(count))
    return VIDEO, b"\x96\x10avc1" + tracks


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["h264-high-50x38", "aac-48000-stereo"], (video(), audio())),
        (["hevc-main10-1280x720", "opus-48000-5.1"], (video(0, "hvc1", 1280, 720), audio(0, "Opus", 48_000, 6))),
        (["av1-66x70"], (video(0, "av01", 66, 70),)),
        (["vp9-51x37"], (video(0, "vp09", 0, 0),)),
        (["h264-two-tracks-64x48"], (video(0, "avc1", 64, 48), video(1, "avc1", 64, 48))),
        (["aac-48000-quad"], (audio(channels=4),)),
        (["ac3-48000-stereo"], (audio(0, "ac-3", 0, 0),)),
        (["flac-44100-stereo"], (audio(0, "fLaC", 44_100, 2),)),
    ],
)
def test_headers_of_real_encoders_are_described(names, expected):
    tracks = describe_tracks(headers_of(*names))

    assert tracks.described == expected
    assert tracks.announced == {each.kind for each in expected}


def test_every_track_of_a_multitrack_header_is_described():
    assert describe_tracks([many_tracks(3)]).described == (video(0), video(1), video(2))


def test_a_track_is_described_once():
    assert describe_tracks([*headers_of("h264-high-50x38"), many_tracks(2)]).described == (video(0), video(1))


def test_the_number_of_tracks_is_bounded_as_is_the_work(monkeypatch):
    described = []
    real = tracks_module.describe_configuration
    monkeypatch.setattr(
        tracks_module, "describe_configuration", lambda *given: (described.append(given), real(*given))[1]
    )

    tracks = describe_tracks([many_tracks(200, first=n) for n in range(30)]).described
    assert len(tracks) == MAX_TRACKS
    assert len(described) <= 2 * MAX_TRACKS


def test_a_configuration_that_cannot_be_read_gives_the_codec_alone():
    (track,) = describe_tracks([(VIDEO, b"\x17\0\0\0\0\x01\x02")]).described

    assert track == video(width=0, height=0, fault=track.fault)
    assert track.fault


def test_a_header_of_an_unknown_codec_is_a_track_all_the_same():
    (track,) = describe_tracks([(VIDEO, b"\x90nope")]).described

    assert (track.kind, track.codec) == ("video", UNKNOWN)
    assert "6e6f7065" in track.fault


def test_colour_and_channel_layouts_are_no_tracks():
    assert describe_tracks([(VIDEO, b"\x94hvc1\x02\0\x09colorInfo\x05"), (AUDIO, b"\x94mp4a\x01\x02")]).described == ()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"audiocodecid": 2.0, "audiosamplerate": 44_100.0, "stereo": True}, (audio(0, ".mp3", 44_100, 2),)),
        ({"audiocodecid": 11.0, "audiosamplerate": 16_000.0, "stereo": False}, (audio(0, "speex", 16_000, 1),)),
        ({"videocodecid": 2.0, "width": 320.0, "height": 240.0}, (video(0, "sorenson", 320, 240),)),
        ({"audiocodecid": ".mp3"}, (audio(0, ".mp3", 0, 0),)),
        ({"audiocodecid": float(int.from_bytes(b"ac-3"))}, (audio(0, "ac-3", 0, 0),)),
    ],
)
def test_codecs_that_have_no_headers_are_known_from_metadata(values, expected):
    assert describe_tracks([metadata(**values)]).described == expected


def test_a_track_that_needs_a_header_is_announced_by_metadata_and_not_described():
    tracks = describe_tracks([metadata(videocodecid=7.0, width=50.0, height=38.0, audiocodecid="mp4a")])

    assert tracks.described == ()
    assert tracks.announced == {"video", "audio"}


def test_a_size_alone_announces_pictures():
    assert describe_tracks([metadata(width=50.0, height=38.0)]).announced == {"video"}


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"videocodecid": 0.0, "audiocodecid": -1.0},
        {"videocodecid": 7.5, "audiocodecid": float("nan"), "width": float("inf"), "height": 1e300},
        {"videocodecid": True, "audiocodecid": None, "width": "640", "height": [360.0]},
        {"videocodecid": "\ud800", "audiocodecid": "x" * 1_000},
        {"width": 640.0},
    ],
)
def test_metadata_without_meaning_announce_nothing(values):
    assert describe_tracks([metadata(**values)]) == ((), frozenset())


def test_size_of_metadata_counts_where_the_header_has_none():
    unreadable = (VIDEO, b"\x17\0\0\0\0\x01\x02")
    sized = metadata(videocodecid=7.0, width=640.0, height=360.0)

    assert describe_tracks([sized, unreadable]).described[0][:5] == ("video", 0, "avc1", 640, 360)
    assert describe_tracks([sized, *headers_of("h264-high-50x38")]).described == (video(),)


def test_metadata_with_an_index_of_key_frames_cost_no_more_than_others():
    index = {"keyframes": {"times": [float(n) for n in range(5_000)]}}

    assert describe_tracks([metadata(width=50.0, height=38.0, **index)]) == ((), frozenset())


@given(st.lists(st.tuples(st.sampled_from([VIDEO, AUDIO, DATA_AMF0]), st.binary(min_size=1, max_size=60))))
def test_any_bytes_are_described_without_an_exception(headers):
    tracks = describe_tracks(headers)

    assert len(tracks.described) <= MAX_TRACKS
    assert {each.kind for each in tracks.described} <= tracks.announced
