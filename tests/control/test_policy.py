"""Who may publish and play, by the configuration and by hooks."""

from __future__ import annotations

import asyncio
import threading

import pytest

from rtmpd.config_file import validate
from rtmpd.control.hooks import Hooks
from rtmpd.control.policy import ConfiguredPolicy
from rtmpd.control.signed_urls import sign
from rtmpd.errors import Refused
from rtmpd.live.registry import Takeover
from rtmpd.live.terms import Terms
from rtmpd.session.events import PlayRequested, PublishRequested
from tests.helpers.hook import Hook, hangs, says, settles, when
from tests.helpers.processes import PATIENCE_S

NOW = 1_764_000_000.0


class Held:
    """What a server holds, as a test says."""

    def __init__(self, *live, players=0):
        self.live = set(live)
        self.players_now = players

    def streams(self, app):
        return len(self.live)

    def players(self, app):
        return self.players_now

    def is_live(self, app, stream):
        return stream in self.live


def apps(**app):
    return validate({"apps": {"live": app}}).apps


def policy(counts=None, **app):
    return ConfiguredPolicy(apps(**app), counts, now=lambda: NOW)


def publish(query="", app="live", stream="s"):
    return PublishRequested(message_stream_id=1, app=app, stream=stream, query=query)


def play(query="", app="live", stream="s"):
    return PlayRequested(message_stream_id=1, app=app, stream=stream, query=query)


async def refusal(decision):
    with pytest.raises(Refused) as caught:
        await decision
    return caught.value.code, caught.value.description


@pytest.fixture
def hook():
    with Hook(says()) as hook:
        yield hook


@pytest.fixture
async def guarded(hook):
    """Makes policies with the hook, and closes them."""
    made = []

    def make(counts=None, **app):
        keys = {"on_publish": hook.url(), "on_play": hook.url(), "hook_timeout_s": PATIENCE_S}
        made.append(ConfiguredPolicy(apps(**(keys | app)), counts, Hooks(), lambda: NOW))
        return made[-1]

    yield make
    for each in made:
        await each.close()


async def test_without_guards_anyone_may_publish_on_plain_terms_and_is_known_by_the_address():
    grant = await policy(grace_s=3.0).admit_publisher(publish("a=b"), "192.0.2.1", 7)

    assert (grant.app, grant.stream, grant.identity, grant.grace_s) == ("live", "s", "192.0.2.1", 3.0)
    assert grant.takeover is Takeover.SAME
    assert grant.terms == Terms(query="a=b", address="192.0.2.1", client=7)


@pytest.mark.parametrize(("push", "is_public"), [("auto", True), ("manual", False)])
async def test_a_stream_is_public_as_its_application_is_configured(push, is_public):
    assert (await policy(push=push).admit_publisher(publish(), "192.0.2.1", 7)).terms.is_public is is_public


@pytest.mark.parametrize("key", ["old", "new"])
async def test_each_key_opens_and_is_the_identity(key):
    grant = await policy(publish_key=["old", "new"]).admit_publisher(publish(f"a=b&key={key}"), "192.0.2.1", 7)

    assert grant.identity == f"key:{key}"


async def test_a_signed_url_opens_its_stream_alone():
    guarded = policy(publish_secret=["primary", "backup"])
    for secret in ("primary", "backup"):
        query = sign(secret, "s", int(NOW) + 60)
        assert (await guarded.admit_publisher(publish(query), "192.0.2.1", 7)).identity == "signed"

    assert await refusal(guarded.admit_publisher(publish(query, stream="t"), "192.0.2.1", 7)) == (
        "NetStream.Publish.Denied",
        "the signature is wrong",
    )
    late = sign("primary", "s", int(NOW))
    assert await refusal(guarded.admit_publisher(publish(late), "192.0.2.1", 7)) == (
        "NetStream.Publish.Denied",
        "the signature has expired (2025-11-24T16:00:00Z)",
    )


