"""The outputs of one format: where they are cut, what each begins with, and what becomes of the rest when one fails."""

from __future__ import annotations

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muxers.base import MuxError
from muxers.marks import ON_RESUME
from muxers.series import APART_MS, LATE_AUDIO_MS, VIDEO_GONE_MS, Cut, Series
from rtmpd.wire import amf0
from rtmpd.wire.flv import FlvTag
from rtmpd.wire.messages import AUDIO, DATA_AMF0, VIDEO
from tests.helpers.fake_muxer import FakeMuxer
from tests.helpers.live import AAC_HEADER, AVC_HEADER

FULL = OSError(errno.ENOSPC, "No space left on device")
METADATA = FlvTag(DATA_AMF0, 0, amf0.encode("onMetaData", {"width": 4.0}))
VIDEO_HEADER = FlvTag(VIDEO, 0, AVC_HEADER)
OTHER_HEADER = FlvTag(VIDEO, 0, AVC_HEADER + b"\0")
AUDIO_HEADER = FlvTag(AUDIO, 0, AAC_HEADER)
RESUME = FlvTag(DATA_AMF0, 0, ON_RESUME)


def key(time_ms, mark=b""):
    return FlvTag(VIDEO, time_ms, b"\x17\x01\0\0\0key" + mark)


def inter(time_ms):
    return FlvTag(VIDEO, time_ms, b"\x27\x01\0\0\0inter")


def sound(time_ms):
    return FlvTag(AUDIO, time_ms, b"\xaf\x01sound")


def movie(milliseconds, gop_ms=1000):
    """Headers, then 25 pictures and 20 sounds a second, in the order of their times."""
    frames = [key(at) if at % gop_ms == 0 else inter(at) for at in range(0, milliseconds, 40)]
    frames += [sound(at) for at in range(0, milliseconds, 50)]
    return [METADATA, VIDEO_HEADER, AUDIO_HEADER, *sorted(frames, key=lambda tag: tag.timestamp_ms)]


class Shelf:
    """Provides muxers while it has some, and keeps what it is told."""

    def __init__(self, folder, *makers):
        self.folder = folder
        self.makers = list(makers)
        self.endless = not makers
        self.made = []
        self.told = []

    def next(self):
        if self.endless:
            maker = FakeMuxer
        elif self.makers:
            maker = self.makers.pop(0)
        else:
            return None
        muxer = maker(self.folder / str(len(self.made)))
        self.made.append(muxer)
        return muxer

    def closed(self, muxer, _facts):
        self.told.append(("closed", self.made.index(muxer)))

    def failed(self, muxer, _facts, error):
        self.told.append(("failed", self.made.index(muxer), error))

    @property
    def frames(self):
        return [[tag for tag in muxer.tags if is_frame(tag)] for muxer in self.made]


def is_frame(tag):
    return tag.body[:1] in (b"\x17", b"\x27", b"\xaf") and tag.body[1:2] == b"\x01"


class Declining(FakeMuxer):
    """Takes one configuration of video, as MP4 does."""

    def write(self, tags):
        for index, tag in enumerate(tags):
            if tag.type_id == VIDEO and not is_frame(tag):
                known = [each.body for each in self.tags if each.type_id == VIDEO and not is_frame(each)]
                self.changed = bool(known) and tag.body != known[0]
            if getattr(self, "changed", False) and tag.body.startswith(b"\x17\x01"):
                return index
            self.tags.append(tag)
        return len(tags)


def written(shelf, tags, cut=Cut(), step=None):  # noqa: B008 - a value
    series = Series(shelf, cut)
    for start in range(0, len(tags), step or len(tags)):
        series.write(tags[start : start + (step or len(tags))])
    series.close()
    return series


def test_without_a_cut_everything_goes_into_one_output_as_it_came(tmp_path):
    shelf = Shelf(tmp_path)

    written(shelf, movie(5000))

    assert [muxer.tags for muxer in shelf.made] == [movie(5000)]
    assert shelf.told == [("closed", 0)]


