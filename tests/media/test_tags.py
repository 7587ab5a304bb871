from __future__ import annotations

import pytest

from rtmpd.errors import MediaError
from rtmpd.media.heads import COMMAND, MAX_MODEX, MAX_TRACKS
from rtmpd.media.tags import (
    DISPOSABLE,
    EMPTY,
    END_OF_SEQUENCE,
    KEY_FRAME,
    SEQUENCE_HEADER,
    Track,
    classify,
    header_slot,
    parse_audio,
    parse_video,
)
from rtmpd.wire.messages import AUDIO, DATA_AMF0, VIDEO
from tests.corpus.media.make import HERE, read_tags

K, S, E, N, D = KEY_FRAME, SEQUENCE_HEADER, EMPTY, END_OF_SEQUENCE, DISPOSABLE

CORPUS = {
    "h264-high-50x38": [S, K, 0, 0, 0, 0, N],
    "h264-baseline-320x180": [S, K],
    "h264-422-interlaced-50x76": [S, K],
    "h264-444-51x37": [S, K],
    "h264-two-tracks-64x48": [S, S, K, 0, 0, 0],
    "hevc-main-50x38": [S, S, K, 0],
    "hevc-main10-1280x720": [S, S, K],
    "av1-66x70": [S, S, K, 0],
    "vp9-51x37": [S, S, K, 0],
    "sorenson-50x38": [K],
    "aac-48000-stereo": [S, 0, 0],
    "aac-44100-mono": [S, 0, 0],
    "aac-48000-quad": [S, S, 0, 0],
    "opus-48000-stereo": [S, S, 0, 0],
    "opus-48000-5.1": [S, S, 0],
    "flac-44100-stereo": [S, S, 0],
    "ac3-48000-stereo": [S, S],
}


def modex(first, *, packet_type, count=1, data=b"\0\0\0", rest=b""):
    """A body whose first byte says ModEx, with `count` of them in front of the real packet type."""
    size = bytes([len(data) - 1]) if len(data) < 256 else b"\xff" + (len(data) - 1).to_bytes(2)
    headers = b"".join(size + data + bytes([packet_type if last else 7]) for last in [False] * (count - 1) + [True])
    return bytes([first]) + headers + rest


@pytest.mark.parametrize("name", CORPUS)
def test_what_real_encoders_send_is_told_apart(name):
    tags = read_tags((HERE / f"{name}.flv").read_bytes())
    assert [classify(tag.type_id, tag.body) for tag in tags] == CORPUS[name]


def test_every_file_of_the_corpus_is_listed():
    assert sorted(CORPUS) == sorted(path.stem for path in HERE.glob("*.flv"))


@pytest.mark.parametrize(
    ("body", "flags"),
    [
        ("", E),
        ("17", E),
        ("1700000000", E),
        ("170000000001", S),
        ("270000000001", S),
        ("1701000000", E),
        ("170100000000", K),
        ("2701000000", 0),
        ("1702000000", N),
        ("1703000000", 0),
        ("1c010000000000", K),
        ("1c000000000001", S),
        ("1200", K),
        ("2200", 0),
        ("3200", D),
        ("4200", 0),
        ("5700", E),
        ("5701", E),
        ("0000", 0),
        ("7fff", 0),
        ("906176303181", S),
        ("9061763031", E),
        ("92617630310000", N),
        ("9368766331aa", K),
        ("9168766331000000", E),
        ("9168766331000000aa", K),
        ("9168766331", E),
        ("90", E),
        ("9068", E),
        ("917a7a7a7aaa", K),
        ("b168766331000000aa", D),
        ("d1006876", E),
        ("d46876633102", S),
        ("846876633102", S),
        ("956176303100", S),
        ("98617630310000", 0),
        ("96016176633100000000aa", K),
        ("96016176633101000000aa", 0),
        ("96006176633100aa", S),
        ("96006176633101aa", S),
        ("a603617663310100aa", 0),
        ("9602", N),
        ("960161766331", E),
        ("96066176633100aa", 0),
        ("96076176633100aa", 0),
        ("96336176633100aa", 0),
        ("96136176633101000001aa02000001bb", 0),
        ("96136176633101ffffffaa", 0),
        ("96136176633101000001aa00000001bb", K),
        ("962361766331010000 01aa 68766331 00 000001 bb", K),
    ],
)
def test_video_bodies_by_their_first_bytes(body, flags):
    assert classify(VIDEO, bytes.fromhex(body)) == flags


