"""What each format carries, said before a byte is written."""

from __future__ import annotations

import subprocess
import sys

import pytest

from muxers import formats
from muxers.base import MuxError
from muxers.formats import FORMATS, FormatOptions, refusal
from rtmpd.media.codecs import AUDIO_FOURCC, LEGACY_AUDIO, LEGACY_VIDEO, VIDEO_FOURCC
from tests.helpers.footage import footage, tags_of

VIDEO_CODECS = {*LEGACY_VIDEO.values(), *VIDEO_FOURCC.values()}
AUDIO_CODECS = {*LEGACY_AUDIO.values(), *AUDIO_FOURCC.values()}
SOURCES = {
    "avc1": ("libx264", None),
    "hvc1": ("libx265", None),
    "av01": ("libsvtav1", None),
    "vp09": ("libvpx-vp9", None),
    "mp4a": (None, "aac"),
    ".mp3": (None, "libmp3lame"),
    "Opus": (None, "libopus"),
    "fLaC": (None, "flac"),
    "ac-3": (None, "ac3"),
    "ec-3": (None, "eac3"),
    "sorenson": ("flv", None),
    "adpcm": (None, "adpcm_swf"),
}
"""Encoders of codecs that FFmpeg's FLV muxer takes."""


@pytest.mark.parametrize(
    ("file_format", "codecs", "reason"),
    [
        ("flv", ["sorenson", "", "speex"], None),
        ("mp4", ["avc1", "mp4a"], None),
        ("mp4", ["sorenson", "mp4a"], "MP4 cannot carry sorenson"),
        ("mp4", ["vp08", "speex"], "MP4 cannot carry speex and vp08"),
        ("mp4", [""], "MP4 cannot carry an unknown codec"),
        ("mp4", [], None),
        ("m4a", ["sorenson", "Opus"], None),
        ("m4a", ["avc1", "speex"], "M4A cannot carry speex"),
        ("mp3", ["avc1", ".mp3"], None),
        ("mp3", ["avc1", "mp4a"], "MP3 cannot carry mp4a"),
        ("hls", ["av01", "Opus"], None),
        ("hls", ["vp6f"], "HLS cannot carry vp6f"),
        ("ts", ["hvc1", "ac-3", ".mp3"], None),
        ("ts", ["av01", "Opus"], "MPEG-TS cannot carry Opus and av01"),
        ("avi", ["avc1"], "no muxer writes avi"),
    ],
)
def test_a_stream_is_refused_with_the_format_and_the_codec(file_format, codecs, reason):
    assert refusal(file_format, codecs) == reason


def test_hls_of_transport_streams_carries_less():
    options = FormatOptions(hls_segment_type="ts")

    assert refusal("hls", ["hvc1", "ac-3", ".mp3"], options) is None
    assert refusal("hls", ["av01", "Opus"], options) == "HLS in MPEG-TS cannot carry Opus and av01"


def test_the_tables_name_codecs_as_everybody_does():
    assert VIDEO_CODECS == formats._VIDEO
    for each in FORMATS.values():
        assert each.carries is None or each.carries <= VIDEO_CODECS | AUDIO_CODECS


@pytest.mark.parametrize("name", ["mp4", "ts"])
@pytest.mark.parametrize("codec", SOURCES)
def test_a_container_carries_what_the_table_says_and_refuses_the_rest(tmp_path, codec, name):
    muxer = FORMATS[name].make(tmp_path / "x", FormatOptions())
    muxer.open()
    tags = tags_of(footage(*SOURCES[codec], seconds=1))

    if refusal(name, [codec]) is None:
        muxer.write(tags)
        facts = muxer.close()
        assert [track.codec for track in facts.tracks] == [codec]
        assert facts.left_out == 0
    else:
        with pytest.raises(MuxError, match=f"{FORMATS[name].title} cannot carry {codec}"):
            muxer.write(tags)
        assert muxer.close().empty


@pytest.mark.parametrize("name", ["flv", "mp4", "m4a", "mp3", "ts"])
def test_every_format_is_made_by_its_name_and_creates_nothing_yet(tmp_path, name):
    path = tmp_path / f"x.{FORMATS[name].suffix}"

    muxer = FORMATS[name].make(path, FormatOptions())

    assert muxer.facts().file_format == name
    assert not path.exists()


def test_whoever_writes_flv_only_never_loads_ffmpeg():
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from muxers.formats import FORMATS, FormatOptions\n"
        "FORMATS['flv'].make(Path('x'), FormatOptions()), FORMATS['mp3'].make(Path('x'), FormatOptions())\n"
        "assert 'av' not in sys.modules\n"
        "FORMATS['mp4'].make(Path('x'), FormatOptions())\n"
        "assert 'av' in sys.modules\n"
    )

    subprocess.run([sys.executable, "-c", program], check=True)
