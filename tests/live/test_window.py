"""Segments and parts of a live stream: where they are cut, what is listed, and what is still answered."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtmpd.errors import UsageError
from rtmpd.live.window import DATE_LOOK_MS, LONGEST_SEGMENT_MS
from tests.helpers.live_window import FIRST, INIT, OTHER_INIT, PART_MS, Feed


def durations(window):
    return [segment.duration_ms for segment in window.segments]


def test_segments_begin_at_the_first_key_frame_after_their_length():
    feed = Feed()
    for _ in range(4):
        feed.group(parts=6)  # a key frame each 1.2 s

    assert durations(feed.window) == [2400]
    assert feed.window.current.parts[0].is_independent
    assert (feed.window.segments[0].number, feed.window.next_number) == (FIRST, FIRST + 1)


@pytest.mark.parametrize(("early_ms", "expected"), [(0, [2000]), (99, [1901]), (101, [])])
def test_a_key_frame_that_comes_by_less_than_half_a_part_early_is_on_time(early_ms, expected):
    feed = Feed()
    feed.group(parts=9)
    feed.part(duration_ms=PART_MS - early_ms)
    feed.part(key=True)

    assert durations(feed.window) == expected


def test_sound_alone_is_cut_by_length():
    feed = Feed()
    for _ in range(21):
        feed.part(key=True)

    assert durations(feed.window) == [2000, 2000]


def test_a_segment_without_key_frames_is_cut_before_it_is_too_long():
    feed = Feed()
    feed.group(parts=2 * LONGEST_SEGMENT_MS // PART_MS + 1)

    assert durations(feed.window) == [LONGEST_SEGMENT_MS] * 2
    assert not feed.window.segments[1].parts[0].is_independent


def test_longer_segments_may_be_asked_for():
    feed = Feed(segment_ms=20_000)
    for _ in range(11):
        feed.group()

    assert durations(feed.window) == [20_000]


def test_parts_are_numbered_through_and_joined_they_are_the_segment():
    feed = Feed()
    feed.group()
    feed.group()
    feed.part(key=True)

    first, second = feed.window.segments
    assert [part.number for part in (*first.parts, *second.parts, *feed.window.current.parts)] == list(range(21))
    assert second.data == b"".join(bytes(part.data) for part in second.parts)
    assert feed.window.next_part_number == 21
    assert feed.window.find_part(15).data == (15).to_bytes(4, "big") + b"......"
    assert feed.window.find_part(21) is None


def test_the_list_moves_on_and_what_left_it_is_answered_for_its_length_again():
    feed = Feed(most_segments=3)
    for _ in range(10):
        feed.group()
    feed.part(key=True)
    window = feed.window

    assert [segment.number - FIRST for segment in window.segments] == [7, 8, 9]
    held = [number for number in range(10) if window.find_segment(FIRST + number)]
    assert held == [3, 4, 5, 6, 7, 8, 9]  # 6 left the list now; it needs 8 s, which 3 to 6 have in front of them
    assert window.find_part(29) is None
    assert window.find_part(30) is not None
    assert window.find_segment(FIRST + 10) is None
    assert window.find_segment(FIRST - 1) is None


def test_another_initialisation_section_ends_the_segment_with_a_discontinuity():
    feed = Feed()
    feed.group(parts=3)
    feed.window.begin(OTHER_INIT, feed.now)
    feed.part(key=True)
    window = feed.window

    assert durations(window) == [600]
    assert (window.segments[0].is_discontinuity, window.current.is_discontinuity) == (False, True)
    assert [window.find_init(each.init_number) for each in (window.segments[0], window.current)] == [INIT, OTHER_INIT]


def test_the_same_section_after_a_break_is_a_discontinuity_under_its_number():
    feed = Feed()
    feed.group(parts=3)
    feed.window.break_off()
    assert feed.window.is_broken_off
    assert feed.window.current is None
    feed.window.begin(INIT, feed.now)
    feed.part(key=True)

    assert not feed.window.is_broken_off
    assert feed.window.current.is_discontinuity
    assert feed.window.current.init_number == feed.window.segments[0].init_number


def test_what_begins_without_media_before_it_is_no_discontinuity():
    feed = Feed()
    feed.window.break_off()
    feed.window.begin(OTHER_INIT, feed.now)
    feed.part(key=True)

    assert not feed.window.current.is_discontinuity
    assert feed.window.find_init(0) is None


@pytest.mark.parametrize(("leap_ms", "is_discontinuity"), [(900, False), (1100, True), (-1100, True)])
def test_times_that_leap_are_a_discontinuity(leap_ms, is_discontinuity):
    feed = Feed()
    feed.group(parts=3)
    feed.time_ms += leap_ms
    feed.part()

    assert feed.window.current.is_discontinuity is is_discontinuity


def test_what_the_next_segment_is_counted_as_is_known_once_nothing_follows_the_last():
    feed = Feed()
    assert feed.window.next_discontinuity_sequence == FIRST
    for count in range(3):
        feed.group(parts=3)
        assert feed.window.next_discontinuity_sequence == FIRST + count
        feed.window.break_off()
        assert feed.window.next_discontinuity_sequence == FIRST + count + 1
        feed.window.begin(feed.window.find_init(0), 0.0)


def test_discontinuities_are_counted_when_they_leave_the_list():
    feed = Feed(most_segments=3)
    counts = []
    for number in range(8):
        feed.group()
        if number in {1, 2}:
            feed.window.break_off()
        counts.append(feed.window.discontinuity_sequence - FIRST)

    # Segments 2 and 3 begin with one; the list begins with 3 when 5 is whole, as group 6 begins.
    assert counts == [0, 0, 0, 0, 0, 0, 1, 2]


def test_what_is_behind_a_gap_begins_with_a_discontinuity_that_is_counted():
    feed = Feed(gap_ms=2000)
    window = feed.window
    assert (window.gap_ms, window.discontinuity_sequence, window.next_discontinuity_sequence) == (
        2000,
        FIRST - 1,
        FIRST,
    )

    feed.group(parts=3)
    assert window.next_discontinuity_sequence == FIRST
    window.break_off()

    assert window.segments[0].is_discontinuity
    assert (window.gap_ms, window.discontinuity_sequence, window.next_discontinuity_sequence) == (
        2000,
        FIRST - 1,
        FIRST + 1,
    )


def test_a_gap_leaves_the_list_with_the_first_segment():
    feed = Feed(gap_ms=2000, most_segments=3)
    seen = []
    for _ in range(5):
        feed.group()
        seen.append((len(feed.window.segments), feed.window.gap_ms, feed.window.discontinuity_sequence - FIRST))

    assert seen == [(0, 2000, -1), (1, 2000, -1), (2, 2000, -1), (3, 2000, -1), (3, 0, 0)]


def test_initialisation_sections_go_with_the_last_segment_that_needs_them():
    feed = Feed(most_segments=3)
    feed.group()
    feed.window.begin(OTHER_INIT, feed.now)
    for _ in range(3):
        feed.group()
    assert feed.window.find_init(0) == INIT

    for _ in range(6):
        feed.group()

    assert feed.window.find_init(0) is None
    assert feed.window.find_init(1) == OTHER_INIT


def test_the_target_duration_does_not_fall_while_a_stream_goes_on():
    feed = Feed(most_segments=3)
    feed.part(key=True)
    assert feed.window.target_duration_s == 2
    feed.group(parts=39)
    for _ in range(8):
        feed.group()
        assert feed.window.target_duration_s == 8

    feed.window.break_off()
    for _ in range(5):
        feed.group()

    assert feed.window.target_duration_s == 2


def test_a_target_duration_is_rounded_as_durations_are_and_never_zero():
    assert Feed(segment_ms=2499).window.target_duration_s == 2
    assert Feed(segment_ms=2500).window.target_duration_s == 3
    assert Feed(segment_ms=100).window.target_duration_s == 1


def test_dates_follow_the_wall_clock_and_do_not_jitter():
    feed = Feed()
    for late_s in (0.0, 0.2, 0.05, 0.21, 0.0):
        feed.late_s = late_s
        feed.group()

    dates = [segment.date_s for segment in feed.window.segments]
    assert dates == [pytest.approx(1005.0 + 2 * number) for number in (1, 2, 3)]
    assert feed.window.segments[-1].end_date_s == feed.window.current.date_s


def test_what_comes_in_a_burst_is_dated_by_what_comes_in_time():
    """A packager that begins is given the stream from its newest key frame on, all at once."""
    feed = Feed(most_segments=5)
    for late_s in (6.0, 4.0, 2.0):
        for part in range(10):
            feed.late_s = late_s - part * 0.2
            feed.part(key=part == 0)
    feed.late_s = 0.0
    feed.group()

    assert [segment.date_s for segment in feed.window.segments] == [pytest.approx(1005 + 2 * n) for n in range(3)]


def test_dates_go_along_with_a_slow_clock():
    feed = Feed()
    feed.group()
    feed.late_s = 3.0
    for _ in range(2 * DATE_LOOK_MS // 2000 + 1):
        feed.group()

    assert feed.window.current.date_s == pytest.approx(feed.now - 2.0)


def test_a_wall_clock_that_is_set_back_does_not_turn_dates_around():
    feed = Feed()
    feed.group()
    feed.window.break_off()
    feed.offset_s -= 100
    feed.group()
    feed.part(key=True)
    first, second = feed.window.segments

    assert second.date_s == first.end_date_s


def test_bytes_are_bounded_and_the_list_gets_shorter():
    feed = Feed(most_segments=6, most_bytes=40_000)
    for _ in range(30):
        feed.group(size=1000)
        assert feed.window.size_bytes <= 40_000

    assert 1 <= len(feed.window.segments) < 6


def test_a_fast_stream_is_cut_without_key_frames_so_that_several_segments_have_room():
    feed = Feed(most_bytes=40_000)
    feed.group(parts=50, size=3000)

    assert len(feed.window.segments) == 3
    assert feed.window.size_bytes <= 40_000


def test_a_part_before_its_initialisation_section_is_a_bug_of_ours():
    with pytest.raises(UsageError):
        Feed(begun=False).part()


@pytest.mark.parametrize(
    ("number", "index", "expected"),
    [
        (-5, None, True),
        (1, None, True),
        (1, 9, True),
        (1, 10, True),  # there is none: the next segment's first one
        (2, 0, True),
        (2, 2, True),
        (2, 3, False),
        (2, None, False),
        (3, 0, False),
        (3, None, False),
    ],
)
def test_what_a_player_waits_for_is_there_or_not(number, index, expected):
    feed = Feed()
    feed.group()
    feed.group()
    feed.group(parts=3)

    assert feed.window.has(FIRST + number, index) is expected


def test_behind_the_last_segment_before_a_break_there_is_nothing():
    feed = Feed()
    feed.group()
    feed.window.break_off()

    assert feed.window.has(FIRST, 9)
    assert not feed.window.has(FIRST, 10)


def test_a_window_without_media_keeps_nobody_waiting_for_what_is_long_gone():
    window = Feed().window

    assert window.has(FIRST - 1, None)
    assert not window.has(FIRST, 0)


def test_each_change_is_told_and_a_listener_may_leave_meanwhile():
    feed = Feed()
    told = []

    def once():
        told.append(feed.window.version)
        feed.window.listeners.remove(once)

    feed.window.listeners += [once, lambda: told.append("other")]
    feed.part(key=True)
    feed.window.break_off()
    feed.window.begin(INIT, feed.now)

    assert told == [2, "other", "other", "other"]


ACTIONS = st.lists(
    st.one_of(
        st.tuples(
            st.just("part"), st.booleans(), st.integers(1, 900), st.sampled_from([0, 1, 50, 400]), st.integers(0, 5)
        ),
        st.tuples(st.just("begin"), st.sampled_from([INIT, OTHER_INIT])),
        st.tuples(st.just("break")),
        st.tuples(st.just("leap"), st.integers(1001, 5000)),
    ),
    max_size=120,
)


@given(ACTIONS, st.integers(1, 4), st.sampled_from([900, 4000, 1 << 20]), st.sampled_from([0, 1000]))
def test_whatever_happens_a_playlist_can_be_relied_on(actions, most_segments, most_bytes, gap_ms):
    feed = Feed(segment_ms=1000, most_segments=most_segments, most_bytes=most_bytes, gap_ms=gap_ms)
    checker = Checker(feed.window, most_bytes)
    for kind, *values in actions:
        match kind:
            case "part":
                key, duration_ms, size, late = values
                feed.late_s = late / 10
                feed.part(key=key, duration_ms=duration_ms, size=size)
            case "begin":
                feed.window.begin(*values, feed.now)
            case "break":
                feed.window.break_off()
            case "leap":
                feed.time_ms += values[0]
        checker.look()


class Checker:
    """A player that looks after every change, and remembers."""

    def __init__(self, window, most_bytes):
        self.window = window
        self.most_bytes = most_bytes
        self.first = FIRST
        self.discontinuities = {}
        self.contents = {}

    def look(self):
        window = self.window
        segments = [*window.segments, *([window.current] if window.current else [])]
        numbers = [segment.number for segment in segments]
        assert numbers == list(
            range(window.next_number - len(window.segments), window.next_number + bool(window.current))
        )
        if numbers:
            assert numbers[0] >= self.first
            self.first = numbers[0]
        self._check_discontinuities(segments)
        for segment in window.segments:
            assert segment.data == b"".join(bytes(part.data) for part in segment.parts)
            assert self.contents.setdefault(segment.number, segment.data) == segment.data
            assert window.find_segment(segment.number) is segment
            assert (segment.duration_ms + 500) // 1000 <= window.target_duration_s
        for segment in segments:
            assert segment.parts
            assert segment.duration_ms == sum(part.duration_ms for part in segment.parts)
            assert window.find_init(segment.init_number) is not None
            assert all(window.find_part(part.number) is part for part in segment.parts)
            assert all(window.has(segment.number, index) for index in range(len(segment.parts)))
            assert window.has(segment.number, None) is (segment.data is not None)
        growing = len(window.current.parts) if window.current else 0
        assert not window.has(window.next_number, growing)
        numbers = [part.number for segment in segments for part in segment.parts]
        assert numbers == list(range(window.next_part_number - len(numbers), window.next_part_number))
        self._check_dates(segments)
        newest = segments[-1].size_bytes if segments else 0
        before = window.segments[-1].size_bytes if window.segments else 0
        assert window.size_bytes <= max(self.most_bytes, newest + before)

    def _check_discontinuities(self, segments):
        """Every segment keeps its discontinuity sequence number for ever."""
        sequence = self.window.discontinuity_sequence
        if self.window.gap_ms:
            assert self.discontinuities.setdefault(FIRST - 1, sequence) == sequence == FIRST - 1
        for place, segment in enumerate(segments):
            sequence += segment.is_discontinuity
            assert self.discontinuities.setdefault(segment.number, sequence) == sequence, place
        window = self.window
        if window.current is not None or window.is_broken_off:  # else the next may begin with a leap, or not
            following = window.next_discontinuity_sequence
            assert self.discontinuities.setdefault(window.next_number, following) == following

    def _check_dates(self, segments):
        for earlier, later in pairwise(segments):
            assert later.date_s >= earlier.end_date_s - 1e-6
            if not later.is_discontinuity:
                assert later.start_ms == earlier.start_ms + earlier.duration_ms
                assert later.date_s == pytest.approx(earlier.end_date_s)
