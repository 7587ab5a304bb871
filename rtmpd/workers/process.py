"""
A media worker: `python -m rtmpd.workers.process --control-fd N`, started by the supervisor and by nobody else.

One thread reads all feeds, so that no disk can stall another recording's feed; each recording writes in a thread of
its own. The end of a feed finishes its files; the end of the control connection means that the server is gone, so the
feeds end too, and the worker exits when the last file is finished. Signals for the process group do not end it.
Jobs (repairing a file, moving its index to the front) are done one after another in one more thread.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import resource
import selectors
import socket
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from time import monotonic

from rtmpd.workers import protocol
from rtmpd.workers.feed_queue import Budget, FeedQueue
from rtmpd.workers.jobs import JobRunner
from rtmpd.workers.process_start import begin, resident_bytes
from rtmpd.workers.writer import RecordingWriter

READ_BYTES = 256 * 1024
"""Of one feed before the next one has its turn."""
ROUND_S = 0.2
"""Between two looks at a feed: what has come in the meantime, 15 messages of a usual stream, is written at once, and its
thread is woken once for all of them. It is lost when everything is killed, with the half second that a fragment of MP4
takes."""
STEPS = 16
"""Parts of a round in which the feeds have their turns: writers that wake together only wait for each other."""
_SWITCH_INTERVAL_S = 0.1
"""Each thread that waits for the interpreter's lock wakes so often to ask for it: a hundred writers that were given work
at once did so 10,000 times a second with the default of 5 ms. Nothing here holds the lock for long."""
HEALTH_INTERVAL_S = 2.0
"""Between two reports of the worker's memory."""


class _Feed:
    """A recording in this worker: its socket, its queue and its writer."""

    def __init__(self, key: tuple[str, int], connection: socket.socket) -> None:
        self.key = key
        self.connection = connection
        self.queue: FeedQueue
        self.writer: RecordingWriter
        self.thread: threading.Thread
        self.selected = False


