"""
Who may publish and play, against a real server: keys, signed URLs, addresses, limits and hooks.

Among them case 75 of protocol.md, section 8.2 (see test_hostile): a hook that is slow, hangs, or answers 10 MB.
"""

from __future__ import annotations

import contextlib
import threading
import time

import pytest

from rtmpd.control.signed_urls import sign
from rtmpd.wire.commands import decode_command
from rtmpd.wire.messages import COMMAND_AMF0, VIDEO
from tests.helpers import clients
from tests.helpers.hook import Hook, drips, hangs, hangs_in_body, says, settles, when
from tests.helpers.media import read_tags
from tests.helpers.rtmp_client import Closed, Connection, LivePublisher, Player
from tests.helpers.server import Server

pytestmark = pytest.mark.e2e

CONFIG = """
[limits]
linger_s = 0.1
[apps.live]
[apps.keyed]
publish_key = "pass"
play_key = "watch"
[apps.signed]
publish_secret = ["primary", "backup"]
play_secret = "play"
[apps.local]
publish_deny = "127.0.0.2"
play_allow = ["127.0.0.0/31"]
[apps.small]
max_streams = 1
max_players = 1
[apps.hooked]
on_publish = "URL/publish"
on_play = "URL/play"
hook_timeout_s = 20
record = "auto"
resume_s = 0
[apps.slow]
on_publish = "URL/slow"
hook_timeout_s = 3
[apps.lenient]
on_publish = "URL/lenient"
hook_timeout_s = 3
hook_failure = "admit"
"""
OTHER_ADDRESS = "127.0.0.2"
LATER_S = 3600
ANSWER_BYTES = 10 << 20
ANSWERS = 8
GROWN_BYTES = 16 << 20
"""Less than two of those answers; a connection's buffers are in it."""


@pytest.fixture(scope="module")
def listening():
    with Hook(says()) as hook:
        yield hook


@pytest.fixture
def hook(listening):
    """Admits everybody until a test says otherwise."""
    listening.forget()
    listening.behaviour = says()
    return listening


@pytest.fixture(scope="module")
def server(listening, tmp_path_factory):
    config = CONFIG.replace("URL/", listening.url("/"))
    with Server(tmp_path_factory.mktemp("server"), config) as server:
        yield server


def signed(secret, stream, in_s=LATER_S):
    return f"{stream}?{sign(secret, stream, int(time.time()) + in_s)}"


def refusal(server, verb, app, stream, **options):
    """What a client is refused with, by code and description."""
    with Connection(server.address, **options).connect(app) as connection:
        info = connection.refused(verb, stream)
    assert info["level"] == "error"
    return info["code"], info["description"]


def admit(server, verb, app, stream, **options):
    """See that a client is admitted."""
    with Connection(server.address, **options).connect(app) as connection:
        if verb == "publish":
            connection.publish(stream)
            connection.unpublish()
        else:
            connection.request_play(stream).wait_for_status("NetStream.Play.Start")


@pytest.mark.parametrize("secret", ["primary", "backup"])
def test_a_signed_url_publishes_with_either_secret(secret, server):
    admit(server, "publish", "signed", signed(secret, f"by-{secret}"))


def test_who_plays_needs_a_signature_of_its_own(server):
    with Connection(server.address).connect("signed").publish(signed("primary", "s")) as publisher:
        admit(server, "play", "signed", signed("play", "s"))
        wrong = "NetStream.Play.Failed", "the signature is wrong"
        assert refusal(server, "play", "signed", signed("primary", "s")) == wrong
        assert refusal(server, "play", "signed", signed("play", "s", -1))[1].startswith("the signature has expired (20")
        publisher.unpublish()


@pytest.mark.parametrize(
    ("app", "stream", "told"),
    [
        ("signed", signed("primary", "s", -1), "the signature has expired (20"),
        ("signed", signed("primary", "s").replace("s?", "t?"), "the signature is wrong"),
        ("signed", signed("play", "s"), "the signature is wrong"),
        ("signed", "s", "the URL is not signed: txSecret and txTime missing"),
        ("keyed", "s?key=watch", "wrong publish key"),
        ("keyed", "s", "a valid ?key= is needed to publish"),
    ],
)
def test_what_opens_nothing_is_told_so(app, stream, told, server):
    code, description = refusal(server, "publish", app, stream)

    assert code == "NetStream.Publish.Denied"
    assert description.startswith(told)