async def test_publishing_and_playing_have_guards_of_their_own():
    guarded = policy(
        publish_key="p",
        play_key="v",
        publish_secret="ps",
        play_secret="vs",
        publish_deny="192.0.2.9",
        play_deny="192.0.2.8",
    )
    for query in ("key=v", sign("vs", "s", int(NOW) + 60)):
        assert (await guarded.admit_player(play(query), "192.0.2.9", 7)).stream == "s"
        assert (await refusal(guarded.admit_publisher(publish(query), "192.0.2.1", 7)))[0] == "NetStream.Publish.Denied"
    for query in ("key=p", sign("ps", "s", int(NOW) + 60)):
        assert (await guarded.admit_publisher(publish(query), "192.0.2.8", 7)).stream == "s"
        assert (await refusal(guarded.admit_player(play(query), "192.0.2.1", 7)))[0] == "NetStream.Play.Failed"

    assert (await refusal(guarded.admit_publisher(publish("key=p"), "192.0.2.9", 7)))[
        1
    ] == "192.0.2.9 may not publish to live"
    assert (await refusal(guarded.admit_player(play("key=v"), "192.0.2.8", 7)))[1] == "192.0.2.8 may not play from live"


async def test_unknown_application_is_refused_by_name():
    with pytest.raises(Refused, match="no application 'other'"):
        await policy().admit_publisher(publish(app="other"), "192.0.2.1", 7)
    with pytest.raises(Refused, match="no application 'other'"):
        await policy().admit_player(play(app="other"), "192.0.2.1", 7)


async def test_nobody_publishes_to_an_edge_and_players_are_admitted():
    edge = policy(origin=["rtmp://origin.example/live"])

    assert await refusal(edge.admit_publisher(publish(), "192.0.2.1", 1)) == (
        "NetStream.Publish.Denied",
        "live is an edge: its streams are published at its origin",
    )
    assert (await edge.admit_player(play(), "192.0.2.1", 1)).stream == "s"


async def test_limits_hold_for_new_streams_and_players():
    full = policy(Held("a", "b", players=3), max_streams=2, max_players=3)

    assert (await full.admit_publisher(publish(stream="a"), "192.0.2.1", 7)).stream == "a"
    assert await refusal(full.admit_publisher(publish(stream="c"), "192.0.2.1", 7)) == (
        "NetStream.Publish.Denied",
        "live has its 2 streams already (apps.live.max_streams)",
    )
    assert await refusal(full.admit_player(play(), "192.0.2.1", 7)) == (
        "NetStream.Play.Failed",
        "live has its 3 players already (apps.live.max_players)",
    )


async def test_who_is_refused_without_a_hook_is_not_asked_about(guarded, hook):
    full = guarded(Held(players=1), publish_key="k", play_deny="192.0.2.9", max_players=1)

    await refusal(full.admit_publisher(publish("key=wrong"), "192.0.2.1", 7))
    await refusal(full.admit_player(play(), "192.0.2.9", 7))
    await refusal(full.admit_player(play(), "192.0.2.1", 7))

    assert not hook.questions


async def test_a_hook_may_set_the_terms_and_the_name_that_everybody_sees(guarded, hook):
    hook.behaviour = settles(
        stream="public",
        push="manual",
        record="auto",
        record_formats=["hls", "flv", "hls"],
        targets=["rtmp://a.example/x/y", "rtmp://a.example/x/y"],
    )

    grant = await guarded(publish_key="k").admit_publisher(publish("key=k"), "192.0.2.1", 7)

    assert (grant.app, grant.stream, grant.identity) == ("live", "public", "key:k")
    assert grant.terms == Terms(
        is_public=False,
        record=True,
        record_formats=("hls", "flv"),
        targets=("rtmp://a.example/x/y",),
        query="key=k",
        address="192.0.2.1",
        client=7,
    )


@pytest.mark.parametrize(
    ("settled", "terms"),
    [
        ({}, Terms(is_public=False)),
        ({"push": "auto"}, Terms(is_public=True)),
        ({"record": "manual"}, Terms(is_public=False, record=False)),
    ],
)
async def test_what_a_hook_leaves_out_is_as_configured(settled, terms, guarded, hook):
    hook.behaviour = settles(**settled)

    granted = (await guarded(push="manual").admit_publisher(publish(), "", 0)).terms

    assert granted == terms


