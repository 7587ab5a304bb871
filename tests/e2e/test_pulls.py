"""Pulled streams, end to end: from rtmpd, nginx and ffmpeg, on demand and as an edge, and with the first source killed."""

from __future__ import annotations

import socket
import time
from contextlib import ExitStack

import pytest

from rtmpd.control.pull_plan import EDGE_IDLE_S
from rtmpd.media.tags import EMPTY, END_OF_SEQUENCE, KEY_FRAME, SEQUENCE_HEADER, classify
from rtmpd.wire.messages import AUDIO, VIDEO
from tests.helpers.crowd import Crowd
from tests.helpers.nginx import Nginx
from tests.helpers.ports import free_port, wait_until_listening
from tests.helpers.processes import PATIENCE_S, Program, wait_until
from tests.helpers.rtmp_client import Connection, LivePublisher, Player
from tests.helpers.server import Server

pytestmark = pytest.mark.e2e

ORIGIN = "[apps.live]\n"
PATIENT = "grace_s = 60\n"
"""Players stay, however long the other source or the other nginx takes to be there."""
NO_FRAME = EMPTY | END_OF_SEQUENCE | SEQUENCE_HEADER


def edge(*origins, more=""):
    urls = ", ".join(f'"{origin}"' for origin in origins)
    return f"[apps.edge]\norigin = [{urls}]\n{more}"


def pull(*sources, more=""):
    urls = ", ".join(f'"{source}"' for source in sources)
    return f'[apps.live]\n[pulls."live/s"]\nsources = [{urls}]\n{more}'


def times_of(player):
    return [message.timestamp_ms for message in list(player.media) if message.type_id in {AUDIO, VIDEO}]


def frames_of(messages):
    """Types and bodies of frames; headers come in an order that is the server's."""
    frames = [(m.type_id, m.body, classify(m.type_id, m.body)) for m in list(messages) if m.type_id in {AUDIO, VIDEO}]
    return [frame for frame in frames if not frame[2] & NO_FRAME]


def is_run_of(played, sent):
    """Whether what was played is a contiguous run of what was sent from a key frame on, as far as that was noted."""
    known = {frame[:2] for frame in sent}
    first = next(index for index, frame in enumerate(played) if frame[2] & KEY_FRAME)
    part = [frame for frame in played[first:] if frame[:2] in known]
    starts = [index for index, frame in enumerate(sent) if frame == part[0]]
    return len(part) > 20 and any(sent[start : start + len(part)] == part for start in starts)


@pytest.fixture(scope="module")
def media(sources):
    return sources.tags("evening")


@pytest.fixture
def origin(tmp_path):
    with Server(tmp_path / "origin", ORIGIN) as server:
        yield server


def test_a_stream_is_brought_when_it_is_played_and_let_go_afterwards(origin, directory, media):
    config = pull(origin.url("live/s"), more="on_demand = true\nidle_s = 0.5\n")
    with Server(directory, config) as server, LivePublisher(origin.address, "s", media) as publisher:
        with Player(server.address, "s") as player:
            player.wait_for_media(60)
            sent = frames_of(publisher.sent)
            line = server.wait_for("pull connected", stream="live/s")
            (relay,) = server.api.get("relays").body["relays"]  # while it is played: it does not outlive that for long
        assert line["source"] == origin.url("live")
        assert (relay["kind"], relay["stream"], relay["url"], relay["state"]) == (
            "pull",
            "live/s",
            origin.url("live"),
            "live",
        )
        server.wait_for("pull idle", stream="live/s")
        origin.wait_for("closed", role="play")

    assert is_run_of(frames_of(player.media), sent)


def test_a_recording_that_is_asked_for_brings_its_stream_and_keeps_it(origin, directory, media):
    # Longer than between the answer of the source and the recording, also where one of them stands still.
    config = pull(origin.url("live/s"), more="on_demand = true\nidle_s = 3\n")
    with Server(directory, config) as server, LivePublisher(origin.address, "s", media) as publisher:
        publisher.wait_until_sent(1000)
        started = server.api.post("records", {"stream": "live/s"})
        assert started.status in {200, 201}, started.body
        publisher.wait_until_sent(publisher.sent_ms + 5000)
        assert not server.found("pull idle")
        server.api.post(f"records/{started.body['task_id']}/stop")
        server.wait_for("pull idle", stream="live/s")
        server.wait_for("recording closed", stream="live/s")


