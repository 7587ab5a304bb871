from __future__ import annotations

from rtmpd.media.codecs import AUDIO_FOURCC, COMPOSITION_TIME, LEGACY_AUDIO, LEGACY_VIDEO, VIDEO_FOURCC
from rtmpd.media.configurations import describe_header
from rtmpd.wire.messages import VIDEO


def test_a_codec_has_one_name_whichever_way_it_is_sent():
    assert LEGACY_VIDEO[7] == VIDEO_FOURCC[b"avc1"]
    assert LEGACY_VIDEO[12] == VIDEO_FOURCC[b"hvc1"]
    assert LEGACY_AUDIO[10] == AUDIO_FOURCC[b"mp4a"]
    assert LEGACY_AUDIO[2] == LEGACY_AUDIO[14] == AUDIO_FOURCC[b".mp3"]


def test_only_codecs_that_reorder_carry_composition_times():
    assert set(VIDEO_FOURCC.values()) >= COMPOSITION_TIME
    assert COMPOSITION_TIME.isdisjoint(AUDIO_FOURCC.values())


def test_a_codec_that_is_known_but_not_described_is_no_error():
    assert describe_header(VIDEO, b"\x90vvc1\xff\xff") is None
