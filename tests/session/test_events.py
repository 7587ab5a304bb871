"""What events say."""

from __future__ import annotations

import pytest

from rtmpd.session.events import Capabilities, Connected, PublishRequested, Terminated


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (Terminated("peer closed"), "peer closed"),
        (Terminated("chunk: fmt 3", 3081), "chunk: fmt 3 at byte 3081"),
        (Terminated("chunk: fmt 3", 3081, "c3 00"), "chunk: fmt 3 at byte 3081 (c3 00)"),
    ],
)
def test_a_termination_makes_one_line_for_the_log(event, line):
    assert str(event) == line


def test_evidence_is_no_part_of_what_is_reported():
    assert Terminated("x", 1, "00") == Terminated("x", 1, "00 01")


def test_every_event_names_a_message_stream():
    assert PublishRequested(2, "live", "s", "").message_stream_id == 2
    assert Connected("live", "", "", Capabilities()).message_stream_id == 0
    assert Terminated("x").message_stream_id == 0