@pytest.mark.parametrize(
    ("body", "flags"),
    [
        ("", E),
        ("af", E),
        ("af00", E),
        ("af001190", S),
        ("af01", 0),
        ("af02", 0),
        ("2fff", 0),
        ("3e00", 0),
        ("90", E),
        ("904f7075734f", S),
        ("904f707573", E),
        ("9061632d33", S),
        ("902e6d7033", S),
        ("90666f6f21aa", S),
        ("914f707573fc", 0),
        ("924f707573", N),
        ("944f70757301", S),
        ("95006d703461011190", S),
        ("95016d70346101aa", 0),
        ("950061632d3301", S),
        ("950061632d33", E),
        ("95056d703461aa", 0),
        ("974f", 0),
    ],
)
def test_audio_bodies_by_their_first_bytes(body, flags):
    assert classify(AUDIO, bytes.fromhex(body)) == flags


@pytest.mark.parametrize("type_id", [0, 1, DATA_AMF0, 20, 255, 256, 10**9])
def test_messages_that_are_neither_audio_nor_video_are_nothing_special(type_id):
    assert classify(type_id, b"") == 0
    assert classify(type_id, b"\x17\0\0\0\0\1") == 0
    assert header_slot(type_id, b"\x97") == (type_id, 0, 0)


def test_modex_is_looked_through():
    for count in range(1, MAX_MODEX + 1):
        assert classify(VIDEO, modex(0x97, packet_type=1, count=count, rest=b"av01\0")) == K
        assert classify(AUDIO, modex(0x97, packet_type=0, count=count, rest=b"Opus\0")) == S
    assert classify(VIDEO, modex(0xA7, packet_type=1, rest=b"av01\0")) == 0
    assert classify(VIDEO, modex(0x97, packet_type=6, rest=b"\x01av01\1\0")) == 0
    assert classify(VIDEO, modex(0x97, packet_type=6, rest=b"\x01av01\0\0")) == K
    assert classify(VIDEO, modex(0xD7, packet_type=1, rest=b"\0")) == E


@pytest.mark.parametrize("count", [MAX_MODEX + 1, 1_000])
def test_a_chain_of_modex_headers_is_bounded(count):
    body = modex(0x97, packet_type=1, count=count, rest=b"av01\0")
    assert classify(VIDEO, body) == 0
    with pytest.raises(MediaError, match="more than 8 ModEx"):
        parse_video(body)


def test_modex_of_the_long_form_is_measured():
    body = modex(0x97, packet_type=1, data=bytes(300), rest=b"av01\0")
    assert classify(VIDEO, body) == K
    assert parse_video(body).data_offset == len(body) - 1
    whole = modex(0x97, packet_type=1, data=bytes(65_536), rest=b"av01\0")
    assert classify(VIDEO, whole) == K
    assert classify(VIDEO, whole[:60_000]) == 0


def test_modex_adds_nanoseconds_to_the_presentation_time():
    body = modex(0x97, packet_type=1, data=(999_999).to_bytes(3), rest=b"hvc1\xff\xff\xfe\0")
    tag = parse_video(body)
    assert (tag.timestamp_offset_ns, tag.composition_time_ms) == (999_999, -2)
    assert parse_video(modex(0x97, packet_type=1, data=b"\1", rest=b"av01\0")).timestamp_offset_ns == 0
    assert parse_audio(modex(0x97, packet_type=1, data=b"\0\0\5", rest=b"Opus\0")).timestamp_offset_ns == 5


def test_a_later_header_replaces_the_one_of_its_slot_even_with_another_codec():
    assert header_slot(VIDEO, b"\x17\0\0\0\0\1") == header_slot(VIDEO, b"\x90hvc1\1")
    assert header_slot(VIDEO, b"\x95av01\1") == header_slot(VIDEO, b"\x90av01\1")
    assert header_slot(AUDIO, b"\xaf\0\x11\x90") == header_slot(AUDIO, b"\x90OpusOpusHead")