def test_addresses_are_looked_up_for_publishing_and_playing_apart(server):
    with Connection(server.address).connect("local").publish("s") as publisher:
        admit(server, "play", "local", "s")
        told = "127.0.0.2 may not play from local"
        assert refusal(server, "play", "local", "s", source=OTHER_ADDRESS) == ("NetStream.Play.Failed", told)
        publisher.unpublish()
    told = "127.0.0.2 may not publish to local"
    assert refusal(server, "publish", "local", "s", source=OTHER_ADDRESS) == ("NetStream.Publish.Denied", told)


def test_one_too_many_is_refused_and_its_place_is_free_when_another_leaves(server):
    with Connection(server.address).connect("small").publish("first") as publisher:
        assert refusal(server, "publish", "small", "second") == (
            "NetStream.Publish.Denied",
            "small has its 1 stream already (apps.small.max_streams)",
        )
        with Player(server.address, "first", app="small") as player:
            player.wait_for_status("NetStream.Play.Start")
            assert refusal(server, "play", "small", "first") == (
                "NetStream.Play.Failed",
                "small has its 1 player already (apps.small.max_players)",
            )
        server.wait_for("closed", stream="small/first", role="play", count=2)
        admit(server, "play", "small", "first")
        publisher.unpublish()
    server.wait_for("closed", stream="small/first", role="publish")
    admit(server, "publish", "small", "second")


@pytest.mark.peer("ffmpeg")
@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("hooked/s", "your plan has ended"),
        ("signed/" + signed("primary", "s", -1), "the signature has expired"),
        ("signed/" + signed("guess", "s"), "the signature is wrong"),
    ],
    ids=["hook", "expired", "wrong"],
)
def test_a_refused_ffmpeg_prints_the_reason_and_exits(path, reason, server, hook, sources):
    hook.behaviour = says(403, '{"reason": "your plan has ended"}')
    with clients.ffmpeg_publisher(sources.flv("h264+aac"), server.url(path)) as publisher:
        assert publisher.wait() != 0

    assert any(reason in line for line in publisher.stderr)


@pytest.mark.peer("gst-launch-1.0")
def test_a_refused_gstreamer_fails(server, hook):
    hook.behaviour = says(403, "your plan has ended")
    with clients.gstreamer_publisher(server.url("hooked/s"), 1_000_000) as publisher:
        assert publisher.wait() != 0

    assert any("publish denied" in line.lower() for line in [*publisher.stdout, *publisher.stderr])


@pytest.mark.peer("rtmpdump")
def test_a_refused_rtmpdump_gives_up(server, hook, tmp_path):
    hook.behaviour = says(403, "not for you")
    with clients.rtmpdump_player(server.url("hooked/s"), tmp_path / "dump.flv") as player:
        assert player.wait() != 0

    assert any("NetStream.Play.Failed" in line for line in player.stderr)


def test_a_refused_obs_receives_what_it_acts_on_and_then_the_end(server, hook):
    hook.behaviour = says(403, '{"reason": "your plan has ended"}')
    received = []
    with Connection(server.address).connect("hooked") as obs:
        obs.call("releaseStream", None, "obs")
        obs.call("FCPublish", None, "obs")
        obs.wait_for_command("_result")
        obs.wait_for_command("_result")
        obs.call("publish", None, "obs", "live", message_stream_id=1)
        with contextlib.suppress(Closed):
            while True:
                received.append(obs.receive())

    (status,) = received
    command = decode_command(status)
    assert (status.type_id, status.message_stream_id) == (COMMAND_AMF0, 1)
    assert (command.name, command.transaction_id, command.command_object) == ("onStatus", 0, None)
    assert command.arguments == [
        {"level": "error", "code": "NetStream.Publish.Denied", "description": "your plan has ended"}
    ]
    closed = server.wait_for("closed", stream="hooked/obs")
    assert closed["reason"] == "refused: NetStream.Publish.Denied: your plan has ended"


