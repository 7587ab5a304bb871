"""MP4 and M4A files: what FFmpeg reads back is what came in, from a file that is closed, torn or cut short."""

from __future__ import annotations

import contextlib
import errno
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muxers import growing_file
from muxers.base import MuxError, TrackFacts
from muxers.conformance_feed import Feed
from muxers.mp4 import Mp4Muxer
from rtmpd.media.tags import SEQUENCE_HEADER, classify
from rtmpd.wire import amf0
from rtmpd.wire.flv import FlvTag
from tests.helpers.footage import assert_same_media, feed_of, footage, from_zero, shifted, tags_of, tracks_of

CASES = [
    pytest.param({"reordered": 2}, id="H.264+AAC, B-frames"),
    pytest.param({"video": "libx265", "reordered": 2}, id="HEVC+AAC, B-frames"),
    pytest.param({"video": "libsvtav1", "audio": "libopus"}, id="AV1+Opus"),
    pytest.param({"video": "libvpx-vp9", "audio": "flac"}, id="VP9+FLAC"),
    pytest.param({"audio": "libmp3lame"}, id="H.264+MP3"),
    pytest.param({"audio": "ac3"}, id="H.264+AC-3"),
    pytest.param({"audio": "eac3"}, id="H.264+E-AC-3"),
    pytest.param({"video": None}, id="audio only"),
    pytest.param({"audio": None, "reordered": 2}, id="video only"),
    pytest.param({"tracks": 3, "seconds": 2}, id="three tracks of each kind"),
]
MOVES = [
    pytest.param(0, 0, 0, id="together"),
    pytest.param(460, 0, 0, id="video later"),
    pytest.param(0, 460, 0, id="audio later"),
    pytest.param(2_200, 0, 1_000, id="video pauses"),
    pytest.param(0, 2_200, 1_000, id="audio pauses"),
    pytest.param(60_000, 0, 1_000, id="video pauses for a minute"),
    pytest.param(60_000, 60_000, 1_000, id="both pause for a minute"),
]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "recording.mp4"


@pytest.fixture
def muxer(path):
    muxer = Mp4Muxer(path)
    muxer.open()
    yield muxer
    muxer.close()


def boxes(data):
    """The kinds of the outermost boxes, and whether the last one is whole."""
    kinds, position = [], 0
    while position + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, position)
        if size == 1:
            (size,) = struct.unpack_from(">Q", data, position + 8)
        kinds.append(kind.decode())
        position += size
    return kinds, position == len(data)


def moved(tags, video_ms, audio_ms, from_ms):
    """Tags with one kind later, in the order of their times; headers stay in front."""
    later = {8: audio_ms, 9: video_ms}
    headers = [tag for tag in tags if tag.type_id == 18 or classify(tag.type_id, tag.body) & SEQUENCE_HEADER]
    frames = [
        tag._replace(timestamp_ms=tag.timestamp_ms + (later[tag.type_id] if tag.timestamp_ms >= from_ms else 0))
        for tag in tags
        if tag not in headers
    ]
    return headers + sorted(frames, key=lambda tag: tag.timestamp_ms)


def in_flv(tags):
    return from_zero(tracks_of(feed_of(tags), "flv"))


def begun(tracks, count):
    return {name: packets[: len(count[name])] for name, packets in tracks.items() if name in count}


@pytest.mark.parametrize("case", CASES)
def test_payloads_and_times_are_those_of_the_source_closed_and_killed(path, muxer, case):
    tags = shifted(tags_of(footage(**case)), 123_456)
    wanted = in_flv(tags)

    assert muxer.write(tags) == len(tags)
    killed = path.read_bytes()
    facts = muxer.close()

    assert_same_media(tracks_of(path), wanted)
    survived = tracks_of(killed)
    assert_same_media(survived, begun(wanted, survived))
    assert all(packets[-1].dts_ms - survived[name][-1].dts_ms <= 1_000 for name, packets in wanted.items())
    assert facts.left_out == 0
    assert facts.start_ms >= 123_456
    assert facts.size_bytes == path.stat().st_size
    assert boxes(path.read_bytes()) == (["ftyp", "free", "mdat", "moov"], True)


@pytest.mark.parametrize("case", [{"reordered": 2}, {"video": "libsvtav1", "audio": "libopus"}])
@pytest.mark.parametrize(("video_ms", "audio_ms", "from_ms"), MOVES)
def test_tracks_keep_their_times_wherever_they_begin_and_pause(path, muxer, case, video_ms, audio_ms, from_ms):
    tags = moved(tags_of(footage(**case)), video_ms, audio_ms, from_ms)
    wanted = in_flv(tags)

    for tag in tags:
        assert muxer.write([tag]) == 1
    killed = tracks_of(path.read_bytes())
    muxer.close()

    assert_same_media(tracks_of(path), wanted)
    assert_same_media(killed, begun(wanted, killed))


