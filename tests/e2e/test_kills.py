"""kill -9 in mid-recording: what was recorded opens, and where the worker died, recording goes on."""

from __future__ import annotations

import os
import signal

import pytest

from tests.helpers.media import frames_of, is_frame, is_key_frame, packets_of, read_tags
from tests.helpers.processes import wait_until
from tests.helpers.rtmp_client import LivePublisher, Player
from tests.helpers.server import Server, is_alive

pytestmark = pytest.mark.e2e

CONFIG = '[apps.live]\nrecord = "auto"\n'
LOST_MS = 1_000


def killed_at(number, prove):
    """When a run kills, in milliseconds of the stream: at another place of the group of pictures each time."""
    return [1_100 + 370 * each for each in range(number if prove else 1)]


def assert_opens(path):
    """Open a file as a user would; the times of its packets (ms)."""
    times = [packet.dts for packet in packets_of(path)]
    assert times
    return times


@pytest.mark.parametrize("worker_too", [False, True], ids=["server alone", "server and worker"])
def test_a_recording_opens_and_lacks_a_second_at_most_after_a_kill_of(worker_too, directory, sources, prove):
    for run, kill_ms in enumerate(killed_at(10, prove)):
        with Server(directory / str(run), CONFIG) as server:
            worker = server.media_worker()
            with LivePublisher(server.address, "s", sources.tags("long")) as publisher:
                publisher.wait_until_sent(kill_ms)
                if worker_too:
                    os.kill(worker, signal.SIGKILL)
                server.kill()
                sent = list(publisher.sent)
            wait_until(lambda: not is_alive(worker), "the end of the worker")  # noqa: B023 - asked at once
            (path,) = server.recordings("live/s")

        recorded = frames_of(read_tags(path))
        frames = [tag for tag in sent if is_frame(tag)]
        assert recorded == frames_of(frames)[: len(recorded)]
        assert frames[len(recorded) - 1].timestamp_ms >= frames[-1].timestamp_ms - LOST_MS
        assert assert_opens(path)[-1] >= frames[-1].timestamp_ms - LOST_MS


def test_after_a_kill_of_the_worker_recording_goes_on_in_a_second_file_with_nothing_missing(directory, sources, prove):
    for run, kill_ms in enumerate(killed_at(10, prove)):
        with Server(directory / str(run), CONFIG) as server, Player(server.address, "s") as player:
            server.allowed_errors.add("media worker died")
            with LivePublisher(server.address, "s", sources.tags("long")) as publisher:
                publisher.wait_until_sent(kill_ms)
                os.kill(server.media_worker(), signal.SIGKILL)
                killed_ms = publisher.sent_ms
                server.wait_for("media worker died", reason="killed by signal 9")
                server.wait_for("recording started", count=2)
                publisher.wait_until_sent(killed_ms + 1_000)
                publisher.finish()
            server.wait_for("recording closed")
            player.wait_for_end()
            first, second = server.recordings("live/s")

        sent = frames_of(publisher.sent)
        before, after = frames_of(read_tags(first)), frames_of(read_tags(second))
        goes_on = len(sent) - len(after)
        assert before == sent[: len(before)]
        assert after == sent[goes_on:]
        assert goes_on <= len(before)
        assert is_key_frame(next(tag for tag in read_tags(second) if is_frame(tag)))
        assert assert_opens(first)[-1] >= killed_ms - LOST_MS
        assert_opens(second)
        assert frames_of(player.media) == sent


def test_a_worker_that_is_killed_again_and_again_leaves_nothing_out(directory, sources, prove):
    kills = 5 if prove else 2
    with Server(directory, CONFIG) as server:
        server.allowed_errors.add("media worker died")
        with LivePublisher(server.address, "s", sources.tags("long")) as publisher:
            for kill in range(1, kills + 1):
                publisher.wait_until_sent(publisher.sent_ms + 400)
                server.wait_for("recording started", count=kill)
                os.kill(server.media_worker(), signal.SIGKILL)
                server.wait_for("media worker died", count=kill)
            server.wait_for("recording started", count=kills + 1, timeout_s=30)
            publisher.wait_until_sent(publisher.sent_ms + 500)
            publisher.finish()
        server.wait_for("recording closed")

        sent = frames_of(publisher.sent)
        covered = 0
        for path in server.recordings("live/s"):
            part = frames_of(read_tags(path))
            start = next(at for at in range(covered, -1, -1) if sent[at : at + len(part)] == part)
            covered = start + len(part)
        assert covered == len(sent)
