"""One container cut into segments: where cuts lie, what is confirmed, and which frames cost only themselves."""

from __future__ import annotations

import pytest

from muxers.base import MuxError
from muxers.hls_run import FEWEST_FRAMES, Run
from muxers.samples import Sample, Track
from tests.helpers.containers import first_payloads, samples_of
from tests.helpers.footage import footage, tags_of

SAMPLES = samples_of(tags_of(footage()))
PICTURES = [sample for sample in SAMPLES if sample.track.type_id == 9]
KEY, *INTER = PICTURES[:25]
SOUND = [sample for sample in SAMPLES if sample.track.type_id == 8]
BOTH = pytest.mark.parametrize("segment_type", ["fmp4", "ts"])


def make(samples=SAMPLES, segment_type="fmp4", **options):
    return Run(
        segment_type, first_payloads(samples), samples[0].dts_ms, **{"segment_ms": 1000, "longest_ms": 5000} | options
    )


def mux_all(run, samples):
    pieces = [piece for number, sample in enumerate(samples) for piece in run.mux(sample, number)]
    return [*pieces, *run.close()]


def starts_of(pieces):
    return [piece.start_ms for piece in pieces if piece.starts_segment]


def at(sample, milliseconds, **changes):
    return sample._replace(dts_ms=milliseconds, **changes)


@BOTH
def test_segments_begin_with_key_frames_that_are_due(segment_type):
    assert starts_of(mux_all(make(segment_type=segment_type), SAMPLES))[1:] == [1021, 2021]
    assert starts_of(mux_all(make(segment_type=segment_type, segment_ms=1500), SAMPLES))[1:] == [2021]


@BOTH
def test_where_no_key_frame_comes_any_frame_begins_a_segment(segment_type):
    frames = [KEY, *(at(INTER[number % 24], 21 + number * 40) for number in range(1, 250))]

    starts = starts_of(mux_all(make(PICTURES, segment_type), frames))

    assert starts == pytest.approx([21, 5021], abs=540)


@BOTH
def test_a_segment_has_some_frames_at_least_whatever_the_timestamps_say(segment_type):
    frames = [at(KEY, number * 20_000) for number in range(100)]

    assert len(starts_of(mux_all(make(PICTURES, segment_type), frames))) <= 100 / FEWEST_FRAMES


@BOTH
def test_a_key_frame_that_goes_back_in_time_begins_no_segment(segment_type):
    frames = [KEY, *(at(each, 2000 + number * 40) for number, each in enumerate(INTER)), at(KEY, 1500)]

    assert len(starts_of(mux_all(make(PICTURES, segment_type), frames))) == 1


@BOTH
def test_a_key_frame_that_is_shown_before_it_is_decoded_begins_its_segment(segment_type):
    frames = [
        KEY,
        *INTER,
        at(KEY, 1100, composition_ms=-30),
        *(at(each, 1140 + i * 40) for i, each in enumerate(INTER)),
    ]

    pieces = mux_all(make(PICTURES, segment_type), frames)

    assert starts_of(pieces) == [21, 1070]
    assert [piece.video_at_key for piece in pieces if piece.starts_segment] == [True, True]


@BOTH
def test_what_is_confirmed_is_in_the_pieces(segment_type):
    run = make(segment_type=segment_type)
    written = {}
    for number, sample in enumerate(SAMPLES):
        for piece in run.mux(sample, number):
            run.confirm(piece)
            for index, part in piece.parts.items():
                written[index] = written.get(index, 0) + part.frames
        confirmed = SAMPLES[: run.first_unconfirmed]
        for index, type_id in enumerate((9, 8)):
            assert sum(each.track.type_id == type_id for each in confirmed) <= written.get(index, 0)
    assert run.first_unconfirmed > len(SAMPLES) - 60
    run.abandon()


def test_pictures_are_taken_from_their_key_frame_on():
    run = make()

    assert not run.takes(INTER[0])
    assert run.takes(KEY)
    run.mux(KEY, 0)
    assert run.takes(INTER[0])
    assert not run.takes(at(KEY, 0, track=Track(9, 1, "avc1", b"other")))
    run.abandon()


def test_silence_is_told_of_any_track():
    run = make()
    mux_all(run, [each for each in SAMPLES if each.track.type_id == 8 or each.dts_ms < 1000])

    assert run.has_video
    assert run.is_silent(2000)
    assert not run.is_silent(900)
    assert (run.latest_ms, run.lead_ms) == (SOUND[-1].dts_ms, 981)


def test_without_pictures_sound_leads():
    run = make(SOUND)
    mux_all(run, SOUND)

    assert run.has(SOUND[0].track)
    assert not run.has(KEY.track)
    assert not run.has_video
    assert run.lead_ms == SOUND[-1].dts_ms


def test_a_frame_that_ffmpeg_refuses_costs_only_itself():
    broken = at(INTER[3], INTER[3].dts_ms, payload=b"\xff\xff\xff\xffno unit is that long")
    run = make(PICTURES, "ts")

    pieces = mux_all(run, [KEY, *INTER[:3], broken, *INTER[4:]])

    assert run.refused == 1
    assert sum(piece.parts[0].frames for piece in pieces if 0 in piece.parts) == 24


def test_a_header_that_is_no_header_makes_no_run():
    broken = Sample(Track(8, 0, "mp4a", b"\xff"), b"sound", 0, 0, is_key=True)

    with pytest.raises(MuxError):
        make([broken]).mux(broken, 0)
