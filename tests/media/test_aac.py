from __future__ import annotations

import av
import pytest

from rtmpd.errors import MediaError
from rtmpd.media.aac import parse_aac
from tests.corpus.media.make import HERE, read_tags
from tests.helpers.bit_writer import BitWriter

STEREO_SILENCE = bytes.fromhex("211004608c1c")
MONO_SILENCE = bytes.fromhex("01182007")


def config(*fields):
    return BitWriter().u(*fields).bytes()


LC_24000 = ((2, 5), (6, 4), (2, 4), (0, 3))
LC_24000_MONO = ((2, 5), (6, 4), (1, 4), (0, 3))
SIGNALLED = {
    "explicit SBR": (config((5, 5), (6, 4), (2, 4), (3, 4), (2, 5), (0, 3)), STEREO_SILENCE, "HE-AAC", 5),
    "explicit PS": (config((29, 5), (6, 4), (1, 4), (3, 4), (2, 5), (0, 3)), MONO_SILENCE, "HE-AACv2", 29),
    "SBR behind": (config(*LC_24000, (0x2B7, 11), (5, 5), (1, 1), (3, 4)), STEREO_SILENCE, "HE-AAC", 5),
    "SBR behind, escaped rate": (
        config(*LC_24000, (0x2B7, 11), (5, 5), (1, 1), (15, 4), (48_000, 24)),
        STEREO_SILENCE,
        "HE-AAC",
        5,
    ),
    "SBR and PS behind": (
        config(*LC_24000_MONO, (0x2B7, 11), (5, 5), (1, 1), (3, 4), (0x548, 11), (1, 1)),
        MONO_SILENCE,
        "HE-AACv2",
        29,
    ),
}


def decoded(asc, frame):
    """Rate and channels of what FFmpeg's decoder makes of a frame."""
    decoder = av.CodecContext.create("aac", "r")
    decoder.extradata = asc
    sounds = [sound for _ in range(2) for sound in decoder.decode(av.Packet(frame))]
    return sounds[-1].sample_rate, sounds[-1].layout.nb_channels


@pytest.mark.parametrize(
    ("name", "rate", "channels"),
    [("aac-48000-stereo", 48_000, 2), ("aac-44100-mono", 44_100, 1), ("aac-48000-quad", 48_000, 4)],
)
def test_configurations_of_ffmpeg_are_read_as_its_decoder_does(name, rate, channels):
    tags = read_tags((HERE / f"{name}.flv").read_bytes())
    asc = tags[0].body[2:]
    assert parse_aac(asc) == ("mp4a", rate, channels, "LC", "mp4a.40.2")
    assert decoded(asc, tags[-1].body[2:]) == (rate, channels)


@pytest.mark.parametrize("name", SIGNALLED)
def test_signalled_sbr_and_ps_count_as_in_ffmpegs_decoder(name):
    asc, frame, profile, kind = SIGNALLED[name]
    assert parse_aac(asc) == ("mp4a", 48_000, 2, profile, f"mp4a.40.{kind}")
    assert decoded(asc, frame) == (48_000, 2)


@pytest.mark.parametrize("layout", [1, 2, 3, 4, 5, 6, 7, 11, 12, 14])
def test_channel_layouts_are_those_of_ffmpeg(layout):
    asc = config((2, 5), (3, 4), (layout, 4), (0, 3))
    decoder = av.CodecContext.create("aac", "r")
    decoder.extradata = asc
    decoder.open()
    assert parse_aac(asc).channels == decoder.layout.nb_channels


def test_sbr_signalled_as_absent_leaves_lc():
    assert parse_aac(bytes.fromhex("119056e500")) == ("mp4a", 48_000, 2, "LC", "mp4a.40.2")


def test_other_bits_behind_are_no_extension():
    assert parse_aac(bytes.fromhex("1190ffffff")).profile == "LC"
    assert parse_aac(config(*LC_24000, (0x2B7, 11), (2, 5), (1, 1))).sample_rate == 24_000
    assert parse_aac(config(*LC_24000, (0x2B7, 11), (5, 5), (1, 1), (3, 4), (0x548, 11), (0, 1))).profile == "HE-AAC"


