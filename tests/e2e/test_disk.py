"""Disks that fill up, turn read-only or vanish (case 74): the stream plays on, recordings open, and recording resumes."""

from __future__ import annotations

import contextlib
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
FORMATS = ("flv", "mp4", "hls")
DISK_BYTES = 24 * 1024 * 1024
FILLED_TO = 300_000
"""Bytes left free: a second or two of the three formats."""


@pytest.fixture
def disk(directory):
    """A small disk of its own for the server's data, mounted where the data directory will be."""
    mounted = directory / "data"
    mounted.mkdir(parents=True)
    options = f"size={DISK_BYTES},uid={os.getuid()},gid={os.getgid()}"
    command = [*AS_ROOT, "mount", "--make-private", "-t", "tmpfs", "-o", options, "tmpfs", mounted]
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
    with contextlib.suppress(OSError):  # recordings may have taken so much meanwhile that it is full now
        ballast.write_bytes(bytes(state.f_bavail * state.f_frsize - FILLED_TO))
    return ballast


def has_segment(server):
    """Whether HLS, which is written to last, has a whole segment."""
    return any("#EXTINF" in path.read_text() for path in server.recordings() if path.suffix == ".m3u8")


def is_recorded(server, formats):
    """Whether a file of each format is being written, as the log has it."""
    events = {"recording started", "recording failed"}
    newest = {line["format"]: line["event"] for line in list(server.log) if line["event"] in events}
    return all(newest.get(each) == "recording started" for each in formats)


def publish_on(server, publisher, formats):
    """Publish until nothing has failed for a while: a failure from before may not have been told yet."""
    failures = -1
    while (count := len(server.found("recording failed"))) != failures:
        failures = count
        wait_until(lambda: is_recorded(server, formats), "files of all formats", timeout_s=60)
        publisher.wait_until_sent(publisher.sent_ms + 2_500)


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
            server.wait_for("recording started", count=len(FORMATS))
            wait_until(lambda: has_segment(server), "something whole in each file")
            ballast = fill(disk)
            for file_format in FORMATS:
                failed = server.wait_for("recording failed", format=file_format, timeout_s=60)
                assert "No space left" in failed["reason"]
            ballast.unlink()
            publish_on(server, publisher, FORMATS)
            publisher.finish()
        player.wait_for_end()
        server.wait_for("recording closed", count=len(FORMATS), timeout_s=60)
        wait_until(lambda: len(closed_files(server.data)) >= 2 * len(FORMATS), "the index of what was recorded")
        found = assert_all_open(server)
        assert owed_errors(server.data)

    assert frames_of(player.media) == frames_of(publisher.sent)
    assert {file_format for file_format, fault in found.values() if fault is None} == {*FORMATS}


def test_a_disk_that_turns_read_only_is_recorded_on_again_once_it_can_be_written(disk, directory, sources):
    with Server(directory, CONFIG.replace('["flv", "mp4", "hls"]', '["mp4", "hls"]')) as server:
        server.allowed_errors |= {"recording failed", "index not written", "recordings not swept"}
        place = server.data / "recordings" / "live"
        with LivePublisher(server.address, "s", sources.tags("long")) as publisher:
            server.wait_for("recording started", count=2)
            # What is open can still be written, here as after an error of a real disk; what is made or renamed cannot.
            with read_only(place, directory / "aside"):
                server.wait_for("recording failed", format="hls", timeout_s=30)
            server.wait_for("recording started", format="hls", count=2, timeout_s=60)
            publisher.wait_until_sent(publisher.sent_ms + 1_500)
            publisher.finish()
        server.wait_for("recording closed", file_format="hls", timeout_s=30)
        assert assert_all_open(server)


@contextlib.contextmanager
def read_only(place, aside):
    """Mount a folder read-only on itself: elsewhere first, so that nobody can open a file in it that is being changed."""
    aside.mkdir()
    with contextlib.ExitStack() as mounts:

        def mount(*arguments):
            subprocess.run([*AS_ROOT, "mount", *arguments], check=True)

        def unmount(mounted):
            subprocess.run([*AS_ROOT, "umount", "--lazy", mounted], check=True)

        mount("--bind", place, aside)
        mounts.callback(unmount, aside)
        mount("-o", "remount,bind,ro", aside)
        mount("--bind", aside, place)
        mounts.callback(unmount, place)
        yield


def test_a_recordings_folder_that_is_removed_is_made_again_and_the_stream_plays_on(directory, sources):
    with Server(directory, CONFIG) as server, Player(server.address, "s") as player:
        server.allowed_errors |= {"recording failed", "index not verified"}
        with LivePublisher(server.address, "s", sources.tags("long")) as publisher:
            server.wait_for("recording started", count=len(FORMATS))
            # Moved first: in a folder that is being emptied a file may be made, renamed, or found missing.
            removed = (server.data / "recordings").rename(server.data / "removed")
            shutil.rmtree(removed)
            for file_format in FORMATS:
                server.wait_for("recording failed", format=file_format, timeout_s=30)
            publish_on(server, publisher, FORMATS)
            publisher.finish()
        player.wait_for_end()
        server.wait_for("recording closed", count=len(FORMATS), timeout_s=30)
        for path in closed_files(server.data):
            if (server.data / "recordings" / path).exists():
                assert read_packets(server.data / "recordings" / path)

    assert frames_of(player.media) == frames_of(publisher.sent)
