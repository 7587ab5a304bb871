"""Recordings cut into files: joined they are the source, in every format, with no frame lost or doubled at a cut."""

from __future__ import annotations

import math

import pytest

from tests.helpers.compare import assert_joined_equals, read_packets
from tests.helpers.processes import PATIENCE_S
from tests.helpers.rtmp_client import LivePublisher
from tests.helpers.server import Server

pytestmark = pytest.mark.e2e

CONFIG = """
[apps.live]
record = "auto"
record_formats = ["flv", "mp4", "hls"]
record_cut_s = {cut_s}
resume_s = 0
[apps.size]
record = "auto"
record_formats = ["flv", "mp4", "hls"]
record_cut_s = 0
record_cut_bytes = {cut_bytes}
resume_s = 0
"""
SPEED = 2.0
"""
Times real time. Between two cuts are 3 s and more: a file that is not granted in time, as somebody slept, is cut later.
"""
BY_SIZE = 3
"""Files of the application that cuts by size."""
SUFFIXES = {"flv": ".flv", "mp4": ".mp4", "hls": ".m3u8"}


@pytest.fixture(scope="module")
def length(request):
    """Seconds of the source, and of a file: the issue's own, or as much less as shows the same."""
    from tests.e2e.conftest import PROVE

    return ("five minutes", 300, 10) if PROVE else ("long", 20, 7)


@pytest.fixture(scope="module")
def cut(tmp_path_factory, sources, length):
    """The files by application and format."""
    name, seconds, cut_s = length
    cut_bytes = sources.flv(name).stat().st_size // BY_SIZE
    with Server(tmp_path_factory.mktemp("server"), CONFIG.format(cut_s=cut_s, cut_bytes=cut_bytes)) as server:
        publishers = [
            LivePublisher(server.address, "s", sources.tags(name), app=app, speed=SPEED, repeat=False)
            for app in ("live", "size")
        ]
        for publisher in publishers:
            publisher.wait_until_all_sent(timeout_s=seconds / SPEED + PATIENCE_S)
            publisher.finish()
        for app in ("live", "size"):
            server.wait_for("closed", stream=f"{app}/s", role="publish")
        server.stop()
        closed = server.found("recording closed")
        assert not [line for line in closed if line["gaps"] or line["left_out"] or line["jumps"]]
        return {
            (app, file_format): [
                path for path in server.recordings(f"{app}/s") if path.suffix == suffix and path.parent.name == "s"
            ]
            for app in ("live", "size")
            for file_format, suffix in SUFFIXES.items()
        }


@pytest.mark.parametrize("file_format", SUFFIXES)
@pytest.mark.parametrize("app", ["live", "size"])
def test_joined_files_are_the_source(cut, sources, length, app, file_format):
    assert_joined_equals(sources.flv(length[0]), cut[app, file_format])


@pytest.mark.parametrize("file_format", SUFFIXES)
def test_files_are_as_long_as_they_are_to_be(cut, length, file_format):
    _, seconds, cut_s = length
    files = cut["live", file_format]

    assert len(files) == math.ceil(seconds / cut_s)
    for path in files[:-1]:
        times = [unit.dts_ms for unit in read_packets(path)["video"]]
        assert max(times) - min(times) == pytest.approx(cut_s * 1000, abs=100)


def test_files_that_are_cut_by_size_are_about_as_large(cut, sources, length):
    size = sources.flv(length[0]).stat().st_size // BY_SIZE

    assert len(cut["size", "flv"]) == BY_SIZE
    for path in cut["size", "flv"][:-1]:
        assert size < path.stat().st_size < 2 * size
