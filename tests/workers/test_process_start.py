"""What a worker process does first."""

from __future__ import annotations

import mmap
import signal
import subprocess
import sys

import pytest

from rtmpd.workers import protocol
from rtmpd.workers.process_start import resident_bytes

_PROGRAM = """
import gc, os, signal, sys
from rtmpd.workers import process_start
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
with process_start.begin(int(sys.argv[1])) as control:
    assert not os.get_inheritable(control.fileno())
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, [])
    assert gc.get_threshold()[0] > 10_000
    control.send(b"settled")
    control.recv(1)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_for_the_group_do_not_end_a_worker(number):
    ours, theirs = protocol.socketpair()
    with theirs:
        child = subprocess.Popen([sys.executable, "-c", _PROGRAM, str(theirs.fileno())], pass_fds=[theirs.fileno()])
    with ours, child:
        assert ours.recv(100) == b"settled"
        child.send_signal(number)
        ours.send(b"x")
    assert child.returncode == 0


def test_memory_is_what_the_kernel_says():
    before = resident_bytes()
    held = mmap.mmap(-1, 2**26)  # new pages, whatever this process has free
    for at in range(0, len(held), mmap.PAGESIZE):
        held[at] = 1

    assert before + len(held) // 2 < resident_bytes() < 2**40
