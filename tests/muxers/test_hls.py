"""HLS recordings: a player reads what came in, at every moment whole files, and whatever changes, they go on."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import threading
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muxers import hls
from muxers.base import MuxError
from muxers.hls import HlsMuxer, repair
from muxers.playlist import parse
from rtmpd.wire import amf0
from rtmpd.wire.flv import FlvTag
from tests.helpers.footage import demux, footage, relative, shifted, tags_of
from tests.helpers.hls import (
    by_kind,
    copy_recording,
    duration_of,
    pictures_and_sound,
    read,
    read_runs,
    record,
    segments_of,
    watched,
)

STARTED_AT = datetime(2026, 11, 25, 12, 0, 0, tzinfo=UTC)
ON_RESUME = FlvTag(18, 0, amf0.encode("onResume"))
BOTH = pytest.mark.parametrize("segment_type", ["fmp4", "ts"])


@pytest.fixture
def path(tmp_path):
    return tmp_path / "recording.m3u8"


def script(name, value):
    return FlvTag(18, 0, amf0.encode(name, value))


def moved(tags, type_id, milliseconds):
    """The tags of one kind later, in the order in which they then come."""
    late = [tag._replace(timestamp_ms=tag.timestamp_ms + milliseconds * (tag.type_id == type_id)) for tag in tags]
    return sorted(late, key=lambda tag: tag.timestamp_ms)


def source(tags):
    """What FFmpeg reads from an FLV file of these tags."""
    data = b"FLV\1\5\0\0\0\x09\0\0\0\0" + b"".join(
        bytes([tag.type_id])
        + len(tag.body).to_bytes(3)
        + (tag.timestamp_ms & 0xFFFFFF).to_bytes(3)
        + bytes([tag.timestamp_ms >> 24, 0, 0, 0])
        + tag.body
        + (len(tag.body) + 11).to_bytes(4)
        for tag in tags
    )
    return by_kind(relative(demux(data)))


@pytest.mark.parametrize(
    ("video", "audio"),
    [
        ("libx264", "aac"),
        ("libx265", "aac"),
        ("libsvtav1", "libopus"),
        ("libvpx-vp9", "libopus"),
        ("libx264", "flac"),
        ("libx264", "libmp3lame"),
        ("libx264", "ac3"),
        ("libx264", "eac3"),
        (None, "aac"),
        ("libx264", None),
    ],
)
def test_fragmented_mp4_holds_the_payloads_and_times_of_the_source(path, video, audio):
    tags = tags_of(footage(video, audio, 5))

    facts = record(path, shifted(tags, 123_456))

    found, given = by_kind(relative(read(path))), by_kind(relative(demux(footage(video, audio, 5))))
    assert [(packet.kind, packet.dts_ms, packet.pts_ms) for packet in found] == [
        (packet.kind, pytest.approx(packet.dts_ms, abs=1), pytest.approx(packet.pts_ms, abs=1)) for packet in given
    ]
    # FFmpeg's MP4 muxer takes the temporal delimiters out of AV1, as its specification of MP4 wants.
    without_delimiter = [packet.payload.removeprefix(b"\x12\0" if video == "libsvtav1" else b"") for packet in given]
    assert [packet.payload for packet in found] == without_delimiter
    assert facts.duration_ms == pytest.approx(5000, abs=80) == duration_of(path)
    assert facts.start_ms == pytest.approx(123_456, abs=50)
    assert (facts.video_frames, facts.left_out) == (125 if video else 0, 0)
    assert len(segments_of(path).segments) == 3


@pytest.mark.parametrize("reordered", [0, 2])
@pytest.mark.parametrize(
    ("video", "audio"),
    [("libx264", "aac"), ("libx265", "aac"), ("libx264", "libmp3lame"), ("libx264", "ac3"), (None, "aac")],
)
def test_a_transport_stream_decodes_to_the_same_frames_at_the_same_times(path, tmp_path, video, audio, reordered):
    data = footage(video, audio, 5, reordered=reordered)
    (tmp_path / "source.flv").write_bytes(data)

    facts = record(path, tags_of(data), segment_type="ts")

    assert [packet[:3] for packet in by_kind(relative(read(path)))] == [
        (packet.kind, pytest.approx(packet.dts_ms, abs=1), pytest.approx(packet.pts_ms, abs=1))
        for packet in by_kind(relative(demux(data)))
    ]
    assert pictures_and_sound(path) == pictures_and_sound(tmp_path / "source.flv")
    assert facts.left_out == 0
    assert len(segments_of(path).segments) == 3


def test_reordered_pictures_keep_both_their_times(path):
    data = footage("libx264", "aac", 3, reordered=2)

    record(path, tags_of(data))

    assert by_kind(relative(read(path))) == by_kind(relative(demux(data)))


@BOTH
@pytest.mark.parametrize(("type_id", "late_ms"), [(8, 400), (9, 400)])
def test_tracks_that_do_not_start_together_keep_their_distance(path, segment_type, type_id, late_ms):
    tags = moved(tags_of(footage()), type_id, late_ms)

    facts = record(path, tags, segment_type=segment_type)

    times = [packet[:3] for packet in source(tags)]
    assert [packet[:3] for packet in by_kind(relative(read(path)))] == times
    assert facts.left_out == 0
    assert not any(segment.discontinuity for segment in segments_of(path).segments)


@pytest.mark.peer("ffmpeg")
@BOTH
def test_ffmpeg_decodes_it_without_a_word(path, segment_type):
    record(path, tags_of(footage(seconds=5)), segment_type=segment_type)

    command = ["ffmpeg", "-v", "warning", "-xerror", "-i", str(path), "-f", "null", "-"]
    result = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stderr) == (0, "")


@BOTH
def test_segments_begin_with_the_first_key_frame_that_is_due(path, segment_type):
    record(path, tags_of(footage(seconds=6)), segment_type=segment_type, segment_ms=1500)

    playlist = segments_of(path)
    assert [segment.duration_ms for segment in playlist.segments] == pytest.approx([2000, 2000, 2000], abs=25)
    assert playlist.independent_segments
    assert playlist.target_duration_s == 2
    assert (playlist.playlist_type, playlist.ended) == ("VOD", True)


@BOTH
def test_sound_alone_is_cut_by_time(path, segment_type):
    record(path, tags_of(footage(None, "aac", 6)), segment_type=segment_type)

    durations = [segment.duration_ms for segment in segments_of(path).segments]
    assert len(durations) == 3
    assert all(1990 <= duration <= 2550 for duration in durations[:-1])


@BOTH
def test_a_segment_ends_by_itself_where_no_key_frame_comes(path, segment_type):
    frames = [tag for tag in tags_of(footage("libx264", None, 1)) if tag.type_id == 9]
    header, key, *inter = frames[:-1]
    follow = [inter[number % len(inter)]._replace(timestamp_ms=number * 40) for number in range(1, 25 * 30)]

    record(path, [header, key, *follow], segment_type=segment_type)

    playlist = segments_of(path)
    assert [segment.duration_ms for segment in playlist.segments] == pytest.approx([12_000, 12_000, 6000], abs=550)
    assert not playlist.independent_segments


@BOTH
def test_at_every_moment_the_playlist_names_whole_files_only(path, segment_type, monkeypatch):
    states = set()

    def look(_name, _arguments):
        if path.exists():
            playlist = segments_of(path)
            states.add((len(playlist.segments), playlist.playlist_type, playlist.ended, playlist.target_duration_s))

    with watched(monkeypatch, look):
        record(path, tags_of(footage(seconds=5)), segment_type=segment_type)

    assert states == {(count, "EVENT", False, 12) for count in range(4)} | {(3, "VOD", True, 2)}


@BOTH
def test_killed_at_any_write_it_can_be_repaired_and_lacks_a_second_at_most(path, segment_type, monkeypatch, tmp_path):
    tags = [tag for tag in tags_of(footage(seconds=5)) if tag.type_id in (8, 9)]
    fed_ms = 0
    copies = []

    def look(name, arguments):
        if segment_type == "ts" and name == "write" and len(copies) % 9:
            copies.append(None)
            return
        copy = copy_recording(path, tmp_path / str(len(copies)))
        if name == "write":  # which may be torn
            with next(copy.with_suffix("").glob("*.ts.part" if segment_type == "ts" else "*.m4s.part")).open(
                "ab"
            ) as part:
                part.write(bytes(arguments[1])[: len(arguments[1]) // 2])
        copies.append((copy, fed_ms))

    muxer = HlsMuxer(path, segment_type=segment_type)
    with watched(monkeypatch, look):
        muxer.open()
        for tag in tags:
            fed_ms = tag.timestamp_ms
            muxer.write([tag])
        muxer.close()

    assert len(copies) > 20
    for copy, known_ms in filter(None, copies):
        if not copy.with_suffix("").exists():
            assert not known_ms
            continue
        facts = repair(copy)
        if facts is None:
            assert known_ms <= 1000
            continue
        assert facts.duration_ms >= known_ms - 1000
        assert segments_of(copy).ended
        assert len(read(copy)) == facts.video_frames + facts.audio_frames


@BOTH
def test_what_is_confirmed_survives_a_kill(path, segment_type, tmp_path):
    tags = tags_of(footage())
    muxer = HlsMuxer(path, segment_type=segment_type)
    muxer.open()
    for number, tag in enumerate(tags):
        muxer.write([tag])
        if number % 40 == 39:
            copy = copy_recording(path, tmp_path / str(number))
            facts = repair(copy)
            confirmed = [each for each in tags[: muxer.confirmed_tags] if each.type_id in (8, 9)]
            kept = facts.video_frames + facts.audio_frames if facts else 0
            assert kept >= len(confirmed) - 2  # two sequence headers
            assert tag.timestamp_ms - tags[muxer.confirmed_tags - 1].timestamp_ms <= 1000
    muxer.close()
    assert muxer.confirmed_tags == len(tags)


@BOTH
def test_another_configuration_goes_on_behind_a_discontinuity(path, segment_type):
    first = tags_of(footage(seconds=3))
    second = shifted(tags_of(footage(width=96)), 3100)

    facts = record(path, [*first, *second], segment_type=segment_type)

    playlist = segments_of(path)
    assert [segment.discontinuity for segment in playlist.segments].count(True) == 1
    assert len({segment.map_uri for segment in playlist.segments}) == (2 if segment_type == "fmp4" else 1)
    # Sound that comes before the key frame is of no new kind, and the header of the picture alone cuts nothing.
    assert facts.left_out == 0
    assert facts.video_frames == 150
    assert len(read_runs(path)) == facts.video_frames + facts.audio_frames


def test_a_header_that_is_repeated_changes_nothing(path):
    tags = tags_of(footage(seconds=5))
    headers = [tag for tag in tags if tag.type_id in (8, 9)][:2]
    repeated = [each for tag in tags for each in ([*headers, tag] if tag.type_id == 9 else [tag])]

    record(path, repeated)

    assert not any(segment.discontinuity for segment in segments_of(path).segments)


def test_a_new_header_with_each_message_makes_no_file_of_each(path):
    small, large = (tags_of(footage("libx264", None, 3, width=width)) for width in (64, 96))
    headers = [next(tag for tag in tags if tag.type_id == 9) for tags in (small, large)]
    key = next(tag for tag in small if tag.body[:2] == b"\x17\1")
    tags = []
    for number in range(1000):
        tags += [headers[number % 2], key._replace(timestamp_ms=number)]

    facts = record(path, tags)

    assert len(segments_of(path).segments) <= 6
    assert facts.left_out > 400


def test_timestamps_that_leap_make_no_file_of_each_message(path):
    tags = [tag for tag in tags_of(footage("libx264", None, 3)) if tag.type_id == 9]
    header, key = tags[:2]

    record(path, [header, *(key._replace(timestamp_ms=number * 30_000) for number in range(400))])

    assert len(segments_of(path).segments) <= 400 / 10 + 5


def test_a_track_that_comes_later_is_carried_from_the_next_key_frame_on(path):
    tags = tags_of(footage(seconds=5))
    header = next(tag for tag in tags if tag.type_id == 8)
    late = [tag for tag in tags if tag.type_id == 9 or tag.timestamp_ms > 1500]
    late.insert(next(i for i, tag in enumerate(late) if tag.timestamp_ms > 1500), header)

    facts = record(path, late)

    playlist = segments_of(path)
    assert [segment.discontinuity for segment in playlist.segments].count(True) == 1
    assert facts.left_out == pytest.approx(500 / 21, abs=3)
    assert facts.video_frames == 125
    assert {track.kind for track in facts.tracks} == {"audio", "video"}
    assert len(read_runs(path)) == facts.video_frames + facts.audio_frames


def test_a_track_that_falls_silent_is_dropped_so_that_no_player_waits_for_it(path):
    tags = [tag for tag in tags_of(footage(seconds=10)) if tag.type_id == 9 or tag.timestamp_ms < 2000]

    record(path, tags)

    playlist = segments_of(path)
    changes = [segment for segment in playlist.segments if segment.discontinuity]
    assert len(changes) == 1
    splitters = b"".join((path.parent / segment.map_uri).read_bytes() for segment in changes)
    assert b"vide" in splitters
    assert b"soun" not in splitters


def test_sound_goes_on_where_the_picture_has_ended(path):
    tags = tags_of(footage(seconds=10))
    other = shifted([tag for tag in tags_of(footage(None, "libmp3lame", 6)) if tag.type_id == 8], 10_000)
    tags = [tag for tag in tags if tag.type_id == 8 or tag.timestamp_ms < 2000]

    facts = record(path, [*tags, *other])

    assert facts.left_out == 0
    assert facts.duration_ms == pytest.approx(16_000, abs=80)
    assert [segment.discontinuity for segment in segments_of(path).segments].count(True) >= 1


@BOTH
def test_a_run_ends_before_ffmpeg_has_counted_too_far(path, monkeypatch, segment_type):
    monkeypatch.setattr(hls, "LONGEST_RUN_MS", 2_500)
    tags = tags_of(footage(seconds=5))

    facts = record(path, tags, segment_type=segment_type)

    assert [segment.discontinuity for segment in segments_of(path).segments].count(True) == 1
    assert facts.left_out == 0
    assert facts.duration_ms == pytest.approx(5_000, abs=80) == duration_of(path)


def test_a_publisher_that_comes_back_continues_the_time_behind_a_discontinuity(path):
    tags = tags_of(footage())

    facts = record(path, [*tags, ON_RESUME, *shifted(tags, 5_000_000)], started_at=STARTED_AT)

    playlist = segments_of(path)
    marked = [segment for segment in playlist.segments if segment.discontinuity]
    assert len(marked) == 1
    assert facts.jumps == 0
    assert facts.duration_ms == pytest.approx(6000, abs=120)
    assert abs(marked[0].program_date_time - datetime.now(UTC)) < timedelta(minutes=1)
    assert playlist.segments[0].program_date_time == STARTED_AT
    times = [packet.dts_ms for packet in read(path) if packet.kind == "video"]
    assert times == sorted(times)
    assert max(after - before for before, after in pairwise(times)) <= 100


def test_what_is_missing_before_the_first_frame_breaks_nothing(path):
    record(path, [ON_RESUME, script("onGap", {}), *tags_of(footage(seconds=5))], started_at=STARTED_AT)

    playlist = segments_of(path)
    assert not any(segment.discontinuity for segment in playlist.segments)
    assert playlist.segments[0].program_date_time == STARTED_AT


def test_a_publisher_that_is_gone_at_once_and_back_is_marked_as_soon_as_a_run_may_end(path):
    tags = tags_of(footage(seconds=3))
    begun = [tag for tag in tags if tag.timestamp_ms < 200]

    facts = record(path, [*begun, ON_RESUME, *shifted(tags, 5_000_000)], started_at=STARTED_AT)

    playlist = segments_of(path)
    assert [segment.discontinuity for segment in playlist.segments] == [False, True]
    assert playlist.segments[0].program_date_time == STARTED_AT
    assert playlist.segments[1].program_date_time > STARTED_AT
    assert facts.left_out == 0


@pytest.mark.parametrize("mark", [script("onGap", {"from_ms": 3000.0, "to_ms": 63_000.0}), script("other", {})])
def test_missing_media_is_a_discontinuity_with_its_own_date(path, mark):
    tags = tags_of(footage())

    facts = record(path, [*tags, mark, *shifted(tags, 63_000)], started_at=STARTED_AT)

    playlist = segments_of(path)
    (marked,) = [segment for segment in playlist.segments if segment.discontinuity]
    late = marked.program_date_time - STARTED_AT
    assert late.total_seconds() == pytest.approx(63, abs=0.1)
    assert facts.gap_ms == (60_000 if b"onGap" in mark.body else 0)
    assert all(segment.duration_ms <= 2_100 for segment in playlist.segments if segment is not marked)


def test_only_the_default_tracks_are_carried(path):
    facts = record(path, tags_of(footage(seconds=3, tracks=2)))

    assert len(read(path)) == facts.video_frames + facts.audio_frames
    assert facts.left_out == facts.video_frames + facts.audio_frames


@pytest.mark.parametrize(
    ("tag", "segment_type", "reason"),
    [
        (FlvTag(9, 0, b"\x12sorenson"), "fmp4", "HLS cannot carry sorenson"),
        (FlvTag(8, 0, b"\xb2speex"), "ts", "HLS in MPEG-TS cannot carry speex"),
    ],
)
def test_a_codec_that_hls_cannot_carry_is_refused_by_name(path, tag, segment_type, reason):
    muxer = HlsMuxer(path, segment_type=segment_type)
    muxer.open()

    with pytest.raises(MuxError, match=reason):
        muxer.write([tag])
    with pytest.raises(MuxError, match="not open"):
        muxer.write([tag])
    assert muxer.close().empty


@pytest.mark.parametrize("tags", [[], [FlvTag(18, 0, amf0.encode("onMetaData", {}))], tags_of(footage())[1:3]])
def test_a_recording_without_frames_leaves_nothing_behind(path, tags):
    facts = record(path, tags)

    assert facts.empty
    assert facts.size_bytes == 0
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize("taken", ["playlist", "folder"])
def test_a_name_that_is_taken_is_refused_and_nothing_is_touched(path, taken):
    if taken == "playlist":
        path.write_text("mine")
    else:
        path.with_suffix("").mkdir()

    with pytest.raises(FileExistsError):
        HlsMuxer(path).open()

    assert len(list(path.parent.iterdir())) == 1
    assert taken == "folder" or path.read_text() == "mine"


def test_a_name_without_the_suffix_of_playlists_is_refused(tmp_path):
    with pytest.raises(ValueError, match="m3u8"):
        HlsMuxer(tmp_path / "recording")


def test_the_folder_is_locked_until_the_recording_is_closed(path):
    muxer = HlsMuxer(path)
    muxer.open()
    muxer.write(tags_of(footage()))
    with pytest.raises(BlockingIOError):
        repair(path)

    muxer.close()

    descriptor = os.open(path.with_suffix(""), os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(descriptor)


def test_closing_again_changes_nothing(path):
    muxer = HlsMuxer(path)
    muxer.open()
    muxer.write(tags_of(footage()))
    facts = muxer.close()

    assert muxer.close() == facts
    assert facts.size_bytes == sum(file.stat().st_size for file in path.parent.rglob("*") if file.is_file())


def test_a_folder_that_was_removed_meanwhile_is_noticed(path):
    muxer = HlsMuxer(path)
    muxer.open()
    muxer.write(tags_of(footage())[:20])
    muxer.flush()
    for file in path.with_suffix("").iterdir():
        file.unlink()
    path.with_suffix("").rmdir()

    with pytest.raises(FileNotFoundError, match="removed"):
        muxer.flush()
    with pytest.raises(OSError, match="recording"):
        muxer.close()


class FullDisk:
    """os.write that takes so many bytes in all, and the last of them in part."""

    def __init__(self, room):
        self.room = room
        self.write = os.write

    def __call__(self, descriptor, data):
        taken = min(self.room, len(data))
        if not taken:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.room -= taken
        return self.write(descriptor, data[:taken])


@BOTH
@pytest.mark.parametrize("room", [0, 100, 9_000, 15_000])
def test_a_full_disk_leaves_a_complete_recording_of_what_it_took(path, monkeypatch, room, segment_type):
    tags = tags_of(footage(seconds=5))
    muxer = HlsMuxer(path, segment_type=segment_type)
    muxer.open()
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", FullDisk(room))
        with pytest.raises(OSError, match="No space") as caught:
            muxer.write(tags)
        with pytest.raises(MuxError):
            muxer.write(tags)
        facts = muxer.close()

    assert caught.value.errno == errno.ENOSPC
    if facts.empty:
        assert not path.exists()
        assert muxer.confirmed_tags <= 3  # metadata and headers
        return
    assert segments_of(path).ended
    media = [tag for tag in tags[: muxer.confirmed_tags] if tag.type_id in (8, 9)]
    assert len(read(path)) >= len(media) - 2 > 0


@BOTH
def test_an_earlier_recording_is_continued_behind_a_discontinuity(path, segment_type):
    tags = tags_of(footage())
    first = record(path, tags, segment_type=segment_type, started_at=STARTED_AT)
    before = parse(path.read_text())

    facts = record(path, tags, segment_type=segment_type, started_at=STARTED_AT + timedelta(hours=1), resume=True)

    playlist = segments_of(path)
    assert playlist.segments[: len(before.segments)] == before.segments
    added = playlist.segments[len(before.segments) :]
    assert [segment.discontinuity for segment in added] == [True] + [False] * (len(added) - 1)
    assert abs(added[0].program_date_time - STARTED_AT - timedelta(hours=1)) < timedelta(milliseconds=50)
    assert [segment.uri for segment in playlist.segments] == [
        f"recording/{number:05d}.{'ts' if segment_type == 'ts' else 'm4s'}" for number in range(4)
    ]
    assert (facts.video_frames, facts.audio_frames) == (2 * first.video_frames, 2 * first.audio_frames)
    assert facts.duration_ms == pytest.approx(2 * first.duration_ms, abs=30)
    assert facts.size_bytes == sum(file.stat().st_size for file in path.parent.rglob("*") if file.is_file())
    times = [packet.dts_ms for packet in read(path) if packet.kind == "video"]
    assert times == sorted(times)
    assert len(times) == facts.video_frames


def test_what_is_to_be_resumed_and_does_not_exist_is_begun(path):
    record(path, tags_of(footage()), resume=True)

    assert len(segments_of(path).segments) == 2


def test_an_empty_folder_that_a_killed_process_left_is_resumed(path):
    path.with_suffix("").mkdir()

    record(path, tags_of(footage()), resume=True)

    assert len(segments_of(path).segments) == 2


def test_what_is_still_being_written_cannot_be_resumed(path):
    muxer = HlsMuxer(path)
    muxer.open()

    with pytest.raises(BlockingIOError):
        HlsMuxer(path, resume=True).open()
    muxer.close()


def test_segments_of_the_other_kind_cannot_be_resumed(path):
    record(path, tags_of(footage()))
    before = path.read_text()

    with pytest.raises(MuxError, match="other kind"):
        HlsMuxer(path, segment_type="ts", resume=True).open()

    assert path.read_text() == before
    assert repair(path) is not None


def test_a_player_finds_names_with_escapes_through_a_web_server(tmp_path):
    path = tmp_path / "live%2Fa b.m3u8"
    record(path, tags_of(footage()))
    handler = partial(QuietHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            packets = read(f"http://127.0.0.1:{server.server_port}/live%252Fa%20b.m3u8")
        finally:
            server.shutdown()
            thread.join()

    assert packets == read(path_without_escapes(path, tmp_path / "plain"))


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        """Say nothing."""


def path_without_escapes(path, folder):
    """FFmpeg's reader of local files does not undo the escapes of a playlist."""
    folder.mkdir()
    path.with_suffix("").rename(folder / "plain")
    repair(folder / "plain.m3u8")
    return folder / "plain.m3u8"


