"""The worker: many feeds, one of them slow; signals; the end of the server."""

from __future__ import annotations

import errno
import os
import resource
import select
import signal
import socket
import subprocess
import sys
import threading

import pytest

from rtmpd.wire.flv import FlvTag
from rtmpd.workers import protocol, writer
from rtmpd.workers.process import READ_BYTES, Worker
from rtmpd.workers.protocol import Closed, Ended, Failed, Grant, MayOpen, Opened, Output, Ready, Start, Written
from tests.helpers.fake_muxer import FakeMuxer, fake_formats
from tests.helpers.footage import demux, feed_of, footage, relative, tags_of

TAGS = [FlvTag(9, 40 * number, b"\x17\x01\0\0\0" + bytes(1000)) for number in range(100)]
QUEUE_BYTES = 2_000_000


class Server:
    """The server's side of a worker, without the loop."""

    def __init__(self, control):
        self.control = control
        self.packets = []

    def start(self, name, folder, *names):
        ours, theirs = socket.socketpair()
        outputs = tuple(
            Output(each, (Grant(f"{name}.{each}", str(folder / f"{name}.{each}")),)) for each in names or ["flv"]
        )
        protocol.send(self.control, protocol.encode(Start(name, 1, outputs)), [theirs.fileno()])
        theirs.close()
        return ours

    def wait(self, kind, recording_id=None):
        """Receive until a packet of this kind comes, for this recording."""
        while True:
            received = protocol.receive(self.control)
            assert received is not None, f"the worker ended without {kind}"
            self.packets.append(received[0])
            if isinstance(received[0], kind) and getattr(received[0], "recording_id", None) == recording_id:
                return received[0]


@pytest.fixture
def server():
    """A worker in a thread of this process, whose parts can be replaced."""
    ours, theirs = protocol.socketpair()
    worker = Worker(theirs, queue_bytes=QUEUE_BYTES, report_interval_s=0.0)
    thread = threading.Thread(target=worker.run)
    thread.start()
    with ours:
        yield Server(ours)
    thread.join()


@pytest.fixture
def process(tmp_path):
    """A worker as the server starts it."""
    ours, theirs = protocol.socketpair()
    command = [sys.executable, "-m", "rtmpd.workers.process", "--report-interval-s", "0"]
    command += ["--control-fd", str(theirs.fileno())]
    with theirs, (tmp_path / "stderr").open("wb") as stderr:
        child = subprocess.Popen(command, pass_fds=[theirs.fileno()], stderr=stderr)
    with ours, child:
        yield Server(ours), child
        ours.close()
        child.wait()


def send_until_full(feed, data):
    """Send until neither the worker nor the kernel takes more; returns how much they took."""
    feed.setblocking(False)
    taken = 0
    while select.select([], [feed], [], 0.2)[1]:
        taken += feed.send(data[taken : taken + 65536])
    feed.setblocking(True)
    return taken


def test_a_recording_from_start_to_end(process, tmp_path):
    server, _ = process
    source = footage()

    server.wait(Ready)
    with server.start("r", tmp_path) as feed:
        feed.sendall(feed_of(tags_of(source)))
    server.wait(Ended, "r")

    assert [type(packet) for packet in server.packets if not isinstance(packet, Written)] == [
        Ready,
        Opened,
        Closed,
        Ended,
    ]
    assert relative(demux(tmp_path / "r.flv")) == relative(demux(source))


