"""Who may publish and play, by the configuration."""

from __future__ import annotations

import pytest

from rtmpd.config_file import validate
from rtmpd.control.policy import ConfiguredPolicy, StoppingPolicy
from rtmpd.errors import Refused
from rtmpd.live.registry import Takeover
from rtmpd.session.events import PlayRequested, PublishRequested


def policy(**app):
    return ConfiguredPolicy(validate({"apps": {"live": app}}).apps)


def publish(query="", app="live"):
    return PublishRequested(message_stream_id=1, app=app, stream="s", query=query)


def play(query="", app="live"):
    return PlayRequested(message_stream_id=1, app=app, stream="s", query=query)


async def test_without_keys_anyone_may_publish_and_is_known_by_the_address():
    grant = await policy(grace_s=3.0).admit_publisher(publish(), "192.0.2.1", 7)

    assert (grant.app, grant.stream, grant.identity, grant.grace_s) == ("live", "s", "192.0.2.1", 3.0)
    assert grant.takeover is Takeover.SAME


@pytest.mark.parametrize("key", ["old", "new"])
async def test_each_key_opens_and_is_the_identity(key):
    grant = await policy(publish_key=["old", "new"]).admit_publisher(publish(f"a=b&key={key}"), "192.0.2.1", 7)

    assert grant.identity == f"key:{key}"


@pytest.mark.parametrize("query", ["", "key=", "key=wrong", "key=old&key=wrong", "KEY=old", "key=%ff%00"])
async def test_no_key_or_a_wrong_one_is_denied_without_saying_the_right_one(query):
    with pytest.raises(Refused) as caught:
        await policy(publish_key=["old"]).admit_publisher(publish(query), "192.0.2.1", 7)

    assert caught.value.code == "NetStream.Publish.Denied"
    assert "old" not in caught.value.description


async def test_playing_has_keys_of_its_own():
    guarded = policy(publish_key=["p"], play_key=["v"])
    assert (await guarded.admit_player(play("key=v"), "192.0.2.1", 7)).stream == "s"
    with pytest.raises(Refused) as caught:
        await guarded.admit_player(play("key=p"), "192.0.2.1", 7)

    assert caught.value.code == "NetStream.Play.Failed"


async def test_unknown_application_is_refused_by_name():
    with pytest.raises(Refused, match="no application 'other'"):
        await policy().admit_publisher(publish(app="other"), "192.0.2.1", 7)
    with pytest.raises(Refused, match="no application 'other'"):
        await policy().admit_player(play(app="other"), "192.0.2.1", 7)


async def test_stopping_server_admits_nobody():
    with pytest.raises(Refused, match="the server is stopping"):
        await StoppingPolicy().admit_publisher(publish(), "192.0.2.1", 7)
    with pytest.raises(Refused, match="the server is stopping"):
        await StoppingPolicy().admit_player(play(), "192.0.2.1", 7)
