"""What is odd about a publication: found by looking once a second, merged, and told before its end."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from contextlib import closing

import pytest

from rtmpd.control import portrait as portrait_module
from rtmpd.control.abnormal import DESCRIBE_SLICE_S, LOOKED_AT, PIECES, REPORT_INTERVAL_S, Abnormal, Findings
from rtmpd.control.publications import Publications
from rtmpd.control.push_events import MAX_DETAILS, VIDEO_BACK, VIDEO_STALLED, Finding
from rtmpd.media.tracks import Tracks
from rtmpd.store.database import Database
from rtmpd.store.publications import PublicationBook
from rtmpd.wire.messages import AUDIO, Message
from tests.corpus.media.make import HERE, read_tags
from tests.helpers.live import (
    audio_frame,
    audio_header,
    inter_frame,
    key_frame,
    metadata,
    new_registry,
    video_header,
)
from tests.helpers.push import NODE, take_over, told
from tests.helpers.studio import logger_to

SMALL = read_tags((HERE / "h264-high-50x38.flv").read_bytes())[0].body
LARGE = read_tags((HERE / "h264-baseline-320x180.flv").read_bytes())[0].body
HEVC = read_tags((HERE / "hevc-main10-1280x720.flv").read_bytes())[0].body
MONO = read_tags((HERE / "aac-44100-mono.flv").read_bytes())[0].body
FLAC = read_tags((HERE / "flac-44100-stereo.flv").read_bytes())[0].body
UNREADABLE = b"\x17\0\0\0\0\x01\x02"
UNIX_S = 1_000_000.0


class Yard:
    """One publisher that sends what it is told, looked at once a second."""

    def __init__(self, database):
        self.database = database
        self.lines = []
        self.now = 500.0
        self.registry = new_registry()
        log = logger_to(self.lines)
        self.publications = Publications(PublicationBook(database), log, NODE, self.clock, self.unix_now)
        self.registry.observers.append(self.publications)
        self.abnormal = Abnormal(self.registry, self.publications, log, self.clock, self.unix_now)
        self.publication = None
        self.offset_ms = 0

    def clock(self):
        return self.now

    def unix_now(self):
        return UNIX_S + self.now - 500.0

    async def begin(self, name="s"):
        self.publication = take_over(self.registry, self.publications, name)
        await self.publications.began(self.publication)
        return self.publication

    def send(self, *messages):
        self.publication.extend(messages, self.now)
        self.publication.take_jump()

    def start(self, *headers):
        self.send(*(headers or (video_header(SMALL), audio_header())), key_frame(self.ms), audio_frame(self.ms))

    @property
    def ms(self):
        return round(self.now * 1000) + self.offset_ms

    def leap(self, times=1, ms=60_000):
        """Let the publisher's timestamps leap."""
        for _ in range(times):
            self.offset_ms += ms
            self.send(audio_frame(self.ms))

    def leap_back(self, times=1):
        self.leap(times, -60_000)

    def second(self, *kinds):
        """A second with frames of some kinds at its end, and a look."""
        self.now += 1
        self.send(*(frame(self.ms) for frame in kinds))
        self.look()

    def look(self):
        for _ in self.abnormal.look():
            pass

    def seconds(self, count, *kinds):
        for _ in range(count):
            self.second(*kinds)

    def end(self):
        self.registry.unpublish(self.publication, "peer closed", None)
        self.publications.over(self.publication, "peer closed", clean=False)

    async def reports(self):
        """Each report as {type: count}."""
        assert await self.publications.flush(5)
        return [{each["type"]: each["count"] for each in body["abnormal_event"]} for body in self.bodies()]

    def bodies(self):
        with closing(sqlite3.connect(self.database.path)) as connection:
            rows = connection.execute("SELECT body FROM outbox WHERE event_type = 321 ORDER BY number")
            return [json.loads(body) for (body,) in rows]


@pytest.fixture
async def yard(tmp_path):
    database = await Database.open(tmp_path / "rtmpd.db")
    yard = Yard(database)
    running = asyncio.ensure_future(yard.publications.run())
    await yard.begin()
    yield yard
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await database.close()


BOTH = (inter_frame, audio_frame)


async def test_of_an_ordinary_stream_nothing_is_told(yard):
    yard.send(metadata(videocodecid=7, audiocodecid=10, width=50, height=38))
    yard.start()
    yard.seconds(200, *BOTH)
    yard.end()

    assert await yard.reports() == []


async def test_the_first_of_a_kind_is_told_at_once_and_equal_ones_are_merged_over_the_interval(yard):
    yard.start()
    yard.second(*BOTH)
    yard.leap(2)
    yard.second(*BOTH)
    yard.leap_back()
    yard.second(*BOTH)
    first = await yard.reports()
    assert first == [{3: 2}, {1: 1}]

    yard.leap_back(4)
    yard.seconds(round(REPORT_INTERVAL_S) - 1, *BOTH)
    assert await yard.reports() == first
    yard.leap()
    yard.second(*BOTH)
    assert await yard.reports() == [*first, {1: 4, 3: 1}]

    body = yard.bodies()[-1]
    assert body["report_interval"] == 60_000
    assert (body["stream_id"], body["user_ip"], body["node"]) == ("s", "192.0.2.1", NODE)
    assert body["sequence"] == yard.publications.find(yard.publication).row.sequence
    assert body["abnormal_event"][0]["detail"][0]["occur_time"] == UNIX_S + 4


