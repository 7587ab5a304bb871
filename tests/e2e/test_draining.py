"""A server that is drained: clients move to the next one, or are cut off at the deadline, and nothing is lost."""

from __future__ import annotations

import contextlib
import shutil
import signal
import sys
import time

import pytest

from rtmpd.wire.messages import VIDEO
from tests.helpers import clients
from tests.helpers.api import Api
from tests.helpers.callback_server import CallbackServer
from tests.helpers.media import frames_of, from_start, packets_of, read_tags
from tests.helpers.processes import Program, wait_until
from tests.helpers.rtmp_client import RECONNECTS, Connection, LivePublisher, Player
from tests.helpers.server import Server

pytestmark = pytest.mark.e2e

RECORDED = '[apps.live]\nrecord = "auto"\n'
LINGERS = "[apps.live]\n[limits]\nlinger_s = 10\n"
"""Who is refused has time to read it, whoever sleeps."""
REQUEST = "NetConnection.Connect.ReconnectRequest"
SHUT_DOWN = "NetConnection.Connect.AppShutdown"
NEVER_S = 3600
PLAYED_BYTES = 100_000
"""Some two seconds of a source."""


def drain(server, **fields):
    """Have a server drained, by its API."""
    answer = server.api.post("drain", fields)
    assert answer.status == 200, answer
    return answer.body


def wait_for_player(server, media_bytes=0):
    """Wait until the server knows a player, whose request may still be on its way, and has sent it so much."""

    def is_there():
        found = server.api.get("clients").body["clients"]
        return any(each["role"] == "play" and each["bytes_out"] >= media_bytes for each in found)

    wait_until(is_there, f"a player with {media_bytes} bytes")


def refusal(server):
    """What a client is told that connects."""
    with Connection(server.address) as connection:
        connection.call("connect", {"app": "live", "tcUrl": server.url("live")})
        info = connection.wait_for_command("_error").arguments[0]
        connection.wait_for_end()
        return info


def ended(server):
    """A server that was drained has stopped by itself, as it should."""
    assert server.wait() == 0
    server.check_log()
    assert [len(server.found(event)) for event in ("drained", "stopping", "stopped")] == [1, 1, 1]


def test_clients_that_can_move_to_the_next_server_and_the_old_one_ends_when_all_have_gone(directory, sources):
    tags = sources.tags("long")
    with (
        CallbackServer() as receiver,
        Server(directory / "new") as new,
        Server(directory / "old", RECORDED + receiver.config) as old,
        Player(old.address, "s", properties=RECONNECTS) as player,
        LivePublisher(old.address, "s", tags, properties=RECONNECTS) as publisher,
    ):
        player.wait_until_played(1_200)
        said = ("--timeout", NEVER_S, "--to", new.url("").removesuffix("/"), "--json")
        with Program([sys.executable, "-m", "rtmpd", "ctl", "drain", "--socket", old.control, *said]) as ctl:
            assert ctl.wait() == 0
            assert '"asked":2,"waited_for":2,"publishers":1,"players":1' in ctl.stdout[0]
        info = publisher.connection.wait_for_status(REQUEST)
        player.wait_for_status(REQUEST)
        assert info["tcUrl"] == new.url("live")

        # It goes on serving, and the next server is there before the old one is left.
        sent_ms = publisher.sent_ms
        publisher.wait_until_sent(sent_ms + 500)
        with LivePublisher(new.address, "s", tags) as moved, Player(new.address, "s") as moved_player:
            moved_player.wait_for_media(10)
            publisher.finish()
            player.wait_for_end()
            ended(old)
            moved.finish()
            moved_player.wait_for_end()
        receiver.wait_for("live/s", 1, 0, 100, count=3)

    assert frames_of(player.media) == frames_of(publisher.sent)
    (path,) = old.recordings("live/s")
    assert frames_of(read_tags(path)) == frames_of(publisher.sent)
    assert [line["left"] for line in old.found("drained")] == [0]