def test_a_hook_renames_a_stream_for_everybody(server, hook, sources):
    hook.behaviour = settles(stream="public")
    with Player(server.address, "alias", app="hooked") as player:
        hook.wait_for_questions()
        with LivePublisher(server.address, "secret?k=v", sources.tags("h264+aac"), app="hooked") as publisher:
            player.wait_until(lambda: VIDEO in {each.type_id for each in list(player.media)}, "the picture")
            publisher.wait_until_sent(500)
            publisher.finish()
        player.wait_for_end()
    server.wait_for("recording closed", stream="hooked/public")

    asked, published = hook.questions
    assert (asked["action"], asked["app"], asked["stream"]) == ("on_play", "hooked", "alias")
    assert (published["action"], published["stream"]) == ("on_publish", "secret")
    assert (published["param"], published["params"], published["ip"]) == ("k=v", {"k": "v"}, "127.0.0.1")
    started = server.wait_for("publish started", stream="hooked/public")
    assert published["client_id"] == started["client"]
    (recorded,) = server.recordings("hooked")
    assert recorded.parent.name == "public"
    assert read_tags(recorded)


def test_publishing_starts_when_the_hook_has_agreed_and_not_before(server, hook):
    permitted = threading.Event()
    hook.behaviour = when(permitted, says())
    with Connection(server.address).connect("hooked") as publisher:
        publisher.call("publish", None, "patient", "live", message_stream_id=1)
        hook.wait_for_questions()
        # Whatever the server had said to the publish by now would come before its answer to this.
        publisher.call("createStream", None)
        answer = decode_command(publisher.receive())
        assert (answer.name, answer.arguments) == ("_result", [2.0])
        assert not server.found("publish started", stream="hooked/patient")

        permitted.set()
        publisher.wait_for_status("NetStream.Publish.Start")
        publisher.unpublish()


def test_who_leaves_is_not_asked_about_any_longer(server, hook):
    hook.behaviour = hangs
    with Connection(server.address).connect("hooked") as publisher:
        publisher.call("publish", None, "impatient", "live", message_stream_id=1)
        hook.wait_for_questions()

    hook.wait_for_abandoned(stream="impatient")
    server.wait_for("closed", stream="hooked/impatient")
    assert not server.found("hook failed", stream="hooked/impatient")


@pytest.mark.parametrize("behaviour", [hangs, hangs_in_body(200), drips], ids=["silent", "in the body", "slow head"])
def test_a_hanging_hook_costs_its_client_the_timeout_and_others_nothing(behaviour, server, hook):
    async def behave(request):
        return await (behaviour if request.path == "/slow" else says())(request)

    hook.behaviour = behave
    with Connection(server.address).connect("slow") as unlucky:
        unlucky.call("publish", None, "s", "live", message_stream_id=1)
        hook.wait_for_questions()
        admit(server, "publish", "live", "meanwhile")
        admit(server, "publish", "hooked", "meanwhile")
        info = unlucky.wait_for_command("onStatus").arguments[0]
        unlucky.wait_for_end()

    assert (info["code"], info["description"]) == (
        "NetStream.Publish.Denied",
        "the publish hook did not answer in 3 s",
    )


def test_a_hook_that_fails_admits_where_it_may(server, hook):
    hook.behaviour = hangs

    admit(server, "publish", "lenient", "s")

    line = server.wait_for("hook failed", stream="lenient/s")
    assert (line["why"], line["then"]) == ("no whole answer in 3 s", "admit")


def test_answers_of_10_megabytes_are_not_kept(server, hook):
    hook.behaviour = hook.sends(200, ANSWER_BYTES)
    failed = "NetStream.Publish.Denied", "the publish hook failed"
    assert refusal(server, "publish", "hooked", "long") == failed  # what HTTP needs once is there now

    resident_bytes = server.resident_bytes()
    waiting = [Connection(server.address).connect("hooked") for _ in range(ANSWERS)]
    for connection in waiting:
        connection.call("publish", None, "long", "live", message_stream_id=1)
    for connection in waiting:
        info = connection.wait_for_command("onStatus").arguments[0]
        assert (info["code"], info["description"]) == failed
        connection.close()

    assert server.resident_bytes() - resident_bytes < GROWN_BYTES
    assert server.wait_for("hook failed", stream="hooked/long")["why"] == "a body of more than 65536 bytes"


def test_a_server_stops_while_a_hook_hangs(directory, hook):
    hook.behaviour = hangs
    config = f'[apps.live]\non_publish = "{hook.url()}"\nhook_timeout_s = 60\n'
    with Server(directory, config) as server, Connection(server.address).connect() as publisher:
        publisher.call("publish", None, "pending", "live", message_stream_id=1)
        hook.wait_for_questions()
        server.stop()

    hook.wait_for_abandoned(stream="pending")
    assert not server.found("publish started")
