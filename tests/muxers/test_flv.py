"""FLV files: what FFmpeg reads back is what came in, and no end of the process or of the disk spoils it."""

from __future__ import annotations

import errno
import fcntl
import os

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st

from muxers import flv
from muxers.base import MuxError
from muxers.clock import NOT_A_FRAME
from muxers.flv import FlvMuxer
from muxers.marks import ON_RESUME
from rtmpd.media.tags import classify
from rtmpd.wire import amf0
from rtmpd.wire.flv import FlvTag, TagReader
from tests.helpers.footage import demux, footage, metadata_of, relative, shifted, tags_of

CODECS = [
    pytest.param("libx264", "aac", id="H.264+AAC"),
    pytest.param("libx265", "aac", id="HEVC+AAC"),
    pytest.param("libsvtav1", "libopus", id="AV1+Opus"),
    pytest.param(None, "aac", id="audio only"),
    pytest.param("libx264", None, id="video only"),
]
AAC_HEADER = FlvTag(8, 0, bytes.fromhex("af001190"))
AVC_HEADER = next(tag for tag in tags_of(footage()) if tag.type_id == 9)
AUDIO = FlvTag(8, 0, b"\xaf\x01audio")
KEY = FlvTag(9, 0, b"\x17\x01\0\0\0key")
INTER = FlvTag(9, 0, b"\x27\x01\0\0\0inter")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "recording.flv"


@pytest.fixture
def muxer(path):
    muxer = FlvMuxer(path)
    muxer.open()
    yield muxer
    muxer.close()


def at(tag, milliseconds):
    return tag._replace(timestamp_ms=milliseconds)


def script(name, value):
    return FlvTag(18, 0, amf0.encode(name, value))


def record(path, tags, batch=7, **options):
    muxer = FlvMuxer(path, **options)
    muxer.open()
    for start in range(0, len(tags), batch):
        muxer.write(tags[start : start + batch])
    return muxer.close()


def times(path):
    return [tag.timestamp_ms for tag in tags_of(path.read_bytes())[1:]]


@pytest.mark.parametrize(("video", "audio"), CODECS)
def test_payloads_and_relative_timestamps_are_those_of_the_source(path, video, audio):
    source = footage(video, audio)

    facts = record(path, shifted(tags_of(source), 123_456))

    assert relative(demux(path)) == relative(demux(source))
    assert min(packet.dts_ms for packet in demux(path)) == 0
    assert path.read_bytes()[4] == (1 if video else 0) + (4 if audio else 0)
    assert {track.kind for track in facts.tracks} == {
        kind for kind, codec in (("video", video), ("audio", audio)) if codec
    }
    assert facts.duration_ms == pytest.approx(3000, abs=80)
    assert facts.start_ms == 123_456 + min(packet.dts_ms for packet in demux(source))
    assert facts.size_bytes == path.stat().st_size
    with av.open(str(path)) as container:
        assert container.duration == facts.duration_ms * 1000


@pytest.mark.parametrize(
    ("first_ms", "bits"),
    [(2**24 - 1500, 32), (2**31 - 1500, 32), (2**32 - 1500, 32), (2**24 - 1500, 24), (2**31 - 1500, 31)],
)
def test_a_feed_that_passes_a_boundary_of_its_clock_goes_on_without_a_jump(path, first_ms, bits):
    source = footage()

    facts = record(path, shifted(tags_of(source), first_ms, bits))

    assert relative(demux(path)) == relative(demux(source))
    assert facts.jumps == 0
    assert facts.duration_ms == pytest.approx(3000, abs=80)


def test_one_offset_serves_all_tracks_and_nothing_stands_before_the_start(path):
    record(path, [at(AVC_HEADER, 0), at(KEY, 1000), at(AUDIO, 990), at(AUDIO, 1010), at(INTER, 1040)])

    assert times(path) == [0, 0, 0, 10, 40]


def test_headers_and_script_tags_stand_where_the_frame_before_them_does_whatever_their_stamp(path):
    end = FlvTag(9, 0, bytes.fromhex("1702000000"))

    record(path, [AVC_HEADER, at(KEY, 5000), at(INTER, 5040), AVC_HEADER, script("onFi", {}), at(KEY, 5080), end])

    assert times(path) == [0, 0, 40, 40, 40, 80, 80]


