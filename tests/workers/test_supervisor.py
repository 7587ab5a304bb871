"""Recordings from the server's side: started, confirmed, closed, and carried on over the death of their worker."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from rtmpd.errors import Overloaded, StartError, UsageError
from rtmpd.workers import child, supervisor
from rtmpd.workers.feeds import (
    FeedEnded,
    FeedProgress,
    FeedRequest,
    FeedState,
    FileClosed,
    FileFailed,
    FileOpened,
    WorkerDied,
)
from rtmpd.workers.protocol import Grant, Output
from rtmpd.workers.supervisor import Supervisor
from tests.helpers.footage import demux, feed_of, footage, relative, tags_of


class Server:
    """A supervisor, its events, and feeding as the fan-out does it."""

    def __init__(self, folder, **options):
        self.folder = folder
        self.events = []
        self.changed = asyncio.Event()
        self.handle = lambda _event: None
        self.supervisor = Supervisor(self.on_event, report_interval_s=0.0, **options)

    def on_event(self, event):
        self.events.append(event)
        self.handle(event)
        self.changed.set()

    def start(self, name="r", sequence=1, file_format="flv"):
        path = self.folder / f"{name}-{sequence}.{file_format}"
        return self.supervisor.start_feed(FeedRequest(name, sequence, (output(path, file_format),)))

    def of(self, kind, recording=None):
        return [e for e in self.events if isinstance(e, kind) and (recording is None or e.feed is recording)]

    async def until(self, condition):
        async with asyncio.timeout(20):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    async def until_true(self, condition):
        """Wait for what no event tells."""
        async with asyncio.timeout(20):
            while not condition():
                await asyncio.sleep(0.01)

    async def wait(self, kind, recording=None):
        await self.until(lambda: self.of(kind, recording))
        return self.of(kind, recording)[-1]


def output(path, file_format="flv"):
    """One that may open one file, whose id is its name."""
    return Output(file_format, (Grant(path.name, str(path)),))


def open_descriptors():
    return len(list(Path("/proc/self/fd").iterdir()))


def gone(pid):
    return not Path(f"/proc/{pid}").exists()


@pytest.fixture
async def server(tmp_path):
    before = open_descriptors()
    server = Server(tmp_path)
    await server.supervisor.start()
    yield server
    await server.supervisor.stop(5)
    assert open_descriptors() == before
    assert server.supervisor.pids == (None,) * len(server.supervisor.pids)


async def send(recording, data):
    await asyncio.get_running_loop().sock_sendall(recording.socket, data)


def kill(server):
    (pid,) = server.supervisor.pids
    os.kill(pid, signal.SIGKILL)


async def test_a_recording_from_start_to_end(server, tmp_path):
    source = footage()
    feed = feed_of(tags_of(source))

    recording = server.start()
    assert recording.state is FeedState.STARTING
    await send(recording, feed)
    recording.finish()
    await server.wait(FeedEnded, recording)

    kinds = [type(event) for event in server.events if not isinstance(event, FeedProgress)]
    assert kinds == [FileOpened, FileClosed, FeedEnded]
    assert server.of(FileOpened)[0].file_id == server.of(FileClosed)[0].file_id == "r-1.flv"
    assert server.of(FileClosed)[0].facts["size_bytes"] == (tmp_path / "r-1.flv").stat().st_size
    assert recording.feed_bytes == len(feed)
    assert recording.state is FeedState.ENDED
    assert not recording.active
    assert not recording.open_files
    assert server.supervisor.feeds == ()
    assert relative(demux(tmp_path / "r-1.flv")) == relative(demux(source))


async def test_progress_confirms_whole_tags(server):
    tags = tags_of(footage())
    recording = server.start()

    await send(recording, feed_of(tags)[:-1])
    await server.until(lambda: recording.feed_bytes == len(feed_of(tags[:-1])))

    assert recording.state is FeedState.RUNNING
    assert recording.open_files == {"flv": "r-1.flv"}


async def test_a_dead_worker_is_replaced_and_its_recordings_go_on_without_a_hole(server, tmp_path):
    tags = tags_of(footage(seconds=10))
    half = len(tags) // 2
    old = server.start()
    again = []
    server.handle = lambda event: again.append(server.start(sequence=2)) if isinstance(event, WorkerDied) else None
    await send(old, feed_of(tags[:half]))
    await server.until(lambda: old.feed_bytes == len(feed_of(tags[:half])))
    pid = server.supervisor.pids[0]

    kill(server)
    died = await server.wait(WorkerDied)
    old.finish()

    assert died == WorkerDied(pid, "killed by signal 9", (old,))
    assert old.state is FeedState.LOST
    headers = tags[:3]
    key = max(n for n in range(half) if tags[n].type_id == 9 and tags[n].body[:2] == b"\x17\x01")
    assert len(feed_of(tags[:key])) < old.feed_bytes
    await send(again[0], feed_of(headers + tags[key:]))
    again[0].finish()
    await server.wait(FeedEnded, again[0])

    first, second = (tags_of((tmp_path / f"r-{sequence}.flv").read_bytes()) for sequence in (1, 2))
    assert [tag.body for tag in first[1:]] == [tag.body for tag in tags[1:half]]
    assert [tag.body for tag in second[3:]] == [tag.body for tag in tags[key:]]
    assert demux(tmp_path / "r-1.flv") == relative(demux(footage(seconds=10)))[: len(demux(tmp_path / "r-1.flv"))]
    assert demux(tmp_path / "r-2.flv")


async def test_a_worker_that_keeps_dying_is_replaced_after_a_pause_in_which_feeds_wait(server, monkeypatch):
    pauses = []
    monkeypatch.setattr(supervisor, "_FIRST_PAUSE_S", 0.05)
    monkeypatch.setattr(
        supervisor,
        "pause_after_s",
        lambda deaths, ask=supervisor.pause_after_s: pauses.append(ask(deaths)) or pauses[-1],
    )
    for count in (1, 2):
        await server.until(lambda: server.supervisor.pids[0])
        kill(server)
        await server.until(lambda count=count: len(server.of(WorkerDied)) == count)
    assert pauses == [0.0, 0.05]
    assert server.supervisor.pids == (None,)

    recording = server.start()
    await send(recording, feed_of(tags_of(footage())))
    recording.finish()

    assert not (await server.wait(FileClosed, recording)).facts["empty"]


def test_pauses_grow_to_a_bound():
    assert [supervisor.pause_after_s(deaths) for deaths in (1, 2, 3, 4, 7, 1000)] == [0.0, 0.5, 1.0, 2.0, 10.0, 10.0]


async def test_a_worker_that_was_stable_is_replaced_at_once(server, monkeypatch):
    monkeypatch.setattr(supervisor, "STABLE_S", -1.0)
    for count in (1, 2, 3):
        kill(server)
        await server.until(lambda count=count: len(server.of(WorkerDied)) == count)
        assert server.supervisor.pids[0]


async def test_no_process_to_be_had_means_another_try_later(server, monkeypatch):
    real, refusals = child._popen, [OSError(errno.EAGAIN, "no process"), OSError(errno.EMFILE, "no descriptor")]

    def popen(*arguments):
        if refusals:
            raise refusals.pop()
        return real(*arguments)

    monkeypatch.setattr(child, "_popen", popen)
    monkeypatch.setattr(supervisor, "_FIRST_PAUSE_S", 0.01)
    kill(server)
    await server.wait(WorkerDied)

    recording = server.start()
    recording.finish()
    await server.wait(FeedEnded, recording)
    assert not refusals


async def test_a_full_disk_fails_its_recording_with_the_error_number(server, tmp_path):
    resource.prlimit(server.supervisor.pids[0], resource.RLIMIT_FSIZE, (60_000, 60_000))
    large, small = server.start("large"), server.start("small")
    await send(small, feed_of(tags_of(footage())))
    await send(large, feed_of(tags_of(footage(seconds=10))))

    failed = await server.wait(FileFailed, large)
    large.finish()
    await server.wait(FeedEnded, large)
    small.finish()
    closed = await server.wait(FileClosed, small)

    assert failed.errno == errno.EFBIG
    assert failed.facts["size_bytes"] == (tmp_path / "large-1.flv").stat().st_size
    assert demux(tmp_path / "large-1.flv")
    assert not closed.facts["empty"]


async def test_two_feeds_never_write_one_file(server, tmp_path):
    path = tmp_path / "same.flv"
    first, second = (server.supervisor.start_feed(FeedRequest(name, 1, (output(path),))) for name in "ab")
    for feed in (first, second):
        await send(feed, feed_of(tags_of(footage())))
        feed.finish()
        await server.wait(FeedEnded, feed)

    assert server.of(FileFailed, second)[0].errno == errno.EEXIST
    assert relative(demux(path)) == relative(demux(footage()))


async def test_a_grant_lets_a_format_go_on_that_has_no_file(server, tmp_path):
    (tmp_path / "r-1.flv").write_bytes(b"mine")
    feed = server.start()
    tags = tags_of(footage())
    await send(feed, feed_of(tags))
    await server.wait(FileFailed, feed)

    server.supervisor.grant(feed, "flv", Grant("other", str(tmp_path / "other.flv")))
    await server.until(lambda: not feed.queued_bytes)
    await send(feed, feed_of(tags)[13:])
    feed.finish()
    await server.wait(FeedEnded, feed)

    assert [event.file_id for event in server.of(FileClosed)] == ["other"]
    assert demux(tmp_path / "other.flv")
    server.supervisor.grant(feed, "flv", Grant("late", str(tmp_path / "late.flv")))


async def test_workers_say_how_much_memory_they_have(server):
    await server.until_true(lambda: server.supervisor.health[0].resident_bytes > 1_000_000)

    assert server.supervisor.health[0].queued_bytes == 0


async def test_feeds_go_to_the_worker_with_the_most_room_and_none_where_there_is_none(tmp_path):
    room = 3 * supervisor.FEED_MEMORY_BYTES
    server = Server(tmp_path, worker_count=2, memory_bytes=room)
    await server.supervisor.start()

    def start(name, memory_bytes):
        request = FeedRequest(name, 1, (output(tmp_path / name),), memory_bytes)
        return server.supervisor.start_feed(request)

    assert [start("large", supervisor.FEED_MEMORY_BYTES).worker, start("a", 0).worker, start("b", 0).worker] == [
        0,
        1,
        1,
    ]
    with pytest.raises(Overloaded, match=r"workers\.memory_bytes"):
        start("too large", supervisor.FEED_MEMORY_BYTES)
    await server.supervisor.stop(20)


async def test_stop_finishes_what_is_open(tmp_path):
    server = Server(tmp_path, worker_count=2)
    await server.supervisor.start()
    recordings = [server.start(f"r{number}") for number in range(6)]
    for recording in recordings:
        await send(recording, feed_of(tags_of(footage())))

    assert await server.supervisor.stop(20) == ()

    assert {recording.worker for recording in recordings} == {0, 1}
    assert all(recording.state is FeedState.ENDED for recording in recordings)
    assert len(server.of(FileClosed)) == 6
    for number in range(6):
        assert relative(demux(tmp_path / f"r{number}-1.flv")) == relative(demux(footage()))
    with pytest.raises(UsageError, match="between start"):
        server.start("late")


async def test_stop_kills_a_worker_that_hangs_and_names_its_recordings(tmp_path):
    server = Server(tmp_path)
    await server.supervisor.start()
    recording, feed = server.start(), feed_of(tags_of(footage()))
    await send(recording, feed)
    await server.until(lambda: recording.feed_bytes == len(feed))
    (pid,) = server.supervisor.pids
    os.kill(pid, signal.SIGSTOP)

    assert await server.supervisor.stop(0.1) == (recording,)

    assert recording.state is FeedState.LOST
    assert server.supervisor.pids == (None,)
    assert gone(pid)
    assert demux(tmp_path / "r-1.flv")


async def test_stop_while_a_worker_waits_for_its_replacement_finishes_its_feeds(tmp_path, monkeypatch):
    monkeypatch.setattr(supervisor, "pause_after_s", lambda _deaths: 3600.0)
    server = Server(tmp_path)
    await server.supervisor.start()
    kill(server)
    await server.wait(WorkerDied)
    recording = server.start()
    await send(recording, feed_of(tags_of(footage())))

    assert await server.supervisor.stop(20) == ()

    assert not server.of(FileClosed, recording)[0].facts["empty"]


async def test_a_worker_that_dies_while_stopping_is_not_replaced(tmp_path):
    server = Server(tmp_path)
    await server.supervisor.start()
    recording = server.start()
    (pid,) = server.supervisor.pids
    os.kill(pid, signal.SIGSTOP)
    stopping = asyncio.ensure_future(server.supervisor.stop(20))
    await asyncio.wait([stopping], timeout=0)
    os.kill(pid, signal.SIGKILL)

    assert await stopping == (recording,)
    assert not server.of(WorkerDied)


async def test_a_stop_that_is_cancelled_leaves_no_process_and_no_descriptor(tmp_path):
    before = open_descriptors()
    server = Server(tmp_path)
    await server.supervisor.start()
    server.start()
    (pid,) = server.supervisor.pids
    os.kill(pid, signal.SIGSTOP)
    stopping = asyncio.ensure_future(server.supervisor.stop(3600))
    await asyncio.wait([stopping], timeout=0)

    stopping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stopping

    assert gone(pid)
    assert open_descriptors() == before


async def test_a_start_that_is_cancelled_leaves_no_process(tmp_path, monkeypatch):
    never_ready = tmp_path / "python"
    never_ready.write_text("#!/bin/sh\nexec sleep 3600\n")
    never_ready.chmod(0o755)
    monkeypatch.setattr(child.sys, "executable", str(never_ready))
    before = open_descriptors()
    server = Server(tmp_path)
    starting = asyncio.ensure_future(server.supervisor.start())
    await asyncio.wait([starting], timeout=0)
    (pid,) = server.supervisor.pids

    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting

    assert gone(pid)
    assert open_descriptors() == before


@pytest.mark.parametrize(
    ("executable", "message"), [("/nowhere/python", "cannot start"), ("/bin/false", "as soon as it was started")]
)
async def test_a_worker_that_cannot_run_is_said_at_the_start(tmp_path, monkeypatch, executable, message):
    before = open_descriptors()
    monkeypatch.setattr(child.sys, "executable", executable)

    with pytest.raises(StartError, match=message):
        await Server(tmp_path).supervisor.start()

    assert open_descriptors() == before


async def test_requests_that_cannot_be_are_refused(server, tmp_path):
    good = output(tmp_path / "x.flv")
    recording = server.start("r")
    for request, reason in [
        (FeedRequest("r", 1, (good,)), "running already"),
        (FeedRequest("s", 1, ()), "one output"),
        (FeedRequest("s", 1, (good, good)), "one output"),
        (FeedRequest("s", 1, (output(Path("x.flv")),)), "not absolute"),
    ]:
        with pytest.raises(UsageError, match=reason):
            server.supervisor.start_feed(request)
    recording.finish()


async def test_nothing_is_recorded_before_the_start(tmp_path):
    with pytest.raises(UsageError, match="between start"):
        Server(tmp_path).start()


def test_the_death_of_the_server_lets_its_files_be_finished(tmp_path):
    program = f"""
