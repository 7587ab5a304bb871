"""
The packager: `python -m rtmpd.workers.packager_process --control-fd N`, started by the server and by nobody else.

One process for all streams that somebody watches over HTTP, as FFmpeg belongs into none that must not die; one thread,
as there is no disk to wait for. Tags come on a feed, and what is made of them goes back on the same descriptor as
`fragment_feed` has it. A feed is read as soon as it has something, whatever costs a round costs latency; one whose
records the server does not take is left alone until it does, so that memory stays bounded. What goes wrong with a
stream costs that stream.

The end of a feed sends its last part; the end of the control connection means that the server is gone, and nobody is
left to package for.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import selectors
import socket
import traceback
from collections.abc import Sequence
from time import monotonic

from muxers import live
from rtmpd.live.fragments import Init, Part
from rtmpd.wire.flv import TagReader
from rtmpd.workers import process_start, protocol
from rtmpd.workers.fragment_feed import Record, Refusal, encode_record
from rtmpd.workers.marker import Marker

READ_BYTES = 256 * 1024
"""Of one feed before the next one has its turn."""
OUTGOING_BYTES = 4 * 1024 * 1024
"""Kept for a server that does not read, of one stream; what one turn makes is still taken."""
HEALTH_INTERVAL_S = 2.0
"""Between two reports of the packager's memory."""
_BROKEN = Refusal("the packager failed at this stream; its log has the details")


class _Feed:
    """A stream in this process."""

    def __init__(self, package: protocol.Package, connection: socket.socket) -> None:
        self.packaging_id = package.packaging_id
        self.connection = connection
        self.tags = TagReader()
        self.packager = live.LivePackager(package.part_ms)
        self.outgoing = bytearray()
        self.has_ended = False
        self.events = 0

    @property
    def wanted_events(self) -> int:
        """What to wait for; nothing once there is nothing left to do."""
        reads = not self.has_ended and len(self.outgoing) < OUTGOING_BYTES
        return selectors.EVENT_READ * reads | selectors.EVENT_WRITE * bool(self.outgoing)


class PackagerProcess:
    """Everything that the process does."""

    def __init__(self, control: socket.socket) -> None:
        """
        Prepare; `run` does the work.

        Args:
            control: the connection to the server, blocking.
        """
        self._control = control
        self._selector = selectors.DefaultSelector()
        self._feeds: set[_Feed] = set()
        self._marker: Marker | None = None
        self._is_attached = True
        self._buffer = memoryview(bytearray(READ_BYTES))
        self._health_at = monotonic() + HEALTH_INTERVAL_S

    def run(self) -> None:
        """Serve until the server is gone."""
        self._selector.register(self._control, selectors.EVENT_READ)
        self._report(protocol.Ready())
        while self._is_attached:
            for key, events in self._selector.select(max(0.0, self._health_at - monotonic())):
                feed = key.data
                if feed is None:
                    self._read_control()
                elif events & selectors.EVENT_READ:
                    self._read(feed)
                else:
                    self._write(feed)
            self._report_health()
        for feed in self._feeds:
            feed.connection.close()
        self._selector.close()
        self._control.close()

    def _read_control(self) -> None:
        received = protocol.receive(self._control)
        if received is None:
            self._is_attached = False
            return
        packet, descriptors = received
        if isinstance(packet, protocol.Package):
            self._share(descriptors[1])
            connection = socket.socket(fileno=descriptors[0])
            connection.setblocking(False)
            feed = _Feed(packet, connection)
            self._feeds.add(feed)
            self._watch(feed)

    def _share(self, descriptor: int) -> None:
        if self._marker is None:
            self._marker = Marker(descriptor)
        os.close(descriptor)

    def _read(self, feed: _Feed) -> None:
        """Read once from a feed, and package what came."""
        try:
            count = feed.connection.recv_into(self._buffer)
        except BlockingIOError:
            return
        except OSError:  # the server died: what it had sent was read before
            count = 0
        assert self._marker is not None
        self._marker.packaging_id = feed.packaging_id
        try:
            feed.outgoing += _encode(self._package(feed, count))
        except Exception:  # noqa: BLE001 - FFmpeg's bug or ours, in this stream: the others go on
            traceback.print_exc()
            feed.has_ended = True
            feed.outgoing += encode_record(_BROKEN)
        self._marker.packaging_id = 0
        self._write(feed)

    def _package(self, feed: _Feed, count: int) -> Sequence[live.Record]:
        """Package what was read; at the end of the feed, what is left."""
        if count:
            return feed.packager.feed(feed.tags.feed(self._buffer[:count]), monotonic())
        feed.has_ended = True
        return feed.packager.finish()

    def _write(self, feed: _Feed) -> None:
        outgoing = feed.outgoing
        try:
            while outgoing:
                sent = feed.connection.send(outgoing)
                del outgoing[:sent]
        except BlockingIOError:
            pass
        except OSError:  # the server has closed its end: it wants no more
            outgoing.clear()
            feed.has_ended = True
        self._watch(feed)

    def _watch(self, feed: _Feed) -> None:
        """Wait for what the feed needs next, or let go of it."""
        events = feed.wanted_events
        if events == feed.events:
            return
        if not feed.events:
            self._selector.register(feed.connection, events, feed)
        elif events:
            self._selector.modify(feed.connection, events, feed)
        else:
            self._selector.unregister(feed.connection)
            self._feeds.discard(feed)
            self._report(protocol.Packaged(feed.packaging_id))
            feed.connection.close()
        feed.events = events

    def _report_health(self) -> None:
        if monotonic() >= self._health_at:
            self._health_at = monotonic() + HEALTH_INTERVAL_S
            queued_bytes = sum(len(feed.outgoing) for feed in self._feeds)
            self._report(protocol.Health(process_start.resident_bytes(), queued_bytes), socket.MSG_DONTWAIT)

    def _report(self, packet: protocol.Packet, flags: int = 0) -> None:
        # Not sent: figures that the server has no time for, or the server is gone, which `_read_control` notices.
        with contextlib.suppress(OSError):
            protocol.send(self._control, protocol.encode(packet), flags=flags)


def _encode(records: Sequence[live.Record]) -> bytes:
    return b"".join(encode_record(_RECORDS[type(record)](*record)) for record in records)


_RECORDS: dict[type[live.Record], type[Record]] = {live.Init: Init, live.Part: Part, live.Refusal: Refusal}
"""What the muxers call them, and what they are on the feed: they know nothing of the server."""


def main() -> None:
    """Run as a packager process."""
    parser = argparse.ArgumentParser(description="The packager of rtmpd; the server starts it.")
    parser.add_argument("--control-fd", type=int, required=True)
    PackagerProcess(process_start.begin(parser.parse_args().control_fd)).run()


if __name__ == "__main__":
    main()