async def test_another_kind_is_told_at_once_with_what_waits(yard):
    yard.start()
    yard.leap()
    yard.second(*BOTH)
    yard.leap()
    yard.second(*BOTH)
    yard.leap_back()
    yard.second(*BOTH)

    assert await yard.reports() == [{3: 1}, {1: 1, 3: 1}]


async def test_what_waits_at_the_end_is_told_before_the_end(yard):
    yard.start()
    yard.leap()
    yard.second(*BOTH)
    yard.leap()
    yard.second(*BOTH)
    yard.leap()
    yard.end()

    assert await yard.reports() == [{3: 1}, {3: 2}]
    assert [each.event_type for each in told(yard.database.path)] == [1, 321, 321, 0]
    yard.second()
    assert len(await yard.reports()) == 2


async def test_leaps_of_a_stream_without_pictures_are_those_of_its_sound(yard):
    yard.send(audio_header(), audio_frame(yard.ms))
    yard.leap()
    yard.leap_back()
    yard.second(audio_frame)

    assert await yard.reports() == [{2: 1, 4: 1}]


@pytest.mark.parametrize(("goes_on", "type_", "after"), [(audio_frame, 6, 4), (inter_frame, 7, 2)])
async def test_a_track_that_stalls_while_the_other_goes_on_is_told_once_each_time(yard, goes_on, type_, after):
    yard.start()
    yard.second(*BOTH)
    yard.seconds(after - 1, goes_on)
    assert await yard.reports() == []
    yard.seconds(10, goes_on)
    assert await yard.reports() == [{type_: 1}]

    yard.second(*BOTH)
    yard.seconds(round(REPORT_INTERVAL_S), goes_on)
    assert await yard.reports() == [{type_: 1}, {type_: 1}]


async def test_a_publisher_that_sends_nothing_at_all_is_not_told_of(yard):
    yard.start()
    yard.second(*BOTH)
    yard.seconds(15)

    assert await yard.reports() == []


@pytest.mark.parametrize(("sent", "type_"), [(audio_frame, 101), (inter_frame, 102)])
async def test_a_track_that_was_announced_and_never_comes_is_told_once(yard, sent, type_):
    yard.send(metadata(videocodecid=7, audiocodecid=10), sent(yard.ms))
    yard.seconds(6, sent)
    assert await yard.reports() == []
    yard.seconds(100, sent)

    assert await yard.reports() == [{type_: 1}]


async def test_a_track_that_was_missing_and_comes_after_all_may_stall_as_others(yard):
    yard.send(metadata(videocodecid=7, audiocodecid=10), audio_frame(yard.ms))
    yard.seconds(8, audio_frame)
    yard.second(*BOTH)
    yard.seconds(5, audio_frame)

    assert await yard.reports() == [{101: 1}, {6: 1}]


async def test_a_track_that_comes_late_is_not_missing(yard):
    yard.send(metadata(videocodecid=7, audiocodecid=10), audio_frame(yard.ms))
    yard.seconds(4, audio_frame)
    yard.seconds(20, *BOTH)

    assert await yard.reports() == []


async def test_frames_of_the_publisher_before_are_not_those_of_the_next(yard):
    yard.start()
    yard.second(*BOTH)
    yard.now += 0.5
    await yard.begin()
    yard.seconds(10, audio_frame)

    assert await yard.reports() == [{101: 1}]


@pytest.mark.parametrize(
    ("header", "type_", "text"),
    [
        (video_header(LARGE), 8, "video track 0: 50x38 became 320x180"),
        (video_header(HEVC), 8, "video track 0: avc1 became hvc1, 50x38 became 1280x720"),
        (Message(AUDIO, 0, 1, MONO), 9, "audio track 0: 48000 Hz became 44100 Hz, 2 channels became 1 channels"),
    ],
)
async def test_a_change_of_codec_or_format_is_told_with_what_became_what(yard, header, type_, text):
    yard.start()
    yard.second(*BOTH)
    yard.send(header)
    yard.seconds(3, *BOTH)

    assert await yard.reports() == [{type_: 1}]
    assert yard.bodies()[0]["abnormal_event"][0]["detail"] == [{"desc": text, "occur_time": UNIX_S + 2}]


async def test_headers_that_are_repeated_are_no_change(yard):
    yard.start()
    yard.second(*BOTH)
    for _ in range(5):
        yard.send(video_header(SMALL), audio_header(), metadata(width=50))
        yard.second(*BOTH)

    assert await yard.reports() == []


