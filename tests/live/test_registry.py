"""The registry: who holds a name, and what happens to those who wait for it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtmpd.errors import Refused
from rtmpd.live.registry import Takeover
from rtmpd.live.stream import StreamState
from rtmpd.live.terms import PLAIN
from tests.helpers.live import PRIVATE, key_frame, new_registry, publish_to


class Member:
    def __init__(self):
        self.heard = []

    def stream_started(self, stream):
        self.heard.append("started")

    def stream_ended(self, stream, reason):
        self.heard.append(f"ended: {reason}")


class Observer:
    def __init__(self):
        self.heard = []

    def stream_published(self, stream):
        self.heard.append(("published", stream.path))

    def stream_ended(self, stream, reason):
        self.heard.append(("ended", stream.path, reason))


def test_second_publisher_takes_over_with_the_same_identity_and_the_first_is_evicted():
    registry = new_registry()
    evicted = []
    first = publish_to(registry, identity="key:k", evict=evicted.append)
    second = publish_to(registry, identity="key:k")

    assert evicted == ["replaced by another publisher of the same stream"]
    assert second.current
    assert not first.current


@pytest.mark.parametrize(
    ("takeover", "identity", "allowed"),
    [
        (Takeover.SAME, "other", False),
        (Takeover.NEVER, "me", False),
        (Takeover.ALWAYS, "other", True),
        (Takeover.SAME, "me", True),
    ],
)
def test_takeover_follows_the_policy(takeover, identity, allowed):
    registry = new_registry()
    publish_to(registry)
    if allowed:
        assert publish_to(registry, identity=identity, takeover=takeover).current
    else:
        with pytest.raises(Refused, match="already being published") as caught:
            publish_to(registry, identity=identity, takeover=takeover)
        assert caught.value.code == "NetStream.Publish.BadName"


def test_unpublish_of_a_replaced_publisher_does_not_end_the_stream():
    registry = new_registry()
    first = publish_to(registry)
    second = publish_to(registry)
    registry.unpublish(first, "late", None)

    assert second.stream.state is StreamState.LIVE


def test_players_are_kept_until_the_grace_time_is_over():
    registry = new_registry()
    member, observer = Member(), Observer()
    registry.observers.append(observer)
    stream = registry.join("live", "s", member)
    publication = publish_to(registry)
    registry.unpublish(publication, "connection lost", 10.0)
    registry.end_overdue(9.9)
    assert member.heard == ["started"]
    assert stream.state is StreamState.GRACE

    registry.end_overdue(10.0)
    assert member.heard == ["started", "ended: publisher did not come back"]
    assert [each[0] for each in observer.heard] == ["published", "ended"]


def test_anyone_may_take_a_stream_that_nobody_holds_in_its_grace_time():
    registry = new_registry()
    publication = publish_to(registry, identity="a")
    registry.unpublish(publication, "lost", 10.0)

    assert publish_to(registry, identity="b", takeover=Takeover.NEVER).current
    registry.end_overdue(11.0)
    assert registry.find("live", "s").state is StreamState.LIVE


def test_a_publisher_that_has_finished_ends_its_stream_at_once():
    registry = new_registry()
    member = Member()
    registry.join("live", "s", member)
    registry.unpublish(publish_to(registry), "unpublished", None)

    assert member.heard == ["started", "ended: unpublished"]


def test_member_that_still_reads_an_ended_stream_has_no_part_in_its_next_life():
    registry = new_registry()
    member = Member()
    old = registry.join("live", "s", member)
    registry.unpublish(publish_to(registry), "first", None)
    again = publish_to(registry)
    registry.leave(old, member)

    assert member.heard == ["started", "ended: first"]
    assert registry.find("live", "s") is again.stream


def test_streams_that_nobody_holds_or_waits_for_are_forgotten():
    registry = new_registry()
    member = Member()
    stream = registry.join("live", "s", member)
    assert len(registry) == 1
    registry.leave(stream, member)
    registry.leave(stream, member)
    assert len(registry) == 0

    registry.unpublish(publish_to(registry), "done", None)
    assert registry.find("live", "s") is None


def test_end_all_ends_what_is_live_and_leaves_those_who_wait():
    registry = new_registry()
    waiting, playing = Member(), Member()
    registry.join("live", "later", waiting)
    registry.join("live", "s", playing)
    publish_to(registry)
    registry.end_all("server stops")

    assert waiting.heard == []
    assert playing.heard == ["started", "ended: server stops"]


steps = st.lists(
    st.tuples(st.sampled_from(["publish", "drop", "finish", "join", "leave", "tick"]), st.sampled_from(["a", "b"])),
    max_size=40,
)


@given(steps)
def test_any_order_of_events_leaves_no_stream_behind_that_nobody_needs(script):
    registry = new_registry()
    held, members, now = {}, [], 0.0
    for action, name in script:
        now += 1.0
        if action == "publish":
            held[name] = publish_to(registry, name=name)
            held[name].append(key_frame(int(now * 1000)), now)
        elif action in {"drop", "finish"} and name in held:
            registry.unpublish(held.pop(name), action, now + 3 if action == "drop" else None)
        elif action == "join":
            member = Member()
            members.append((registry.join("live", name, member), member))
        elif action == "leave" and members:
            registry.leave(*members.pop())
        elif action == "tick":
            registry.end_overdue(now)
    for publication in held.values():
        registry.unpublish(publication, "end", None)
    registry.end_overdue(now + 100)
    for stream, member in members:
        registry.leave(stream, member)

    assert len(registry) == 0


def test_observer_that_fails_leaves_no_stream_without_a_publisher():
    class Broken(Observer):
        def stream_published(self, stream):
            raise ZeroDivisionError

    registry = new_registry()
    others = Observer()
    registry.observers += [others, Broken()]
    with pytest.raises(ZeroDivisionError):
        publish_to(registry)

    assert len(registry) == 0
    assert others.heard == [("published", "live/s"), ("ended", "live/s", "internal error")]


class Demand:
    def __init__(self):
        self.heard = []

    def stream_wanted(self, stream):
        self.heard.append(("wanted", stream.path))

    def stream_unwanted(self, stream):
        self.heard.append(("unwanted", stream.path))


def new_demand():
    registry, demand = new_registry(), Demand()
    registry.demand_observers.append(demand)
    return registry, demand


def test_the_first_member_and_the_end_of_the_last_are_told():
    registry, demand = new_demand()
    first, second = Member(), Member()
    stream = registry.join("live", "s", first)
    registry.join("live", "s", second)
    registry.leave(stream, first)
    assert demand.heard == [("wanted", "live/s")]

    registry.leave(stream, second)
    assert demand.heard == [("wanted", "live/s"), ("unwanted", "live/s")]


@pytest.mark.parametrize("public", [True, False])
def test_the_end_of_a_stream_takes_its_players_and_leaves_those_that_wait(public):
    registry, demand = new_demand()
    registry.join("live", "s", Member())
    terms = PLAIN if public else PRIVATE
    publication = registry.publish("live", "s", "me", Takeover.SAME, lambda _: None, terms)
    registry.unpublish(publication, "over", None)

    assert demand.heard == [("wanted", "live/s"), *[("unwanted", "live/s")] * public]


def test_a_stream_that_is_published_is_wanted_as_well():
    registry, demand = new_demand()
    publish_to(registry)
    registry.join("live", "s", Member())

    assert demand.heard == [("wanted", "live/s")]