def test_a_track_is_flagged_once_it_has_a_frame_and_not_for_its_header(path, muxer):
    def flags():
        return path.read_bytes()[4]

    muxer.write([AVC_HEADER, AAC_HEADER, FlvTag(8, 0, b""), KEY])
    assert flags() == 1

    muxer.write([at(AUDIO, 20)])
    assert flags() == 5


def test_every_tag_is_in_the_file_when_write_returns(path, muxer):
    source = tags_of(footage())

    for count, tag in enumerate(source, 1):
        muxer.write([tag])
        assert muxer.confirmed_tags == count

    assert [tag.body for tag in tags_of(path.read_bytes())[1:]] == [tag.body for tag in source[1:]]


@pytest.mark.parametrize("cut_bytes", [0, 1, 4, 5, 100, 1000, 4000])
def test_what_a_crash_leaves_opens_with_every_whole_tag(path, muxer, cut_bytes):
    source = footage()
    muxer.write(tags_of(source))

    left = path.read_bytes()
    left = left[: len(left) - cut_bytes]
    whole = len(TagReader().feed(left)) - 1

    survived = demux(left)
    *complete, last = relative(demux(source))[: len(survived)]
    assert survived[:-1] == complete
    assert last.payload.startswith(survived[-1].payload)  # FFmpeg gives out what there is of a torn tag
    assert len(survived) >= whole - 3  # two sequence headers and an end of sequence are no packets


def test_metadata_of_the_publisher_is_kept_and_completed(path):
    published = {"width": 64.0, "encoder": "test", "duration": 99.0, "fileSize": 7.0, "custom": {"a": [1.0, None]}}
    published |= {"keyframes": {"times": [1.0]}, "audiocodecid": 10.0, "videocodecid": 7.0, "spacer": "x"}

    facts = record(path, [script("onMetaData", amf0.EcmaArray(published)), AVC_HEADER, KEY, at(INTER, 40)])

    values = metadata_of(path.read_bytes())
    kept = {"width", "encoder", "custom", "videocodecid"}
    assert {key: values[key] for key in kept} == {key: published[key] for key in kept}
    assert values["duration"] == facts.duration_ms / 1000 == 0.08
    assert values["filesize"] == path.stat().st_size
    assert values["lasttimestamp"] == 0.04
    assert "fileSize" not in values
    assert "audiocodecid" not in values  # announced, but it never came


def test_the_metadata_tag_keeps_its_length_so_that_nothing_moves(path, muxer):
    muxer.write(tags_of(footage()))
    before = [(tag.type_id, len(tag.body)) for tag in tags_of(path.read_bytes())]

    muxer.close()

    assert [(tag.type_id, len(tag.body)) for tag in tags_of(path.read_bytes())] == before


def test_ffmpeg_takes_the_index_and_seeks_by_it(path):
    record(path, tags_of(footage(seconds=20)))
    with av.open(str(path)) as container:
        video = container.streams.video[0]
        assert len(video.index_entries) >= 21  # nothing of the file was read yet, so it is ours

        container.seek(15_500_000)
        packet = next(packet for packet in container.demux(video) if packet.size)
        assert packet.is_keyframe
        assert 15_000 <= packet.dts <= 15_100


def test_the_index_points_at_the_first_video_tag_and_then_at_key_frames(path):
    record(path, tags_of(footage()))

    data = path.read_bytes()
    index = metadata_of(data)["keyframes"]
    found = [(data[int(position) + 11 :][:2].hex(), data[int(position)]) for position in index["filepositions"]]
    assert found == [("1700", 9), ("1701", 9), ("1701", 9), ("1701", 9)]
    assert index["times"] == pytest.approx([0, 0, 1, 2], abs=0.03)


def test_an_index_that_is_full_keeps_every_second_key_frame(path):
    frames = [AVC_HEADER, *(at(KEY, number * 1000) for number in range(100))]

    record(path, frames, index_entries=20)

    index = metadata_of(path.read_bytes())["keyframes"]
    assert index["times"][:4] == [0, 0, 8, 16]
    assert index["times"][-1] == 96
    assert len(index["times"]) == len(index["filepositions"]) <= 20


