"""Every format of a recording holds what the encoder sent, packet for packet, while and after it is written."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.helpers.clients import pyav_publisher
from tests.helpers.compare import assert_same_packets, assert_same_pictures, read_packets
from tests.helpers.server import Server

pytestmark = pytest.mark.e2e

CONFIG = """
[apps.live]
record = "auto"
record_formats = ["flv", "mp4", "hls"]
resume_s = 0
[apps.ts]
record = "auto"
record_formats = "hls"
hls_segment_type = "ts"
hls_segment_s = 1
resume_s = 0
[apps.front]
record = "auto"
record_formats = "mp4"
record_faststart = true
resume_s = 0
[apps.sound]
record = "auto"
record_formats = ["m4a", "mp3"]
resume_s = 0
"""
PACKETS = ["h264+aac", "hevc+aac", "av1+opus", "audio only", "video only"]
PICTURES = ["h264+aac", "hevc+aac", "h264+mp3", "hevc+mp3"]
SOUND = ["h264+mp3", "h264+aac"]
FRONT = "h264+aac"


@pytest.fixture(scope="module")
def recorded(tmp_path_factory, sources):
    """The server's log lines of each closed file, by application and source; all are pushed at the same time."""
    jobs = [("live", each) for each in PACKETS] + [("ts", each) for each in PICTURES]
    jobs += [("sound", each) for each in SOUND] + [("front", FRONT)]

    def push(app, name):
        stream = f"{app}/{name.replace(' ', '-').replace('+', '-')}"
        with pyav_publisher(sources.flv(name), server.url(stream)) as publishing:
            assert publishing.wait(60) == 0
        formats = {"live": 3, "ts": 1, "front": 1, "sound": 2 if "mp3" in name else 1}[app]
        server.wait_for("recording closed", stream=stream, count=formats)
        return {line["file_format"]: line for line in server.found("recording closed", stream=stream)}

    with Server(tmp_path_factory.mktemp("server"), CONFIG) as server, ThreadPoolExecutor(len(jobs)) as pool:
        server.allowed_errors.add("recording failed")
        for name in {name for _, name in jobs}:
            sources.flv(name)
        found = dict(zip(jobs, pool.map(lambda job: push(*job), jobs), strict=True))
        found["failed"] = server.found("recording failed")
    with sqlite3.connect(server.data / "rtmpd.db") as database:
        found["index"] = {
            path: (state, size) for path, state, size in database.execute("SELECT path, state, size_bytes FROM files")
        }
    found["directory"] = server.data / "recordings"
    return found


@pytest.mark.parametrize("name", PACKETS)
@pytest.mark.parametrize("file_format", ["flv", "mp4", "hls"])
def test_packets_and_times_are_those_of_the_source(recorded, sources, name, file_format):
    line = recorded["live", name][file_format]

    assert_same_packets(sources.flv(name), recorded["directory"] / line["path"], to_end=True)
    assert (line["gaps"], line["left_out"], line["jumps"]) == (0, 0, 0)


@pytest.mark.parametrize("name", PICTURES)
def test_pictures_and_times_in_transport_streams_are_those_of_the_source(recorded, sources, name):
    path = recorded["directory"] / recorded["ts", name]["hls"]["path"]

    assert_same_pictures(sources.flv(name), path, to_end=True)


def test_an_index_that_was_moved_to_the_front_is_there_and_nothing_else_has_changed(recorded, sources):
    path = recorded["directory"] / recorded["front", FRONT]["mp4"]["path"]
    data = path.read_bytes()

    assert data.index(b"moov") < data.index(b"mdat")
    assert recorded["front", FRONT]["mp4"]["size_bytes"] == len(data)
    assert_same_packets(sources.flv(FRONT), path, to_end=True)


def test_sound_alone_is_taken_where_it_is_asked_for(recorded):
    for name, file_format in (("h264+mp3", "mp3"), ("h264+mp3", "m4a"), ("h264+aac", "m4a")):
        assert list(read_packets(recorded["directory"] / recorded["sound", name][file_format]["path"])) == ["audio"]


def test_a_codec_that_a_format_cannot_carry_is_refused_with_the_reason_and_nothing_else(recorded):
    reasons = {(line["stream"], line["format"]): line["reason"] for line in recorded["failed"]}

    assert reasons == {("sound/h264-aac", "mp3"): "MP3 cannot carry mp4a"}


def test_the_index_has_each_file_as_it_is(recorded):
    index, directory = recorded["index"], recorded["directory"]
    folders = {path.with_suffix("") for path in directory.rglob("*.m3u8")}
    files = {
        str(path.relative_to(directory)): path
        for path in directory.rglob("*")
        if path.is_file() and path.parent not in folders
    }

    assert index.keys() == files.keys()
    for path, (state, size) in index.items():
        assert state == "closed"
        if not path.endswith(".m3u8"):
            assert size == files[path].stat().st_size
