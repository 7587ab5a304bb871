"""What an application may hold at once, counted in a real registry."""

from __future__ import annotations

import pytest

from rtmpd.config import AppConfig
from rtmpd.control.gates import play_gate, publish_gate
from rtmpd.control.limits import NoCounts, RegistryCounts, check_players, check_streams
from rtmpd.errors import Refused
from rtmpd.live.log import Retention
from rtmpd.live.registry import Registry, Takeover
from rtmpd.live.terms import Terms

PUBLISH, PLAY = publish_gate("live", AppConfig()), play_gate("live", AppConfig())


class Member:
    def stream_started(self, stream):
        pass

    def stream_ended(self, stream, reason):
        pass


@pytest.fixture
def registry():
    return Registry(Retention())


@pytest.fixture
def counts(registry):
    return RegistryCounts(registry)


def publish(registry, name, app="live", **terms):
    return registry.publish(app, name, "i", Takeover.NEVER, lambda reason: None, Terms(**terms))


def test_streams_count_while_they_are_published_or_may_come_back_public_or_not(registry, counts):
    first = publish(registry, "first")
    publish(registry, "private", is_public=False)
    publish(registry, "elsewhere", app="other")
    registry.join("live", "waited for", Member())
    assert counts.streams("live") == 2

    registry.unpublish(first, "dropped", 10.0)
    assert (counts.streams("live"), counts.is_live("live", "first")) == (2, True)
    registry.end_overdue(10.0)
    assert (counts.streams("live"), counts.is_live("live", "first")) == (1, False)
    assert not counts.is_live("live", "waited for")
    assert not counts.is_live("live", "elsewhere")


def test_players_count_whether_they_play_or_wait(registry, counts):
    publish(registry, "s")
    leaving = Member()
    stream = registry.join("live", "s", leaving)
    registry.join("live", "waited for", Member())
    registry.join("other", "s", Member())
    assert counts.players("live") == 2

    registry.leave(stream, leaving)
    assert counts.players("live") == 1


def test_one_stream_too_many_is_refused_but_not_who_takes_one_over(registry, counts):
    check_streams(PUBLISH, "new", 1, counts)
    publish(registry, "s")

    check_streams(PUBLISH, "s", 1, counts)
    check_streams(PUBLISH, "new", 2, counts)
    with pytest.raises(Refused) as caught:
        check_streams(PUBLISH, "new", 1, counts)
    assert (caught.value.code, caught.value.description) == (
        "NetStream.Publish.Denied",
        "live has its 1 stream already (apps.live.max_streams)",
    )


def test_one_player_too_many_is_refused(registry, counts):
    registry.join("live", "s", Member())
    check_players(PLAY, 2, counts)
    registry.join("live", "s", Member())

    with pytest.raises(Refused) as caught:
        check_players(PLAY, 2, counts)
    assert (caught.value.code, caught.value.description) == (
        "NetStream.Play.Failed",
        "live has its 2 players already (apps.live.max_players)",
    )


def test_without_a_limit_nobody_is_counted():
    check_streams(PUBLISH, "s", 0, None)
    check_players(PLAY, 0, None)


def test_who_counts_nothing_has_room_for_everybody():
    check_streams(PUBLISH, "s", 1, NoCounts())
    check_players(PLAY, 1, NoCounts())
