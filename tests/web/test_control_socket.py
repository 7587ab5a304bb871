from __future__ import annotations

import os
import socket
import stat

import pytest

from rtmpd.errors import StartError
from rtmpd.web.control_socket import LONGEST_PATH_BYTES, ControlSocket, path_of
from tests.helpers.site import config_of


@pytest.fixture
def path(tmp_path, monkeypatch):
    """A short one, relative to a directory of the test's own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path.__class__("rtmpd.sock")


def connects(path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        return client.connect_ex(str(path)) == 0


def test_it_is_in_the_data_directory_unless_it_is_configured(tmp_path):
    assert path_of(config_of(tmp_path)) == tmp_path / "rtmpd.sock"
    assert str(path_of(config_of(tmp_path, control={"socket": "/run/x.sock"}))) == "/run/x.sock"


def test_only_its_user_can_open_it_whatever_the_umask(path):
    before = os.umask(0)
    try:
        control = ControlSocket(path)
    finally:
        os.umask(before)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert connects(path)
    control.close()


def test_nobody_gets_in_before_the_mode_is_set(path, monkeypatch):
    tried = []
    chmod = type(path).chmod
    monkeypatch.setattr(type(path), "chmod", lambda self, mode: (tried.append(connects(self)), chmod(self, mode)))

    ControlSocket(path).close()

    assert tried == [False]


def test_it_is_gone_afterwards(path):
    control = ControlSocket(path)

    control.close()
    control.close()

    assert not path.exists()


def test_what_a_killed_server_left_is_replaced(path):
    left = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    left.bind(str(path))
    left.close()

    control = ControlSocket(path)

    assert connects(path)
    control.close()


def test_the_socket_of_a_server_that_lives_is_left_alone(path):
    living = ControlSocket(path)

    with pytest.raises(StartError, match=r"cannot listen on rtmpd\.sock: another server listens there"):
        ControlSocket(path)

    assert connects(path)
    living.close()


def test_a_file_that_is_no_socket_is_left_alone(path):
    path.write_text("precious")

    with pytest.raises(StartError, match="there is something that is no socket"):
        ControlSocket(path)

    assert path.read_text() == "precious"


def test_a_link_to_a_file_is_left_alone(path, tmp_path):
    (tmp_path / "precious").write_text("precious")
    path.symlink_to(tmp_path / "precious")

    with pytest.raises(StartError, match="there is something that is no socket"):
        ControlSocket(path)

    assert path.is_symlink()


def test_the_socket_of_who_came_after_is_not_removed(path):
    ours = ControlSocket(path)
    path.unlink()
    theirs = ControlSocket(path)

    ours.close()

    assert connects(path)
    theirs.close()


def test_a_path_of_the_longest_length_works_and_a_longer_one_is_explained(path):
    folder = path.with_name("x" * 60)
    folder.mkdir()
    longest = folder / ("y" * (LONGEST_PATH_BYTES - 61))

    ControlSocket(longest).close()
    with pytest.raises(StartError, match=r"at most 107 bytes; control\.socket"):
        ControlSocket(longest.with_name(longest.name + "y"))


def test_a_folder_that_is_not_there_is_told(path):
    with pytest.raises(StartError, match=r"cannot listen on none/rtmpd\.sock: No such file or directory"):
        ControlSocket(path.with_name("none") / path.name)
