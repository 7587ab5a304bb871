from __future__ import annotations

import pytest
import structlog

from rtmpd.net.report import RateReporter


@pytest.mark.parametrize("every_s", [1.0, 10.0])
def test_repetitions_are_counted_and_told_once_a_second_or_as_rarely_as_asked(every_s):
    now, lines = 0.0, []

    def keep(_logger, _method, event):
        lines.append(event)
        raise structlog.DropEvent

    log = structlog.wrap_logger(None, processors=[keep], wrapper_class=structlog.make_filtering_bound_logger(0))
    reporter = RateReporter(log, lambda: now, every_s)
    for _ in range(5):
        reporter.warn("dropped", why="x")
    now = every_s - 0.5
    reporter.warn("dropped", why="x")
    now = every_s
    reporter.warn("dropped", why="y")

    assert [(line["event"], line["times"], line["why"]) for line in lines] == [("dropped", 1, "x"), ("dropped", 6, "y")]
