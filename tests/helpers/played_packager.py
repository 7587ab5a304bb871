"""
A packager that makes records of FLV without packaging anything: a part for each picture, whose bytes are its body.

`PlayedPackager` stands for `rtmpd.workers.packager.Packager` in the test's process; as a program it is a packager's process.
"""

from __future__ import annotations

import argparse
import os
import selectors
import socket
from contextlib import suppress
from pathlib import Path

from rtmpd.live.fragments import Init, Part
from rtmpd.media.tags import KEY_FRAME, SEQUENCE_HEADER, classify
from rtmpd.wire.flv import TagReader
from rtmpd.wire.messages import VIDEO
from rtmpd.workers import protocol
from rtmpd.workers.fragment_feed import Refusal, encode_record
from rtmpd.workers.marker import Marker

PART_MS = 40
CRASHES = b"crash"
"""Anywhere in a feed: the process dies of it."""
REFUSED = b"refused"
"""At the end of a header: the stream cannot be packaged."""


class PlayedMuxer:
    """Makes records of tags."""

    def __init__(self):
        self._reader = TagReader()
        self._header = None
        self.times = []
        """Of every picture."""

    def feed(self, data):
        """The records that some bytes of a feed come to."""
        return [record for tag in self._reader.feed(data) for record in self._records(tag)]

    def _records(self, tag):
        if tag.type_id != VIDEO:
            return []
        flags = classify(tag.type_id, tag.body)
        if not flags & SEQUENCE_HEADER:
            self.times.append(tag.timestamp_ms)
            is_refused = self._header is None or self._header.endswith(REFUSED)
            return [] if is_refused else [Part(tag.body, tag.timestamp_ms, PART_MS, bool(flags & KEY_FRAME))]
        if tag.body == self._header:
            return []
        self._header = tag.body
        return [Refusal("no such codec") if tag.body.endswith(REFUSED) else Init(tag.body, "avc1.64001f", True)]


class PlayedFeed:
    """The packager's end of one feed."""

    def __init__(self, connection):
        self.connection = connection
        self.muxer = PlayedMuxer()
        self.at_end = False
        self.records = []
        """Made and not sent."""
        self._unsent = bytearray()

    def receive(self):
        """Read what the server has fed so far."""
        with suppress(OSError):
            while data := self.connection.recv(1 << 16):
                self.records += self.muxer.feed(data)
            self.at_end = True
        return self

    def send(self, *records):
        """Send these records, or those that were made."""
        if not records:
            records, self.records = self.records, []
        for record in records:
            self._unsent += encode_record(record)
        try:
            while self._unsent:
                del self._unsent[: self.connection.send(self._unsent)]
        except BlockingIOError:
            pass
        except OSError:  # the server has let go of it
            self._unsent.clear()
            self.at_end = True
        return self

    @property
    def is_busy(self):
        """Whether there is something to send, or to end."""
        return self.at_end or bool(self.records or self._unsent)

    def play(self):
        """Package what has come, and end where the feed has ended."""
        self.receive().send()
        if self.at_end and not self._unsent:
            self.close()
        return self

    @property
    def is_closed(self):
        return self.connection.fileno() == -1

    def close(self):
        self.connection.close()


class PlayedPackager:
    """Hands out feeds and keeps their other ends."""

    def __init__(self, on_death, *, part_ms, log, module):
        self._on_death = on_death
        self.feeds = []
        """In the order of their opening."""
        self.fault = None
        """What `open_feed` raises."""
        self.pid = None
        self.deaths = 0
        self.health = protocol.Health(0, 0)
        self.stopped = False
        self.ticks = 0

    @property
    def running(self):
        return [feed for feed in self.feeds if not feed.is_closed]

    def open_feed(self, name):
        assert not self.stopped
        if self.fault is not None:
            raise self.fault
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        theirs.setblocking(False)
        self.feeds.append(PlayedFeed(theirs))
        return ours

    def tick(self):
        self.ticks += 1

    def die(self, name=""):
        """The process is killed, or dies of a stream."""
        self.deaths += 1
        for feed in self.running:
            feed.close()
        self._on_death(name)

    async def stop(self, timeout_s):
        self.stopped = True
        for feed in self.running:
            feed.close()


def main():
    """Serve as a packager's process does, until the server is gone and every feed has ended."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--control-fd", type=int, required=True)
    control = socket.socket(fileno=parser.parse_args().control_fd)
    selector = selectors.DefaultSelector()
    selector.register(control, selectors.EVENT_READ, None)
    protocol.send(control, protocol.encode(protocol.Ready()))
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    protocol.send(control, protocol.encode(protocol.Health(pages * os.sysconf("SC_PAGE_SIZE"), 0)))
    while selector.get_map():
        for key, _ in selector.select():
            if key.data is None:
                _take_packet(control, selector)
            else:
                _serve(key.fileobj, *key.data, control, selector)


def _take_packet(control, selector):
    received = protocol.receive(control)
    if received is None:
        selector.unregister(control)
        return
    package, (descriptor, shared) = received
    marker = Marker(shared)
    os.close(shared)
    muxer = (package.packaging_id, PlayedMuxer(), marker)
    selector.register(socket.socket(fileno=descriptor), selectors.EVENT_READ, muxer)


def _serve(connection, packaging_id, muxer, marker, control, selector):
    data = connection.recv(1 << 16)
    if CRASHES in data:
        marker.packaging_id = packaging_id
        os._exit(3)
    with suppress(OSError):  # the server has let go of it
        for record in muxer.feed(data):
            connection.sendall(encode_record(record))
    if not data:
        with suppress(OSError):
            protocol.send(control, protocol.encode(protocol.Packaged(packaging_id)))
        selector.unregister(connection)
        connection.close()


if __name__ == "__main__":
    main()
