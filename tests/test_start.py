"""What a server takes hold of before it serves."""

from __future__ import annotations

import resource

import pytest

from rtmpd.errors import StartError
from rtmpd.start import lock, raise_descriptor_limit


def test_descriptor_limit_is_raised_to_the_hard_one():
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, before[1]))
    try:
        assert raise_descriptor_limit() == before[1]
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == before[1]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_a_directory_is_taken_until_its_file_is_closed(tmp_path):
    held = lock(tmp_path / "data")
    with pytest.raises(StartError, match="in use by another rtmpd"):
        lock(tmp_path / "data")
    held.close()

    lock(tmp_path / "data").close()
