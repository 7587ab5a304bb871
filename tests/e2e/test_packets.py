"""Packet for packet: what players get and recordings hold is what the encoder had, payloads and times."""

from __future__ import annotations

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

CONFIG = '[apps.live]\nrecord = "auto"\n'
PYAV = ["h264+aac", "hevc+aac", "av1+opus", "audio only", "video only"]
FFMPEG = ["h264+aac", "audio only", "video only"]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Server(tmp_path_factory.mktemp("server"), CONFIG) as server:
        yield server


def pass_through(server, stream, path, publisher, player):
    """Push a file while a player that was there before plays it; the player's packets and the recorded file."""
    url = server.url(stream)
    with player(url) as playing:
        playing.wait_for_request()
        with publisher(path, url) as publishing:
            assert publishing.wait(60) == 0
            packets = playing.finish()
    server.wait_for("recording closed", stream=stream)
    (recorded,) = server.recordings(stream)
    return packets, recorded


def pass_all_through(server, application, files, publisher, player):
    """Do so with several files at the same time: they last as long as they last."""
    with ThreadPoolExecutor(len(files)) as pool:
        return {
            name: pool.submit(pass_through, server, f"live/{application}{number}", path, publisher, player)
            for number, (name, path) in enumerate(files.items())
        }


@pytest.fixture(scope="module")
def passed_by_pyav(server, sources):
    files = {name: sources.flv(name) for name in PYAV}
    return pass_all_through(server, "pyav", files, pyav_publisher, pyav_player)


@pytest.fixture(scope="module")
def ffmpeg_files(sources, tmp_path_factory):
    directory = tmp_path_factory.mktemp("ffmpeg")
    files = {name: directory / f"{number}.flv" for number, name in enumerate(FFMPEG)}
    for name, path in files.items():
        ffmpeg_remux(sources.mp4(name), path)
    return files


@pytest.fixture(scope="module")
def passed_by_ffmpeg(server, ffmpeg_files):
    return pass_all_through(server, "ffmpeg", ffmpeg_files, ffmpeg_publisher, ffmpeg_player)


@pytest.mark.parametrize("name", PYAV)
def test_a_stream_pushed_by_pyav_comes_out_packet_for_packet(name, passed_by_pyav, sources):
    played, recorded = passed_by_pyav[name].result()

    pushed = from_start(packets_of(sources.flv(name)))
    assert from_start(played) == pushed
    assert from_start(packets_of(recorded)) == pushed


@pytest.mark.peer("ffmpeg")
@pytest.mark.parametrize("name", FFMPEG)
def test_a_stream_pushed_by_ffmpeg_comes_out_packet_for_packet(name, passed_by_ffmpeg, ffmpeg_files):
    played, recorded = passed_by_ffmpeg[name].result()

    pushed = from_start(ffmpeg_packets(ffmpeg_files[name]))
    assert from_start(played) == pushed
    assert from_start(ffmpeg_packets(recorded)) == pushed
