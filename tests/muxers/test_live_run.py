"""Where parts begin and end, and what is in them."""

from __future__ import annotations

import itertools
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muxers.fragments import read_fragment
from muxers.init_section import InitSection, TrackPlace
from muxers.live_run import MOST_BYTES, MOST_FRAMES, LiveRun
from muxers.samples import Sample, Track
from rtmpd.wire.messages import AUDIO, VIDEO

PICTURES = Track(VIDEO, 0, "avc1", b"avcC")
SOUND = Track(AUDIO, 0, "mp4a", b"asc")
PART_MS = 200


def section(*tracks):
    places = {track: TrackPlace(number, 1_000) for number, track in enumerate(tracks, 1)}
    return InitSection(b"", "", places)


@pytest.fixture
def run():
    return LiveRun(section(PICTURES, SOUND), 0, PART_MS)


def picture(dts_ms, key=False, composition_ms=0):
    return Sample(PICTURES, b"p", dts_ms, composition_ms, is_key=key)


def sound(dts_ms):
    return Sample(SOUND, b"s", dts_ms, 0, is_key=True)


def add_all(run, samples):
    return [part for sample in samples for part in run.add(sample)]


def spans(parts):
    return [(part.start_ms, part.start_ms + part.duration_ms) for part in parts]


def frames_in(part):
    """By track: start, end and number of frames."""
    return {run.track_id: (run.start, run.end, run.frames) for run in read_fragment(part.data).runs}


def test_a_part_ends_when_the_frame_comes_that_would_make_it_too_long(run):
    assert add_all(run, [picture(time, key=not time) for time in (0, 33, 67, 100, 133, 167)]) == []

    (part,) = run.add(picture(200))

    assert spans([part]) == [(0, 200)]
    assert frames_in(part) == {1: (0, 200, 6)}
    assert part.is_independent


def test_a_key_frame_begins_a_part(run):
    parts = add_all(run, [picture(0, key=True), picture(40), picture(80, key=True), picture(120)])

    assert spans(parts) == [(0, 80)]
    (last,) = run.finish()
    assert (last.start_ms, last.duration_ms, last.is_independent) == (80, 80, True)


def test_a_part_that_begins_between_key_frames_depends_on_others(run):
    parts = add_all(run, [picture(time, key=not time) for time in range(0, 500, 40)])

    assert [part.is_independent for part in parts] == [True, False]


def test_frames_that_are_far_apart_have_parts_of_their_own(run):
    parts = add_all(run, [picture(time, key=not time) for time in range(0, 2_000, 500)])

    assert spans(parts) == [(0, 500), (500, 1_000), (1_000, 1_500)]


def test_frames_that_come_later_than_those_before_them_make_no_part_too_long(run):
    parts = add_all(run, [picture(time, key=not time) for time in (0, 40, 80, 120, 150, 230, 270)])

    assert spans(parts) == [(0, 150)]


def test_sound_is_in_the_part_that_its_time_belongs_to(run):
    samples = [sound(time) for time in range(0, 190, 20)] + [picture(0, key=True)]
    samples += [picture(time) for time in range(40, 200, 40)] + [sound(time) for time in range(200, 250, 20)]

    (part,) = add_all(run, [*samples, picture(200)])

    assert frames_in(part) == {1: (0, 200, 5), 2: (0, 200, 10)}


def test_sound_that_comes_late_goes_into_the_next_part_at_its_own_time(run):
    samples = [picture(time, key=not time) for time in range(0, 240, 40)]
    samples += [sound(time) for time in range(100, 300, 20)] + [picture(time) for time in range(240, 440, 40)]

    parts = add_all(run, samples)

    assert [frames_in(part) for part in parts] == [{1: (0, 200, 5)}, {1: (200, 400, 5), 2: (100, 280, 9)}]


def test_sound_without_pictures_cuts_by_itself_and_is_independent():
    run = LiveRun(section(SOUND), 1_000, PART_MS)

    parts = add_all(run, [sound(1_000 + time) for time in range(0, 500, 20)])

    assert spans(parts) == [(1_000, 1_200), (1_200, 1_400)]
    assert all(part.is_independent for part in parts)


def test_where_pictures_stall_sound_goes_on_and_the_waiting_picture_comes_with_the_next_one(run):
    parts = add_all(run, [picture(0, key=True), picture(40), *(sound(time) for time in range(0, 1_000, 20))])

    assert spans(parts) == [(0, 200), (200, 400), (400, 600)]
    assert [frames_in(part) for part in parts[:2]] == [{1: (0, 40, 1), 2: (0, 200, 10)}, {2: (200, 400, 10)}]
    assert [part.is_independent for part in parts] == [True, False, False]

    (part,) = add_all(run, [picture(980), picture(1_020)])
    assert frames_in(part) == {1: (40, 980, 1), 2: (600, 980, 19)}


