"""What becomes of the packager's records: a log for players, a window for HLS, and when players are let in."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest

from rtmpd.live.fragments import FRAGMENT_FORM, Init, Part
from rtmpd.live.log import Retention
from rtmpd.workers.fragment_feed import Refusal
from rtmpd.workers.packaging_output import BACKLOG_MS, BREAK, LIVE_MS, RECONFIGURED, TOLD, PackagingOutput
from tests.helpers.packagings import KeptWindow, Viewer
from tests.helpers.studio import Clock, logger_to

INIT = Init(b"init", "avc1.64001f", has_video=True)
OTHER = Init(b"other", "hvc1.1.6.L93.B0", has_video=True)
UNIX_S = 1_700_000_000.0


def part(number, start_ms=None, *, is_independent=True):
    body = b"\x17\x01\0\0\0" + number.to_bytes(2)
    return Part(body, 200 * number if start_ms is None else start_ms, 200, is_independent)


class Bench:
    """An output with nothing around it."""

    def __init__(self):
        self.lines = []
        self.marked = []
        self.clock = Clock()
        services = SimpleNamespace(
            loop=self.clock, fanout=SimpleNamespace(mark=self.marked.extend), log=logger_to(self.lines)
        )
        self.output = PackagingOutput("live/s", KeptWindow(0), services, Retention(), lambda: UNIX_S)

    def attach(self):
        viewer = Viewer()
        self.output.attach(viewer)
        return viewer


@pytest.fixture
def bench():
    return Bench()


def test_parts_go_to_log_and_window_and_the_fan_out_is_told(bench):
    output = bench.output
    output.take([INIT, part(1), part(2, is_independent=False)], 600)

    assert output.log.form is FRAGMENT_FORM
    assert [(entry.timestamp_ms, body) for entry, body in output.log.messages(0)] == [
        (200, part(1).data),
        (400, part(2).data),
    ]
    assert output.log.newest_key_frame.headers is INIT
    assert output.window.events == ["begin", 1, 2]
    assert bench.marked == [output.log]


def test_a_viewer_starts_with_the_initialisation_section_and_the_newest_independent_part(bench):
    viewer = bench.attach()
    bench.output.take([INIT, part(1), part(2), part(3, is_independent=False)], 900)

    assert viewer.told == ["started"]
    assert viewer.read() == b"init" + part(2).data + part(3).data


@pytest.mark.parametrize("turn", [0, 1 << 32, 5 << 32])
def test_viewers_wait_while_parts_are_old(bench, turn):
    viewer = bench.attach()
    bench.output.take([INIT, part(1, 0)], turn + 200 + LIVE_MS + 1)
    assert viewer.told == []
    bench.output.take([part(2, 200)], turn + 400 + LIVE_MS)

    assert viewer.told == ["started"]


def test_old_parts_that_nothing_follows_are_all_that_there_is(bench):
    viewer = bench.attach()
    bench.output.take([INIT, part(1, 0)], 10_000)
    bench.clock.run_next()

    assert viewer.told == ["started"]


def test_a_part_whose_clock_is_not_the_streams_is_taken_for_live(bench):
    viewer = bench.attach()
    bench.output.take([INIT, part(1, 0)], BACKLOG_MS + 200)

    assert viewer.told == ["started"]
    assert bench.output.window.dates == [UNIX_S]


def test_an_old_part_is_dated_when_it_was_sent(bench):
    bench.output.take([INIT, part(1, 0), part(2, 4_500)], 5_200)

    assert bench.output.window.dates == [UNIX_S - 5, UNIX_S]


def test_what_is_packaged_after_the_streams_end_starts_nobody(bench):
    viewer = bench.attach()
    bench.output.take([INIT, part(1)], None)

    assert viewer.told == []
    assert bench.output.window.events == ["begin", 1]


@pytest.mark.parametrize(("init", "reason"), [(INIT, BREAK), (OTHER, RECONFIGURED)])
def test_another_initialisation_section_begins_another_log(bench, init, reason):
    output = bench.output
    output.take([INIT, part(1)], 400)
    viewer = bench.attach()
    before = output.log
    output.take([part(2), init], 600)
    late = bench.attach()
    assert late.told == []
    output.take([part(3)], 800)

    assert viewer.told == ["started", reason]
    assert viewer.read() == b"init" + part(1).data + part(2).data
    assert output.log is not before
    assert late.read() == init.data + part(3).data


def test_a_refusal_that_no_part_follows_ends_everybody_until_there_is_something_to_play(bench):
    output = bench.output
    output.take([INIT, part(1)], 400)
    playing = bench.attach()
    output.take([Refusal("no such codec"), Refusal("no such codec")], 400)
    assert playing.told == ["started"]
    bench.clock.run_next()
    late = bench.attach()

    assert (output.refusal, output.log) == ("no such codec", None)
    assert (playing.told, late.told) == (["started", "no such codec"], ["no such codec"])
    assert output.window.events == ["begin", 1, "break"]
    assert [line["reason"] for _, line in bench.lines] == ["no such codec"]
    output.take([OTHER, part(2)], 600)
    assert output.refusal is None
    assert bench.attach().told == ["started"]


def test_a_track_that_is_left_out_costs_the_others_nothing(bench):
    viewer = bench.attach()
    bench.output.take([Refusal("no such sound"), INIT, part(1)], 400)
    bench.output.take([Refusal("no such sound"), part(2)], 600)

    while bench.clock.next_s < math.inf:
        bench.clock.run_next()
    assert viewer.told == ["started"]
    assert bench.output.refusal is None
    assert bench.output.window.events == ["begin", 1, 2]


def test_parts_that_come_late_after_a_refusal_go_on_behind_a_break(bench):
    output = bench.output
    output.take([INIT, part(1), Refusal("no such sound")], 400)
    bench.clock.run_next()
    waiting = Viewer()
    output.take([part(2)], 600)
    output.attach(waiting)

    assert output.window.events == ["begin", 1, "break", "begin", 2]
    assert waiting.read() == b"init" + part(2).data
    assert output.refusal is None


def test_a_publisher_that_is_refused_for_many_reasons_does_not_fill_the_log(bench):
    for number in range(3 * TOLD):
        bench.output.take([Refusal(f"codec {number}")], 0)

    assert len(bench.lines) == TOLD


def test_a_break_ends_those_who_play_and_lets_the_others_wait(bench):
    output = bench.output
    output.take([INIT, part(1)], 400)
    playing = bench.attach()
    output.break_off("over")
    waiting = bench.attach()
    output.break_off("over again")
    output.take([INIT, part(2)], 600)

    assert playing.told == ["started", "over"]
    assert waiting.told == ["started"]
    assert output.window.events == ["begin", 1, "break", "begin", 2]


def test_the_end_leaves_no_timer(bench):
    waiting = bench.attach()
    bench.output.take([INIT, part(1, 0)], 10_000)
    bench.output.close("server stops")
    bench.clock.run_next()

    assert waiting.told == ["server stops"]


def test_a_part_without_an_initialisation_section_is_loud(bench):
    with pytest.raises(ValueError, match="before what it is decoded with"):
        bench.output.take([part(1)], 400)
