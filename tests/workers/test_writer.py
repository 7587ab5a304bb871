"""The writer of one recording: what it reports, and what it does when a file fails."""

from __future__ import annotations

import errno

import av
import pytest

from muxers.base import MuxError
from rtmpd.wire.flv import FlvTag
from rtmpd.workers import protocol, writer
from rtmpd.workers.feed_queue import FeedQueue
from rtmpd.workers.protocol import Closed, Failed, Grant, Opened, Output, Start, Written
from rtmpd.workers.writer import RecordingWriter
from tests.helpers.fake_muxer import FakeMuxer, fake_formats
from tests.helpers.footage import demux, feed_of, footage, from_zero, relative, tags_of, tracks_of

TAGS = [FlvTag(9, 40 * number, b"\x17\x01\0\0\0" + bytes(1 + number)) for number in range(10)]
ENDS = [len(feed_of(TAGS[:count])) for count in range(11)]
FULL = OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture
def formats(monkeypatch):
    """The formats of a test, by name: options of FakeMuxer; the muxers made are in `made`, in their order."""
    made = {}

    def offer(**options):
        def maker(name):
            def make(path, **more):
                made.setdefault(name, []).append(FakeMuxer(path, **{**options[name], **more}))
                return made[name][-1]

            return make

        monkeypatch.setattr(writer, "FORMATS", fake_formats(**{name: maker(name) for name in options}))
        return made

    return offer


def granted(folder, name, count=1, **options):
    """An output with so many grants: x-1.flv, x-2.flv, ..."""
    numbers = range(1, count + 1)
    suffix = {"hls": "m3u8"}.get(name, name)
    grants = tuple(Grant(f"{name}-{number}", str(folder / "a" / "b" / f"x-{number}.{suffix}")) for number in numbers)
    return Output(name, grants, **options)


def write(folder, chunks, names=("flv",), interval_s=0.0, accept=lambda _packet: True, outputs=None):
    """Run a writer over a whole feed; returns the packets that went to the server."""
    packets = []

    def report(packet):
        if accept(packet):
            packets.append(packet)
            return True
        return False

    queue = FeedQueue(10**9, lambda: None)
    for chunk in chunks:
        queue.put(chunk)
    queue.end()
    outputs = outputs or [granted(folder, name) for name in names]
    RecordingWriter(Start("id", 3, tuple(outputs)), queue, report, interval_s).run()
    assert {(packet.recording_id, packet.sequence) for packet in packets} == {("id", 3)}
    return packets


def of(kind, packets):
    return [packet for packet in packets if isinstance(packet, kind)]


def kinds(packets):
    return [type(packet) for packet in packets]


def test_a_feed_becomes_a_file_and_its_facts(tmp_path):
    source = footage()

    packets = write(tmp_path, [feed_of(tags_of(source))])

    (opened,), (closed,) = of(Opened, packets), of(Closed, packets)
    assert opened == Opened("id", 3, "flv", "flv-1")
    assert closed.file_id == "flv-1"
    assert of(Written, packets)[-1].feed_bytes == len(feed_of(tags_of(source)))
    assert closed.facts["path"] == str(tmp_path / "a" / "b" / "x-1.flv")
    assert closed.facts["video_frames"] == 75
    assert relative(demux(tmp_path / "a" / "b" / "x-1.flv")) == relative(demux(source))


@pytest.mark.parametrize("file_format", ["flv", "hls", "m4a", "ts"])
def test_sound_alone_of_a_stream_with_pictures_is_one_whole_track(tmp_path, file_format):
    source = footage()
    output = granted(tmp_path, file_format, 2, sound_only=True)

    packets = write(tmp_path, [feed_of(tags_of(source))], outputs=[output])

    (closed,) = of(Closed, packets)
    sound = from_zero({"audio 0": tracks_of(source)["audio 0"]})["audio 0"]
    tracks = tracks_of(closed.facts["path"])
    assert list(tracks) == ["audio 0"]
    with av.open(closed.facts["path"]) as container:
        assert [stream.type for stream in container.streams] == ["audio"]
        assert container.duration / av.time_base == pytest.approx(3.0, abs=0.05)
    got = from_zero(tracks)["audio 0"]
    assert len(got) == len(sound)
    assert abs(got[-1].dts_ms - sound[-1].dts_ms) <= 1
    assert closed.facts["duration_ms"] == pytest.approx(3000, abs=30)
    assert [track["kind"] for track in closed.facts["tracks"]] == ["audio"]
    assert of(Written, packets)[-1].feed_bytes == len(feed_of(tags_of(source)))


