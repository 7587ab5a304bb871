"""A worker process as the event loop sees it."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from pathlib import Path

import pytest

from rtmpd.workers import child as child_module
from rtmpd.workers.child import WorkerChild
from rtmpd.workers.protocol import Ended, Grant, Opened, Output, Ready, Start
from tests.helpers.footage import demux, feed_of, footage, relative, tags_of


class Watch:
    """A child, the packets that came from it, and its death."""

    def __init__(self):
        self.packets = []
        self.death = None
        self.changed = asyncio.Event()
        self.child = WorkerChild(self.on_packet, self.on_death)

    def on_packet(self, packet):
        assert self.death is None
        self.packets.append(packet)
        self.changed.set()

    def on_death(self, pid, reason):
        self.death = (pid, reason)
        self.changed.set()

    async def until(self, condition):
        async with asyncio.timeout(20):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    def has(self, kind):
        return lambda: any(isinstance(packet, kind) for packet in self.packets)


@pytest.fixture
async def watch():
    before = open_descriptors()
    watch = Watch()
    yield watch
    watch.child.release()
    assert open_descriptors() == before


def open_descriptors():
    return len(list(Path("/proc/self/fd").iterdir()))


def kill_and_wait(pid):
    """Wait until the process is dead, and leave it to be reaped."""
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)


def record(watch, path):
    ours, theirs = socket.socketpair()
    watch.child.send(Start("r", 1, (Output("flv", (Grant("f", str(path)),)),)), [theirs.detach()])
    return ours


async def test_it_starts_and_tells_that_it_is_ready(watch):
    watch.child.spawn()
    assert watch.child.pid is not None

    await watch.until(watch.has(Ready))


async def test_what_is_sent_before_it_runs_is_handed_over(watch, tmp_path):
    with record(watch, tmp_path / "x.flv") as feed:
        feed.sendall(feed_of(tags_of(footage())))
        watch.child.spawn()
    await watch.until(watch.has(Ended))

    assert relative(demux(tmp_path / "x.flv")) == relative(demux(footage()))


async def test_after_hanging_up_it_finishes_its_files_and_exits(watch, tmp_path):
    watch.child.spawn()
    pid = watch.child.pid
    with record(watch, tmp_path / "x.flv") as feed:
        feed.sendall(feed_of(tags_of(footage())))
        watch.child.hang_up()
    await watch.until(lambda: watch.death)

    assert watch.death == (pid, "exit code 0")
    assert watch.child.pid is None
    assert relative(demux(tmp_path / "x.flv")) == relative(demux(footage()))


async def test_what_it_said_before_its_death_comes_before_the_death(watch, tmp_path):
    watch.child.spawn()
    pid = watch.child.pid
    path = tmp_path / "x.flv"
    with record(watch, path) as feed:
        feed.sendall(feed_of(tags_of(footage())))
        # The loop gets no turn, so nothing is read while the process lives. A file is written to after it was reported.
        while not (path.exists() and path.stat().st_size):
            os.sched_yield()
        kill_and_wait(pid)
    assert not watch.packets
    await watch.until(lambda: watch.death)

    assert watch.death == (pid, "killed by signal 9")
    assert watch.has(Opened)()


async def test_a_signal_between_fork_and_the_first_instruction_does_not_kill_it(watch):
    watch.child.spawn()
    os.kill(watch.child.pid, signal.SIGINT)
    os.kill(watch.child.pid, signal.SIGTERM)

    await watch.until(watch.has(Ready))
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == set()


async def test_a_listener_that_fails_does_not_cost_the_worker(watch):
    faults = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: faults.append(context["exception"]))
    watch.child._on_packet = lambda _packet: faults.append(None) or 1 / 0

    watch.child.spawn()
    watch.child.hang_up()
    await watch.until(lambda: watch.death)

    assert watch.death[1] == "exit code 0"


async def test_a_worker_that_cannot_be_started_leaves_nothing_behind(watch, monkeypatch):
    monkeypatch.setattr(child_module.sys, "executable", "/nowhere/python")

    with pytest.raises(FileNotFoundError):
        watch.child.spawn()

    assert watch.child.pid is None


async def test_packets_wait_while_the_worker_does_not_read(watch, tmp_path):
    watch.child.spawn()
    await watch.until(watch.has(Ready))
    os.kill(watch.child.pid, signal.SIGSTOP)
    output = Output("no such format", (Grant("f", "/" + "x" * 4000),))
    for number in range(200):
        ours, theirs = socket.socketpair()
        watch.child.send(Start("bad", number, (output,)), [theirs.detach()])
        ours.close()
    assert watch.child._waiting

    os.kill(watch.child.pid, signal.SIGCONT)
    await watch.until(lambda: sum(isinstance(packet, Ended) for packet in watch.packets) == 200)

    assert not watch.child._waiting
