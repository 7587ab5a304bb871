"""Jobs in a process of their own: done in order, outlived when they kill it, and gone with the server."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from rtmpd.errors import UsageError
from rtmpd.workers import child, protocol
from rtmpd.workers.workshop import DIED, Workshop
from tests.helpers.footage import footage
from tests.helpers.studio import until

PROGRAM = """
import dataclasses, os, signal, time
from muxers.base import FileFacts
from rtmpd.workers import jobs, process

def facts(path, file_format):
    return FileFacts(str(path), file_format, 7, 0, 0, 0, 1, 0, (), 0, 0, 0, 0, False)

def busy(path, file_format):
    raise BlockingIOError

def hang(path, file_format):
    path.touch()
    while True:
        time.sleep(60)

jobs.JOBS = {
    "facts": facts,
    "nothing": lambda path, file_format: None,
    "busy": busy,
    "hang": hang,
    "die": lambda path, file_format: os.kill(os.getpid(), signal.SIGKILL),
}
process.main()
"""
"""A media worker that has jobs for tests."""


def open_descriptors():
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.fixture
async def workshop(monkeypatch):
    real = child.subprocess.Popen
    started = []

    def popen(command, **options):
        module = command.index("-m")
        started.append(real([*command[:module], "-c", PROGRAM, *command[module + 2 :]], **options))
        return started[-1]

    monkeypatch.setattr(child.subprocess, "Popen", popen)
    before = open_descriptors()
    workshop = Workshop()
    workshop.started = started
    yield workshop
    workshop.stop()
    assert all(process.returncode is not None for process in started)
    assert open_descriptors() == before


async def outcome(workshop, kind, path="/x.flv"):
    done = await workshop.run(kind, "flv", Path(path))
    return done.outcome, done.reason


async def test_a_job_is_done_and_its_facts_come_back(workshop):
    done = await workshop.run("facts", "mp4", Path("/data/x.mp4"))

    assert done.outcome == "done"
    assert (done.facts["path"], done.facts["file_format"], done.facts["size_bytes"]) == ("/data/x.mp4", "mp4", 7)


async def test_jobs_share_a_process_until_it_is_let_go(workshop):
    assert await outcome(workshop, "nothing") == ("done", "")
    assert await outcome(workshop, "busy") == ("busy", "somebody writes the file")
    workshop.rest()
    workshop.rest()
    await until(lambda: workshop.started[0].poll() is not None)

    assert await outcome(workshop, "no such job") == ("failed", "internal error: KeyError('no such job')")
    assert len(workshop.started) == 2
    assert workshop.started[0].returncode == 0


async def test_a_job_that_kills_its_process_is_said_and_the_next_one_has_another(workshop):
    assert await outcome(workshop, "die") == (DIED, "killed by signal 9")
    assert await outcome(workshop, "nothing") == ("done", "")
    assert len(workshop.started) == 2


async def test_a_process_that_dies_while_it_rests_is_replaced(workshop):
    await outcome(workshop, "nothing")
    os.kill(workshop.started[0].pid, signal.SIGKILL)
    await until(lambda: workshop.started[0].poll() is not None)

    assert await outcome(workshop, "nothing") in [("done", ""), (DIED, "killed by signal 9")]
    assert await outcome(workshop, "nothing") == ("done", "")


async def test_a_job_that_hangs_can_be_killed_and_the_next_one_has_another_process(workshop, tmp_path):
    workshop.kill()
    running = asyncio.ensure_future(workshop.run("hang", "flv", tmp_path / "begun"))
    await until((tmp_path / "begun").exists)
    assert workshop.is_running
    workshop.kill()

    assert (await running) == protocol.JobDone(1, DIED, "killed by signal 9")
    assert not workshop.is_running
    assert await outcome(workshop, "nothing") == ("done", "")


async def test_descriptors_go_with_a_job_and_are_closed_here_in_any_case(workshop, monkeypatch):
    before = open_descriptors()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "executable", "/nowhere/python")
        with pytest.raises(FileNotFoundError):
            await workshop.run("picture", "flv", "", (os.memfd_create("test"),))
    assert open_descriptors() == before

    target, source = os.memfd_create("target"), os.memfd_create("source")
    os.pwrite(source, footage(seconds=1), 0)
    assert (await workshop.run("picture", "flv", "", (os.dup(target), source))).outcome == "done"
    assert os.pread(target, 2, 0) == b"\xff\xd8"
    os.close(target)
    workshop.rest()
    await until(lambda: open_descriptors() == before)


async def test_arguments_are_for_the_process(monkeypatch):
    commands = []

    def popen(command, **options):
        commands.append(command)
        raise FileNotFoundError

    monkeypatch.setattr(child.subprocess, "Popen", popen)
    with pytest.raises(FileNotFoundError):
        await Workshop(["--address-space-bytes", "5"]).run("x", "flv", "/x")
    at = commands[0].index("--address-space-bytes")
    assert commands[0][at : at + 2] == ["--address-space-bytes", "5"]


async def test_stop_ends_a_job_that_hangs(workshop, tmp_path):
    running = asyncio.ensure_future(workshop.run("hang", "flv", tmp_path / "begun"))
    await until((tmp_path / "begun").exists)
    workshop.stop()

    assert (await running).outcome == DIED
    # It may see the closed socket before the signal reaches it, and end by itself.
    assert workshop.started[0].returncode in {0, -signal.SIGKILL}


async def test_a_job_whose_caller_is_cancelled_leaves_nothing_behind(workshop, tmp_path):
    running = asyncio.ensure_future(workshop.run("hang", "flv", tmp_path / "begun"))
    await until((tmp_path / "begun").exists)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)

    assert workshop._waiting == {}


async def test_no_process_to_be_had_is_raised_and_passes(workshop, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(sys, "executable", "/nowhere/python")
        with pytest.raises(FileNotFoundError):
            await outcome(workshop, "nothing")

    assert await outcome(workshop, "nothing") == ("done", "")


def test_a_word_that_no_job_says_is_loud():
    with pytest.raises(UsageError):
        Workshop()._take(protocol.Ended("r", 1))
