"""Lines of the log, counted."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import rtmpd
from rtmpd import logs
from rtmpd.control.metrics.events import NAMED, EventCounts
from tests.helpers.logged import log_in_memory
from tests.helpers.metrics import Samples

SOURCE = "\n".join(
    path.read_text() for path in Path(rtmpd.__file__).parent.rglob("*.py") if "metrics" not in path.parts
)


@pytest.fixture
def log():
    with log_in_memory("error"):
        yield logs.get_logger()


def test_lines_are_counted_by_level_and_the_named_ones_by_name_whatever_is_written(log):
    counts = EventCounts()
    stop = counts.listen()
    log.info("publish refused", code="x")
    log.info("publish refused", code="y")
    log.warning("something else")
    log.debug("play refused")
    stop()
    log.info("publish refused", code="z")
    samples = Samples(counts.metrics())

    assert samples.of("rtmpd_log_lines_total") == {("info",): 2, ("warning",): 1, ("error",): 0}
    assert samples.of("rtmpd_refusals_total") == {("publish",): 2, ("play",): 0, ("connect",): 0}


def test_a_line_that_stands_for_several_counts_as_so_many(log):
    counts = EventCounts()
    stop = counts.listen()
    log.warning("timestamps jump", times=40)
    stop()

    assert Samples(counts.metrics()).value("rtmpd_incidents_total", incident="timestamps_jump") == 40


@pytest.mark.parametrize("event", sorted({event for named in NAMED.values() for event in named.events}))
def test_what_is_counted_by_name_is_logged_somewhere(event):
    assert re.search(f'"{re.escape(event)}"', SOURCE)
