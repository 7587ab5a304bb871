from __future__ import annotations

import structlog

from rtmpd.net.report import RateReporter


def test_repetitions_are_counted_and_told_once_a_second():
    now, lines = 0.0, []

    def keep(_logger, _method, event):
        lines.append(event)
        raise structlog.DropEvent

    log = structlog.wrap_logger(None, processors=[keep], wrapper_class=structlog.make_filtering_bound_logger(0))
    reporter = RateReporter(log, lambda: now)
    for _ in range(5):
        reporter.warn("dropped", why="x")
    now = 1.0
    reporter.warn("dropped", why="y")

    assert [(line["event"], line["times"], line["why"]) for line in lines] == [("dropped", 1, "x"), ("dropped", 5, "y")]
