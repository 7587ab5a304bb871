"""The writer of one recording: what it reports, and what it does when a file fails."""

from __future__ import annotations

import errno

import pytest

from muxers.base import MuxError
from rtmpd.wire.flv import FlvTag
from rtmpd.workers import protocol, writer
from rtmpd.workers.feed_queue import FeedQueue
from rtmpd.workers.protocol import Closed, Failed, Opened, Output, Start, Written
from rtmpd.workers.writer import RecordingWriter
from tests.helpers.fake_muxer import FakeMuxer
from tests.helpers.footage import demux, feed_of, footage, relative, tags_of

TAGS = [FlvTag(9, 40 * number, b"\x17\x01\0\0\0" + bytes(number)) for number in range(10)]
ENDS = [len(feed_of(TAGS[:count])) for count in range(11)]
FULL = OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture
def formats(monkeypatch):
    """The formats of a test, by name: options of FakeMuxer; the muxers made are in `made`."""
    made = {}

    def offer(**options):
        def maker(name):
            def make(path):
                made[name] = FakeMuxer(path, **options[name])
                return made[name]

            return make

        monkeypatch.setattr(writer, "FORMATS", {name: maker(name) for name in options})
        return made

    return offer


def write(folder, chunks, names=("flv",), interval_s=0.0, accept=lambda _packet: True):
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
    outputs = tuple(Output(name, str(folder / "a" / "b" / f"x.{name}")) for name in names)
    RecordingWriter(Start("id", 3, outputs), queue, report, interval_s).run()
    assert {(packet.recording_id, packet.sequence) for packet in packets} == {("id", 3)}
    return packets


def kinds(packets):
    return [type(packet) for packet in packets]


def test_a_feed_becomes_a_file_and_its_facts(tmp_path):
    source = footage()

    opened, *_, closed = write(tmp_path, [feed_of(tags_of(source))])

    assert opened == Opened("id", 3, "flv", str(tmp_path / "a" / "b" / "x.flv"))
    assert isinstance(closed, Closed)
    assert closed.feed_bytes == len(feed_of(tags_of(source)))
    assert closed.facts["path"] == opened.path
    assert closed.facts["video_frames"] == 75
    assert relative(demux(tmp_path / "a" / "b" / "x.flv")) == relative(demux(source))


def test_a_torn_last_tag_is_left_out(tmp_path, formats):
    made = formats(flv={})

    *_, closed = write(tmp_path, [feed_of(TAGS)[:-1]])

    assert made["flv"].tags == TAGS[:-1]
    assert closed.feed_bytes == ENDS[9]


def test_a_name_that_is_taken_gets_a_number(tmp_path, formats):
    formats(flv={})
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "x.flv").write_bytes(b"mine")

    opened, *_ = write(tmp_path, [feed_of(TAGS)])

    assert opened.path == str(tmp_path / "a" / "b" / "x~2.flv")
    assert (tmp_path / "a" / "b" / "x.flv").read_bytes() == b"mine"


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

    outputs = (Output("flv", str(tmp_path / "x.flv")),)
    RecordingWriter(
        Start("id", 3, outputs), StepQueue(1, lambda: None), lambda p: reported.append(p) or True, 0.0
    ).run()

    assert [packet.feed_bytes for packet in reported if isinstance(packet, Written)] == ENDS[1:8]


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


def test_progress_waits_for_its_interval(tmp_path, formats):
    formats(flv={})

    assert kinds(write(tmp_path, [feed_of(TAGS)], interval_s=3600)) == [Opened, Closed]


def test_a_file_that_fails_is_closed_and_reported_with_what_it_has(tmp_path, formats):
    made = formats(flv={"room": 4, "fault": FULL})

    opened, failed = write(tmp_path, [feed_of(TAGS)])

    assert isinstance(opened, Opened)
    assert (failed.errno, failed.feed_bytes, failed.facts["size_bytes"]) == (errno.ENOSPC, ENDS[4], 4)
    assert "No space left" in failed.reason
    assert made["flv"].closed == 1


def test_the_other_formats_of_a_recording_go_on_when_one_fails(tmp_path, formats):
    made = formats(flv={}, mp4={"room": 4, "fault": MuxError("no such codec in mp4")})

    packets = write(tmp_path, [feed_of(TAGS)], names=("flv", "mp4"))

    assert kinds(packets) == [Opened, Opened, Failed, Written, Closed]
    assert packets[2].file_format == "mp4"
    assert packets[2].errno == 0
    assert packets[3].feed_bytes == ENDS[10]
    assert made["flv"].tags == TAGS


def test_written_is_what_every_file_has(tmp_path, formats):
    formats(flv={}, mp4={"late": 6})

    packets = write(tmp_path, [feed_of(TAGS[:4]), feed_of(TAGS)[ENDS[4] :]], names=("flv", "mp4"))

    assert not [packet for packet in packets if isinstance(packet, Written)]
    assert [packet.feed_bytes for packet in packets if isinstance(packet, Closed)] == [ENDS[10]] * 2


def test_a_file_that_cannot_be_closed_has_failed(tmp_path, formats):
    formats(flv={"close_fault": OSError(errno.EIO, "Input/output error")})

    *_, failed = write(tmp_path, [feed_of(TAGS)])

    assert isinstance(failed, Failed)
    assert (failed.errno, failed.feed_bytes) == (errno.EIO, ENDS[10])


@pytest.mark.parametrize("name", ["ogg", ""])
def test_a_format_that_nobody_writes_is_refused_at_once(tmp_path, name):
    (failed,) = write(tmp_path, [feed_of(TAGS)], names=(name,))

    assert (failed.file_format, failed.errno, failed.facts) == (name, 0, None)
    assert "no muxer" in failed.reason


def test_a_folder_that_cannot_be_made_is_a_failure(tmp_path):
    (tmp_path / "a").write_bytes(b"a file")

    (failed,) = write(tmp_path, [feed_of(TAGS)])

    assert failed.errno in {errno.ENOTDIR, errno.EEXIST}


def test_a_feed_that_is_no_flv_fails_its_files_and_keeps_what_came_before(tmp_path, formats):
    made = formats(flv={})

    *_, failed = write(tmp_path, [feed_of(TAGS) + b"nonsense" * 20, b"more"])

    assert made["flv"].tags == TAGS
    assert "broken" in failed.reason
    assert failed.feed_bytes == ENDS[10]


def test_a_bug_in_a_muxer_costs_its_recording_and_nothing_else(tmp_path, formats, capsys):
    formats(flv={"room": 2, "fault": ZeroDivisionError("oops")})

    *_, failed = write(tmp_path, [feed_of(TAGS)])

    assert "internal error: ZeroDivisionError('oops')" in failed.reason
    assert "Traceback" in capsys.readouterr().err
    assert protocol.encode(failed)
