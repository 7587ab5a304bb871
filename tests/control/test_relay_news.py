"""What of a relay's states is news."""

from __future__ import annotations

import pytest

from rtmpd.control.push_events import RelayChange
from rtmpd.control.relay_news import RelayNews, news_in
from rtmpd.net.push_relay import RelayState, RelayStatus
from tests.helpers.push import NODE, publication_row
from tests.helpers.studio import logger_to

CONNECTING, LIVE, BACKING_OFF, ENDED = RelayState


@pytest.mark.parametrize(
    ("states", "news"),
    [
        ([CONNECTING, LIVE, ENDED], ["relay_live", "relay_stopped"]),
        ([CONNECTING, BACKING_OFF] * 3 + [CONNECTING, LIVE], ["relay_lost", "relay_live"]),
        (
            [CONNECTING, LIVE, BACKING_OFF, CONNECTING, BACKING_OFF, CONNECTING, LIVE],
            ["relay_live", "relay_lost", "relay_live"],
        ),
        ([CONNECTING, CONNECTING, ENDED], ["relay_stopped"]),
    ],
)
def test_a_state_is_news_once_and_tries_in_between_are_none(states, news):
    told = []
    for state in states:
        event = news_in(state, told[-1] if told else None)
        if event is not None:
            told.append(event)

    assert told == news


class Publications:
    node = NODE

    def __init__(self):
        self.owed = []

    def tell(self, owed):
        self.owed += owed


STATUS = RelayStatus("rtmp://a/app", ENDED, 1.0, "over", 2, 3, 4, 5, 0)


@pytest.mark.parametrize(
    ("event", "level", "line"),
    [
        ("relay_live", "info", {"event": "relay connected"}),
        ("relay_lost", "warning", {"event": "relay lost"}),
        ("relay_stopped", "info", {"event": "relay stopped", "connects": 3, "bytes_out": 4, "skipped_ms": 5}),
    ],
)
def test_a_change_is_a_line_and_a_callback_with_a_number_of_its_own(event, level, line):
    lines, publications = [], Publications()
    news = RelayNews(publications, logger_to(lines), lambda: 9.0)
    change = RelayChange(event, "t", "rtmp://a/app/***", "over")

    news.tell("live/s", change, STATUS, publication_row("7"))
    news.tell("live/s", change, STATUS, publication_row("7"))
    news.tell("live/s", change, STATUS, None)

    shown = {"stream": "live/s", "target": "rtmp://a/app/***", "target_id": "t", "reason": "over"}
    assert lines == [(level, shown | line)] * 3
    assert [each.event_id for each in publications.owed] == ["push-1001-7-1", "push-1001-7-2"]
    assert publications.owed[0].body["relay_event"] == event
