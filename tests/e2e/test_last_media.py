"""What viewers over HTTP have of a stream when the server stops: everything, to the last frame."""

from __future__ import annotations

import contextlib
import io
import os
import re
import signal
import threading
import time
import urllib.request
from abc import ABC, abstractmethod

import pytest

from tests.helpers.media import Packet, packets_of
from tests.helpers.processes import PATIENCE_S, wait_until
from tests.helpers.rtmp_client import LivePublisher
from tests.helpers.server import Server

pytestmark = pytest.mark.e2e

STALL_S = 2.5
"""As long as a process may stand still on a machine with others."""
RECORDED = '[apps.live]\nrecord = "auto"\nresume_s = 0\n'


class Watcher(ABC):
    """Someone who watches in a thread until the server lets him no more; to be used as a context manager."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.data = b""
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_error) -> None:
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()

    def packets(self) -> dict[str, list[str]]:
        return by_kind(packets_of(io.BytesIO(self.data)))

    def _run(self) -> None:
        with contextlib.suppress(OSError):  # the server has stopped, or says that it does
            while self.watch():
                pass

    def _open(self, path: str):
        return urllib.request.urlopen(self._server.http_url(path), timeout=PATIENCE_S)

    def _get(self, path: str) -> bytes:
        with self._open(path) as answer:
            return answer.read()

    @abstractmethod
    def watch(self) -> bool:
        """Take what is next; whether there may be more."""


class Mp4(Watcher):
    """Of an answer that ends with the stream."""

    def watch(self) -> bool:
        with self._open("live/s.mp4") as answer:
            while data := answer.read1():
                self.data += data
        return False


class Hls(Watcher):
    """By segments: asks for a playlist as often as players do that had no news."""

    names = r"^([0-9a-f]{16}/[0-9]+\.m4s)$"

    def __init__(self, server: Server) -> None:
        self._seen: set[str] = set()
        self._playlist = ""
        super().__init__(server)

    def watch(self) -> bool:
        self._playlist = self._get(f"live/s.m3u8{self._query()}").decode()
        if not self.data:
            self.data += self._get("live/" + re.findall('EXT-X-MAP:URI="([^"]+)"', self._playlist)[0])
        for name in re.findall(self.names, self._playlist, re.MULTILINE):
            if name not in self._seen:
                self._seen.add(name)
                self.data += self._get(f"live/{name}")
        self._rest()
        return True

    def _query(self) -> str:
        return ""

    def _rest(self) -> None:
        time.sleep(int(re.findall("EXT-X-TARGETDURATION:([0-9]+)", self._playlist)[0]) / 2)


class LowLatencyHls(Hls):
    """By parts: asks for a playlist that has the next one."""

    names = r'EXT-X-PART:.*URI="([^"]+)"'

    def _query(self) -> str:
        if not self._playlist:
            return ""
        number = int(re.findall("EXT-X-MEDIA-SEQUENCE:([0-9]+)", self._playlist)[0])
        number += len(re.findall("^#EXTINF", self._playlist, re.MULTILINE))
        parts = self._playlist.rpartition("#EXTINF")[2].count("EXT-X-PART:")
        return f"?_HLS_msn={number}&_HLS_part={parts}"

    def _rest(self) -> None:
        if "PRELOAD-HINT" not in self._playlist:  # nothing to wait for
            time.sleep(0.2)


def by_kind(packets: list[Packet]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for packet in packets:
        found.setdefault(packet.kind, []).append(packet.md5)
    return found


def assert_has_the_end(watcher: Watcher, server: Server) -> None:
    """See that what came to a watcher is what was recorded, up to its end."""
    (path,) = server.recordings("live/s")
    recorded = by_kind(packets_of(path))
    for each, packets in watcher.packets().items():
        assert len(packets) > 25
        assert packets == recorded[each][-len(packets) :], each


@pytest.mark.parametrize("kind", [Mp4, Hls, LowLatencyHls])
def test_viewers_have_the_last_frame_of_a_server_that_stops(kind, directory, sources):
    with Server(directory, RECORDED) as server, LivePublisher(server.address, "s", sources.tags("long")) as publisher:
        publisher.wait_until_sent(500)
        with kind(server) as watcher:
            wait_until(lambda: len(watcher.data) > 100_000, "media")
            publisher.wait_until_sent(publisher.sent_ms + 700)
            server.signal(signal.SIGTERM)
            assert server.wait() == 0
        server.check_log()

    assert_has_the_end(watcher, server)
    if kind is not Mp4:
        assert "#EXT-X-ENDLIST" not in watcher._playlist


def test_they_have_it_even_where_the_packager_stalls(directory, sources):
    with Server(directory, RECORDED) as server, LivePublisher(server.address, "s", sources.tags("long")) as publisher:
        with Mp4(server) as watcher:
            wait_until(lambda: len(watcher.data) > 100_000, "media")
            packager = server.child("rtmpd.workers.packager_process")
            os.kill(packager, signal.SIGSTOP)
            try:
                publisher.wait_until_sent(publisher.sent_ms + 700)
                server.signal(signal.SIGTERM)
                server.wait_for("stopping")
                threading.Event().wait(STALL_S)
            finally:
                os.kill(packager, signal.SIGCONT)
            assert server.wait() == 0
        server.check_log()

    assert_has_the_end(watcher, server)
