"""Files are opened below their directory and nowhere else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rtmpd.web.below import open_below


@pytest.fixture
def directory(tmp_path):
    inside = tmp_path / "inside"
    (inside / "live" / "s").mkdir(parents=True)
    (inside / "live" / "s" / "x.flv").write_bytes(b"recorded")
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "others").mkdir()
    (tmp_path / "others" / "x.flv").write_bytes(b"secret")
    return inside


def open_descriptors():
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_file_is_opened_with_its_status(directory):
    file = open_below(directory, "live/s/x.flv")
    try:
        assert (os.read(file.descriptor, 100), file.status.st_size) == (b"recorded", 8)
        assert not os.get_inheritable(file.descriptor)
    finally:
        os.close(file.descriptor)


def test_the_directory_itself_may_be_a_link(directory, tmp_path):
    (tmp_path / "link").symlink_to(directory)
    os.close(open_below(tmp_path / "link", "live/s/x.flv").descriptor)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        ".",
        "..",
        "../secret",
        "live/../../secret",
        "live/./s/x.flv",
        "live//s/x.flv",
        "/etc/passwd",
        "live/s/x.flv/",
        "live/s/x.flv\0",
        "live/s",
        "live/s/none",
        "x" * 300,
        "live/s/x.flv/x",
    ],
)
def test_what_is_no_name_of_a_file_below_it_is_not_opened(directory, path):
    before = open_descriptors()
    with pytest.raises(OSError):
        open_below(directory, path)
    assert open_descriptors() == before


def test_links_are_not_followed_whatever_they_lead_to(directory, tmp_path):
    (directory / "live" / "file.flv").symlink_to(tmp_path / "secret")
    (directory / "live" / "folder").symlink_to(tmp_path / "others")
    (directory / "live" / "near.flv").symlink_to(directory / "live" / "s" / "x.flv")
    (directory / "live" / "circle").symlink_to("circle")
    for path in ("live/file.flv", "live/folder/x.flv", "live/near.flv", "live/circle", "live/circle/x"):
        with pytest.raises(OSError):
            open_below(directory, path)


def test_a_pipe_is_not_waited_for(directory):
    os.mkfifo(directory / "pipe.flv")
    before = open_descriptors()
    with pytest.raises(FileNotFoundError):
        open_below(directory, "pipe.flv")
    assert open_descriptors() == before
