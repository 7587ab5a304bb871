"""A machine that stalls: everybody is hit, nobody stays stopped, and the command ends as it would have."""

from __future__ import annotations

import contextlib
import io
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.processes import wait_until
from tests.helpers.stalls import Rates, Stalls, main

pytestmark = pytest.mark.e2e

UNTIL_IT_STOOD_STILL = """
import time
def stands_still():
    at = time.monotonic()
    time.sleep(0.01)
    return time.monotonic() - at > 0.1
while not stands_still():
    pass
"""
A_FAMILY = f"""
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", {UNTIL_IT_STOOD_STILL!r}])
{UNTIL_IT_STOOD_STILL}
sys.exit(child.wait() + 7)
"""
OFTEN = ["--gap-s", "0.05", "--mean-s", "0.3", "--late", "1"]


@contextlib.contextmanager
def sleeper():
    with subprocess.Popen(["sleep", "60"]) as process:
        try:
            yield process
        finally:
            process.kill()


def stalls_of(process, log, **rates):
    always = {"gap_s": 1e-6, "mean_s": 5.0, "most_s": 10.0, "all_share": 0.0, "birth_share": 0.0}
    return Stalls(process.pid, Rates(**(always | rates)), 1, log, 0.0)


def state(process):
    return Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0]


def wait_for_state(process, expected):
    wait_until(lambda: state(process) == expected, f"state {expected}")


def test_a_command_and_its_children_stand_still_and_its_exit_code_comes_back():
    assert main([*OFTEN, "--", sys.executable, "-c", A_FAMILY]) == 7


@pytest.mark.parametrize("all_share", [0.0, 1.0])
def test_who_stands_still_goes_on_when_its_time_is_over(all_share):
    log = io.StringIO()
    with sleeper() as process:
        stalls = stalls_of(process, log, all_share=all_share)
        stalls.turn(1.0)
        wait_for_state(process, "T")
        seconds = float(log.getvalue().split()[2])
        stalls.turn(1.0 + seconds - 0.001)
        assert state(process) == "T"
        stalls.end()
        wait_for_state(process, "S")
        assert 0 < seconds <= 10


def test_a_process_that_comes_later_is_late():
    log = io.StringIO()
    with subprocess.Popen(
        ["sh", "-c", "sleep 60 & echo; read line; kill $!"], stdin=subprocess.PIPE, stdout=-1
    ) as shell:
        stalls = stalls_of(shell, log, gap_s=1e9, birth_share=1.0)
        shell.stdout.readline()
        stalls.turn(1.0)
        assert log.getvalue().split()[1] == "late"
        assert log.getvalue().count("\n") == 1
        stalls.end()
        shell.communicate(b"\n")


def test_who_was_stopped_by_its_test_stays_so():
    log = io.StringIO()
    with sleeper() as process:
        process.send_signal(signal.SIGSTOP)
        wait_for_state(process, "T")
        stalls = stalls_of(process, log, all_share=0.5)
        for now in range(1, 100):
            stalls.turn(float(now))
        stalls.end()
        assert log.getvalue() == ""
        assert state(process) == "T"


def test_who_ends_while_it_stands_still_is_forgotten():
    log = io.StringIO()
    with sleeper() as process:
        stalls = stalls_of(process, log)
        stalls.turn(1.0)
        process.kill()
        process.wait()
        stalls.turn(20.0)
        stalls.end()
        assert log.getvalue().count("\n") == 1
