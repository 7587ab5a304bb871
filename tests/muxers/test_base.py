"""Creating files, and the shape of what is reported about them."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

import pytest

from muxers import base


def test_a_created_file_is_locked_and_not_inherited(tmp_path):
    descriptor = base.create_file(tmp_path / "file")
    try:
        assert not os.get_inheritable(descriptor)
        with (tmp_path / "file").open("rb") as other, pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_SH | fcntl.LOCK_NB)
    finally:
        os.close(descriptor)


def test_a_file_that_exists_is_never_opened(tmp_path):
    (tmp_path / "file").write_bytes(b"mine")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")

    for name in ("file", "link"):
        with pytest.raises(FileExistsError):
            base.create_file(tmp_path / name)

    assert (tmp_path / "file").read_bytes() == b"mine"
    assert not (tmp_path / "nowhere").exists()


def test_a_file_system_without_locks_is_an_error_that_leaves_no_descriptor(tmp_path, monkeypatch):
    def refuse(_descriptor, _operation):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(base.fcntl, "flock", refuse)
    before = len(list(Path("/proc/self/fd").iterdir()))

    with pytest.raises(OSError, match="No locks"):
        base.create_file(tmp_path / "file")

    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_file_is_linked_until_it_is_removed(tmp_path):
    path = tmp_path / "file"
    descriptor = base.create_file(path)
    try:
        base.require_linked(descriptor, path)
        path.unlink()

        with pytest.raises(FileNotFoundError, match="removed") as caught:
            base.require_linked(descriptor, path)
        assert caught.value.filename == str(path)
    finally:
        os.close(descriptor)