@pytest.mark.parametrize("step", [None, 1, 7])
def test_outputs_are_cut_at_the_first_key_frame_after_their_time_and_begin_with_the_headers(tmp_path, step):
    shelf = Shelf(tmp_path)

    written(shelf, movie(6000), Cut(after_ms=2000), step)

    assert [muxer.tags[3].timestamp_ms for muxer in shelf.made] == [0, 2000, 4000]
    for muxer in shelf.made:
        assert [tag.body for tag in muxer.tags[:3]] == [METADATA.body, VIDEO_HEADER.body, AUDIO_HEADER.body]
        assert muxer.tags[3].body.startswith(b"\x17\x01")


def test_outputs_are_cut_by_size_too(tmp_path):
    shelf = Shelf(tmp_path)
    tags = movie(6000)
    size = sum(len(tag.body) + 15 for tag in tags if 2000 <= tag.timestamp_ms < 4000)

    written(shelf, tags, Cut(after_bytes=size))

    assert [frames[0].timestamp_ms for frames in shelf.frames] == [0, 2000, 4000]


@given(
    lateness_ms=st.integers(0, 120),
    step=st.integers(1, 50),
    cut_ms=st.integers(100, 3000),
)
def test_the_outputs_together_are_the_source_whatever_the_order_and_each_is_cut_in_time(
    tmp_path_factory, lateness_ms, step, cut_ms
):
    shelf = Shelf(tmp_path_factory.mktemp("series"))
    tags = movie(5000)
    frames = sorted(tags[3:], key=lambda tag: tag.timestamp_ms + (lateness_ms if tag.type_id == AUDIO else 0))
    tags = tags[:3] + frames

    written(shelf, tags, Cut(after_ms=cut_ms), step)

    for type_id in (VIDEO, AUDIO):
        joined = [tag for frames in shelf.frames for tag in frames if tag.type_id == type_id]
        assert joined == [tag for tag in tags[3:] if tag.type_id == type_id]
    assert len(shelf.made) > 1
    for frames in shelf.frames[1:]:
        start = frames[0]
        assert start.body == key(0).body
        assert all(tag.timestamp_ms >= start.timestamp_ms for tag in frames)


def test_an_output_that_waits_for_late_sound_is_closed_when_none_comes(tmp_path):
    shelf = Shelf(tmp_path)
    series = Series(shelf, Cut(after_ms=1000))
    series.write([*movie(1000), key(1000)])
    assert shelf.told == []

    series.write([inter(1000 + LATE_AUDIO_MS + 1)])

    assert shelf.told == [("closed", 0)]


def test_sound_alone_is_cut_at_any_frame(tmp_path):
    shelf = Shelf(tmp_path)

    written(shelf, [AUDIO_HEADER, *[sound(at) for at in range(0, 3000, 50)]], Cut(after_ms=1000))

    assert [frames[0].timestamp_ms for frames in shelf.frames] == [0, 1000, 2000]


def test_a_stream_whose_picture_has_gone_is_cut_at_its_sound(tmp_path):
    shelf = Shelf(tmp_path)
    tags = [VIDEO_HEADER, AUDIO_HEADER, key(0), *[sound(at) for at in range(0, 2 * VIDEO_GONE_MS, 50)]]

    written(shelf, tags, Cut(after_ms=1000))

    assert shelf.frames[1][0].timestamp_ms == VIDEO_GONE_MS + 50


def test_without_a_next_output_the_old_one_goes_on(tmp_path):
    shelf = Shelf(tmp_path, FakeMuxer)

    written(shelf, movie(5000), Cut(after_ms=1000))

    assert [muxer.tags for muxer in shelf.made] == [movie(5000)]