def test_pictures_that_are_behind_the_sound_still_begin_parts_with_their_key_frames(run):
    parts = []
    for time in range(0, 6_000, 40):
        parts += add_all(run, [sound(time), sound(time + 20)])
        if time >= 1_000:
            parts += run.add(picture(time - 1_000, key=(time - 1_000) % 1_000 == 0))
    parts += run.finish()

    independent = [part for part in parts if part.is_independent]
    assert len(independent) == 5
    assert all(part.duration_ms > 0 for part in parts)
    assert_contiguous(parts, 0)


def test_a_key_frame_at_the_time_of_the_one_before_it_begins_a_part_all_the_same(run):
    parts = add_all(run, [picture(0, key=True), picture(0, key=True), picture(0, key=True)])

    assert spans(parts) == [(0, 1), (1, 2)]
    assert all(part.is_independent for part in parts)


@pytest.mark.parametrize("make", [picture, sound])
@pytest.mark.parametrize(("count", "size"), [(MOST_FRAMES, 1), (3, MOST_BYTES // 2)])
def test_times_that_stand_still_do_not_fill_the_memory(run, make, count, size):
    run.add(picture(0, key=True))

    parts = add_all(run, [make(0)._replace(payload=bytes(size)) for _ in range(3 * count)])

    assert sum(frames for part in parts for _, _, frames in frames_in(part).values()) > 2 * count - 2
    assert all(part.duration_ms > 0 for part in parts)


def test_a_step_back_costs_a_frame_its_place_and_not_its_presentation(run):
    run.add(picture(0, key=True))
    add_all(run, [picture(40), picture(20, composition_ms=40), picture(60)])

    (part,) = run.finish()

    assert frames_in(part)[1] == (0, 79, 4)
    trun = part.data.index(b"trun") + 16
    durations_and_compositions = [struct.unpack_from(">I8xi", part.data, trun + 16 * index) for index in range(4)]
    assert durations_and_compositions == [(40, 0), (1, 0), (19, 19), (19, 0)]


def test_an_end_that_nothing_waits_for_has_no_part(run):
    assert run.finish() == []


def test_a_silent_track_is_told(run):
    add_all(run, [picture(time, key=not time) for time in range(0, 12_000, 40)])

    assert run.is_silent(1)
    assert not run.is_silent(0)
    assert run.has(SOUND)
    assert not run.has(SOUND._replace(configuration=b"other"))


def assert_contiguous(parts, start_ms):
    for part in parts:
        assert part.start_ms == start_ms
        assert part.duration_ms > 0
        start_ms += part.duration_ms


steps = st.one_of(st.integers(-300, 900), st.sampled_from([0, 20, 33, 40]))
frames = st.lists(st.tuples(st.booleans(), steps, st.booleans(), st.integers(-500, 500)), max_size=80)


@given(frames, st.integers(20, 600))
def test_whatever_the_times_parts_follow_each_other_and_hold_every_frame_once(drawn, part_ms):
    run = LiveRun(section(PICTURES, SOUND), 5_000, part_ms)
    times = {True: 5_000, False: 5_000}
    sent = []
    for number, (is_picture, step_ms, is_key, composition_ms) in enumerate(drawn):
        times[is_picture] = max(0, times[is_picture] + step_ms)
        payload = b"#%d;" % number
        track = PICTURES if is_picture else SOUND
        sent.append(Sample(track, payload, times[is_picture], composition_ms * is_picture, is_key or not is_picture))

    parts = [*add_all(run, sent), *run.finish()]

    assert_contiguous(parts, 5_000)
    for is_picture, track in ((True, PICTURES), (False, SOUND)):
        wanted = [sample.payload for sample in sent if sample.track is track]
        mixed = b"".join(part.data[part.data.index(b"mdat") + 4 :] for part in parts).split(b";")
        assert [each + b";" for each in mixed if each + b";" in wanted] == wanted, is_picture
    ends = {}
    for run_of_track in itertools.chain.from_iterable(read_fragment(part.data).runs for part in parts):
        assert run_of_track.start == ends.get(run_of_track.track_id, run_of_track.start)
        ends[run_of_track.track_id] = run_of_track.end