def test_nobody_publishes_to_an_edge(origin, directory):
    with Server(directory, edge(origin.url("live"))) as server, Connection(server.address).connect("edge") as client:
        info = client.refused("publish", "s")

    assert info["description"] == "edge is an edge: its streams are published at its origin"


def test_a_player_of_a_stream_that_the_origin_does_not_have_is_refused_in_the_end(origin, directory):
    config = edge(origin.url("live"), more="[players]\nwait_s = 5\n")
    with Server(directory, config) as server:
        with Player(server.address, "none", app="edge") as player:
            origin.wait_for_players("live/none")  # an edge that has not got so far leaves unseen when its player does
            player.wait_for_status("NetStream.Play.StreamNotFound")
        origin.wait_for("closed", role="play", timeout_s=EDGE_IDLE_S + PATIENCE_S)


def test_a_static_pull_is_there_without_a_player_is_recorded_and_ends_with_the_server(origin, directory, media):
    config = pull(origin.url("live/s")).replace("[apps.live]", '[apps.live]\nrecord = "auto"\n')
    with LivePublisher(origin.address, "s", media), Server(directory, config) as server:
        server.wait_for("pull connected", stream="live/s")
        with Player(server.address, "s") as player:
            player.wait_for_media(60)
            server.stop()
            player.wait_for_status("NetStream.Play.UnpublishNotify")
        assert [path.suffix for path in server.recordings("live/s")] == [".flv"]
        assert server.found("closed", role="publish") == []


@pytest.mark.parametrize("died", ["killed", "stopped"])
def test_players_go_on_when_the_first_source_dies_and_times_never_go_back(
    tmp_path, directory, media, died, record_property
):
    with Server(tmp_path / "a", ORIGIN) as first, Server(tmp_path / "b", ORIGIN) as second:
        config = edge(first.url("live"), second.url("live"), more=PATIENT)
        with (
            Server(directory, config) as server,
            LivePublisher(second.address, "s", media),
            LivePublisher(first.address, "s", media) as publisher,
            Player(server.address, "s", app="edge") as player,
        ):
            player.wait_for_media(60)
            before = len(player.media)
            began_s = time.monotonic()
            first.kill() if died == "killed" else first.stop()
            server.wait_for("pull connected", source=second.url("live"))
            count = len(player.media)
            player.wait_until(lambda: len(player.media) > max(count, before) + 50, "media of the second source")
            record_property("seconds until the second source's media", round(time.monotonic() - began_s, 2))
            publisher.drop()
            times = times_of(player)
            assert not player.ended
        first.kill()

    assert times == sorted(times)


@pytest.mark.peer("nginx")
def test_a_stream_of_nginx_is_pulled_and_comes_back_with_it(tmp_path, directory, media, prove):
    count = 2700 if prove else 120  # 37 s, or 2
    with (
        Nginx(tmp_path / "a") as nginx,
        Server(directory, pull(nginx.url("s")).replace(ORIGIN, ORIGIN + PATIENT)) as server,
        LivePublisher(("127.0.0.1", nginx.port), "s", media) as publisher,
        Player(server.address, "s") as player,
    ):
        # nginx sends sound alone up to the first key frame.
        player.wait_until(lambda: len(player.media) >= count, f"{count} messages", 60)
        sent = frames_of(publisher.sent)
        assert is_run_of(frames_of(player.media), sent)
        nginx.kill()
        with Nginx(tmp_path / "b", port=nginx.port), LivePublisher(("127.0.0.1", nginx.port), "s", media):
            server.wait_for("pull connected", count=2)
            before = len(player.media)
            player.wait_until(lambda: len(player.media) > before + 30, "media of the second nginx")
        assert not player.ended


@pytest.mark.peer("ffmpeg")
def test_ffmpeg_that_listens_is_a_source_over_http(directory, sources):
    port = free_port()
    url = f"http://127.0.0.1:{port}/s.flv"
    command = ["ffmpeg", "-nostdin", "-loglevel", "error", "-re", "-stream_loop", "-1", "-i", sources.flv("evening")]
    command += ["-c", "copy", "-f", "flv", "-listen", "1", url]
    with Program(command):
        wait_until_listening(port)
        with Server(directory, pull(url)) as server, Player(server.address, "s") as player:
            player.wait_for_media(60)

    assert is_run_of(frames_of(player.media), frames_of(sources.tags("evening")))


