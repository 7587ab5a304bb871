"""What a server takes hold of before it serves."""

from __future__ import annotations

import resource
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest

from rtmpd.errors import StartError
from rtmpd.start import lock, raise_descriptor_limit, room_for_connections, take_no_signals


def test_descriptor_limit_is_raised_to_the_hard_one():
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, before[1]))
    try:
        assert raise_descriptor_limit() == before[1]
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == before[1]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_most_descriptors_are_for_connections_and_one_is_in_any_case():
    assert room_for_connections(20_000) == 17_444
    assert room_for_connections(1024) == 840
    assert room_for_connections(10) == 1


def test_a_directory_is_taken_until_its_file_is_closed(tmp_path):
    held = lock(tmp_path / "data")
    with pytest.raises(StartError, match="in use by another rtmpd"):
        lock(tmp_path / "data")
    held.close()

    lock(tmp_path / "data").close()


def test_a_thread_that_takes_no_signals_leaves_them_to_the_others():
    with ThreadPoolExecutor(1, initializer=take_no_signals) as threads:
        blocked = threads.submit(signal.pthread_sigmask, signal.SIG_BLOCK, []).result()

    assert blocked == {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, [])