def test_an_output_that_declines_is_followed_by_one_with_the_headers_in_force(tmp_path):
    shelf = Shelf(tmp_path, Declining, Declining)
    tags = [METADATA, VIDEO_HEADER, key(0), inter(40), OTHER_HEADER, key(APART_MS), inter(APART_MS + 40)]

    written(shelf, tags)

    assert [tag.body for tag in shelf.made[1].tags] == [
        METADATA.body,
        OTHER_HEADER.body,
        key(0).body,
        inter(0).body,
    ]
    assert shelf.told == [("closed", 0), ("closed", 1)]


def test_two_changes_in_one_batch_give_each_output_its_own_headers(tmp_path):
    shelf = Shelf(tmp_path, Declining, Declining, Declining)
    tags = [VIDEO_HEADER, key(0), OTHER_HEADER, key(1000), VIDEO_HEADER, key(2000)]

    written(shelf, tags)

    assert [muxer.tags[0].body for muxer in shelf.made] == [VIDEO_HEADER.body, OTHER_HEADER.body, VIDEO_HEADER.body]


def test_a_configuration_that_changes_with_each_frame_makes_no_more_than_an_output_a_second(tmp_path):
    shelf = Shelf(tmp_path, *[Declining] * 1000)
    tags = [
        tag
        for number in range(250)
        for tag in (VIDEO_HEADER._replace(body=AVC_HEADER + bytes([number])), key(number * 40))
    ]

    written(shelf, tags)

    assert len(shelf.made) <= 250 * 40 // APART_MS + 1


def test_an_output_that_fails_is_reported_and_the_next_one_begins_at_a_key_frame(tmp_path):
    shelf = Shelf(tmp_path, lambda path: FakeMuxer(path, room=10, fault=FULL), FakeMuxer)

    written(shelf, movie(3000), step=1)

    assert shelf.told == [("failed", 0, FULL), ("closed", 1)]
    assert shelf.frames[1][0] == key(1000)
    assert [tag.body for tag in shelf.made[1].tags[:3]] == [METADATA.body, VIDEO_HEADER.body, AUDIO_HEADER.body]


@pytest.mark.parametrize("fault", [FULL, MuxError("no such codec"), ZeroDivisionError("a bug")])
def test_nothing_that_an_output_raises_comes_out(tmp_path, fault):
    shelf = Shelf(tmp_path, lambda path: FakeMuxer(path, room=5, fault=fault))

    series = written(shelf, movie(2000))

    assert shelf.told == [("failed", 0, fault)]
    assert series.confirmed_tags == len(movie(2000))


def test_what_is_confirmed_counts_the_feeds_tags_and_not_the_repeated_headers(tmp_path):
    shelf = Shelf(tmp_path, *[lambda path: FakeMuxer(path, late=4)] * 3)
    tags = movie(3000)
    series = Series(shelf, Cut(after_ms=1000))
    confirmed = []
    for tag in tags:
        series.write([tag])
        confirmed.append(series.confirmed_tags)
    series.close()

    assert confirmed == sorted(confirmed)
    assert all(0 <= given - known <= 12 for given, known in enumerate(confirmed, 1))
    assert series.confirmed_tags == len(tags)


def test_a_publisher_that_returns_makes_no_leap_that_would_be_cut(tmp_path):
    shelf = Shelf(tmp_path)

    written(shelf, [*movie(1000), RESUME, *[tag._replace(timestamp_ms=60_000) for tag in movie(40)[3:4]]], Cut(2000))

    assert len(shelf.made) == 1


def test_an_output_that_was_removed_is_noticed_by_a_check(tmp_path):
    gone = FileNotFoundError(errno.ENOENT, "removed")

    class Removed(FakeMuxer):
        def flush(self):
            raise gone

    shelf = Shelf(tmp_path, Removed)
    series = Series(shelf)
    series.write(movie(1000))
    series.check()

    assert shelf.told == [("failed", 0, gone)]
    assert not series.active