def test_headers_that_do_not_replace_each_other_have_slots_of_their_own():
    bodies = [
        (VIDEO, b"\x90hvc1\1"),
        (VIDEO, b"\x84hvc1\2"),
        (VIDEO, b"\x96\x00hvc1\1\1"),
        (VIDEO, b"\x96\x00hvc1\2\1"),
        (VIDEO, b"\x96\x10hvc1\2\0\0\1\1"),
        (AUDIO, b"\xaf\0\x11\x90"),
        (AUDIO, b"\x94mp4a\1\2\0\0\0\3"),
        (AUDIO, b"\x95\x00mp4a\1\x11\x90"),
    ]
    assert len({header_slot(type_id, body) for type_id, body in bodies}) == len(bodies)


def test_the_default_track_has_one_slot_in_both_forms():
    assert header_slot(VIDEO, b"\x96\x00hvc1\0\1") == header_slot(VIDEO, b"\x90hvc1\1")


def test_a_real_second_track_is_parsed():
    tags = read_tags((HERE / "h264-two-tracks-64x48.flv").read_bytes())
    header, frame = parse_video(tags[1].body), parse_video(tags[3].body)
    assert (header.codec, header.track_id, header.packet_type, header.data_offset) == ("avc1", 1, 0, 7)
    assert (frame.frame_type, frame.track_id, frame.packet_type, frame.composition_time_ms) == (1, 1, 3, 0)
    assert frame.tracks == (Track(1, "avc1", 0, 7, len(tags[3].body)),)


@pytest.mark.parametrize(
    ("body", "codec", "frame_type", "packet_type", "composition_time_ms", "data_offset"),
    [
        ("17 00 000000 01", "avc1", 1, 0, 0, 5),
        ("17 00 0000ff 01", "avc1", 1, 0, 0, 5),
        ("27 01 000050 aa", "avc1", 2, 1, 80, 5),
        ("27 01 ffffec aa", "avc1", 2, 1, -20, 5),
        ("1c 01 800000", "hvc1", 1, 1, -(2**23), 5),
        ("2d 01 7fffff", "av01", 2, 1, 2**23 - 1, 5),
        ("22 aa", "sorenson", 2, 1, 0, 1),
        ("14", "vp6f", 1, 1, 0, 1),
        ("57 00", "avc1", 5, COMMAND, 0, 1),
        ("d1 00", "", 5, COMMAND, 0, 1),
        ("91 68766331 0000c8 aa", "hvc1", 1, 1, 200, 8),
        ("a3 68766331 aa", "hvc1", 2, 3, 0, 5),
        ("91 61763031 1200", "av01", 1, 1, 0, 5),
        ("d4 68766331 02", "hvc1", 5, 4, 0, 5),
        ("84 76703039 02", "vp09", 0, 4, 0, 5),
    ],
)
def test_video_heads_are_parsed(body, codec, frame_type, packet_type, composition_time_ms, data_offset):
    tag = parse_video(bytes.fromhex(body))
    assert tag[:5] == (codec, frame_type, packet_type, composition_time_ms, data_offset)
    assert tag.extended == (bytes.fromhex(body)[0] >= 0x80)
    assert tag.track_id is None
    assert tag.tracks == ()


@pytest.mark.parametrize(
    ("body", "codec", "packet_type", "data_offset", "sample_rate", "channels"),
    [
        ("af 00 1190", "mp4a", 0, 2, 0, 0),
        ("af 01 21", "mp4a", 1, 2, 0, 0),
        ("2f ff", ".mp3", 1, 1, 44_100, 2),
        ("2a ff", ".mp3", 1, 1, 22_050, 1),
        ("e2 ff", ".mp3", 1, 1, 8_000, 1),
        ("b2 ff", "speex", 1, 1, 16_000, 1),
        ("73 ff", "alaw", 1, 1, 8_000, 2),
        ("91 4f707573 fc", "Opus", 1, 5, 0, 0),
        ("90 61632d33", "ac-3", 0, 5, 0, 0),
        ("94 6d703461 01", "mp4a", 4, 5, 0, 0),
    ],
)
def test_audio_heads_are_parsed(body, codec, packet_type, data_offset, sample_rate, channels):
    tag = parse_audio(bytes.fromhex(body))
    assert (tag.codec, tag.packet_type, tag.data_offset) == (codec, packet_type, data_offset)
    assert (tag.sample_rate, tag.channels) == (sample_rate, channels)


