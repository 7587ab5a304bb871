"""Push relays between servers: every packet arrives, targets come and go, and who watches at the source notices nothing."""

from __future__ import annotations

import contextlib
import signal

import pytest

from rtmpd.net.backoff import LONGEST_PAUSE_S
from rtmpd.wire.flv import FlvTag
from rtmpd.wire.messages import VIDEO
from tests.helpers.callback_server import CallbackServer
from tests.helpers.clients import HELD_BACK_MS, ffmpeg_writer
from tests.helpers.compare import assert_same_packets, read_packets
from tests.helpers.hook import Hook, settles
from tests.helpers.live import AVC_HEADER, inter_frame, key_frame
from tests.helpers.media import is_frame, wait_until_written
from tests.helpers.nginx import Nginx
from tests.helpers.pace import in_step
from tests.helpers.ports import free_port, wait_until_listening
from tests.helpers.processes import PATIENCE_S, wait_until
from tests.helpers.rtmp_client import Connection, LivePublisher, Player
from tests.helpers.server import Server

pytestmark = pytest.mark.e2e

SPEED = 8
"""Times real time: what is compared is half a minute of media, not of ours."""
LEAST_MS = 35_900
"""All of it: 36 s, without what the last packets last."""
SENT_S = 60
FAR = '[apps.live]\nrecord = "auto"\nresume_s = 0\ngrace_s = 0\n'


def relaying_to(*urls, more=""):
    return f"[apps.live]\npush_targets = {list(urls)}\n{more}".replace("'", '"')


def send_all(server, tags, *, ready=None, arrived=lambda: None):
    """Publish a file as fast as its relays are to go, from when they are there, and end it properly when all arrived."""
    tags = in_step(server, tags, ready=ready or (lambda: server.wait_for("relay connected")))
    with LivePublisher(server.address, "s", tags, speed=SPEED, repeat=False) as publisher:
        publisher.wait_until_all_sent(SENT_S)
        arrived()
        publisher.finish()


def assert_arrived(source, arrived):
    """All packets of the source arrived."""
    assert_same_packets(source, arrived, to_end=True)
    for units in read_packets(arrived).values():
        assert units[-1].dts_ms - units[0].dts_ms >= LEAST_MS


def recorded(server, stream):
    server.wait_for("recording closed", stream=stream)
    return recording(server, stream)


def recording(server, stream):
    server.wait_for("recording started", stream=stream)
    (path,) = server.recordings(stream)
    return path


def test_what_another_rtmpd_gets_is_what_was_published(tmp_path, sources):
    with (
        Server(tmp_path / "far", FAR) as far,
        Server(tmp_path / "near", relaying_to(far.url("live/{app}-{stream}"))) as near,
    ):
        send_all(near, sources.tags("relayed"))
        near.wait_for("relay stopped")
        assert_arrived(sources.flv("relayed"), recorded(far, "live/live-s"))
        assert near.found("relay lost") == []


@pytest.mark.peer("nginx", "ffmpeg")
def test_what_comes_out_of_nginx_and_of_the_rtmpd_behind_it_is_what_was_published(tmp_path, sources):
    pulled, tags = tmp_path / "pulled.flv", sources.tags("relayed")
    with (
        Server(tmp_path / "far", FAR) as far,
        Nginx(tmp_path / "nginx", f"push {far.url('live')};") as nginx,
        Server(tmp_path / "near", relaying_to(nginx.url("{stream}"))) as near,
        ffmpeg_writer(pulled, "-i", nginx.url("s")) as player,
    ):
        nginx.wait_for_players("s")

        def arrived():
            # When its publisher ends, nginx drops what it has not sent.
            wait_until_written(recording(far, "live/s"), tags)
            wait_until_written(pulled, tags, held_back_ms=HELD_BACK_MS)

        send_all(near, tags, ready=lambda: far.wait_for("publish started"), arrived=arrived)
        near.wait_for("relay stopped")
        assert_arrived(sources.flv("relayed"), recorded(far, "live/s"))
        nginx.kill()  # it keeps those who play for the next publisher
        player.wait()
    assert_arrived(sources.flv("relayed"), pulled)


