"""Metrics of a real server, next to what its clients, its log and the kernel say."""

from __future__ import annotations

import gzip
import os
import signal
import threading

import pytest

from tests.helpers.api import Api
from tests.helpers.metrics import Samples
from tests.helpers.processes import wait_until
from tests.helpers.rtmp_client import Connection, LivePublisher, Player
from tests.helpers.server import Server

pytestmark = pytest.mark.e2e

TOKEN = "let-prometheus-in"
FAR = "[apps.live]\n"
MANY = 200
SILENT = "[limits]\npublisher_idle_s = 600\n[apps.live]\n"
"""For publishers that send nothing, however long they have to."""


def near(far):
    return (
        f'[http]\ntoken = ["{TOKEN}"]\n[apps.live]\nrecord = "auto"\nresume_s = 0\npush_targets = ["{far.url("live/r")}"]\n'
        f'[apps.hidden]\npublish_key = ["never-said"]\n[apps.edge]\n[pulls."edge/pulled"]\nsources = ["{far.url("live/origin")}"]\n'
    )


def scrape(server, **headers):
    """As Prometheus does, with the token."""
    answer = Api(server.http_address, TOKEN).request("GET", "/metrics", None, headers)
    assert answer.status == 200
    return Samples.parse(answer.body)


def wait_for(server, name, value, **labels):
    wait_until(lambda: scrape(server).value(name, **labels) == value, f"{name} {labels} to be {value}")


def rates(server, stream):
    shown = server.api.stream(stream)
    return shown["bits_per_s"], shown["frames_per_s"]


def test_figures_are_those_of_what_happens(tmp_path, sources):
    tags = sources.tags("long")
    with (
        Server(tmp_path / "far", FAR) as far,
        Server(tmp_path / "near", near(far)) as server,
        LivePublisher(far.address, "origin", tags),
        LivePublisher(server.address, "s", tags) as publisher,
        Player(server.address, "s") as player,
        Player(server.address, "s") as other,
    ):
        for each in (player, other):
            each.wait_for_media(30)
        server.wait_for("relay connected")
        server.wait_for("pull connected")
        server.wait_for("recording started", stream="live/s")
        with Connection(server.address).connect("hidden") as stranger:
            stranger.refused("publish", "s")
        before = scrape(server)

        assert before.of("rtmpd_streams") == {("live", "live"): 1, ("edge", "live"): 1}
        assert before.value("rtmpd_clients", kind="rtmp", role="play") == 2
        assert before.value("rtmpd_stream_players", stream="live/s", kind="rtmp") == 2
        assert before.value("rtmpd_refusals_total", request="publish") == 1
        assert before.value("rtmpd_publishes_total") == 2
        assert before.value("rtmpd_relays", kind="push", state="live") == 1
        assert before.value("rtmpd_relays", kind="pull", state="live") == 1
        assert before.value("rtmpd_recordings", origin="auto", state="running") == 1
        assert before.value("rtmpd_fanout_pass_seconds_count") > 0
        assert before.value("rtmpd_worker_deaths_total") == 0
        assert 0 < before.value("process_open_fds") <= server.open_files() + 5
        publisher.wait_until_sent(publisher.sent_ms + 500)
        for stream in ("live/s", "edge/pulled"):
            wait_until(
                lambda stream=stream: (
                    scrape(server).value("rtmpd_stream_received_bytes_total", stream=stream)
                    > before.value("rtmpd_stream_received_bytes_total", stream=stream)
                ),
                f"more of {stream}",
            )
        # A stream that is pulled has no client, and rates all the same.
        wait_until(lambda: all(rates(server, "edge/pulled")), "the rates of the pulled stream")
        assert server.api.get("streams/live/s").body["viewers"] == {"rtmp": 2}
        publisher.finish()
        server.wait_for("closed", role="play", count=2)
        wait_for(server, "rtmpd_stream_players", 0)
        after = scrape(server)

        assert after.value("rtmpd_clients_closed_total", role="play") == 2
        closed = server.found("closed", role="play")
        assert after.value("rtmpd_sent_bytes_total", kind="rtmp") == sum(line["bytes_out"] for line in closed)
        assert after.value("rtmpd_received_bytes_total", kind="rtmp") > before.value(
            "rtmpd_received_bytes_total", kind="rtmp"
        )
        server.wait_for("recording closed", stream="live/s")
        wait_for(server, "rtmpd_recording_files_total", 1, result="closed")


def test_a_worker_that_dies_is_counted(directory):
    with Server(directory) as server:
        server.allowed_errors.add("media worker died")
        wait_until(lambda: scrape(server).value("rtmpd_worker_resident_bytes"), "the worker to say how it is")
        os.kill(server.media_worker(), signal.SIGKILL)
        wait_for(server, "rtmpd_worker_deaths_total", 1, work="recording")


def test_it_needs_the_token_and_is_compressed(tmp_path):
    with Server(tmp_path / "far", FAR) as far, Server(tmp_path / "near", near(far)) as server:
        assert Api(server.http_address).request("GET", "/metrics", None, {}).status == 401
        connection = Api(server.http_address).connection()
        connection.request("GET", "/metrics", headers={"Authorization": f"Bearer {TOKEN}", "Accept-Encoding": "gzip"})
        response = connection.getresponse()
        assert Samples.parse(gzip.decompress(response.read()).decode()).value("rtmpd_build_info") == 1
        connection.close()


def test_others_are_answered_while_pages_of_many_streams_are_written(directory):
    with Server(directory, SILENT) as server:
        publishers = [Connection(server.address).connect().publish(f"s{number}") for number in range(MANY)]
        pages = []
        metrics = Api(server.http_address)
        # Read, and not yet understood, which would take this process longer than the server takes to write them.
        scraping = threading.Thread(
            target=lambda: pages.extend(metrics.request("GET", "/metrics", None, {}) for _ in range(20))
        )
        scraping.start()
        answers = []
        while scraping.is_alive():
            answers.append(server.api.request("GET", "/healthz", None, {}).status)
        scraping.join()
        for publisher in publishers:
            publisher.close()

    assert len(Samples.parse(pages[-1].body).of("rtmpd_stream_lag_seconds")) == MANY
    assert set(answers) == {200}
    assert len(answers) >= len(pages)