def test_many_tracks_of_one_codec_are_listed():
    tag = parse_video(bytes.fromhex("96 11 68766331 00 000005 000001 aabb 03 000003 fffffe"))
    assert tag.tracks == (Track(0, "hvc1", 1, 13, 15), Track(3, "hvc1", -2, 22, 22))
    assert (tag.track_id, tag.composition_time_ms, tag.data_offset) == (0, 1, 13)


def test_many_tracks_of_many_codecs_are_listed():
    tag = parse_audio(bytes.fromhex("95 21 4f707573 00 000002 aabb 6d703461 01 000001 cc"))
    assert tag.tracks == (Track(0, "Opus", 0, 10, 12), Track(1, "mp4a", 0, 20, 21))


def test_as_many_tracks_as_there_are_ids_are_read_and_no_more():
    head, tracks = b"\x95\x11Opus", [bytes([number % 256, 0, 0, 0]) for number in range(MAX_TRACKS + 1)]
    assert len(parse_audio(head + b"".join(tracks[:-1])).tracks) == MAX_TRACKS
    with pytest.raises(MediaError, match="more than 256 tracks"):
        parse_audio(head + b"".join(tracks))


def test_the_search_for_the_default_track_is_bounded():
    assert classify(VIDEO, b"\x96\x11av01" + b"\1\0\0\0" * 100_000) == 0


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("", "ends inside its header"),
        ("17", "ends inside its header"),
        ("17 01 0000", "ends inside its header"),
        ("17 03 000000", "packet type 3"),
        ("10 00", "unknown video codec 0"),
        ("1f 00", "unknown video codec 15"),
        ("90", "inside its FourCC"),
        ("90 687663", "inside its FourCC"),
        ("91 7a7a7a7a 00", "unknown FourCC 7a7a7a7a"),
        ("91 0d0a1b00 00", "unknown FourCC 0d0a1b00"),
        ("91 68766331 0000", "inside its composition time"),
        ("98 68766331 00", "packet type 8"),
        ("96", "ends inside its header"),
        ("96 00", "inside its FourCC"),
        ("96 00 68766331", "ends inside its header"),
        ("96 10 68766331 00 0000", "ends inside its header"),
        ("96 10 68766331 00 000002 aa", "1 bytes behind"),
        ("96 10 68766331 00 ffffff aa", "bytes behind"),
        ("96 11 68766331 00 000002 aabb", "inside its composition time"),
        ("96 20 68766331 00 000001 aa 7a7a7a7a 01 000000", "unknown FourCC"),
        ("96 20 68766331 00 000001 aa 6876", "inside its FourCC"),
        ("96 06 68766331 00", "packet type 6 inside multitrack"),
        ("96 07 68766331 00", "packet type 7 inside multitrack"),
        ("96 30 68766331 00", "multitrack type 3"),
        ("97", "ends inside its header"),
        ("97 02 0000", "ends inside its header"),
        ("97 ff ff", "ends inside its header"),
        ("97 ff ff ff 00", "ends inside its header"),
    ],
)
def test_a_video_body_that_cannot_be_parsed_is_a_media_error(body, message):
    body = bytes.fromhex(body)
    with pytest.raises(MediaError, match=message):
        parse_video(body)
    assert classify(VIDEO, body) < 128
    assert header_slot(VIDEO, body)[0] == VIDEO


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("", "ends inside its header"),
        ("af", "ends inside its header"),
        ("af 02", "packet type 2"),
        ("c0 00", "unknown audio codec 12"),
        ("90 4f70", "inside its FourCC"),
        ("91 68766331 aa", "unknown FourCC 68766331"),
        ("93 4f707573 aa", "packet type 3"),
        ("95 55 4f707573 00", "multitrack type 5"),
        ("95 05 4f707573 00", "packet type 5 inside multitrack"),
        ("97 00", "ends inside its header"),
    ],
)
def test_an_audio_body_that_cannot_be_parsed_is_a_media_error(body, message):
    body = bytes.fromhex(body)
    with pytest.raises(MediaError, match=message):
        parse_audio(body)
    assert header_slot(AUDIO, body)[0] == AUDIO
