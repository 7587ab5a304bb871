"""
A media worker: `python -m rtmpd.workers.process --control-fd N`, started by the supervisor and by nobody else.

One thread reads all feeds, so that no disk can stall another recording's feed; each recording writes in a thread of
its own. The end of a feed finishes its files; the end of the control connection means that the server is gone, so the
feeds end too, and the worker exits when the last file is finished. Signals for the process group do not end it.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import selectors
import signal
import socket
import threading
import traceback
from collections.abc import Callable
from queue import SimpleQueue

from rtmpd.workers import protocol
from rtmpd.workers.feed_queue import FeedQueue
from rtmpd.workers.writer import RecordingWriter

READ_BYTES = 256 * 1024
"""Of one feed before the next one has its turn."""


class _Feed:
    """A recording in this worker: its socket, its queue and its writer."""

    def __init__(self, key: tuple[str, int], connection: socket.socket) -> None:
        self.key = key
        self.connection = connection
        self.queue: FeedQueue
        self.thread: threading.Thread
        self.selected = False


class Worker:
    """The reader thread: everything that a worker does except writing files."""

    def __init__(
        self,
        control: socket.socket,
        *,
        queue_bytes: int = protocol.QUEUE_BYTES,
        report_interval_s: float = protocol.REPORT_INTERVAL_S,
    ) -> None:
        """
        Prepare; `run` does the work.

        Args:
            control: the connection to the server, blocking.
            queue_bytes: kept of one recording while its disk is slow.
            report_interval_s: the least time in seconds between two `Written` of one recording.
        """
        self._control = control
        self._queue_bytes = queue_bytes
        self._report_interval_s = report_interval_s
        self._selector = selectors.DefaultSelector()
        self._feeds: set[_Feed] = set()
        self._attached = True
        self._buffer = memoryview(bytearray(READ_BYTES))
        # What writer threads ask of the reader; a byte in the socketpair wakes it.
        self._asked: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._waker, self._woken = socket.socketpair()

    def run(self) -> None:
        """Serve until the server is gone and every file is finished."""
        self._waker.setblocking(False)
        self._selector.register(self._control, selectors.EVENT_READ, self._read_control)
        self._selector.register(self._woken, selectors.EVENT_READ, self._do_asked)
        self._report(protocol.Ready())
        while self._attached or self._feeds:
            for key, _ in self._selector.select():
                key.data()
        self._selector.close()
        self._waker.close()
        self._woken.close()
        self._control.close()

    def _read_control(self) -> None:
        received = protocol.receive(self._control)
        if received is None:
            self._attached = False
            self._selector.unregister(self._control)
            return
        packet, descriptors = received
        if isinstance(packet, protocol.Start):
            self._start(packet, socket.socket(fileno=descriptors[0]))

    def _start(self, start: protocol.Start, connection: socket.socket) -> None:
        connection.setblocking(False)
        feed = _Feed((start.recording_id, start.sequence), connection)
        feed.queue = FeedQueue(self._queue_bytes, lambda: self._ask(lambda: self._select(feed)))
        writer = RecordingWriter(start, feed.queue, self._report, self._report_interval_s)
        feed.thread = threading.Thread(target=self._write, args=(feed, writer), name=f"recording {feed.key}")
        self._feeds.add(feed)
        self._select(feed)
        feed.thread.start()

    def _write(self, feed: _Feed, writer: RecordingWriter) -> None:
        writer.run()
        self._ask(lambda: self._finish(feed))

    def _read(self, feed: _Feed) -> None:
        try:
            count = feed.connection.recv_into(self._buffer)
        except BlockingIOError:
            return
        except OSError:  # the server died: what it had sent was read before
            count = 0
        if not count:
            self._deselect(feed)
            feed.queue.end()
        elif not feed.queue.put(bytes(self._buffer[:count])):
            self._deselect(feed)

    def _select(self, feed: _Feed) -> None:
        if feed in self._feeds and not feed.selected:
            self._selector.register(feed.connection, selectors.EVENT_READ, lambda: self._read(feed))
            feed.selected = True

    def _deselect(self, feed: _Feed) -> None:
        if feed.selected:
            self._selector.unregister(feed.connection)
            feed.selected = False

    def _finish(self, feed: _Feed) -> None:
        self._deselect(feed)
        self._feeds.remove(feed)
        feed.thread.join()
        feed.connection.close()
        self._report(protocol.Ended(*feed.key))

    def _ask(self, action: Callable[[], None]) -> None:
        self._asked.put(action)
        with contextlib.suppress(BlockingIOError):  # full of bytes: the reader wakes anyway
            self._waker.send(b"\0")

    def _do_asked(self) -> None:
        self._woken.recv(4096)
        while not self._asked.empty():
            self._asked.get()()

    def _report(self, packet: protocol.Packet) -> bool:
        """Progress may be skipped when the server does not read; everything else waits for it."""
        flags = socket.MSG_DONTWAIT if isinstance(packet, protocol.Written) else 0
        try:
            protocol.send(self._control, protocol.encode(packet), flags=flags)
        except BlockingIOError:
            return False
        except OSError:  # the server is gone; _read_control notices, and the files are finished all the same
            return True
        return True


def main() -> None:
    """Run as a worker process."""
    parser = argparse.ArgumentParser(description="A media worker of rtmpd; the server starts it.")
    parser.add_argument("--control-fd", type=int, required=True)
    parser.add_argument("--queue-bytes", type=int, default=protocol.QUEUE_BYTES)
    parser.add_argument("--report-interval-s", type=float, default=protocol.REPORT_INTERVAL_S)
    arguments = parser.parse_args()
    # Blocked since before the exec, see child.py.
    kept_away = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    for number in kept_away:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, kept_away)
    os.set_inheritable(arguments.control_fd, False)
    control = socket.socket(fileno=arguments.control_fd)
    worker = Worker(control, queue_bytes=arguments.queue_bytes, report_interval_s=arguments.report_interval_s)
    try:
        worker.run()
    except BaseException:  # noqa: BLE001 - whatever it is, the process must not stay half alive
        # Without its reader the process would wait for its writers for ever; dead, it is replaced.
        traceback.print_exc()
        os._exit(os.EX_SOFTWARE)


if __name__ == "__main__":
    main()
