"""How the server starts, is told to do otherwise, and ends."""

from __future__ import annotations

import contextlib
import resource
import signal
import socket
import sys
import threading
import time

import pytest

from rtmpd.wire import amf0
from rtmpd.wire.messages import VIDEO
from tests.helpers.media import frames_of, packets_of, read_tags
from tests.helpers.processes import Program
from tests.helpers.rtmp_client import Closed, Connection, LivePublisher, Player
from tests.helpers.server import Server

pytestmark = pytest.mark.e2e

RECORDED = '[apps.live]\nrecord = "auto"\nresume_s = 0\n'
RTMPD = (sys.executable, "-m", "rtmpd")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_in_mid_stream_closes_recordings_and_tells_players(number, directory, sources):
    with (
        Server(directory, RECORDED) as server,
        Player(server.address, "s") as player,
        LivePublisher(server.address, "s", sources.tags("long")),
    ):
        player.wait_until_played(1_200)
        server.signal(number)
        player.wait_for_end()
        assert server.wait() == 0
        server.check_log()

    assert player.codes[-1] == "NetStream.Play.UnpublishNotify"
    assert server.log[-1]["event"] == "stopped"
    closed = server.found("recording closed", stream="live/s")
    assert [line["reason"] for line in server.found("closed")] == ["play finished: server stops", "server stops"]
    (path,) = server.recordings("live/s")
    tags = read_tags(path)
    assert frames_of(tags) == frames_of(player.media)
    _, values = amf0.decode(tags[0].body)
    assert values["duration"] * 1000 == closed[0]["duration_ms"] >= 1_200
    assert values["filesize"] == path.stat().st_size
    assert len(values["keyframes"]["times"]) >= 2
    assert packets_of(path)


def test_a_signal_with_nobody_there_ends_the_server_at_once(directory):
    with Server(directory) as server:
        server.stop(timeout_s=5)

    assert [line["event"] for line in server.log] == ["serving", "stopping", "stopped"]


def test_signals_at_the_very_end_do_not_make_a_failure_of_it(directory):
    with Server(directory) as server:
        server.api.post("drain", {"timeout": 0})
        server.wait_for("stopped")
        while server.running:
            server.signal(signal.SIGTERM)
            threading.Event().wait(0.001)  # the kernel's room for news of signals is for some 300

        assert server.wait() == 0
        server.check_log()


def test_nobody_is_admitted_any_more_while_the_server_stops(directory):
    # A player that does not read keeps the server from stopping at once.
    with (
        Server(directory, RECORDED) as server,
        Player(server.address, "s", receive_buffer_bytes=4096) as player,
        Connection(server.address).connect().publish("s") as publisher,
    ):
        player.stall()
        for number in range(40):
            publisher.send_media(VIDEO, number * 40, b"\x17\x01\0\0\0" + bytes(20_000))
        server.signal(signal.SIGTERM)
        server.wait_for("stopping")
        with pytest.raises((OSError, Closed)), Connection(server.address).connect().publish("late"):
            pass
        assert server.wait() == 0
        server.check_log()


def test_a_taken_port_is_told_in_one_line(directory):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with Program([*RTMPD, "serve", "--rtmp", address, "--data", directory]) as program:
            assert program.wait() == 1

    (line,) = program.stderr
    assert line.startswith(
        f"rtmpd: cannot listen on {address}: Address already in use (rtmpd can listen elsewhere: --rtmp "
    )
    assert not program.stdout


def test_a_data_directory_in_use_is_told_in_one_line(directory):
    with Server(directory) as server:
        with Program([*RTMPD, "serve", "--rtmp", "127.0.0.1:0", "--data", server.data]) as second:
            assert second.wait() == 1
        assert second.stderr == [f"rtmpd: the data directory {server.data} is in use by another rtmpd"]

        with Connection(server.address).connect():
            pass


def test_a_killed_servers_data_directory_is_free_again(directory, sources):
    with (
        Server(directory, RECORDED) as killed,
        LivePublisher(killed.address, "s", sources.tags("h264+aac")) as publisher,
    ):
        publisher.wait_until_sent(300)
        killed.kill()

    with Server(directory, RECORDED) as server, Connection(server.address).connect().publish("s"):
        pass