@pytest.mark.peer("ffmpeg")
def test_what_an_ffmpeg_that_listens_gets_is_what_was_published(tmp_path, sources):
    port, output = free_port(), tmp_path / "out.flv"
    url = f"rtmp://127.0.0.1:{port}/live/s"
    with (
        ffmpeg_writer(output, "-listen", "1", "-i", url) as ffmpeg,
        Server(tmp_path / "near", relaying_to(url)) as near,
    ):
        wait_until_listening(port)
        send_all(near, sources.tags("relayed"))
        assert ffmpeg.wait() == 0
    assert_arrived(sources.flv("relayed"), output)


def test_targets_by_configuration_request_and_hook_come_and_go_on_a_running_stream(tmp_path, sources):
    with (
        Server(tmp_path / "far") as far,
        Hook(settles(targets=[far.url("live/hooked?key=SECRET")])) as hook,
        CallbackServer() as receiver,
        Server(
            tmp_path / "near",
            relaying_to(far.url("live/static"), more=f'on_publish = "{hook.url()}"\n{receiver.config}'),
        ) as near,
        LivePublisher(near.address, "s", sources.tags("short")) as publisher,
    ):
        for name in ("static", "hooked"):
            far.wait_for("publish started", stream=f"live/{name}")
        pushed = near.api.start_push("live/s", targets=[far.url("live/asked")])
        far.wait_for("publish started", stream="live/asked")
        added = near.api.post(f"pushes/{pushed['channel_id']}/targets", {"url": far.url("live/added")}).body["target"]
        far.wait_for("publish started", stream="live/added")
        wait_until(lambda: states(near) == ["live"] * 4, "four relays that are live")

        near.api.delete(f"pushes/{pushed['channel_id']}/targets/{added['target_id']}")
        far.wait_for("closed", stream="live/added")
        near.api.stop_push(pushed["channel_id"])
        for name in ("asked", "hooked"):
            far.wait_for("closed", stream=f"live/{name}")
        wait_until(lambda: states(near) == ["live"], "one relay, that of the configuration")
        publisher.finish()
        far.wait_for("closed", stream="live/static")
        near.wait_for("relay stopped", count=4)

        told = receiver.wait_for("live/s", 1001, count=8)
        events = [body["relay_event"] for body in told]
        assert sorted(events) == ["relay_live"] * 4 + ["relay_stopped"] * 4
        assert "SECRET" not in str(told) + str(near.log)
        assert [body["target_id"] for body in told].count(added["target_id"]) == 2


def states(server):
    return [relay["state"] for relay in server.api.get("relays").body["relays"]]


@contextlib.contextmanager
def audience(server, stream, count):
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(Player(server.address, stream)) for _ in range(count)]


def sent(messages):
    return [(message.type_id, message.timestamp_ms, message.body) for message in list(messages) if is_frame(message)]


def assert_no_gap(publisher, players):
    """Each player has had every frame from its first one on."""
    for player in players:
        player.wait_until(
            lambda player=player: sent(player.media) and player.media[-1].timestamp_ms >= publisher.sent_ms, "the end"
        )
        seen, expected = sent(player.media), sent(publisher.sent)
        first = expected.index(seen[0])
        assert seen == expected[first : first + len(seen)]


LIGHT = [
    FlvTag(VIDEO, 0, AVC_HEADER),
    *(FlvTag(VIDEO, 100 * number, (inter_frame if number % 10 else key_frame)(0).body) for number in range(100)),
]
"""Made-up pictures, ten a second: a hundred players keep all of them in memory for some minutes."""