def test_metadata_in_mid_file_stays_without_what_would_be_taken_for_this_file(path):
    body = amf0.encode("onMetaData", amf0.EcmaArray({"duration": 0.0, "width": 128.0}))
    untouched = amf0.encode("onMetaData", {"width": 32.0})
    broken = amf0.encode("onMetaData") + b"\x08\0\0"

    record(path, [AVC_HEADER, KEY, *(FlvTag(18, 0, body) for body in (body, untouched, broken))])

    written = tags_of(path.read_bytes())[-3:]
    assert amf0.decode(written[0].body) == ["onMetaData", {"width": 128.0}]
    assert [tag.body for tag in written[1:]] == [untouched, broken]


@pytest.mark.parametrize(
    "body",
    [
        amf0.encode("onMetaData"),
        amf0.encode("onMetaData", "text"),
        amf0.encode("onMetaData") + b"\x08\xff\xff\xff\xff\0",
        amf0.encode("onMetaData", {"x" * 60_000: "y" * 60_000, "width": float("nan")}),
        amf0.encode("onMetaData", {"many": [0.0] * 60_000}),
    ],
)
def test_metadata_that_is_broken_or_giant_costs_no_more_than_itself(path, body):
    record(path, [FlvTag(18, 0, body), AVC_HEADER, KEY])

    assert metadata_of(path.read_bytes())["filesize"] == path.stat().st_size < 200_000


def test_gaps_are_kept_in_the_file_and_counted(path):
    gap = script("onGap", {"from_ms": 1000, "to_ms": 3500})

    facts = record(path, [AVC_HEADER, at(KEY, 0), gap, at(KEY, 3500)])

    assert (facts.gaps, facts.gap_ms) == (1, 2500)
    assert gap.body in [tag.body for tag in tags_of(path.read_bytes())]


def test_unknown_codecs_are_recorded_as_they_are(path):
    odd = [FlvTag(9, 0, b"\x91zzzzkey"), FlvTag(8, 5, b"\x91qqqq1"), FlvTag(9, 40, b"\x2fx"), FlvTag(15, 50, b"\0x")]

    record(path, odd)

    assert tags_of(path.read_bytes())[1:] == [
        tag._replace(timestamp_ms=t) for tag, t in zip(odd, [0, 5, 40, 40], strict=True)
    ]


@pytest.mark.parametrize("codec", ["libx264", "libx265", "libsvtav1"])
def test_pictures_before_their_header_are_left_out_so_that_the_file_opens(path, codec):
    media = [tag for tag in tags_of(footage(codec, None)) if tag.type_id == 9]
    header, frames = media[0], [tag for tag in media if not classify(9, tag.body) & NOT_A_FRAME]

    facts = record(path, [*shifted(frames[:10], 1000), header, *shifted(frames[25:], 1000)])

    assert facts.left_out == 10
    assert facts.video_frames == len(demux(path)) == len(frames) - 25
    assert facts.start_ms == 2000
    assert times(path)[:2] == [0, 0]


@pytest.mark.parametrize("tags", [[], [AVC_HEADER, AAC_HEADER], [script("onMetaData", {}), FlvTag(8, 0, b"")]])
def test_a_recording_without_frames_is_removed_and_reported_empty(path, tags):
    facts = record(path, tags)

    assert facts.empty
    assert facts.size_bytes == 0
    assert not path.exists()


def test_closing_again_changes_nothing_and_writing_after_it_is_refused(path, muxer):
    muxer.write([AVC_HEADER, KEY])
    facts = muxer.close()
    data = path.read_bytes()

    assert muxer.close() == facts
    assert path.read_bytes() == data
    with pytest.raises(MuxError, match="not open"):
        muxer.write([KEY])


def test_a_name_that_is_taken_is_refused_and_its_file_untouched(path):
    path.write_bytes(b"mine")

    with pytest.raises(FileExistsError):
        FlvMuxer(path).open()

    assert path.read_bytes() == b"mine"


def test_the_file_is_locked_until_it_is_closed(path, muxer):
    muxer.write([AVC_HEADER, KEY])
    with path.open("rb") as other:
        with pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        muxer.close()
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_file_that_was_removed_meanwhile_is_an_error_not_a_recording(path):
    muxer = FlvMuxer(path)
    muxer.open()
    muxer.write([AVC_HEADER, KEY])
    path.unlink()

    with pytest.raises(FileNotFoundError, match="removed"):
        muxer.close()
    assert not muxer.close().empty


