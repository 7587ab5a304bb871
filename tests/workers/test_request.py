"""What a request comes to: safe names, formats that can be written, and a note where it is another one."""

from __future__ import annotations

import pytest

from rtmpd.config import AppConfig
from rtmpd.live.codecs import Codecs
from rtmpd.workers.request import RecordingRequest, RequestRefused, settle

APP = AppConfig(record_formats=("flv", "mp4"))
AAC = Codecs(frozenset({"avc1"}), frozenset({"mp4a"}))
MP3 = Codecs(frozenset({"avc1"}), frozenset({".mp3"}))
NOTHING = Codecs(frozenset(), frozenset())


def formats_of(codecs=AAC, app=APP, **request):
    settled, notes = settle(RecordingRequest(**{"task_id": "t"} | request), app, codecs)
    return settled.formats, notes


@pytest.mark.parametrize(
    ("request_", "formats"),
    [
        ({}, ("flv", "mp4")),
        ({"record_type": "audio"}, ("m4a",)),
        ({"formats": ("hls",)}, ("hls",)),
        ({"formats": ("flv", "flv")}, ("flv",)),
        ({"formats": ("flv", "hls", "ts"), "record_type": "audio"}, ("flv", "hls", "ts")),
    ],
)
def test_formats_are_those_that_are_named_or_those_of_the_application(request_, formats):
    assert formats_of(**request_) == (formats, ())


@pytest.mark.parametrize("record_type", ["video", "audio"])
@pytest.mark.parametrize(("codecs", "sends"), [(AAC, "sends mp4a"), (NOTHING, "sends no MP3 so far")])
def test_mp3_is_recorded_as_m4a_where_the_publisher_does_not_send_it_and_the_answer_says_so(record_type, codecs, sends):
    formats, (note,) = formats_of(codecs, formats=("mp3", "m4a"), record_type=record_type)

    assert formats == ("m4a",)
    assert sends in note
    assert "nothing is transcoded" in note


def test_mp3_is_mp3_where_the_publisher_sends_it():
    assert formats_of(MP3, formats=("mp3",), record_type="audio") == (("mp3",), ())


def test_an_mp4_of_sound_alone_is_an_m4a():
    assert formats_of(formats=("mp4",), record_type="audio")[0] == ("m4a",)


@pytest.mark.parametrize(
    ("request_", "codecs", "reason"),
    [
        ({"file_name": "../x"}, AAC, "a file name has no '/'"),
        ({"formats": ("avi",)}, AAC, "no muxer writes avi"),
        ({"formats": ("mp4",)}, Codecs(frozenset({"vp08"}), frozenset()), "MP4 cannot carry vp08"),
        ({"formats": ("m4a",)}, Codecs(frozenset(), frozenset({"speex"})), "M4A cannot carry speex"),
    ],
)
def test_what_cannot_be_recorded_is_refused_in_one_line(request_, codecs, reason):
    with pytest.raises(RequestRefused, match=reason) as caught:
        formats_of(codecs, **request_)

    assert "\n" not in str(caught.value)


def test_the_kind_of_hls_segments_decides_what_hls_can_carry():
    opus = Codecs(frozenset(), frozenset({"Opus"}))

    assert formats_of(opus, formats=("hls",)) == (("hls",), ())
    with pytest.raises(RequestRefused, match="HLS in MPEG-TS cannot carry Opus"):
        formats_of(opus, AppConfig(hls_segment_type="ts"), formats=("hls",))


def test_a_picture_that_a_format_cannot_carry_is_no_reason_where_sound_alone_is_wanted():
    assert formats_of(Codecs(frozenset({"vp08"}), frozenset({"mp4a"})), formats=("hls",), record_type="audio")