async def test_a_hook_may_show_a_player_another_stream(guarded, hook):
    hook.behaviour = settles(stream="other")

    assert (await guarded().admit_player(play(), "192.0.2.1", 7)).stream == "other"


async def test_keys_and_signatures_are_those_of_the_name_that_was_asked_for(guarded, hook):
    hook.behaviour = settles(stream="public")
    signed = guarded(publish_secret="secret")

    query = sign("secret", "s", int(NOW) + 60)
    assert (await signed.admit_publisher(publish(query), "192.0.2.1", 7)).stream == "public"
    query = sign("secret", "public", int(NOW) + 60)
    assert (await refusal(signed.admit_publisher(publish(query), "192.0.2.1", 7)))[1] == "the signature is wrong"


async def test_a_renamed_stream_that_is_live_is_taken_over_although_there_is_no_room(guarded, hook):
    hook.behaviour = settles(stream="public")

    full = guarded(Held("public"), max_streams=1)
    assert (await full.admit_publisher(publish(stream="secret"), "192.0.2.1", 7)).stream == "public"

    hook.behaviour = settles(stream="new")
    assert "has its 1 stream" in (await refusal(full.admit_publisher(publish(stream="public"), "192.0.2.1", 7)))[1]


async def test_limits_are_looked_at_again_after_the_hook(guarded, hook):
    permitted = threading.Event()
    hook.behaviour = when(permitted, says())
    held = Held()
    limited = guarded(held, max_streams=1, max_players=1)
    decisions = [
        asyncio.ensure_future(refusal(limited.admit_publisher(publish(), "192.0.2.1", 7))),
        asyncio.ensure_future(refusal(limited.admit_player(play(), "192.0.2.1", 8))),
    ]
    await asyncio.to_thread(hook.wait_for_questions, 2)

    held.live.add("another")
    held.players_now = 1
    permitted.set()

    assert [description for _, description in await asyncio.gather(*decisions)] == [
        "live has its 1 stream already (apps.live.max_streams)",
        "live has its 1 player already (apps.live.max_players)",
    ]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda policy: policy.stop(), "the server is stopping"),
        (lambda policy: setattr(policy, "apps", {}), "there is no application 'live' on this server"),
    ],
    ids=["stop", "reload"],
)
async def test_what_changed_while_the_hook_was_asked_counts(change, told, guarded, hook):
    permitted = threading.Event()
    hook.behaviour = when(permitted, says())
    asked = guarded()
    decisions = [
        asyncio.ensure_future(refusal(asked.admit_publisher(publish(), "192.0.2.1", 7))),
        asyncio.ensure_future(refusal(asked.admit_player(play(), "192.0.2.1", 8))),
    ]
    await asyncio.to_thread(hook.wait_for_questions, 2)

    change(asked)
    permitted.set()

    assert [description for _, description in await asyncio.gather(*decisions)] == [told, told]


async def test_a_decision_that_is_cancelled_ends_its_question(guarded, hook):
    hook.behaviour = hangs
    deciding = asyncio.ensure_future(guarded().admit_publisher(publish(), "192.0.2.1", 7))
    await asyncio.to_thread(hook.wait_for_questions)

    deciding.cancel()

    with pytest.raises(asyncio.CancelledError):
        await deciding
    await asyncio.to_thread(hook.wait_for_abandoned)


async def test_stopping_server_admits_nobody():
    stopping = policy()
    stopping.stop()

    assert await refusal(stopping.admit_publisher(publish(), "192.0.2.1", 7)) == (
        "NetStream.Publish.Denied",
        "the server is stopping",
    )
    assert await refusal(stopping.admit_player(play(), "192.0.2.1", 7)) == (
        "NetStream.Play.Failed",
        "the server is stopping",
    )
