"""Tags become samples of tracks; a track is new where its configuration is."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muxers.samples import HEADERLESS, Sample, SampleReader, Track
from rtmpd.errors import MediaError
from rtmpd.media.codecs import AUDIO_FOURCC, LEGACY_AUDIO, LEGACY_VIDEO, VIDEO_FOURCC
from rtmpd.media.tags import classify, parse_audio, parse_video
from rtmpd.wire.flv import FlvTag
from rtmpd.wire.messages import AUDIO, VIDEO
from tests.helpers.footage import demux, footage, tags_of

CORPUS = Path(__file__).parents[1] / "corpus" / "media"
AVC = Track(VIDEO, 0, "avc1", b"avcC")
AVC_HEADER = b"\x17\0\0\0\0avcC"


def read(reader, type_id, body, dts_ms=0):
    return list(reader.read(type_id, body, dts_ms, classify(type_id, body)))


def read_all(tags):
    reader = SampleReader()
    return [
        sample
        for tag in tags
        if tag.type_id in (AUDIO, VIDEO)
        for sample in read(reader, tag.type_id, tag.body, tag.timestamp_ms)
    ]


@pytest.fixture
def reader():
    return SampleReader()


@pytest.mark.parametrize(
    ("video", "audio", "codecs"),
    [
        ("libx264", "aac", {"avc1", "mp4a"}),
        ("libx265", "libopus", {"hvc1", "Opus"}),
        ("libsvtav1", "flac", {"av01", "fLaC"}),
        ("libvpx-vp9", "libmp3lame", {"vp09", ".mp3"}),
        (None, "ac3", {"ac-3"}),
        (None, "eac3", {"ec-3"}),
    ],
)
def test_the_samples_of_an_encoder_are_what_ffmpeg_finds(video, audio, codecs):
    source = footage(video, audio, reordered=2 if video in ("libx264", "libx265") else 0)

    samples = read_all(tags_of(source))

    kinds = {AUDIO: "audio", VIDEO: "video"}
    assert [
        (kinds[sample.track.type_id], sample.dts_ms, sample.dts_ms + sample.composition_ms, sample.payload)
        for sample in samples
    ] == demux(source)
    assert {sample.track.codec for sample in samples} == codecs
    assert sum(sample.is_key for sample in samples if sample.track.type_id == VIDEO) == (3 if video else 0)
    assert all(sample.track.configuration is not None for sample in samples)


def test_a_header_is_the_configuration_of_the_frames_after_it(reader):
    assert read(reader, VIDEO, AVC_HEADER) == []
    assert read(reader, VIDEO, b"\x17\x01\0\0\x28key", 1000) == [Sample(AVC, b"key", 1000, 40, is_key=True)]
    assert read(reader, VIDEO, b"\x27\x01\xff\xff\xd8inter", 1040) == [Sample(AVC, b"inter", 1040, -40, is_key=False)]
    assert reader.tracks == (AVC,)


def test_a_frame_before_its_header_is_of_a_track_without_configuration(reader):
    (sample,) = read(reader, VIDEO, b"\x17\x01\0\0\0key")

    assert sample.track == AVC._replace(configuration=None)
    assert reader.tracks == ()


def test_a_header_that_repeats_what_is_in_force_changes_nothing(reader):
    read(reader, VIDEO, AVC_HEADER)
    (before,) = read(reader, VIDEO, b"\x17\x01\0\0\0key")

    read(reader, VIDEO, bytes(bytearray(AVC_HEADER)))
    (after,) = read(reader, VIDEO, b"\x17\x01\0\0\0key")

    assert after.track is before.track


def test_a_changed_configuration_makes_another_track_until_it_is_changed_back(reader):
    seen = []
    for header in (AVC_HEADER, AVC_HEADER + b"2", AVC_HEADER):
        read(reader, VIDEO, header)
        seen += [sample.track.configuration for sample in read(reader, VIDEO, b"\x27\x01\0\0\0x")]

    assert seen == [b"avcC", b"avcC2", b"avcC"]


def test_another_codec_on_a_track_is_another_track(reader):
    read(reader, AUDIO, b"\xaf\0\x11\x90")
    mp3 = read(reader, AUDIO, b"\x2f\xff\xfb")
    aac = read(reader, AUDIO, b"\xaf\x01aac")

    assert mp3 == [Sample(Track(AUDIO, 0, ".mp3", b""), b"\xff\xfb", 0, 0, is_key=True)]
    assert aac[0].track == Track(AUDIO, 0, "mp4a", None)


def test_a_codec_without_headers_needs_none_and_may_send_one(reader):
    (before,) = read(reader, AUDIO, b"\x91ac-3\x0b\x77")
    assert read(reader, AUDIO, b"\x90ac-3") == []
    (after,) = read(reader, AUDIO, b"\x91ac-3\x0b\x77")

    assert before == after == Sample(Track(AUDIO, 0, "ac-3", b""), b"\x0b\x77", 0, 0, is_key=True)


def many(type_byte, kind, packet_type, *parts):
    """A multitrack body of FourCC, track id and data."""
    body = bytes([type_byte, kind << 4 | packet_type])
    for number, (fourcc, track_id, data) in enumerate(parts):
        if kind == 2 or not number:
            body += fourcc
        body += bytes([track_id])
        body += (b"" if kind == 0 else len(data).to_bytes(3, "big")) + data
    return body


@pytest.mark.parametrize("kind", [1, 2])
def test_every_track_of_a_body_is_a_sample_of_its_own(reader, kind):
    codecs = (b"avc1", b"avc1") if kind == 1 else (b"avc1", b"av01")
    read(reader, VIDEO, many(0x96, kind, 0, (codecs[0], 0, b"one"), (codecs[1], 3, b"two")))

    frame_of_av1 = b"B" if kind == 2 else b"\0\0\x50B"
    body = many(0x96, kind, 1, (codecs[0], 0, b"\0\0\x28A"), (codecs[1], 3, frame_of_av1), (codecs[1], 4, b""))[:-3]
    samples = read(reader, VIDEO, many(0x96, kind, 1, (codecs[0], 0, b"\0\0\x28A"), (codecs[1], 3, frame_of_av1)), 10)

    assert samples == [
        Sample(Track(VIDEO, 0, "avc1", b"one"), b"A", 10, 40, is_key=True),
        Sample(Track(VIDEO, 3, codecs[1].decode(), b"two"), b"B", 10, 80 if kind == 1 else 0, is_key=True),
    ]
    with pytest.raises(MediaError):
        read(reader, VIDEO, body)


def test_a_body_of_one_track_is_of_that_track(reader):
    read(reader, AUDIO, many(0x95, 0, 0, (b"Opus", 2, b"OpusHead")))

    assert read(reader, AUDIO, many(0x95, 0, 1, (b"Opus", 2, b"frame")), 5) == [
        Sample(Track(AUDIO, 2, "Opus", b"OpusHead"), b"frame", 5, 0, is_key=True)
    ]


def test_the_tracks_of_ffmpegs_multitrack_are_told_apart():
    samples = read_all(tags_of(footage(tracks=2, seconds=1)))

    assert {(sample.track.type_id, sample.track.track_id) for sample in samples} == {
        (AUDIO, 0),
        (AUDIO, 1),
        (VIDEO, 0),
        (VIDEO, 1),
    }


def test_modex_is_taken_off(reader):
    read(reader, AUDIO, b"\x90OpusHEAD")

    (sample,) = read(reader, AUDIO, bytes.fromhex("97 02 000001 01") + b"Opusframe")

    assert (sample.track.configuration, sample.payload) == (b"HEAD", b"frame")


@pytest.mark.parametrize("prefix", ["", "664c614300000022", "664c614380000022"])
def test_flac_is_configured_by_its_streaminfo_alone(reader, prefix):
    streaminfo = bytes(range(34))
    read(reader, AUDIO, b"\x90fLaC" + bytes.fromhex(prefix) + streaminfo + (b"more blocks" if prefix else b""))

    assert reader.tracks == (Track(AUDIO, 0, "fLaC", streaminfo),)


@pytest.mark.parametrize(
    ("type_id", "body"),
    [
        (VIDEO, b"\x17\x02\0\0\0"),
        (VIDEO, b"\x57\0"),
        (VIDEO, b"\xd4hvc1\x02\0\x09colorInfo"),
        (AUDIO, b"\x94Opus\x01\x02\0\0\0\x03"),
        (AUDIO, b""),
        (AUDIO, b"\xaf\0"),
        (AUDIO, b"\xaf\x01"),
        (VIDEO, b"\x27\x01\0\0\0"),
    ],
)
def test_what_carries_nothing_is_no_sample_and_no_track(reader, type_id, body):
    assert read(reader, type_id, body) == []
    assert reader.tracks == ()


def test_a_giant_configuration_is_refused_and_the_one_before_stays(reader):
    read(reader, VIDEO, AVC_HEADER)

    with pytest.raises(MediaError, match="configuration of avc1"):
        read(reader, VIDEO, AVC_HEADER + bytes(70_000))

    assert reader.tracks == (AVC,)


def test_every_codec_that_the_headers_can_name_has_a_header_or_is_known_to_have_none():
    assert {*LEGACY_AUDIO.values(), *LEGACY_VIDEO.values(), *AUDIO_FOURCC.values()} >= HEADERLESS
    assert {*LEGACY_AUDIO.values(), *AUDIO_FOURCC.values()} - HEADERLESS == {"mp4a", "Opus", "fLaC"}
    assert {*LEGACY_VIDEO.values(), *VIDEO_FOURCC.values()} - HEADERLESS == {*VIDEO_FOURCC.values(), "mp4v"}


@pytest.mark.parametrize("name", ["h264-high-50x38", "hevc-main-50x38", "av1-66x70", "opus-48000-stereo"])
def test_the_bodies_that_a_track_makes_say_what_the_originals_did(name):
    sample = read_all(tags_of((CORPUS / f"{name}.flv").read_bytes()))[0]
    parse = parse_video if sample.track.type_id == VIDEO else parse_audio

    header, frame = sample.track.header_body(), sample.track.frame_body(sample.payload)

    assert parse(header).codec == parse(frame).codec == sample.track.codec
    assert header[parse(header).data_offset :] == sample.track.configuration
    assert frame[parse(frame).data_offset :] == sample.payload
    assert read_all([FlvTag(sample.track.type_id, 0, body) for body in (header, frame)])[0].track == sample.track


bodies = st.one_of(
    st.binary(max_size=40),
    st.sampled_from([AVC_HEADER, b"\x27\x01\0\0\0x", b"\xaf\0\x11\x90", b"\x90Opushead", b"\x95\x11Opus"]),
    st.binary(max_size=30).map(lambda rest: b"\x96\x21" + rest),
    st.binary(max_size=30).map(lambda rest: b"\x95\x10Opus" + rest),
)


@given(st.lists(st.tuples(st.sampled_from([AUDIO, VIDEO]), bodies), max_size=20))
def test_any_bodies_are_samples_or_refused(tags):
    reader = SampleReader()
    for type_id, body in tags:
        try:
            samples = read(reader, type_id, body)
        except MediaError:
            continue
        assert all(sample.payload and sample.payload in body for sample in samples)
        assert all(sample.track.type_id == type_id for sample in samples)
