"""Packet for packet: what players get and recordings hold is what the encoder had, payloads and times."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.helpers.clients import (
    ffmpeg_packets,
    ffmpeg_player,
    ffmpeg_publisher,
    ffmpeg_remux,
    pyav_player,
    pyav_publisher,
)
from tests.helpers.media import from_start, packets_of
from tests.helpers.server import Server

pytestmark = pytest.mark.e2e

CONFIG = '[apps.live]\nrecord = "auto"\nresume_s = 0\n'
PYAV = ["h264+aac", "hevc+aac", "av1+opus", "audio only", "video only"]
FFMPEG = ["h264+aac", "audio only", "video only"]
CLIENTS = {"pyav": (pyav_publisher, pyav_player), "ffmpeg": (ffmpeg_publisher, ffmpeg_player)}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Server(tmp_path_factory.mktemp("server"), CONFIG) as server:
        yield server


def pass_through(server, stream, path, publisher, player):
    """Push a file while a player that was there before plays it; the player's packets and the recorded file."""
    url = server.url(stream)
    with player(url) as playing:
        server.wait_for_players(stream)
        with publisher(path, url) as publishing:
            assert publishing.wait(60) == 0
            packets = playing.finish()
    server.wait_for("recording closed", stream=stream)
    (recorded,) = server.recordings(stream)
    return packets, recorded


@pytest.fixture(scope="module")
def pushed(sources, tmp_path_factory):
    """The files to push, by client and name, each made by the FFmpeg that pushes it."""
    files = {("pyav", name): sources.flv(name) for name in PYAV}
    if shutil.which("ffmpeg"):
        directory = tmp_path_factory.mktemp("ffmpeg")
        for number, name in enumerate(FFMPEG):
            files["ffmpeg", name] = directory / f"{number}.flv"
            ffmpeg_remux(sources.mp4(name), files["ffmpeg", name])
    return files


@pytest.fixture(scope="module")
def passed(server, pushed):
    """What became of them; all go through at the same time, because each takes as long as it lasts."""
    with ThreadPoolExecutor(len(pushed)) as pool:
        return {
            (client, name): pool.submit(pass_through, server, f"live/{number}", path, *CLIENTS[client])
            for number, ((client, name), path) in enumerate(pushed.items())
        }


@pytest.mark.parametrize("name", PYAV)
def test_a_stream_pushed_by_pyav_comes_out_packet_for_packet(name, passed, pushed):
    played, recorded = passed["pyav", name].result()

    expected = from_start(packets_of(pushed["pyav", name]))
    assert from_start(played) == expected
    assert from_start(packets_of(recorded)) == expected


@pytest.mark.peer("ffmpeg")
@pytest.mark.parametrize("name", FFMPEG)
def test_a_stream_pushed_by_ffmpeg_comes_out_packet_for_packet(name, passed, pushed):
    played, recorded = passed["ffmpeg", name].result()

    expected = from_start(ffmpeg_packets(pushed["ffmpeg", name]))
    assert from_start(played) == expected
    assert from_start(ffmpeg_packets(recorded)) == expected