def test_a_rate_may_be_escaped():
    assert parse_aac(config((2, 5), (15, 4), (44_056, 24), (2, 4), (0, 3))).sample_rate == 44_056


def test_an_object_type_may_be_escaped():
    assert parse_aac(config((31, 5), (10, 6), (4, 4), (2, 4))) == ("mp4a", 44_100, 2, "xHE-AAC", "mp4a.40.42")
    assert parse_aac(config((31, 5), (0, 6), (4, 4), (2, 4))).profile == "type 32"


def test_low_delay_is_not_searched_for_extensions():
    assert parse_aac(config((23, 5), (3, 4), (2, 4), (0, 2), (1, 1), (0, 3), (0, 1), (0, 2))).profile == "LD"


def test_extended_parts_of_the_general_configuration_are_skipped():
    sbr_behind = ((0x2B7, 11), (5, 5), (1, 1), (3, 4))
    core_delay = config((2, 5), (6, 4), (2, 4), (0, 1), (1, 1), (99, 14), (1, 1), (0, 1), *sbr_behind)
    assert parse_aac(core_delay).sample_rate == 48_000
    scalable = config((6, 5), (6, 4), (2, 4), (0, 3), (1, 3), *sbr_behind)
    assert parse_aac(scalable).sample_rate == 48_000
    bsac = config((22, 5), (3, 4), (2, 4), (0, 2), (1, 1), (0, 16), (0, 1), (0, 2))
    assert parse_aac(bsac).channels == 2
    explicit_bsac = config((5, 5), (6, 4), (2, 4), (3, 4), (22, 5), (2, 4), (0, 3))
    assert parse_aac(explicit_bsac).sample_rate == 48_000


def test_a_program_config_element_counts_channels():
    # Front: a mono element and a pair; side none; back: a pair; one for low frequencies; all mixdowns, a comment.
    head = ((2, 5), (3, 4), (0, 4), (0, 3), (0, 4), (1, 2), (3, 4), (2, 4), (0, 4), (1, 4), (1, 2), (1, 3), (1, 4))
    mixdowns = ((1, 1), (2, 4), (1, 1), (3, 4), (1, 1), (5, 3))
    elements = ((0, 5), (16, 5), (16, 5), (0, 4), (0, 4), (0, 5))
    unaligned = sum(bits for _, bits in (*head, *mixdowns, *elements))
    asc = config(*head, *mixdowns, *elements, (0, -unaligned % 8), (3, 8), (0x616263, 24))
    assert parse_aac(asc).channels == 6


@pytest.mark.parametrize(
    ("asc", "message"),
    [
        (b"", "ends early"),
        (b"\x11", "ends early"),
        (b"\x11\x80", "ends early"),
        (b"\x00\x00", "no object type"),
        (config((2, 5), (13, 4), (2, 4), (0, 3)), "unknown rate"),
        (config((2, 5), (15, 4), (0, 24), (2, 4), (0, 3)), "unknown rate"),
        (config((2, 5), (15, 4)), "ends early"),
        (config((2, 5), (3, 4), (8, 4), (0, 3)), "channel layout 8"),
        (config((2, 5), (3, 4), (15, 4), (0, 3)), "channel layout 15"),
        (config((31, 5)), "ends early"),
        (config((5, 5), (6, 4), (2, 4), (3, 4)), "no object type"),
        (config((2, 5), (3, 4), (2, 4), (0, 1), (1, 1)), "ends early"),
        (config((2, 5), (3, 4), (0, 4), (0, 3), (0, 10), (15, 4), (15, 4), (15, 4), (3, 2), (7, 3)), "ends early"),
    ],
)
def test_a_hostile_configuration_is_a_media_error(asc, message):
    with pytest.raises(MediaError, match=message):
        parse_aac(asc)