@pytest.mark.parametrize("file_format", ["flv", "hls", "m4a"])
def test_sound_alone_is_cut_at_sound_and_loses_none(tmp_path, file_format):
    source = footage()
    output = granted(tmp_path, file_format, 4, sound_only=True, cut_after_ms=700)

    packets = write(tmp_path, [feed_of(tags_of(source))], outputs=[output])

    closed = of(Closed, packets)
    files = [tracks_of(each.facts["path"])["audio 0"] for each in closed]
    frames = [each.facts["audio_frames"] for each in closed]
    assert len(closed) == 4  # pictures would have allowed a cut at each second only
    assert sum(frames) == sum(map(len, files)) == len(tracks_of(source)["audio 0"])
    assert all(each.facts["duration_ms"] == pytest.approx(700, abs=25) for each in closed[:3])


def test_pictures_are_left_out_of_one_format_only_where_that_was_asked(tmp_path, formats):
    made = formats(flv={}, hls={})
    tags = [FlvTag(8, 0, b"\xaf\x01x"), *TAGS]

    write(tmp_path, [feed_of(tags)], outputs=[granted(tmp_path, "flv", sound_only=True), granted(tmp_path, "hls")])

    assert made["flv"][0].tags == tags[:1]
    assert made["hls"][0].tags == tags


def test_a_stream_without_sound_leaves_nothing_where_sound_alone_is_wanted(tmp_path):
    packets = write(tmp_path, [feed_of(TAGS)], outputs=[granted(tmp_path, "flv", sound_only=True)])

    assert kinds(packets) == [Written]
    assert packets[0].feed_bytes == ENDS[-1]
    assert list(tmp_path.iterdir()) == []


def test_a_torn_last_tag_is_left_out(tmp_path, formats):
    made = formats(flv={})

    packets = write(tmp_path, [feed_of(TAGS)[:-1]])

    assert made["flv"][0].tags == TAGS[:-1]
    assert of(Written, packets)[-1].feed_bytes == ENDS[9]


def test_a_file_that_goes_on_is_resumed_and_not_made(tmp_path, formats):
    made = formats(hls={})
    (tmp_path / "x").touch()
    output = Output("hls", (Grant("old", str(tmp_path / "x"), resume=True),))

    packets = write(tmp_path, [feed_of(TAGS)], outputs=[output])

    assert made["hls"][0].resumes
    assert [packet.file_id for packet in of(Closed, packets)] == ["old"]


def test_what_a_muxer_has_not_confirmed_is_not_reported_as_written(tmp_path, formats):
    formats(flv={"late": 3})
    feed = feed_of(TAGS)
    queue_chunks = [
        feed[start:end] for start, end in zip([0, *ENDS[1:]], [*ENDS[1:], None], strict=True) if feed[start:end]
    ]
    reported = []

    class StepQueue(FeedQueue):
        def take(self, timeout_s):
            chunks = queue_chunks.pop(0) if queue_chunks else None
            return None if chunks is None else [chunks]

    RecordingWriter(
        Start("id", 3, (granted(tmp_path, "flv"),)),
        StepQueue(1, lambda: None),
        lambda packet: reported.append(packet) or True,
        0.0,
    ).run()

    assert [packet.feed_bytes for packet in of(Written, reported)] == [*ENDS[1:8], ENDS[10]]


def test_progress_that_did_not_go_out_is_reported_again(tmp_path, formats):
    formats(flv={})
    refused = []

    def accept(packet):
        if isinstance(packet, Written) and not refused:
            refused.append(packet)
            return False
        return True

    feed = feed_of(TAGS)
    big = feed_of([FlvTag(9, 0, bytes(5_000_000))])[13:]  # a batch of its own
    packets = write(tmp_path, [feed, big], accept=accept)

    assert refused[0].feed_bytes == ENDS[10]
    assert kinds(packets) == [Opened, Written, Closed]
    assert packets[1].feed_bytes == len(feed + big)


def test_progress_waits_for_its_interval_but_for_the_last(tmp_path, formats):
    formats(flv={})
    big = feed_of([FlvTag(9, 0, bytes(5_000_000))])[13:]

    assert kinds(write(tmp_path, [feed_of(TAGS), big], interval_s=3600)) == [Opened, Closed, Written]


def test_a_file_that_fails_is_closed_and_reported_with_what_it_has(tmp_path, formats):
    made = formats(flv={"room": 4, "fault": FULL})

    packets = write(tmp_path, [feed_of(TAGS)])

    (failed,) = of(Failed, packets)
    assert (failed.file_id, failed.errno, failed.facts["size_bytes"]) == ("flv-1", errno.ENOSPC, 4)
    assert "No space left" in failed.reason
    assert made["flv"][0].closed == 1


def test_the_other_formats_of_a_recording_go_on_when_one_fails(tmp_path, formats):
    made = formats(flv={}, mp4={"room": 4, "fault": MuxError("no such codec in mp4")})

    packets = write(tmp_path, [feed_of(TAGS)], names=("flv", "mp4"))

    (failed,) = of(Failed, packets)
    assert (failed.file_format, failed.errno) == ("mp4", 0)
    assert of(Written, packets)[-1].feed_bytes == ENDS[10]
    assert made["flv"][0].tags == TAGS


