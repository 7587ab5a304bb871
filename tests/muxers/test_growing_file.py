"""A file is whole up to its last piece, whatever was changed or failed."""

from __future__ import annotations

import errno
import fcntl
import os

import pytest

from muxers import growing_file
from muxers.growing_file import GrowingFile


@pytest.fixture
def path(tmp_path):
    return tmp_path / "file"


@pytest.fixture
def file(path):
    file = GrowingFile(path)
    file.open()
    yield file
    file.close()


def test_it_is_locked_while_it_is_open(path, file):
    assert file.is_open
    with path.open("rb") as other:
        with pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        file.close()
        file.close()
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert not file.is_open


def test_what_is_written_is_there_at_once(path, file):
    file.write_at(0, b"head")
    file.write_at(4, b"tail")
    file.write_at(2, b"xx")

    assert path.read_bytes() == b"hexxtail"
    assert (file.size, file.whole) == (8, 0)


def test_a_seal_says_whether_the_file_grew(file):
    assert not file.seal()
    file.write_at(0, b"piece")
    assert file.seal()
    assert not file.seal()
    assert file.whole == 5


def test_what_is_whole_is_changed_only_when_all_behind_it_is_on_the_disk(path, file, monkeypatch):
    order = []
    monkeypatch.setattr(growing_file.os, "fsync", lambda _descriptor: order.append(path.read_bytes()))
    file.write_at(0, b"head")
    file.seal()
    file.write_at(0, b"HE")
    file.write_at(4, b"index")
    assert path.read_bytes() == b"headindex"

    file.complete()

    assert order == [b"headindex", b"HEadindex"]
    assert file.whole == file.size == 9


def test_a_cut_takes_off_what_is_torn_and_forgets_the_changes(path, file):
    file.write_at(0, b"whole")
    file.seal()
    file.write_at(5, b"torn")
    file.write_at(0, b"W")

    file.cut()

    assert path.read_bytes() == b"whole"
    assert file.size == file.whole == 5


def test_a_disk_that_takes_part_of_it_is_asked_again(path, file, monkeypatch):
    real = os.pwrite
    monkeypatch.setattr(growing_file.os, "pwrite", lambda fd, data, offset: real(fd, data[:3], offset))

    file.write_at(0, b"in three pieces")

    assert path.read_bytes() == b"in three pieces"


def test_an_error_leaves_the_size_as_it_was(file, monkeypatch):
    file.write_at(0, b"whole")

    def refuse(_descriptor, _data, _offset):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(growing_file.os, "pwrite", refuse)
    with pytest.raises(OSError, match="No space"):
        file.write_at(5, b"more")

    assert file.size == 5


def test_a_file_that_was_removed_is_not_completed(path, file):
    file.write_at(0, b"whole")
    file.require_linked()
    path.unlink()

    with pytest.raises(FileNotFoundError, match="removed"):
        file.require_linked()
    with pytest.raises(FileNotFoundError, match="removed"):
        file.complete()


def test_removing_it_leaves_a_file_that_took_its_name(path, file):
    path.unlink()
    path.write_bytes(b"another's")
    file.remove()
    assert path.read_bytes() == b"another's"


def test_removing_it_removes_it(path, file):
    file.write_at(0, b"nothing of value")
    file.remove()
    assert not path.exists()
    assert file.size == 0
