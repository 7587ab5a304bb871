"""Disks that fill up, turn read-only or vanish (case 74): the stream plays on, recordings open, and recording resumes."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess

import pytest

from tests.helpers.compare import read_packets
from tests.helpers.media import frames_of
from tests.helpers.processes import wait_until
from tests.helpers.rtmp_client import LivePublisher, Player
from tests.helpers.server import Server

pytestmark = pytest.mark.e2e

CONFIG = """
[apps.live]
record = "auto"
record_formats = ["flv", "mp4", "hls"]
resume_s = 0
"""
AS_ROOT = [] if os.geteuid() == 0 else ["sudo", "-n"]
FORMATS = 3
DISK_BYTES = 24 * 1024 * 1024
FILLED_TO = 300_000
"""Bytes left free: a second or two of the three formats."""


@pytest.fixture
def disk(directory):
    """A small disk of its own for the server's data, mounted where the data directory will be."""
    mounted = directory / "data"
    mounted.mkdir(parents=True)
    options = f"size={DISK_BYTES},uid={os.getuid()},gid={os.getgid()}"
    command = [*AS_ROOT, "mount", "-t", "tmpfs", "-o", options, "tmpfs", mounted]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = f"no disk can be mounted: {done.stderr.strip()}"
        if os.environ.get("RTMPD_REQUIRE_PEERS") == "1":
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    yield mounted
    subprocess.run([*AS_ROOT, "umount", "-l", mounted], check=True)


def fill(disk):
    """Take all room but a little."""
    state = os.statvfs(disk)
    ballast = disk / "ballast"
    ballast.write_bytes(bytes(state.f_bavail * state.f_frsize - FILLED_TO))
    return ballast


def closed_files(data):
    with sqlite3.connect(data / "rtmpd.db") as database:
        return {
            path: (file_format, fault)
            for path, file_format, fault in database.execute(
                "SELECT path, file_format, fault FROM files WHERE state = 'closed'"
            )
        }


def assert_all_open(server):
    found = closed_files(server.data)
    for path in found:
        assert read_packets(server.data / "recordings" / path)
    return found


def owed_errors(data):
    with sqlite3.connect(data / "rtmpd.db") as database:
        query = "SELECT body FROM outbox WHERE event_type = 332 AND body LIKE '%record_error%'"
        return [body for (body,) in database.execute(query)]


def test_a_full_disk_costs_what_does_not_fit_and_recording_resumes_when_there_is_room(disk, directory, sources):
    with Server(directory, CONFIG) as server, Player(server.address, "s") as player:
        server.allowed_errors |= {"recording failed", "index not written", "recordings not swept"}
        with LivePublisher(server.address, "s", sources.tags("long")) as publisher:
            server.wait_for("recording started", count=FORMATS)
            ballast = fill(disk)
            for file_format in ("flv", "mp4", "hls"):
                failed = server.wait_for("recording failed", format=file_format, timeout_s=60)
                assert "No space left" in failed["reason"]
            started = {each: len(server.found("recording started", format=each)) for each in ("flv", "mp4", "hls")}
            ballast.unlink()
            for file_format, count in started.items():
                server.wait_for("recording started", format=file_format, count=count + 1, timeout_s=60)
            publisher.wait_until_sent(publisher.sent_ms + 2_500)
            publisher.finish()
        player.wait_for_end()
        server.wait_for("recording closed", count=FORMATS, timeout_s=60)
        wait_until(lambda: len(closed_files(server.data)) >= 2 * FORMATS, "the index of what was recorded")
        found = assert_all_open(server)
        assert owed_errors(server.data)

    assert frames_of(player.media) == frames_of(publisher.sent)
    assert {file_format for file_format, fault in found.values() if fault is None} == {"flv", "mp4", "hls"}


def test_a_disk_that_turns_read_only_is_recorded_on_again_once_it_can_be_written(disk, directory, sources):
    with Server(directory, CONFIG.replace('["flv", "mp4", "hls"]', '["mp4", "hls"]')) as server:
        server.allowed_errors |= {"recording failed", "index not written", "recordings not swept"}
        place = server.data / "recordings" / "live"
        with LivePublisher(server.address, "s", sources.tags("long")) as publisher:
            server.wait_for("recording started", count=2)
            publisher.wait_until_sent(1_500)
            # What is open can still be written, here as after an error of a real disk; what is made or renamed cannot.
            mount_read_only(place)
            try:
                server.wait_for("recording failed", format="hls", timeout_s=30)
            finally:
                subprocess.run([*AS_ROOT, "umount", place], check=True)
            server.wait_for("recording started", format="hls", count=2, timeout_s=60)
            publisher.wait_until_sent(publisher.sent_ms + 1_500)
            publisher.finish()
        server.wait_for("recording closed", file_format="hls", timeout_s=30)
        assert assert_all_open(server)


def mount_read_only(place):
    subprocess.run([*AS_ROOT, "mount", "--bind", place, place], check=True)
    subprocess.run([*AS_ROOT, "mount", "-o", "remount,bind,ro", place], check=True)


def test_a_recordings_folder_that_is_removed_is_made_again_and_the_stream_plays_on(directory, sources):
    with Server(directory, CONFIG) as server, Player(server.address, "s") as player:
        server.allowed_errors |= {"recording failed", "index not verified"}
        with LivePublisher(server.address, "s", sources.tags("long")) as publisher:
            server.wait_for("recording started", count=FORMATS)
            publisher.wait_until_sent(1_200)
            shutil.rmtree(server.data / "recordings")
            for file_format in ("flv", "mp4", "hls"):
                server.wait_for("recording failed", format=file_format, timeout_s=30)
                server.wait_for("recording started", format=file_format, count=2, timeout_s=60)
            publisher.wait_until_sent(publisher.sent_ms + 2_500)
            publisher.finish()
        player.wait_for_end()
        server.wait_for("recording closed", count=FORMATS, timeout_s=30)
        for path in closed_files(server.data):
            if (server.data / "recordings" / path).exists():
                assert read_packets(server.data / "recordings" / path)

    assert frames_of(player.media) == frames_of(publisher.sent)
