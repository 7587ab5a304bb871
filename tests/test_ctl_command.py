from __future__ import annotations

import os
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from rtmpd import cli
from rtmpd.ctl_command import DEFAULT_SOCKET, Where
from tests.helpers.operations import PUBLISHED
from tests.helpers.site import RunningSite


@pytest.fixture
def site(tmp_path):
    with RunningSite(tmp_path) as site:
        yield site


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "rtmpd.toml"
    path.write_text('[data]\ndirectory = "elsewhere"\n')
    return path


def run(*arguments, **environment):
    return CliRunner().invoke(cli.app, ["ctl", *map(str, arguments)], env=environment, catch_exceptions=False)


def test_the_server_is_looked_for_where_it_was_said(config, monkeypatch, tmp_path):
    with_socket = tmp_path / "other.toml"
    with_socket.write_text('[control]\nsocket = "/run/x.sock"\n')
    monkeypatch.setenv("RTMPD_SOCKET", "from/environment")

    assert Where(socket="a", config=config, data=tmp_path).find() == "a"
    assert Where(config=config).find() == "elsewhere/rtmpd.sock"
    assert Where(config=config, data=tmp_path).find() == str(tmp_path / "rtmpd.sock")
    assert Where(config=with_socket, data=tmp_path).find() == "/run/x.sock"
    assert Where(data=tmp_path).find() == str(tmp_path / "rtmpd.sock")
    assert Where().find() == "from/environment"
    monkeypatch.delenv("RTMPD_SOCKET")
    assert Where().find() == DEFAULT_SOCKET == "./data/rtmpd.sock"


@pytest.mark.parametrize(
    "line",
    [
        "streams --socket X",
        "--socket X streams",
        "--socket Y streams --socket X",
        "--socket Y --json streams --socket X",
    ],
)
def test_it_can_be_said_before_the_command_and_after_it(site, line):
    paths = {"X": site.path, "Y": "/nowhere"}

    result = run(*(paths.get(part, part) for part in line.split()), RTMPD_SOCKET="/nowhere")

    assert result.exit_code == 0
    assert result.stdout.startswith("{") == ("--json" in line)


@pytest.mark.parametrize(
    "line", ["recordings --socket X delete f-1", "recordings delete f-1 --socket X", "--socket X recordings delete f-1"]
)
def test_it_can_be_said_at_a_group_as_well(site, line):
    result = run(*(site.path if part == "X" else part for part in line.split()))

    assert (result.exit_code, result.stdout) == (0, "done\n")
    assert site.operations.asked == [("delete_recording", "f-1")]


def test_no_server_is_told_with_a_code_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    result = run("streams", RTMPD_SOCKET="")

    assert (result.exit_code, result.stdout) == (3, "")
    assert result.stderr == (
        "rtmpd: no server answers at ./data/rtmpd.sock (is it running? --socket PATH says where)\n"
    )


def test_a_configuration_that_is_wrong_is_told_fault_by_fault(tmp_path):
    path = tmp_path / "broken.toml"
    path.write_text("[players]\nwait_s = -1\nzork = 1\n")

    result = run("streams", "--config", path)

    assert result.exit_code == 2
    assert [line.split(":")[1] for line in result.stderr.splitlines()] == [" players.wait_s", " players.zork"]


def complete(words, **environment):
    """What a shell would offer for the last word."""
    environment = os.environ | environment
    environment |= {
        "_RTMPD_COMPLETE": "complete_bash",
        "COMP_WORDS": " ".join(words),
        "COMP_CWORD": str(len(words) - 1),
    }
    result = subprocess.run(
        [sys.executable, "-m", "rtmpd"], env=environment, capture_output=True, text=True, check=False
    )
    assert "Traceback" not in result.stderr
    return result.stdout.split()


def test_what_the_server_knows_is_completed(site):
    known = {"RTMPD_SOCKET": str(site.path)}

    assert complete(["rtmpd", "ctl", "kic"], **known) == ["kick"]
    assert complete(["rtmpd", "ctl", "streams", "li"], **known) == [PUBLISHED]
    assert complete(["rtmpd", "ctl", "kick", ""], **known) == ["7"]
    assert complete(["rtmpd", "ctl", "push", "stop", ""], **known) == ["c-1"]


def test_without_a_server_nothing_is_completed():
    assert complete(["rtmpd", "ctl", "streams", "li"], RTMPD_SOCKET="/nowhere") == []


def test_completion_can_be_installed():
    result = CliRunner().invoke(cli.app, ["--help"])

    assert "--install-completion" in result.stdout