@pytest.mark.timeout(300)  # pauses between tries double, and each round waits for the end of one
def test_a_target_that_is_killed_and_restarted_has_the_stream_back_each_time(tmp_path, prove):
    port = free_port()
    rounds, players = (20, 100) if prove else (3, 20)
    back_s = LONGEST_PAUSE_S + PATIENCE_S
    with (
        Server(tmp_path / "near", relaying_to(f"rtmp://127.0.0.1:{port}/live/s")) as near,
        audience(near, "s", players) as watching,
        LivePublisher(near.address, "s", LIGHT) as publisher,
    ):
        near.wait_for("relay lost")  # there is no target yet
        for number in range(1, rounds + 1):
            with Server(tmp_path / f"far-{number}", arguments=["--rtmp", f"127.0.0.1:{port}"]) as far:
                near.wait_for("relay connected", count=number, timeout_s=back_s)
                with Player(far.address, "s") as player:
                    player.wait_until(lambda player=player: len(sent(player.media)) > 10, "the stream at its target")
                far.kill()
            near.wait_for("relay lost", count=number + 1)
        publisher._halt()
        assert_no_gap(publisher, watching)
        publisher.finish()
        near.wait_for("relay stopped")
        assert len(near.found("publish started", stream="live/s")) == 1


LOG_BYTES = 2_000_000
GROUP = 25
PICTURE_BYTES = 20_000
OVERHEAD_BYTES = 16_000_000
"""Resident memory beyond the log: an allocator's slack, with room."""
STALLED = f"""
[log]
gop_bytes = {LOG_BYTES}
[players]
lag_limit_s = 6
[limits]
publisher_idle_s = 60
"""
"""Nobody who only stands still for a moment is given up: neither who watches, nor who waits for the relay to come back."""


class Encoder:
    """Sends groups of pictures, each after all who watch have the one before."""

    def __init__(self, connection, players):
        self._connection = connection
        self._players = players
        self._groups = 0
        self.seen_ms = [[] for _ in players]
        """Times of the pictures that each has had."""
        connection.send_media(VIDEO, 0, AVC_HEADER)

    @property
    def sent_ms(self):
        return [number * 40 for number in range(self._groups * GROUP)]

    def send(self, groups):
        for _ in range(groups):
            first = self._groups * GROUP
            for number in range(first, first + GROUP):
                picture = inter_frame if number % GROUP else key_frame
                self._connection.send_media(VIDEO, number * 40, picture(0, size=PICTURE_BYTES).body)
            self._groups += 1
            for player, seen_ms in zip(self._players, self.seen_ms, strict=True):
                player.wait_until(lambda player=player: _ends_at(player, self.sent_ms[-1]), f"{self.sent_ms[-1]} ms")
                seen_ms += [message.timestamp_ms for message in player.media if is_frame(message)]
                player.media.clear()  # pictures of a minute, for each of a hundred


def _ends_at(player, time_ms):
    return player.media and player.media[-1].timestamp_ms == time_ms


def test_a_target_that_accepts_and_never_reads_costs_a_bounded_memory_and_nobody_anything(tmp_path, prove):
    groups, players = 120, (100 if prove else 5)
    with (
        Server(tmp_path / "far") as far,
        Server(tmp_path / "near", relaying_to(far.url("live/s"), more=STALLED)) as near,
        audience(near, "s", players) as watching,
        Connection(near.address).connect() as connection,
    ):
        encoder = Encoder(connection.publish("s"), watching)
        encoder.send(20)
        near.wait_for("relay connected")
        before = near.resident_bytes()
        far.signal(signal.SIGSTOP)
        try:
            encoder.send(groups)
            near.wait_for("relay lost", reason="too slow: nothing taken for 6 s")
        finally:
            far.signal(signal.SIGCONT)
        growth = near.resident_bytes() - before
        near.wait_for("relay connected", count=2, timeout_s=LONGEST_PAUSE_S + PATIENCE_S)

    assert all(seen_ms == encoder.sent_ms for seen_ms in encoder.seen_ms)
    assert growth <= 2 * LOG_BYTES + OVERHEAD_BYTES < groups * GROUP * PICTURE_BYTES / 2
