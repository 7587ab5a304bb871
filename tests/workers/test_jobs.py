"""Jobs on files: what becomes of them, in order, and none costs another one."""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from dataclasses import asdict
from queue import SimpleQueue

import pytest

from muxers.base import FileFacts, MuxError
from rtmpd.workers import jobs, protocol
from rtmpd.workers.jobs import JobRunner, do
from rtmpd.workers.protocol import Job, JobDone
from tests.helpers.footage import footage

FACTS = FileFacts("/x.flv", "flv", 7, 40, 0, 1, 0, 1, (), 0, 0, 0, 0, empty=False)


@pytest.fixture
def give(monkeypatch):
    """Make the job "x" return a value, or raise it."""

    def give(outcome):
        def job(path, file_format):
            if isinstance(outcome, Exception):
                raise outcome
            return outcome

        monkeypatch.setattr(jobs, "JOBS", {"x": job})

    return give


@pytest.mark.parametrize(
    ("outcome", "said"),
    [
        (FACTS, ("done", "", asdict(FACTS))),
        (None, ("done", "", None)),
        (BlockingIOError(), ("busy", "somebody writes the file", None)),
        (OSError(errno.ENOSPC, "no room"), ("busy", "[Errno 28] no room", None)),
        (OSError(errno.EDQUOT, "no room"), ("busy", "[Errno 122] no room", None)),
        (OSError(errno.EIO, "broken"), ("failed", "[Errno 5] broken", None)),
        (MuxError("no FLV file"), ("failed", "no FLV file", None)),
    ],
)
def test_an_outcome_is_said_and_never_raised(give, outcome, said):
    give(outcome)

    assert do(Job(3, "x", "flv", "/x.flv")) == JobDone(3, *said)


def test_a_bug_costs_its_file_alone_and_shows_its_traceback(give, capsys):
    give(ZeroDivisionError("oops"))

    assert do(Job(1, "x", "flv", "/x")) == JobDone(1, "failed", "internal error: ZeroDivisionError('oops')")
    assert "Traceback" in capsys.readouterr().err


def test_the_facts_of_a_job_travel(give):
    give(FACTS)
    travelled = protocol.decode(protocol.encode(do(Job(1, "x", "flv", "/x.flv"))))

    assert travelled.facts == asdict(FACTS) | {"tracks": []}


def test_a_kind_of_job_that_there_is_not_fails():
    assert do(Job(1, "no such job", "flv", "/x")).outcome == "failed"


def test_an_index_is_moved_by_its_path(monkeypatch, tmp_path):
    moved = []
    monkeypatch.setattr(jobs.repair, "faststart", moved.append)

    assert do(Job(1, "faststart", "mp4", str(tmp_path / "x.mp4"))) == JobDone(1, "done")
    assert moved == [tmp_path / "x.mp4"]


def test_jobs_are_done_one_after_another_in_one_thread(monkeypatch):
    threads, said = [], SimpleQueue()

    def job(path, file_format):
        threads.append(threading.current_thread())

    monkeypatch.setattr(jobs, "JOBS", {"x": job})
    runner = JobRunner(said.put)
    for number in range(5):
        runner.put(Job(number, "x", "flv", "/x"))

    assert [said.get(timeout=20).job_id for _ in range(5)] == [0, 1, 2, 3, 4]
    assert len(set(threads)) == 1
    assert threads[0].daemon
    assert threads[0] is not threading.main_thread()


@pytest.fixture
def memory():
    """Descriptors of memory, with what is in them."""
    made = []

    def memory(data=b""):
        made.append(os.memfd_create("test"))
        os.pwrite(made[-1], data, 0)
        return made[-1]

    yield memory
    for descriptor in made:
        with contextlib.suppress(OSError):
            os.close(descriptor)


def written(descriptor):
    return os.pread(descriptor, os.fstat(descriptor).st_size, 0)


def test_a_picture_is_made_of_what_is_in_memory_or_in_a_file(memory, tmp_path):
    (tmp_path / "x.flv").write_bytes(footage())
    for path, given in (("", [memory(footage(seconds=1))]), (str(tmp_path / "x.flv"), [])):
        target = memory()
        assert do(Job(1, "picture", "flv", path), [target, *given]) == JobDone(1, "done")
        assert written(target).startswith(b"\xff\xd8")


def test_where_there_is_no_picture_nothing_is_written(memory):
    target = memory()
    assert do(Job(1, "picture", "flv", ""), [target, memory(footage(video=None, seconds=1))]) == JobDone(1, "done")
    assert written(target) == b""

    done = do(Job(1, "picture", "flv", ""), [target, memory(b"rubbish")])
    assert (done.outcome, written(target)) == ("failed", b"")
    assert do(Job(1, "picture", "flv", "/nowhere/x.flv"), [target]).outcome == "failed"


def test_descriptors_of_a_job_are_closed_when_it_is_done(memory):
    said, target = SimpleQueue(), memory()
    runner = JobRunner(said.put)
    runner.put(Job(1, "no such job", "flv", "/x"), (target,))
    assert said.get(timeout=20).outcome == "failed"
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(target)