async def test_a_publisher_that_comes_back_with_another_codec_is_no_change(yard):
    yard.start()
    yard.second(*BOTH)
    yard.registry.unpublish(yard.publication, "peer closed", 1e9)
    yard.publications.over(yard.publication, "peer closed", clean=False)
    await yard.begin()
    yard.second()
    yard.start(video_header(HEVC), audio_header())
    yard.seconds(3, *BOTH)

    assert await yard.reports() == []


async def test_a_header_that_cannot_be_read_is_told_and_one_that_comes_after_it_is_no_change_of_size(yard):
    yard.start(video_header(UNREADABLE), audio_header())
    yard.second(*BOTH)
    yard.send(video_header(SMALL))
    yard.seconds(3, *BOTH)

    assert await yard.reports() == [{14: 1}]
    (detail,) = yard.bodies()[0]["abnormal_event"][0]["detail"]
    assert detail["desc"].startswith("video track 0: ")


async def test_an_uncommon_codec_is_told_once(yard):
    yard.start(video_header(SMALL), Message(AUDIO, 0, 1, FLAC))
    yard.second(*BOTH)
    yard.send(metadata(width=50))
    yard.seconds(3, *BOTH)

    assert await yard.reports() == [{13: 1}]


async def test_headers_are_read_for_a_moment_in_each_look_and_none_again_before_all_others_were(yard, monkeypatch):
    read = []
    real = portrait_module.describe_tracks

    def describe(headers):
        yard.now += DESCRIBE_SLICE_S / 4
        read.append(headers)
        return real(headers)

    monkeypatch.setattr(portrait_module, "describe_tracks", describe)
    for number in range(8):
        await yard.begin(f"s{number}")
        yard.start(video_header(UNREADABLE))
    yard.second()
    assert len(read) in {4, 5}

    for watch in [each for each in yard.abnormal._watches.values() if each.headers is not None]:
        watch.publication.append(metadata(width=1), yard.now)
    yard.second()
    watches = [each for each in yard.abnormal._watches.values() if each.publication.frames]
    assert len(watches) == 8
    assert all(each.headers is not None for each in watches)
    assert len(await yard.reports()) == 8


async def test_a_description_that_takes_long_is_made_all_the_same(yard, monkeypatch):
    def describe(headers):
        yard.now += 100 * DESCRIBE_SLICE_S
        return Tracks((), frozenset())

    monkeypatch.setattr(portrait_module, "describe_tracks", describe)
    yard.start()
    yard.second()

    assert [each.headers is not None for each in yard.abnormal._watches.values()] == [True]


@pytest.mark.parametrize("flood", [audio_frame, inter_frame])
async def test_in_a_flood_of_one_track_nothing_is_said_of_the_other(yard, flood):
    yard.start()
    yard.second(*BOTH)
    for _ in range(10):
        yard.send(*(flood(yard.ms) for _ in range(2 * LOOKED_AT)))
        yard.second()

    assert await yard.reports() == []


async def test_a_track_that_nothing_announced_is_known_once_it_comes(yard):
    yard.send(audio_header(), audio_frame(yard.ms))
    yard.seconds(3, audio_frame)
    yard.seconds(3, *BOTH)
    yard.seconds(5, audio_frame)

    assert await yard.reports() == [{6: 1}]


async def test_a_publication_that_is_over_is_not_watched(yard):
    yard.start()
    yard.second(*BOTH)
    assert len(yard.abnormal._watches) == 1
    yard.end()
    yard.look()

    assert yard.abnormal._watches == {}


async def test_a_look_comes_in_pieces_and_who_ends_in_between_is_told_once(yard):
    for number in range(2 * PIECES - 1):
        await yard.begin(f"many{number}")
        yard.start(video_header(UNREADABLE))
    told = []
    for _ in yard.abnormal.look():
        told.append(sum(line["event"] == "push abnormal" for _, line in yard.lines))
        if len(told) == 1:
            yard.end()

    streams = [line["stream"] for _, line in yard.lines if line["event"] == "push abnormal"]
    assert len(told) == PIECES
    assert told[0] < told[-1]
    assert len(streams) == len(set(streams)) == 2 * PIECES - 1


async def test_each_event_has_a_line_in_the_log(yard):
    yard.start()
    yard.leap(2)
    yard.second(*BOTH)

    (line,) = [line for _, line in yard.lines if line["event"] == "push abnormal"]
    assert line == {
        "event": "push abnormal",
        "stream": "live/s",
        "client": 7,
        "found": "2 x video timestamps jumped forward",
    }


def test_findings_are_merged_and_their_details_bounded():
    findings = Findings()
    assert not findings.is_due(0.0)
    for number in range(3 * MAX_DETAILS):
        findings.add(VIDEO_STALLED, f"stall {number}", float(number))
    findings.add(VIDEO_BACK, "back", 1.0, times=7)
    assert findings.is_due(0.0)

    back, stalled = findings.take(0.0)
    assert back == Finding(VIDEO_BACK, 7, (("back", 1.0),))
    assert stalled.times == 3 * MAX_DETAILS
    assert stalled.details == tuple((f"stall {n}", float(n)) for n in range(MAX_DETAILS))
    assert not findings.is_due(1e9)