def test_a_slow_disk_stops_its_own_feed_and_no_other(server, tmp_path, monkeypatch):
    made = {}

    def make(path):
        made[path.stem] = muxer = FakeMuxer(path)
        if path.stem == "slow":
            muxer.gate.clear()
        return muxer

    monkeypatch.setattr(writer, "FORMATS", fake_formats(flv=make))
    with server.start("slow", tmp_path) as slow, server.start("fast", tmp_path) as fast:
        feed = feed_of(TAGS * 50)
        slow.sendall(feed[: READ_BYTES // 10])
        assert made_when_opened(server, made, "slow").blocked.wait(10)

        taken = send_until_full(slow, feed[READ_BYTES // 10 :]) + READ_BYTES // 10
        in_kernel = 2 * slow.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
        assert taken < QUEUE_BYTES + 2 * READ_BYTES + in_kernel < len(feed)

        fast.sendall(feed_of(TAGS))
        fast.close()
        server.wait(Ended, "fast")
        assert made["fast"].tags == TAGS

        made["slow"].gate.set()
        slow.sendall(feed[taken:])
    server.wait(Ended, "slow")
    assert made["slow"].tags == TAGS * 50


def made_when_opened(server, made, name):
    server.wait(Opened, name)
    return made[name]


def test_a_format_that_fails_goes_on_with_the_next_grant_and_its_feed_is_read_meanwhile(server, tmp_path, monkeypatch):
    made = []

    def make(path):
        fault = OSError(errno.ENOSPC, "No space left on device")
        made.append(FakeMuxer(path) if made else FakeMuxer(path, room=5, fault=fault))
        return made[-1]

    monkeypatch.setattr(writer, "FORMATS", fake_formats(flv=make))
    with server.start("r", tmp_path) as feed:
        feed.sendall(feed_of(TAGS))
        assert server.wait(Failed, "r").errno == errno.ENOSPC
        feed.sendall(feed_of(TAGS * 10)[13:])
        grant = MayOpen("r", 1, "flv", Grant("second", str(tmp_path / "second.flv")))
        protocol.send(server.control, protocol.encode(grant))
        feed.sendall(feed_of(TAGS * 30)[13:])
    assert server.wait(Closed, "r").file_id == "second"
    server.wait(Ended, "r")
    assert made[1].tags


def test_all_recordings_together_keep_no_more_than_the_workers_memory(tmp_path, monkeypatch):
    gate = threading.Event()  # of all of them: some may be made after it was opened

    def make(path):
        muxer = FakeMuxer(path)
        muxer.gate = gate
        return muxer

    monkeypatch.setattr(writer, "FORMATS", fake_formats(flv=make))
    ours, theirs = protocol.socketpair()
    worker = Worker(theirs, queue_bytes=QUEUE_BYTES, memory_bytes=QUEUE_BYTES, report_interval_s=0.0)
    thread = threading.Thread(target=worker.run)
    thread.start()
    with ours:
        server = Server(ours)
        feeds = [server.start(str(number), tmp_path) for number in range(4)]
        taken = [send_until_full(feed, feed_of(TAGS * 100)) for feed in feeds]
        in_kernel = sum(2 * feed.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) for feed in feeds)
        assert sum(taken) < QUEUE_BYTES + 8 * READ_BYTES + in_kernel
        gate.set()
        for feed in feeds:
            feed.close()
    thread.join()


def test_the_end_of_the_server_lets_every_file_be_finished(process, tmp_path):
    server, child = process
    source = feed_of(tags_of(footage()))
    feeds = [server.start(f"r{number}", tmp_path) for number in range(3)]
    for feed in feeds:
        feed.sendall(source[:5000])
    server.control.close()

    for feed in feeds:
        feed.sendall(source[5000:])
        assert child.poll() is None
        feed.close()

    assert child.wait() == 0
    for number in range(3):
        assert relative(demux(tmp_path / f"r{number}.flv")) == relative(demux(footage()))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_signals_of_a_process_group_do_not_end_it(process, tmp_path, number):
    server, child = process
    server.wait(Ready)

    child.send_signal(number)

    with server.start("r", tmp_path) as feed:
        feed.sendall(feed_of(tags_of(footage())))
    server.wait(Ended, "r")


def test_a_real_limit_of_the_disk_is_reported_and_leaves_a_file_that_opens(process, tmp_path):
    server, child = process
    source = footage(seconds=10)
    server.wait(Ready)
    resource.prlimit(child.pid, resource.RLIMIT_FSIZE, (50_000, 50_000))

    with server.start("r", tmp_path) as feed:
        feed.sendall(feed_of(tags_of(source)))
        failed = server.wait(Failed, "r")

    assert failed.errno == errno.EFBIG
    assert failed.facts["size_bytes"] == (tmp_path / "r.flv").stat().st_size <= 50_000
    survived = demux(tmp_path / "r.flv")
    assert survived == relative(demux(source))[: len(survived)]
    assert len(survived) > 10


def test_kill_leaves_every_confirmed_tag_in_the_file(process, tmp_path):
    server, child = process
    tags = tags_of(footage(seconds=10))
    with server.start("r", tmp_path) as feed:
        feed.sendall(feed_of(tags))
        written = server.wait(Written, "r")
        child.kill()
        child.wait()

    left = tags_of((tmp_path / "r.flv").read_bytes())
    confirmed = next(count for count in range(len(tags) + 1) if len(feed_of(tags[:count])) == written.feed_bytes)
    assert [tag.body for tag in left[1:confirmed]] == [tag.body for tag in tags[1:confirmed]]
    assert len(left) >= confirmed
    survived = demux(tmp_path / "r.flv")
    assert survived == relative(demux(footage(seconds=10)))[: len(survived)]


def test_a_worker_needs_neither_asyncio_nor_av_for_flv():
    program = (
        "import sys, rtmpd.workers.process; print({'asyncio', 'av', 'structlog', 'pydantic'} & sys.modules.keys())"
    )

    assert subprocess.check_output([sys.executable, "-c", program], text=True).strip() == "set()"


def test_a_bug_in_the_reader_ends_the_process_instead_of_leaving_it_half_alive(process, tmp_path):
    server, child = process
    with server.start("r", tmp_path):
        server.control.send(b"nonsense")
        assert child.wait() == os.EX_SOFTWARE

    assert "UsageError" in (tmp_path / "stderr").read_text()