def test_a_source_that_hangs_and_one_that_sends_garbage_are_left_for_one_that_plays(origin, directory, media):
    with ExitStack() as stack:
        hanging = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        garbage = stack.enter_context(Program(["python3", "-c", _GARBAGE]))
        wait_until(lambda: garbage.stdout, "the port of who sends garbage")
        urls = (
            f"rtmp://127.0.0.1:{garbage.stdout[0]}/live/s",
            f"http://127.0.0.1:{garbage.stdout[0]}/live/s.flv",
            f"rtmp://127.0.0.1:{hanging.getsockname()[1]}/live/s",
            origin.url("live/s"),
        )
        stack.enter_context(LivePublisher(origin.address, "s", media))
        server = stack.enter_context(Server(directory, pull(*urls)))
        player = stack.enter_context(Player(server.address, "s"))
        player.wait_for_media(30)
        server.wait_for("pull lost", count=3)
        lost = server.found("pull lost")

    assert [line["source"].partition(":")[0] for line in lost] == ["rtmp", "http", "rtmp"]
    assert lost[-1]["reason"] == "no media for 5 s"


_GARBAGE = """
import os, socket
with socket.create_server(("127.0.0.1", 0)) as listening:
    print(listening.getsockname()[1], flush=True)
    while True:
        with listening.accept()[0] as peer:
            peer.sendall(os.urandom(5000))
"""


def test_enhanced_codecs_pass_an_edge_untouched(origin, directory, sources):
    tags = sources.tags("hevc+aac")
    with (
        Server(directory, edge(origin.url("live"))) as server,
        LivePublisher(origin.address, "s", tags) as publisher,
        Player(server.address, "s", app="edge") as player,
    ):
        player.wait_for_media(60)
        sent = frames_of(publisher.sent)

    assert is_run_of(frames_of(player.media), sent)


def test_an_origin_over_tls_is_pulled_if_it_is_trusted(tmp_path, directory, media, certificate, monkeypatch):
    with Server(tmp_path / "origin", ORIGIN, certificate=certificate) as origin:
        config = edge(origin.tls_url("live"))
        with LivePublisher(origin.address, "s", media), Server(directory, config) as server:
            with Player(server.address, "s", app="edge"):
                line = server.wait_for("pull lost")
            assert "its certificate is not trusted: " in line["reason"]
            monkeypatch.setenv("SSL_CERT_FILE", str(certificate.authority))
            with (
                Server(tmp_path / "trusting", config) as trusting,
                Player(trusting.address, "s", app="edge") as player,
            ):
                player.wait_for_media(30)


def test_two_edges_of_each_other_come_to_rest(tmp_path):
    ports = free_port(), free_port()
    waits = "[players]\nwait_s = 1\n"
    with ExitStack() as stack:
        servers = [
            stack.enter_context(
                Server(
                    tmp_path / str(index),
                    edge(f"rtmp://127.0.0.1:{ports[1 - index]}/edge", more=waits),
                    arguments=["--rtmp", f"127.0.0.1:{ports[index]}"],
                )
            )
            for index in (0, 1)
        ]
        with Player(servers[0].address, "s", app="edge") as player:
            player.wait_for_status("NetStream.Play.StreamNotFound")
        for server in servers:
            wait_until(
                lambda server=server: not server.api.get("streams").body["streams"], "rest", EDGE_IDLE_S + PATIENCE_S
            )


def cpu_share(server, publisher, media_ms=3000):
    """Which part of one core a server uses while a publisher sends so much."""
    began_s, before_s = time.monotonic(), server.cpu_s()
    publisher.wait_until_sent(publisher.sent_ms + media_ms)
    return round((server.cpu_s() - before_s) / (time.monotonic() - began_s), 3)


def test_an_edge_pulls_each_stream_once_whatever_the_number_of_players(
    origin, directory, media, prove, record_property
):
    streams, players = (20, 50) if prove else (4, 10)
    names = [f"s{number}" for number in range(streams)]
    with ExitStack() as stack:
        server = stack.enter_context(Server(directory, edge(origin.url("live"))))
        publishers = [stack.enter_context(LivePublisher(origin.address, name, media)) for name in names]
        crowd = stack.enter_context(Crowd(server.address, "edge"))
        shares = []
        for each in (1, players - 1):
            for name in names * each:
                crowd.play(name)
            crowd.wait_until_all_have(20_000, 60)
            shares.append(cpu_share(origin, publishers[0]))
        record_property("CPU of the origin with one player a stream, and with all of them", shares)

        assert crowd.lost == 0
        server.wait_for("pull connected", count=streams)
        assert len(server.found("pull connected")) == streams
        clients = origin.api.get("clients").body["clients"]
        assert [client["role"] for client in clients].count("play") == streams