def test_nobody_new_is_let_in_and_the_api_and_load_balancers_are_told(directory):
    with Server(directory) as server, Player(server.address, "s") as player:
        server.wait_for("serving")
        wait_for_player(server)
        health = Api(server.http_address)
        assert health.get("/healthz").status == 200
        connected = Connection(server.address).connect()
        assert drain(server, timeout=NEVER_S) == {
            "already": False,
            "asked": 0,
            "waited_for": 2,
            "publishers": 0,
            "players": 1,
            "deadline": pytest.approx(time.time() + NEVER_S, abs=60),
        }

        told = refusal(server)
        assert (told["level"], told["code"]) == ("error", SHUT_DOWN)
        assert "stopping" in told["description"]
        with connected:
            assert connected.refused("publish", "s")["level"] == "error"
        answer = health.get("/healthz")
        assert (answer.status, answer.body) == (503, {"status": "draining"})
        assert len(server.api.get("clients").body["clients"]) == 1
        assert not player.ended

        assert drain(server, timeout=0)["already"]
        player.wait_for_end()
        ended(server)


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="no ffmpeg")
def test_an_ffmpeg_that_comes_is_told_why_it_is_refused(directory, sources):
    with Server(directory, LINGERS) as server, Player(server.address, "s"):
        wait_for_player(server)
        drain(server, timeout=NEVER_S)
        with clients.ffmpeg_publisher(sources.flv("h264+aac"), server.url("live/t")) as publisher:
            assert publisher.wait() != 0
        assert any("the server is stopping" in line for line in publisher.stderr)
        drain(server, timeout=0)
        ended(server)


CLIENTS = {
    "pyav": (clients.pyav_publisher, clients.pyav_player),
    "ffmpeg": (clients.ffmpeg_publisher, clients.ffmpeg_player),
}


@pytest.mark.parametrize("kind", CLIENTS)
def test_clients_that_cannot_move_are_served_until_the_deadline_and_callbacks_that_nobody_takes_are_kept(
    kind, directory, sources
):
    if kind == "ffmpeg" and not shutil.which("ffmpeg"):
        pytest.skip("no ffmpeg")
    publish, play = CLIENTS[kind]
    with CallbackServer() as receiver:
        receiver.go_down()
        config = RECORDED + receiver.config
        with Server(directory, config) as server, play(server.url("live/s")) as player:
            wait_for_player(server)
            with publish(sources.flv("long"), server.url("live/s")) as publisher:
                wait_for_player(server, PLAYED_BYTES)
                answer = drain(server, timeout=3, url="rtmp://127.0.0.1:1")
                assert (answer["asked"], answer["publishers"], answer["players"]) == (0, 1, 1)
                assert refusal(server)["code"] == SHUT_DOWN
                ended(server)
                assert server.found("drained")[0]["left"] == 2
                # The player has seen an end, the publisher was cut off: an encoder that reconnects does so now.
                packets = player.finish()
                assert publisher.wait() != 0

        (path,) = server.recordings("live/s")
        recorded = packets_of(path)
        assert len(recorded) >= 50
        assert from_start(packets) == from_start(recorded)

        receiver.come_back()
        with Server(directory, config):
            assert [body["event_type"] for body in receiver.wait_for("live/s", 1, 0, count=2)] == [1, 0]
            assert len(receiver.wait_for("live/s", 100)) == 1


def test_a_signal_while_it_drains_stops_it_at_once(directory, sources):
    with (
        Server(directory, RECORDED) as server,
        Player(server.address, "s") as player,
        LivePublisher(server.address, "s", sources.tags("long")),
    ):
        player.wait_until_played(1_200)
        drain(server, timeout=NEVER_S)
        server.stop()
        player.wait_for_end()

    assert not server.found("drained")
    (path,) = server.recordings("live/s")
    assert frames_of(read_tags(path)) == frames_of(player.media)


def test_a_signal_when_the_deadline_has_passed_costs_nothing_that_is_being_closed(directory):
    # A player that does not read keeps the server from stopping at once.
    with (
        Server(directory, RECORDED) as server,
        Player(server.address, "s", receive_buffer_bytes=4096) as player,
        Connection(server.address).connect().publish("s") as publisher,
    ):
        wait_for_player(server)
        player.stall()
        for number in range(40):
            publisher.send_media(VIDEO, number * 40, b"\x17\x01\0\0\0" + bytes(20_000))
        drain(server, timeout=0)
        server.wait_for("stopping")
        server.signal(signal.SIGTERM)
        ended(server)


def test_a_server_with_nobody_there_ends_when_it_is_drained(directory):
    with Server(directory) as server:
        assert drain(server, timeout=NEVER_S)["waited_for"] == 0
        ended(server)

    assert [line["event"] for line in server.log] == ["serving", "draining", "drained", "stopping", "stopped"]


def test_clients_that_come_again_and_again_do_not_keep_it_from_ending(directory):
    with Server(directory) as server, Player(server.address, "s") as player:
        wait_for_player(server)
        drain(server, timeout=NEVER_S)
        with contextlib.ExitStack() as stack:
            for _ in range(20):
                stack.enter_context(Connection(server.address))
            player.connection.shut_down()
            ended(server)