def test_the_tracks_are_described(muxer):
    muxer.write(tags_of(footage("libvpx-vp9", "flac", seconds=1)))

    assert muxer.close().tracks == (
        TrackFacts("video", 0, "vp09", width=64, height=48),
        TrackFacts("audio", 0, "fLaC", sample_rate=44_100, channels=2),
    )


def test_pictures_shown_before_they_are_decoded_are_shown_in_time(path, muxer):
    def early(tag, number):
        if tag.type_id != 9 or tag.body[1] != 1 or number < 5:
            return tag
        cts = int.from_bytes(tag.body[2:5], "big") - 80
        return tag._replace(body=tag.body[:2] + (cts % 2**24).to_bytes(3, "big") + tag.body[5:])

    source = [tag for tag in tags_of(footage(audio=None, reordered=2)) if tag.type_id == 9]
    tags = [early(tag, number) for number, tag in enumerate(source)]

    muxer.write(tags)
    muxer.close()

    got, wanted = tracks_of(path)["video 0"], in_flv(tags)["video 0"]
    assert [packet.payload for packet in got] == [packet.payload for packet in wanted]
    assert [packet.pts_ms for packet in got[5:]] == pytest.approx([packet.pts_ms for packet in wanted[5:]], abs=41)
    exact = [abs(one.pts_ms - other.pts_ms) <= 1 for one, other in zip(got, wanted, strict=True)]
    assert sum(exact) >= len(exact) - 2


def test_confirmed_tags_are_in_the_file_whatever_the_codec(path):
    for number, case in enumerate(case.values[0] for case in CASES):
        file = path.with_name(f"{number}.mp4")
        muxer = Mp4Muxer(file)
        muxer.open()
        tags = tags_of(footage(**case))
        confirmed = 0
        for count, tag in enumerate(tags, 1):
            muxer.write([tag])
            assert muxer.confirmed_tags <= count
            if muxer.confirmed_tags == confirmed:
                continue
            confirmed = muxer.confirmed_tags
            owed = in_flv(tags[:confirmed])
            survived = tracks_of(file.read_bytes())
            assert all(len(survived[name]) >= len(packets) for name, packets in owed.items())
        assert confirmed > len(tags) * 0.6
        muxer.close()
        assert muxer.confirmed_tags == len(tags)


def test_a_track_whose_first_frame_stays_its_only_one_holds_nothing_back(path, muxer):
    feed = Feed()
    feed.add_video_header()
    feed.add_audio_header()
    feed.add_audio(0)
    feed.add_frames(10, 3_000, audio=False)

    for tag in feed.tags:
        muxer.write([tag])

    survived = tracks_of(path.read_bytes())
    assert len(survived["audio 0"]) == 1
    assert survived["video 0"][-1].dts_ms > 2_000


def test_m4a_has_the_sound_alone(tmp_path):
    path = tmp_path / "recording.m4a"
    tags = tags_of(footage())
    muxer = Mp4Muxer(path, audio_only=True)
    muxer.open()

    assert muxer.write(tags) == len(tags)
    facts = muxer.close()

    wanted = in_flv([tag for tag in tags if tag.type_id == 8])
    assert_same_media(tracks_of(path), wanted)
    assert facts.file_format == "m4a"
    assert (facts.video_frames, facts.key_frames, facts.left_out) == (0, 0, 0)


def test_a_codec_that_mp4_cannot_carry_is_named_and_the_rest_is_kept(path, muxer):
    feed = Feed()
    feed.add_audio_header()
    feed.add_frames(0, 1_000, video=False)
    muxer.write(feed.tags)

    with pytest.raises(MuxError, match="MP4 cannot carry sorenson"):
        muxer.write([FlvTag(9, 71_000, b"\x12picture")])
    with pytest.raises(MuxError, match="not open"):
        muxer.write(feed.tags)

    assert muxer.close().audio_frames == len(feed.frames) == len(tracks_of(path)["audio 0"])


@pytest.mark.parametrize("body", [b"\x17\0\0\0\0garbage", b"\x90av01?", b"\x90hvc1" + bytes(30)])
def test_a_header_that_ffmpeg_cannot_use_is_an_error_and_leaves_no_file(path, muxer, body):
    frame = body[:1].replace(b"\x90", b"\x93") + (b"\x01\0\0\0" if body[0] == 0x17 else body[1:5]) + b"frame"

    with pytest.raises(MuxError):
        muxer.write([FlvTag(9, 0, body), *(FlvTag(9, at, frame) for at in range(0, 1_000, 40))])

    assert muxer.close().empty
    assert not path.exists()