def test_a_format_that_failed_goes_on_at_the_next_key_frame_with_the_next_grant(tmp_path, formats):
    made = formats(flv={"room": 4, "fault": FULL})
    chunks = [feed_of(TAGS), *[feed_of([FlvTag(9, 400, bytes(5_000_000))])[13:]], feed_of(TAGS[:3])[13:]]

    packets = write(tmp_path, chunks, outputs=[granted(tmp_path, "flv", 2)])

    assert [packet.file_id for packet in of(Failed, packets)] == ["flv-1"]
    assert [packet.file_id for packet in of(Closed, packets)] == ["flv-2"]
    assert made["flv"][1].tags == TAGS[:3]


def test_files_are_cut_and_reported_one_after_another(tmp_path, formats):
    made = formats(flv={})

    packets = write(tmp_path, [feed_of(TAGS)], outputs=[granted(tmp_path, "flv", 9, cut_after_ms=160)])

    assert [[tag.timestamp_ms for tag in muxer.tags] for muxer in made["flv"]] == [
        [0, 40, 80, 120],
        [160, 200, 240, 280],
        [320, 360],
    ]
    assert [packet.file_id for packet in of(Closed, packets)] == ["flv-1", "flv-2", "flv-3"]


def test_written_is_what_every_file_has(tmp_path, formats):
    formats(flv={}, mp4={"late": 6})

    packets = write(tmp_path, [feed_of(TAGS[:4]), feed_of(TAGS)[ENDS[4] :]], names=("flv", "mp4"))

    assert kinds(packets) == [Opened, Opened, Closed, Closed, Written]
    assert packets[-1].feed_bytes == ENDS[10]


def test_a_file_that_cannot_be_closed_has_failed(tmp_path, formats):
    formats(flv={"close_fault": OSError(errno.EIO, "Input/output error")})

    (failed,) = of(Failed, write(tmp_path, [feed_of(TAGS)]))

    assert failed.errno == errno.EIO
    assert failed.facts["size_bytes"] == len(TAGS)


@pytest.mark.parametrize("name", ["ogg", ""])
def test_a_format_that_nobody_writes_is_reported(tmp_path, name):
    packets = write(tmp_path, [feed_of(TAGS)], names=(name,))

    failed = of(Failed, packets)[0]
    assert (failed.file_format, failed.errno, failed.facts) == (name, 0, None)
    assert "no muxer" in failed.reason


def test_a_folder_that_cannot_be_made_is_a_failure(tmp_path):
    (tmp_path / "a").write_bytes(b"a file")

    failed = of(Failed, write(tmp_path, [feed_of(TAGS)]))

    assert failed[0].errno in {errno.ENOTDIR, errno.EEXIST}


def test_a_feed_that_is_no_flv_fails_its_files_and_keeps_what_came_before(tmp_path, formats):
    made = formats(flv={})

    packets = write(tmp_path, [feed_of(TAGS) + b"nonsense" * 20, b"more"])

    assert made["flv"][0].tags == TAGS
    assert "broken" in of(Failed, packets)[0].reason


def test_a_bug_in_a_muxer_costs_its_file_and_nothing_else(tmp_path, formats, capsys):
    made = formats(flv={"room": 2, "fault": ZeroDivisionError("oops")}, mp4={})

    packets = write(tmp_path, [feed_of(TAGS)], names=("flv", "mp4"))

    (failed,) = of(Failed, packets)
    assert "internal error: ZeroDivisionError('oops')" in failed.reason
    assert "Traceback" in capsys.readouterr().err
    assert protocol.encode(failed)
    assert made["mp4"][0].tags == TAGS


def test_a_file_that_was_removed_is_noticed_within_a_second_of_media(tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "CHECK_INTERVAL_S", 0.0)
    source = tags_of(footage(seconds=10))
    path = tmp_path / "a" / "b" / "x-1.flv"

    class RemovingQueue(FeedQueue):
        def take(self, timeout_s):
            path.unlink(missing_ok=True)
            return super().take(timeout_s)

    queue = RemovingQueue(10**9, lambda: None)
    for tag in source:
        queue.put(feed_of([tag]) if tag is source[0] else feed_of([tag])[13:])
    queue.end()
    monkeypatch.setattr("rtmpd.workers.feed_queue.BATCH_BYTES", 1000)
    packets = []
    RecordingWriter(
        Start("id", 3, (granted(tmp_path, "flv", 1),)), queue, lambda packet: packets.append(packet) or True, 0.0
    ).run()

    assert of(Failed, packets)[0].errno == errno.ENOENT