@pytest.mark.parametrize("command", [("serve", "--config"), ("check",)], ids=["serve", "check"])
def test_a_wrong_configuration_is_told_fault_by_fault(command, tmp_path):
    path = tmp_path / "wrong.toml"
    path.write_text(
        'rtmp.listen = "0.0.0.0:1935"\n[apps.live]\ngrace_s = "ten"\nrecords = "auto"\n[players]\nwait_s = -1\n'
    )

    with Program([*RTMPD, *command, path]) as program:
        assert program.wait() == 2

    assert len(program.stderr) == 4
    for key in ("rtmp.listen", "apps.live.grace_s", "apps.live.records", "players.wait_s"):
        (line,) = (line for line in program.stderr if key in line)
        assert "expected" in line
    assert not program.stdout


def reload(server, config):
    server.config.write_text(config)
    count = len(server.found("configuration reloaded")) + 1
    server.signal(signal.SIGHUP)
    server.wait_for("configuration reloaded", count=count)


def test_sighup_admits_a_new_application_and_keeps_streams(directory, sources):
    tags = sources.tags("long")
    with (
        Server(directory) as server,
        Player(server.address, "s") as player,
        LivePublisher(server.address, "s", tags) as publisher,
    ):
        with Connection(server.address).connect("later") as early:
            assert early.refused("publish", "s")["code"] == "NetStream.Publish.Denied"
        reload(server, "[apps.live]\n[apps.later]\n")
        with Connection(server.address).connect("later").publish("s"):
            pass
        publisher.wait_until_sent(publisher.sent_ms + 300)
        publisher.finish()
        player.wait_for_end()

        assert frames_of(player.media) == frames_of(publisher.sent)


def test_sighup_changes_whose_pages_may_show_media(directory):
    with Server(directory) as server:

        def allowed():
            answer = server.api.request("OPTIONS", "/live/s.flv", None, {"Origin": "https://a.example"})
            return answer.headers.get("access-control-allow-origin")

        assert allowed() == "*"
        reload(server, "[apps.live]\n[http]\nmedia_origins = []\n")
        assert allowed() is None


def test_an_application_that_sighup_brings_is_recorded(directory, sources):
    with Server(directory) as server:
        reload(server, "[apps.live]\n[apps.later]\nrecord = 'auto'\nresume_s = 0\n")
        with LivePublisher(server.address, "s", sources.tags("h264+aac"), app="later") as publisher:
            publisher.wait_until_sent(500)
            publisher.finish()
        server.wait_for("recording closed", stream="later/s")

    (path,) = server.recordings("later/s")
    assert frames_of(read_tags(path)) == frames_of(publisher.sent)


def test_sighup_with_a_wrong_configuration_changes_nothing(directory):
    with Server(directory) as server:
        server.allowed_errors.add("configuration not reloaded")
        server.config.write_text("[apps.other]\ngrace_s = -1\n")
        server.signal(signal.SIGHUP)

        assert "apps.other.grace_s" in server.wait_for("configuration not reloaded")["reason"]
        with Connection(server.address).connect().publish("s"):
            pass


def test_running_out_of_descriptors_is_survived(directory, sources):
    with (
        Server(directory) as server,
        Player(server.address, "s") as player,
        LivePublisher(server.address, "s", sources.tags("long")) as publisher,
    ):
        publisher.wait_until_sent(100)
        _, hard = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (server.open_files() + 3, hard))
        began_s = time.monotonic()
        with contextlib.ExitStack() as crowd:
            for _ in range(8):
                crowd.enter_context(socket.create_connection(server.address, timeout=10))
            server.wait_for("cannot accept", reason="Too many open files")
            publisher.wait_until_sent(publisher.sent_ms + 300)
        with Player(server.address, "s") as late:
            late.wait_for_media(20)
        publisher.finish()
        player.wait_for_end()

        assert frames_of(player.media) == frames_of(publisher.sent)
        assert len(server.found("cannot accept")) <= 2 + time.monotonic() - began_s  # once a second