def test_flushing_finds_out_that_the_file_was_removed(path, muxer):
    muxer.write([AVC_HEADER, KEY])
    muxer.flush()
    path.unlink()

    with pytest.raises(FileNotFoundError, match="removed"):
        muxer.flush()
    with pytest.raises(FileNotFoundError, match="removed"):
        muxer.close()


def test_a_publisher_that_comes_back_goes_on_in_the_file_without_a_trace(path, muxer):
    resume = FlvTag(18, 0, ON_RESUME)

    assert muxer.write([AVC_HEADER, at(KEY, 5000), at(INTER, 5040), resume, AVC_HEADER, at(KEY, 0), at(INTER, 40)]) == 7
    assert muxer.confirmed_tags == 7
    facts = muxer.close()

    assert times(path) == [0, 0, 40, 40, 80, 120]
    assert {tag.type_id for tag in tags_of(path.read_bytes())[1:]} == {9}
    assert (facts.jumps, facts.left_out, facts.video_frames) == (0, 0, 4)


class FullDisk:
    """os.write that takes so many bytes in all, and the last of them in part."""

    def __init__(self, room):
        self.room = room

    def __call__(self, descriptor, data):
        taken = min(self.room, len(data))
        if not taken:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.room -= taken
        return os.pwrite(descriptor, data[:taken], os.fstat(descriptor).st_size)


@pytest.mark.parametrize("room", [0, 5, 20_000, 33_250, 40_000, 40_001, 45_000])
def test_a_full_disk_leaves_a_complete_file_of_the_tags_it_took(path, monkeypatch, room):
    source = tags_of(footage())
    muxer = FlvMuxer(path)
    muxer.open()
    monkeypatch.setattr(flv.os, "write", FullDisk(room))

    with pytest.raises(OSError, match="No space") as caught:
        muxer.write(source)
    with pytest.raises(MuxError):
        muxer.write(source)
    facts = muxer.close()

    assert caught.value.errno == errno.ENOSPC
    if facts.empty:
        assert not path.exists()
        return
    written = tags_of(path.read_bytes())
    assert [tag.body for tag in written[1:]] == [tag.body for tag in source[1 : muxer.confirmed_tags]]
    assert len(written) == muxer.confirmed_tags > 1
    assert metadata_of(path.read_bytes())["filesize"] == facts.size_bytes == path.stat().st_size
    assert demux(path) == relative(demux(footage()))[: len(demux(path))]


def test_a_file_is_closed_even_when_its_last_writes_fail(path, monkeypatch):
    muxer = FlvMuxer(path)
    muxer.open()
    muxer.write([AVC_HEADER, KEY])

    def fail(_descriptor):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(flv.os, "fsync", fail)
    with pytest.raises(OSError, match="Input/output"):
        muxer.close()

    with path.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert muxer.close().video_frames == 1


bodies = st.one_of(
    st.binary(max_size=40),
    st.sampled_from([tag.body for tag in (AAC_HEADER, AVC_HEADER, AUDIO, KEY, INTER)]),
    st.binary(max_size=20).map(lambda rest: amf0.encode("onMetaData") + rest),
    st.binary(max_size=20).map(lambda rest: amf0.encode("onGap") + rest),
)
any_tags = st.lists(st.builds(FlvTag, st.sampled_from([8, 9, 15, 18]), st.integers(0, 2**32 - 1), bodies), max_size=20)


@given(any_tags, st.integers(1, 20))
def test_any_tags_in_any_batches_make_the_same_file_with_the_same_bodies(tmp_path_factory, tags, batch):
    folder = tmp_path_factory.mktemp("any")
    tags = [AVC_HEADER, *tags]  # without one, pictures are left out
    whole, split = folder / "whole.flv", folder / "split.flv"

    facts = record(whole, tags, batch=len(tags) or 1, index_entries=4)
    record(split, tags, batch=batch, index_entries=4)

    assert facts.empty == (not whole.exists()) == (not split.exists())
    if not facts.empty:
        assert whole.read_bytes() == split.read_bytes()
        media = [tag for tag in tags if tag.type_id in (8, 9)]
        assert [tag.body for tag in tags_of(whole.read_bytes()) if tag.type_id in (8, 9)] == [tag.body for tag in media]