import asyncio, os, signal
from pathlib import Path
from rtmpd.workers.feeds import *
from rtmpd.workers.protocol import *
from rtmpd.workers.supervisor import Supervisor
from tests.helpers.footage import *
async def main():
    supervisor = Supervisor(lambda event: None)
    await supervisor.start()
    output = Output("flv", (Grant("f", str(Path({str(tmp_path)!r}, "x.flv"))),))
    feed = supervisor.start_feed(FeedRequest("r", 1, (output,)))
    await asyncio.get_running_loop().sock_sendall(feed.socket, feed_of(tags_of(footage())))
    os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main())
"""
    # The worker inherits standard error, so its end is the end of this pipe.
    process = subprocess.run([sys.executable, "-c", program], stderr=subprocess.PIPE, check=False, timeout=60)

    assert process.returncode == -signal.SIGKILL
    assert relative(demux(tmp_path / "x.flv")) == relative(demux(footage()))
    assert tags_of((tmp_path / "x.flv").read_bytes())[0].body.count(b"lasttimestamp")


def test_the_servers_side_imports_neither_muxers_nor_av():
    program = (
        "import sys, rtmpd.workers.supervisor; print(sorted(m for m in sys.modules if m.startswith(('muxers', 'av.'))))"
    )

    assert subprocess.check_output([sys.executable, "-c", program], text=True).strip() == "[]"