class Disk:
    """os.pwrite of a disk with so much room, or one that breaks at a call."""

    def __init__(self, monkeypatch, room=1 << 40):
        self.room = room
        self._pwrite = growing_file.os.pwrite
        monkeypatch.setattr(growing_file.os, "pwrite", self)

    def __call__(self, descriptor, data, offset):
        taken = min(len(data), self.room - offset)
        if taken <= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return self._pwrite(descriptor, data[:taken], offset)


@pytest.mark.parametrize("room", [0, 50, 1_000, 3_000, 6_000, 9_000, 12_000])
def test_a_full_disk_leaves_a_file_of_whole_fragments(path, muxer, monkeypatch, room):
    tags = tags_of(footage())
    Disk(monkeypatch, room)

    def record():
        for tag in tags:
            muxer.write([tag])
        muxer.close()

    with pytest.raises(OSError, match="No space") as caught:
        record()
    facts = muxer.close()

    assert caught.value.errno == errno.ENOSPC
    assert facts == muxer.facts()
    if facts.empty:
        assert muxer.confirmed_tags == facts.video_frames == facts.size_bytes == 0
        assert not path.exists()
        return
    kinds, is_whole = boxes(path.read_bytes())
    assert kinds[:4] == ["ftyp", "free", "free", "moov"]
    assert kinds[4:] == ["moof", "mdat"] * (len(kinds[4:]) // 2)
    assert is_whole
    survived = tracks_of(path)
    assert facts.size_bytes == path.stat().st_size
    assert abs(facts.video_frames - len(survived["video 0"])) <= 3
    assert all(len(survived[name]) >= len(owed) for name, owed in in_flv(tags[: muxer.confirmed_tags]).items())


def test_a_disk_that_fills_up_while_the_index_is_written_leaves_the_fragments(path, muxer, monkeypatch):
    tags = tags_of(footage())
    muxer.write(tags)
    before = len(path.read_bytes())
    Disk(monkeypatch, before + 1_500)  # the last fragment fits, the index does not

    with pytest.raises(OSError, match="No space"):
        muxer.close()

    assert path.stat().st_size == before
    assert tracks_of(path)["video 0"][-1].dts_ms > 1_900


def test_the_index_is_on_the_disk_before_it_hides_the_fragments(path, muxer, monkeypatch):
    muxer.write(tags_of(footage()))
    states = []
    real = growing_file.os.fsync
    monkeypatch.setattr(
        growing_file.os, "fsync", lambda descriptor: (states.append(path.read_bytes()), real(descriptor))
    )

    muxer.close()

    first, last = states
    assert boxes(first)[0][-1] == "moov"
    assert boxes(first)[0].count("moof") >= 5
    assert_same_media(tracks_of(first), tracks_of(last))
    assert boxes(last)[0] == ["ftyp", "free", "mdat", "moov"]


SOURCE = [tag for tag in tags_of(footage(seconds=1)) if tag.type_id in (8, 9)]
bodies = st.one_of(
    st.sampled_from(SOURCE).map(lambda tag: (tag.type_id, tag.body)),
    st.tuples(st.sampled_from([8, 9, 15, 18]), st.binary(max_size=30)),
    st.binary(max_size=20).map(lambda rest: (9, b"\x17\0\0\0\0" + rest)),
    st.binary(max_size=20).map(lambda rest: (9, b"\x27\x01\0\0\0" + rest)),
    st.binary(max_size=20).map(lambda rest: (8, b"\xaf\x01" + rest)),
    st.binary(max_size=20).map(lambda rest: (8, b"\x91ac-3" + rest)),
    st.sampled_from([(18, amf0.encode("onResume")), (18, amf0.encode("onGap"))]),
)
any_tags = st.lists(
    st.builds(
        lambda body, time_ms: FlvTag(body[0], time_ms, body[1]),
        bodies,
        st.integers(0, 3_000) | st.integers(0, 2**32 - 1),
    ),
    max_size=40,
)


@given(any_tags, st.booleans())
def test_any_tags_end_in_a_file_that_opens_or_none(tmp_path_factory, tags, begins_well):
    path = tmp_path_factory.mktemp("any") / "x.mp4"
    muxer = Mp4Muxer(path)
    muxer.open()
    given = [*SOURCE[:4], *tags] if begins_well else tags
    taken = 0
    with contextlib.suppress(MuxError):
        taken = muxer.write(given)
    with contextlib.suppress(MuxError):
        muxer.close()

    facts = muxer.facts()
    assert taken <= len(given)
    assert facts.empty == (not path.exists())
    if not facts.empty:
        assert facts.video_frames + facts.audio_frames > 0
        found = tracks_of(path)
        assert sum(map(len, found.values())) <= facts.video_frames + facts.audio_frames
        assert facts.size_bytes == path.stat().st_size