class Worker:
    """The reader thread: everything that a worker does except writing files."""

    def __init__(
        self,
        control: socket.socket,
        *,
        queue_bytes: int = protocol.QUEUE_BYTES,
        memory_bytes: int = protocol.MEMORY_BYTES,
        report_interval_s: float = protocol.REPORT_INTERVAL_S,
        round_s: float = ROUND_S,
    ) -> None:
        """
        Prepare; `run` does the work.

        Args:
            control: the connection to the server, blocking.
            queue_bytes: kept of one recording while its disk is slow.
            memory_bytes: kept of all recordings while their disks are slow.
            report_interval_s: the least time in seconds between two `Written` of one recording.
            round_s: the time in seconds between two looks at the feeds.
        """
        self._control = control
        self._queue_bytes = queue_bytes
        self._budget = Budget(memory_bytes)
        self._report_interval_s = report_interval_s
        self._selector = selectors.DefaultSelector()
        self._turns: deque[_Feed] = deque()
        self._round_s = round_s
        self._step_at = 0.0
        self._feeds: dict[tuple[str, int], _Feed] = {}
        self._jobs = JobRunner(self._report)
        self._health_at = monotonic() + HEALTH_INTERVAL_S
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
            for key, _ in self._selector.select(self._pause_s()):
                key.data()
            self._read_feeds()
            self._report_health()
        self._selector.close()
        self._waker.close()
        self._woken.close()
        self._control.close()

    def _pause_s(self) -> float:
        due = min(self._health_at, self._step_at) if self._turns else self._health_at
        return max(0.0, due - monotonic())

    def _read_feeds(self) -> None:
        """
        Read the feeds whose turn it is; one that has more is read again at once.

        They are read before any is handed over: a writer that is awake takes the interpreter's lock away from the
        reader at each read, and gives it back milliseconds later.
        """
        now = monotonic()
        if now < self._step_at:
            return
        count = len(self._turns)
        turns = [self._turns.popleft() for _ in range(-(-count // STEPS))]
        read = [(feed, self._read(feed)) for feed in turns if feed.selected]
        self._step_at = now + self._round_s / max(1, min(STEPS, count))
        for feed, data in read:
            if len(data or b"") == READ_BYTES:
                self._turns.appendleft(feed)
                self._step_at = now
            else:
                self._turns.append(feed)
            if data is not None:
                self._hand_over(feed, data)

    def _read_control(self) -> None:
        received = protocol.receive(self._control)
        if received is None:
            self._attached = False
            self._selector.unregister(self._control)
            return
        packet, descriptors = received
        if isinstance(packet, protocol.Start):
            self._start(packet, socket.socket(fileno=descriptors[0]))
        elif isinstance(packet, protocol.MayOpen):
            feed = self._feeds.get((packet.recording_id, packet.sequence))
            if feed is not None:
                feed.writer.grant(packet.file_format, packet.grant)
        elif isinstance(packet, protocol.Job):
            self._jobs.put(packet, descriptors)

    def _start(self, start: protocol.Start, connection: socket.socket) -> None:
        connection.setblocking(False)
        feed = _Feed((start.recording_id, start.sequence), connection)
        feed.queue = FeedQueue(self._queue_bytes, lambda: self._ask(lambda: self._select(feed)), self._budget)
        feed.writer = RecordingWriter(start, feed.queue, self._report, self._report_interval_s)
        feed.thread = threading.Thread(target=self._write, args=(feed,), name=f"recording {feed.key}")
        self._feeds[feed.key] = feed
        self._select(feed)
        self._turns.rotate(1)
        self._step_at = 0.0
        feed.thread.start()

    def _write(self, feed: _Feed) -> None:
        feed.writer.run()
        self._ask(lambda: self._finish(feed))

    def _read(self, feed: _Feed) -> bytes | None:
        """Read once from a feed: nothing at its end, None where there is nothing yet."""
        try:
            count = feed.connection.recv_into(self._buffer)
        except BlockingIOError:
            return None
        except OSError:  # the server died: what it had sent was read before
            return b""
        return bytes(self._buffer[:count])

    def _hand_over(self, feed: _Feed, data: bytes) -> None:
        if not data:
            self._deselect(feed)
            feed.queue.end()
        elif not feed.queue.put(data):
            self._deselect(feed)

    def _select(self, feed: _Feed) -> None:
        if self._feeds.get(feed.key) is feed and not feed.selected:
            feed.selected = True
            self._turns.append(feed)

    def _deselect(self, feed: _Feed) -> None:
        feed.selected = False
        with contextlib.suppress(ValueError):
            self._turns.remove(feed)

    def _finish(self, feed: _Feed) -> None:
        self._deselect(feed)
        del self._feeds[feed.key]
        feed.thread.join()
        feed.queue.discard()
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

    def _report_health(self) -> None:
        if monotonic() >= self._health_at:
            self._health_at = monotonic() + HEALTH_INTERVAL_S
            self._report(protocol.Health(resident_bytes(), self._budget.used_bytes))

    def _report(self, packet: protocol.Packet) -> bool:
        """Progress may be skipped when the server does not read; everything else waits for it."""
        flags = socket.MSG_DONTWAIT if isinstance(packet, protocol.Written | protocol.Health) else 0
        try:
            protocol.send(self._control, protocol.encode(packet), flags=flags)
        except BlockingIOError:
            return False
        except OSError:  # the server is gone; _read_control notices, and the files are finished all the same
            return True
        return True


def main() -> None:
    """Run as a worker process."""
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    parser = argparse.ArgumentParser(description="A media worker of rtmpd; the server starts it.")
    parser.add_argument("--control-fd", type=int, required=True)
    parser.add_argument("--queue-bytes", type=int, default=protocol.QUEUE_BYTES)
    parser.add_argument("--memory-bytes", type=int, default=protocol.MEMORY_BYTES)
    parser.add_argument("--address-space-bytes", type=int, default=0)
    parser.add_argument("--report-interval-s", type=float, default=protocol.REPORT_INTERVAL_S)
    arguments = parser.parse_args()
    if arguments.address_space_bytes:
        resource.setrlimit(resource.RLIMIT_AS, (arguments.address_space_bytes, arguments.address_space_bytes))
    worker = Worker(
        begin(arguments.control_fd),
        queue_bytes=arguments.queue_bytes,
        memory_bytes=arguments.memory_bytes,
        report_interval_s=arguments.report_interval_s,
    )
    try:
        worker.run()
    except BaseException:  # noqa: BLE001 - whatever it is, the process must not stay half alive
        # Without its reader the process would wait for its writers for ever; dead, it is replaced.
        traceback.print_exc()
        os._exit(os.EX_SOFTWARE)


if __name__ == "__main__":
    main()