HEADERS = [next(tag for tag in tags_of(footage(width=width)) if tag.type_id == 9) for width in (64, 96)]
FRAMES = [tag for tag in tags_of(footage()) if tag.type_id in (8, 9)][2:9]
any_tags = st.lists(
    st.builds(
        FlvTag._replace,
        st.sampled_from([*HEADERS, *FRAMES, *FRAMES, tags_of(footage())[2], ON_RESUME])
        | st.builds(FlvTag, st.sampled_from([8, 9, 15, 18]), st.just(0), st.binary(max_size=12)),
        timestamp_ms=st.integers(0, 3000) | st.sampled_from([60_000, 2**31 - 5, 2**32 - 5]),
    ),
    max_size=60,
)


@given(any_tags, st.integers(1, 20), st.sampled_from(["fmp4", "ts"]))
def test_any_tags_make_a_recording_or_a_refusal(tmp_path_factory, tags, batch, segment_type):
    path = tmp_path_factory.mktemp("any") / "recording.m3u8"
    muxer = HlsMuxer(path, segment_type=segment_type)
    muxer.open()
    confirmed = 0
    with suppress(MuxError):
        for start in range(0, len(tags), batch):
            muxer.write(tags[start : start + batch])
            assert confirmed <= (confirmed := muxer.confirmed_tags) <= start + batch
    with suppress(MuxError):
        muxer.close()
    facts = muxer.facts()

    assert facts.empty == (not path.exists()) == (not path.with_suffix("").exists())
    if not facts.empty:
        playlist = segments_of(path, regular=False)
        assert playlist.ended
        text = path.read_text()
        assert repair(path) is not None
        assert path.read_text() == text
