"""kill -9 in mid-recording: what was recorded opens, is made whole, and is told of once; a dead worker is replaced."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import av
import pytest

from tests.helpers.media import frames_of, is_frame, is_key_frame, packets_of, read_tags
from tests.helpers.processes import wait_until
from tests.helpers.rtmp_client import LivePublisher, Player
from tests.helpers.server import Server, is_alive

pytestmark = pytest.mark.e2e

CONFIG = '[apps.live]\nrecord = "auto"\nresume_s = 0\n'
ALL_FORMATS = """
[apps.live]
record = "auto"
record_formats = ["mp4", "hls", "m4a", "flv"]
record_cut_s = 4
resume_s = 0
[apps.ts]
record = "auto"
record_formats = ["hls", "flv"]
hls_segment_type = "ts"
resume_s = 0
"""
"""FLV last: what it holds, the others were given before."""
LOST_MS = 1_000
AT_ONCE = 2
"""Servers that record in all formats: with more, two cores and not the server say how much a kill costs."""


def killed_at(number, prove):
    """When a run kills, in milliseconds of the stream: at another place of the group of pictures each time."""
    return [1_100 + 370 * each for each in range(number if prove else 1)]


def assert_opens(path):
    """Open a file as a user would; the times of its packets (ms)."""
    times = [packet.dts for packet in packets_of(path)]
    assert times
    return times


def sent_until(publisher, media_ms):
    """What a publisher has sent up to a time of its stream."""
    return [tag for tag in list(publisher.sent) if tag.timestamp_ms <= media_ms]


def wait_until_recorded(server, sent, app="live"):
    """Wait until the FLV files, which keep nothing back, hold what was sent: a worker that sleeps has not been given it."""
    expected = len(frames_of(sent))

    def recorded():
        files = [path for path in server.recordings(f"{app}/s") if path.suffix == ".flv"]
        return sum(len(frames_of(read_tags(path))) for path in files)

    wait_until(lambda: recorded() >= expected, f"{expected} frames of {app} in files")


def has_something_whole(path):
    """Whether a file must open as it is: it has a tag with a frame, a fragment, a finished segment."""
    if path.suffix == ".flv":
        return any(map(is_frame, read_tags(path)))
    if path.suffix in {".mp4", ".m4a"}:
        return b"moof" in path.read_bytes()
    return "#EXTINF" in path.read_text()


def media_files(server, app):
    """The files and playlists that a user would open."""
    return [
        path
        for path in server.recordings(f"{app}/s")
        if path.suffix in {".flv", ".mp4", ".m4a", ".m3u8"} and path.parent.name == "s" and path.name[0] != "."
    ]


def packets_by_kind(path):
    """Open a file as a user would, and count what is in it; a track may have come to nothing yet."""
    count = Counter()
    with av.open(str(path)) as container:
        for packet in container.demux():
            count[packet.stream.type] += bool(packet.size)
    assert count.total(), f"{path.name} is empty"
    return count


def assert_opens_as_it_is(path):
    """Read a file that nobody has repaired; of a playlist that has no end, what is there: a reader would wait."""
    if path.suffix != ".m3u8":
        packets_by_kind(path)
        return
    ended = path.with_name("ended.m3u8")
    ended.write_text(f"{path.read_text()}#EXT-X-ENDLIST\n" if "ENDLIST" not in path.read_text() else path.read_text())
    try:
        packets_by_kind(ended)
    finally:
        ended.unlink()


class Index:
    """What the database of a stopped server says."""

    def __init__(self, data):
        with sqlite3.connect(data / "rtmpd.db") as database:
            self.files = {
                path: (file_id, state, size)
                for path, file_id, state, size in database.execute("SELECT path, file_id, state, size_bytes FROM files")
            }
            self.recordings = [state for (state,) in database.execute("SELECT state FROM recordings")]
            bodies = database.execute("SELECT body FROM outbox WHERE event_type = 100")
            self.owed = [json.loads(body) for (body,) in bodies]


def record_and_kill(directory, sources, kill_ms):
    """One server that is killed with all its processes at a moment, and started again; what it has then is checked."""
    with Server(directory, ALL_FORMATS) as server:
        tags = sources.tags("long")
        with (
            LivePublisher(server.address, "s", tags) as live,
            LivePublisher(server.address, "s", tags, app="ts") as ts,
        ):
            live.wait_until_sent(kill_ms)
            sent = {"live": sent_until(live, kill_ms), "ts": sent_until(ts, kill_ms)}
            for app in sent if kill_ms > LOST_MS else ():
                wait_until_recorded(server, sent[app], app)
            server.kill_all()
    for app in sent:
        for path in media_files(server, app):
            if has_something_whole(path):
                assert_opens_as_it_is(path)
    with Server(directory, ALL_FORMATS) as server:
        wait_until(lambda: all(state == "ended" for state in Index(server.data).recordings), "the end of the repairs")
        server.stop()
    assert_whole(server, sent)


def assert_whole(server, sent):
    index, directory = Index(server.data), server.data / "recordings"
    paths = {str(path.relative_to(directory)) for app in sent for path in media_files(server, app)}
    assert index.files.keys() == paths
    assert {state for _, state, _ in index.files.values()} <= {"closed"}
    assert sorted(body["file_id"] for body in index.owed) == sorted(file_id for file_id, _, _ in index.files.values())
    for app, tags in sent.items():
        sounds = [0, *(tag.timestamp_ms for tag in tags if is_frame(tag) and tag.type_id == 8)]
        for suffix in {"live": (".flv", ".mp4", ".m4a", ".m3u8"), "ts": (".flv", ".m3u8")}[app]:
            files = [path for path in media_files(server, app) if path.suffix == suffix]
            count = sum(packets_by_kind(path)["audio"] for path in files)
            lost_ms = sounds[-1] - sounds[min(count, len(sounds) - 1)]  # more may have been sent meanwhile
            assert lost_ms <= LOST_MS, f"{app}{suffix} lost {lost_ms} ms of {sounds[-1]} ms"
    assert not [path for path in directory.rglob("*") if path.suffix in {".part", ".tmp", ".repairing"}]


def test_after_a_kill_of_everything_files_index_and_callbacks_agree_and_a_second_is_lost_at_most(
    directory, sources, prove
):
    chance = random.Random() if prove else random.Random(0)
    moments = [chance.uniform(200, 11_000 if prove else 6_000) for _ in range(200 if prove else 5)]
    sources.tags("long")
    with ThreadPoolExecutor(AT_ONCE) as pool:
        runs = [
            pool.submit(record_and_kill, directory / str(number), sources, kill_ms)
            for number, kill_ms in enumerate(moments)
        ]
        failures = [(kill_ms, run.exception()) for kill_ms, run in zip(moments, runs, strict=True) if run.exception()]
    assert not failures


def test_a_recording_is_finished_by_its_worker_when_the_server_alone_is_killed(directory, sources, prove):
    for run, kill_ms in enumerate(killed_at(10, prove)):
        with Server(directory / str(run), CONFIG) as server, Player(server.address, "s") as player:
            worker = server.media_worker()
            with LivePublisher(server.address, "s", sources.tags("long")) as publisher:
                player.wait_until_played(kill_ms)
                server.kill()
            wait_until(lambda: not is_alive(worker), "the end of the worker")  # noqa: B023 - asked at once
            (path,) = server.recordings("live/s")

        recorded = frames_of(read_tags(path))
        frames = [tag for tag in publisher.sent if is_frame(tag)]
        assert recorded == frames_of(frames)[: len(recorded)]
        assert frames[len(recorded) - 1].timestamp_ms >= kill_ms - LOST_MS
        assert assert_opens(path)[-1] >= kill_ms - LOST_MS


def test_after_a_kill_of_the_worker_recording_goes_on_in_a_second_file_with_nothing_missing(directory, sources, prove):
    for run, kill_ms in enumerate(killed_at(10, prove)):
        with Server(directory / str(run), CONFIG) as server, Player(server.address, "s") as player:
            server.allowed_errors.add("media worker died")
            with LivePublisher(server.address, "s", sources.tags("long")) as publisher:
                publisher.wait_until_sent(kill_ms)
                wait_until_recorded(server, sent_until(publisher, kill_ms))
                os.kill(server.media_worker(), signal.SIGKILL)
                server.wait_for("media worker died", reason="killed by signal 9")
                server.wait_for("recording started", count=2)
                publisher.wait_until_sent(publisher.sent_ms + 1_000)
                publisher.finish()
            server.wait_for("recording closed")
            server.wait_for("recording repaired")
            player.wait_for_end()
            first, second = server.recordings("live/s")

        sent = frames_of(publisher.sent)
        before, after = frames_of(read_tags(first)), frames_of(read_tags(second))
        goes_on = len(sent) - len(after)
        assert before == sent[: len(before)]
        assert after == sent[goes_on:]
        assert goes_on <= len(before)
        assert is_key_frame(next(tag for tag in read_tags(second) if is_frame(tag)))
        assert assert_opens(first)[-1] >= kill_ms - LOST_MS
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
        wait_until(
            lambda: {state for _, state, _ in Index(server.data).files.values()} == {"closed"}, "the end of the repairs"
        )

        sent = frames_of(publisher.sent)
        covered = 0
        for path in server.recordings("live/s"):
            part = frames_of(read_tags(path))
            start = next(at for at in range(covered, -1, -1) if sent[at : at + len(part)] == part)
            covered = start + len(part)
        assert covered == len(sent)
