"""Publishers that come back, and servers that do: recordings go on where they were, HLS with its numbers."""

from __future__ import annotations

import itertools

import pytest

from muxers.playlist import parse
from tests.helpers.compare import read_packets
from tests.helpers.media import frames_of, is_frame, read_tags
from tests.helpers.processes import wait_until
from tests.helpers.rtmp_client import LivePublisher
from tests.helpers.server import Server

pytestmark = pytest.mark.e2e

CONFIG = """
[apps.live]
record = "auto"
record_formats = ["flv", "mp4", "hls"]
grace_s = {grace_s}
resume_s = {resume_s}
hls_segment_s = 1
"""
AWAY_S = 60
"""For a publisher or a server to come back."""
LONGEST_STEP_MS = 100
"""Between two frames of a file that has no leap: the sources have a picture every 40 ms."""


def publish(server, tags, *, until_ms=1500, clean=False, stream="s"):
    with LivePublisher(server.address, stream, tags) as publisher:
        publisher.wait_until_sent(until_ms)
        (publisher.finish if clean else publisher.drop)()
        return frames_of(publisher.sent)


def files(server, suffix, stream="live/s"):
    return [path for path in server.recordings(stream) if path.suffix == suffix and path.parent.name == "s"]


def segments(server):
    """How many are in the playlist; its files of other formats were begun with it."""
    return sum(len(parse(path.read_text()).segments) for path in files(server, ".m3u8"))


def assert_no_leap(tags):
    times = [tag.timestamp_ms for tag in tags if is_frame(tag)]
    steps = [after - before for before, after in itertools.pairwise(times)]
    assert max(steps) <= LONGEST_STEP_MS
    assert min(steps) >= -LONGEST_STEP_MS


@pytest.mark.parametrize("clean", [False, True], ids=["lost", "finished"])
@pytest.mark.parametrize("grace_s", [0, AWAY_S], ids=["after the stream's end", "within the grace time"])
def test_a_publisher_that_returns_goes_on_in_the_same_files_without_a_leap(directory, sources, grace_s, clean):
    with Server(directory, CONFIG.format(grace_s=grace_s, resume_s=AWAY_S)) as server:
        tags = sources.tags("long")
        first = publish(server, tags, clean=clean)
        server.wait_for("closed", role="publish")
        second = publish(server, tags, clean=clean)
        server.wait_for("closed", role="publish", count=2)
    (flv,), (mp4,), (playlist,) = (files(server, suffix) for suffix in (".flv", ".mp4", ".m3u8"))

    recorded = read_tags(flv)
    assert frames_of(recorded) == [*first, *second]
    assert_no_leap(recorded)
    for path in (mp4, playlist):
        assert sum(map(len, read_packets(path).values())) == len(first) + len(second)
    assert [segment.discontinuity for segment in parse(playlist.read_text()).segments].count(True) == 1


def test_a_publisher_that_stays_away_ends_the_recording_and_the_next_one_is_another(directory, sources):
    with Server(directory, CONFIG.format(grace_s=0, resume_s=0.2)) as server:
        publish(server, sources.tags("long"))
        server.wait_for("recording closed", count=3)
        publish(server, sources.tags("long"))
        server.wait_for("recording closed", count=6)
        started = server.found("recording started", format="flv")

    assert len({line["recording"] for line in started}) == 2


@pytest.mark.parametrize("killed", [False, True], ids=["stopped", "killed"])
def test_hls_goes_on_over_a_restart_with_its_numbers_and_a_mark(directory, sources, killed):
    config = CONFIG.format(grace_s=10, resume_s=AWAY_S)
    tags = sources.tags("long")
    with Server(directory, config) as server:
        with LivePublisher(server.address, "s", tags):
            wait_until(lambda: segments(server) >= 2, "segments")
            server.kill_all() if killed else server.stop()
        (playlist,) = files(server, ".m3u8")
        before = parse(playlist.read_text())
    with Server(directory, config) as server:
        publish(server, tags, until_ms=2_200)
        server.wait_for("closed", role="publish")
    after = parse(playlist.read_text())

    uris = [segment.uri for segment in after.segments]
    assert files(server, ".m3u8") == [playlist]
    assert uris[: len(before.segments)] == [segment.uri for segment in before.segments]
    assert len(uris) > len(before.segments) + 1
    assert [int(uri.rpartition("/")[2].partition(".")[0]) for uri in uris] == list(range(len(uris)))
    assert [segment.discontinuity for segment in after.segments].count(True) == 1
    assert after.ended
    assert read_packets(playlist)
    assert len(files(server, ".flv")) == len(files(server, ".mp4")) == 2
