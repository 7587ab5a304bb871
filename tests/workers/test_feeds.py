"""A feed as the server knows it."""

from __future__ import annotations

import socket

import pytest

from rtmpd.workers.feeds import Feed, FeedRequest, FeedState
from rtmpd.workers.protocol import Grant, Output

REQUEST = FeedRequest("r", 2, (Output("flv", (Grant("f", "/x.flv"),)),))


@pytest.fixture
def feed():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield Feed(REQUEST, ours, 0)


def test_a_feed_is_named_by_its_recording_and_sequence(feed):
    assert feed.key == ("r", 2)


@pytest.mark.parametrize(
    ("state", "active"),
    [(FeedState.STARTING, True), (FeedState.RUNNING, True), (FeedState.ENDED, False), (FeedState.LOST, False)],
)
def test_a_feed_is_active_until_it_has_ended_or_is_lost(feed, state, active):
    feed.state = state

    assert feed.active is active


def test_finishing_again_is_harmless(feed):
    feed.finish()
    feed.finish()

    assert feed.socket.fileno() == -1
