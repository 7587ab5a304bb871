"""MPEG-TS files: what FFmpeg reads back is what came in, from a file that is closed or cut anywhere."""

from __future__ import annotations

import pytest

from muxers.base import MuxError, TrackFacts
from muxers.conformance_feed import Feed
from muxers.transport_stream import PACKET_BYTES
from muxers.ts import TsMuxer
from rtmpd.wire.flv import FlvTag
from tests.helpers.footage import feed_of, footage, from_zero, shifted, tags_of, tracks_of
from tests.helpers.hls import pictures_and_sound

CASES = [
    pytest.param({"reordered": 2}, id="H.264+AAC, B-frames"),
    pytest.param({"video": "libx265", "reordered": 2}, id="HEVC+AAC, B-frames"),
    pytest.param({"audio": "libmp3lame"}, id="H.264+MP3"),
    pytest.param({"audio": "ac3"}, id="H.264+AC-3"),
    pytest.param({"audio": "eac3"}, id="H.264+E-AC-3"),
    pytest.param({"video": None}, id="audio only"),
    pytest.param({"audio": None, "reordered": 2}, id="video only"),
    pytest.param({"tracks": 3, "seconds": 2}, id="three tracks of each kind"),
]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "recording.ts"


@pytest.fixture
def muxer(path):
    muxer = TsMuxer(path)
    muxer.open()
    yield muxer
    muxer.close()


def times_of(tracks):
    return {
        name: [time for packet in packets for time in (packet.dts_ms, packet.pts_ms)]
        for name, packets in from_zero(tracks).items()
    }


@pytest.mark.parametrize("case", CASES)
def test_every_frame_has_the_time_of_the_source(path, muxer, case):
    tags = shifted(tags_of(footage(**case)), 123_456)
    wanted = times_of(tracks_of(feed_of(tags), "flv"))

    assert muxer.write(tags) == len(tags)
    facts = muxer.close()

    found = tracks_of(path)
    assert min(packets[0].dts_ms for packets in found.values()) == 0
    assert {name: pytest.approx(times, abs=1) for name, times in wanted.items()} == times_of(found)
    assert (facts.file_format, facts.left_out, facts.size_bytes) == ("ts", 0, path.stat().st_size)
    assert facts.size_bytes % PACKET_BYTES == 0


@pytest.mark.parametrize("case", [{"reordered": 2}, {"video": "libx265"}])
def test_a_decoder_makes_the_same_of_it(path, muxer, case, tmp_path):
    (tmp_path / "source.flv").write_bytes(footage(**case))

    muxer.write(tags_of(footage(**case)))
    muxer.close()

    assert pictures_and_sound(path) == pictures_and_sound(tmp_path / "source.flv")


@pytest.mark.parametrize("case", CASES)
def test_confirmed_tags_are_in_the_file(path, muxer, case):
    tags = tags_of(footage(**case))
    counted = 0
    for count, tag in enumerate(tags, 1):
        muxer.write([tag])
        assert muxer.confirmed_tags <= count
        if count % 20 or not muxer.confirmed_tags:
            continue
        counted += 1
        survived = tracks_of(path.read_bytes())
        owed = tracks_of(feed_of(tags[: muxer.confirmed_tags]), "flv")
        assert all(len(survived[name]) >= len(packets) for name, packets in owed.items())
    assert counted > 2
    assert muxer.confirmed_tags >= len(tags) - 30


def test_a_file_that_is_cut_anywhere_plays_from_there(path, muxer):
    muxer.write(tags_of(footage()))
    muxer.close()
    data = path.read_bytes()

    late = tracks_of(data[len(data) // 2 // PACKET_BYTES * PACKET_BYTES :])

    assert late["video 0"][-1].dts_ms > late["video 0"][0].dts_ms > 1_000


def test_the_tracks_are_described(muxer):
    muxer.write(tags_of(footage("libx265", "ac3", seconds=1)))

    assert muxer.close().tracks == (
        TrackFacts("video", 0, "hvc1", width=64, height=48),
        TrackFacts("audio", 0, "ac-3", sample_rate=48_000, channels=2),
    )


def test_a_codec_that_mpeg_ts_cannot_carry_is_named_and_the_rest_is_kept(path, muxer):
    feed = Feed()
    feed.add_audio_header()
    feed.add_frames(0, 1_000, video=False)
    muxer.write(feed.tags)

    with pytest.raises(MuxError, match="MPEG-TS cannot carry av01"):
        muxer.write([FlvTag(9, 71_000, b"\x93av01picture")])

    assert muxer.close().audio_frames == len(feed.frames) == len(tracks_of(path)["audio 0"])
