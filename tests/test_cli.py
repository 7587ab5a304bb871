from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import types

import pytest
import trustme
from typer.testing import CliRunner

import rtmpd
from rtmpd import cli, logs
from rtmpd.config import Config
from rtmpd.config_file import validate
from rtmpd.errors import ConfigError, StartError
from tests.helpers.footage import footage


@pytest.fixture
def run():
    def run(*arguments):
        return CliRunner().invoke(cli.app, arguments, catch_exceptions=False)

    return run


@pytest.fixture
def server(monkeypatch):
    """A server that notes how it was run."""
    fake = types.ModuleType("rtmpd.server")
    fake.runs = []
    fake.error = None

    def start(config, *, demo, reload):
        fake.runs.append((config, demo, reload))
        if fake.error is not None:
            raise fake.error

    fake.run = start
    monkeypatch.setitem(sys.modules, "rtmpd.server", fake)
    monkeypatch.setattr(rtmpd, "server", fake, raising=False)
    monkeypatch.setattr(logs, "configure", fake.runs.append)
    return fake


@pytest.fixture
def broken(tmp_path):
    path = tmp_path / "broken.toml"
    path.write_text(
        '[apps.live]\ngrace_s = "ten"\nrecord_path = "{app}/{colour}"\npush_targets = "rtmp://h/x"\n[rtmp]\nlisten = 5\n'
    )
    return path


@pytest.mark.parametrize(("command", "demo"), [("serve", False), ("demo", True)])
def test_serve_and_demo_run_the_server_with_the_defaults(run, server, command, demo):
    result = run(command)

    assert (result.exit_code, result.output) == (0, "")
    level, (config, as_demo, reload) = server.runs
    assert (None, Config(), demo) == (level, config, as_demo)
    assert reload() == config


def test_options_lie_over_the_file_also_after_a_reload(run, server, tmp_path):
    path = tmp_path / "rtmpd.toml"
    path.write_text("[players]\nwait_s = 1\n")

    options = {"--rtmp": "127.0.0.1:7", "--http": "127.0.0.1:8", "--control": "x.sock", "--data": "elsewhere"}
    run("serve", "--config", str(path), "--log-level", "debug", *(part for pair in options.items() for part in pair))

    level, (config, _, reload) = server.runs
    expected = {
        "rtmp": {"listen": "127.0.0.1:7"},
        "http": {"listen": "127.0.0.1:8"},
        "control": {"socket": "x.sock"},
        "data": {"directory": "elsewhere"},
    }
    assert (level, config) == ("debug", validate(expected | {"players": {"wait_s": 1}}))
    path.write_text("[players]\nwait_s = 2\n")
    assert validate(expected | {"players": {"wait_s": 2}}) == reload()


@pytest.mark.parametrize("command", ["serve", "demo"])
def test_a_wrong_configuration_is_told_fault_by_fault_with_exit_code_2(run, server, broken, command):
    result = run(command, "--config", str(broken))

    assert result.exit_code == 2
    assert result.stdout == ""
    assert [line.split(": ")[1] for line in result.stderr.splitlines()] == [
        "rtmp.listen",
        "apps.live.grace_s",
        "apps.live.record_path",
        "apps.live.push_targets[0]",
    ]
    assert server.runs == [None]


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("--rtmp", 'rtmp.listen: "0.0.0.0:1": a loopback address, or a publish_key for '),
        ("--http", 'http.listen: "0.0.0.0:1": a loopback address, or an http.token for the API is expected'),
    ],
)
def test_a_wrong_option_is_told_like_a_wrong_key(run, server, option, said):
    result = run("serve", option, "0.0.0.0:1")

    assert result.exit_code == 2
    assert result.stderr.startswith(f"rtmpd: {said}")


def test_an_unknown_log_level_is_refused(run, server):
    result = run("serve", "--log-level", "loud")

    assert result.exit_code == 2
    assert "--log-level" in result.stderr


def test_a_server_that_cannot_start_says_why_in_one_line_with_exit_code_1(run, server):
    server.error = StartError("127.0.0.1:1935 is taken")

    result = run("serve")

    assert (result.exit_code, result.stderr) == (1, "rtmpd: 127.0.0.1:1935 is taken\n")


def test_the_demo_needs_the_application_that_it_publishes_to(run, server, tmp_path):
    path = tmp_path / "rtmpd.toml"
    path.write_text("[apps.other]\n")

    result = run("demo", "--config", str(path))

    assert result.exit_code == 2
    assert result.stderr.startswith("rtmpd: apps: ")


@pytest.mark.parametrize("command", [(), ("ctl",), ("ctl", "push"), ("ctl", "record"), ("callbacks",)])
def test_what_a_command_does_is_told_whole_on_a_terminal_of_eighty_columns(run, command):
    _, _, commands = run(*command, "--help").output.partition("Commands:")

    assert commands
    assert "..." not in commands


def test_check_says_nothing_is_wrong_or_every_fault(run, broken, tmp_path):
    good = tmp_path / "good.toml"
    good.touch()

    assert run("check", str(good)).exit_code == 0
    result = run("check", str(broken))
    assert (result.exit_code, len(result.stderr.splitlines())) == (2, 4)
    assert run("check", str(tmp_path / "missing.toml")).exit_code == 2


def test_check_finds_a_url_that_no_stream_can_be_pulled_from(run, tmp_path):
    path = tmp_path / "rtmpd.toml"
    path.write_text('[pulls."live/s"]\nsources = "rtmp://h/a"\n')

    result = run("check", str(path))

    assert result.exit_code == 2
    assert result.stderr.startswith('rtmpd: pulls."live/s".sources[0]: (not shown): the URL names no stream')


def test_check_finds_a_certificate_that_is_not_for_its_key(run, tmp_path):
    path, chain, key = (tmp_path / name for name in ("rtmpd.toml", "chain.pem", "key.pem"))
    authority = trustme.CA()
    ours, other = authority.issue_cert("localhost"), authority.issue_cert("localhost")
    chain.write_bytes(ours.cert_chain_pems[0].bytes())
    path.write_text(f'[rtmps]\nlisten = "127.0.0.1:1936"\ncert = "{chain}"\nkey = "{key}"\n')

    key.write_bytes(other.private_key_pem.bytes())
    result = run("check", str(path))
    assert result.exit_code == 2
    assert result.stderr.startswith(f'rtmpd: rtmps.cert: "{chain}": a certificate with its key is expected: ')

    key.write_bytes(ours.private_key_pem.bytes())
    assert run("check", str(path)).exit_code == 0


def test_a_fault_cannot_control_the_terminal(run, tmp_path):
    path = tmp_path / "x\x1b[2J\ny.toml"

    result = run("check", str(path))

    assert result.stderr.count("\n") == 1
    assert result.stderr[:-1].isprintable()


def test_repair_says_what_it_did_and_fails_for_what_is_not_whole(run, tmp_path):
    path = tmp_path / "recording.flv"
    path.write_bytes(footage()[:-9])

    repaired, again = run("repair", str(path)), run("repair", str(path))
    failed = run("repair", str(path), str(tmp_path / "none.mp4"))

    assert (repaired.exit_code, again.exit_code, failed.exit_code) == (0, 0, 1)
    assert repaired.stdout.startswith(f"{path}: repaired, ")
    assert again.stdout.startswith(f"{path}: whole, ")
    assert failed.stderr == f"{tmp_path / 'none.mp4'}: No such file or directory\n1 whole, 1 failed\n"


def test_repair_needs_to_know_what(run):
    assert run("repair").exit_code == 2


def test_config_prints_what_check_accepts(run, tmp_path):
    result = run("config")
    path = tmp_path / "rtmpd.toml"
    path.write_text(result.stdout)

    assert Config() == validate(tomllib.loads(result.stdout))
    assert run("check", str(path)).exit_code == 0


def test_the_version_is_printed(run):
    assert re.fullmatch(r"rtmpd \S.*\n", run("--version").stdout)


def test_no_command_prints_what_there_is(run):
    result = run()

    assert result.exit_code == 2
    assert all(f"  {command} " in result.output for command in ("serve", "demo", "check", "repair", "config", "ctl"))


def test_python_m_rtmpd_is_the_same_program(broken):
    result = subprocess.run(
        [sys.executable, "-m", "rtmpd", "check", str(broken)], check=False, capture_output=True, text=True
    )

    assert (result.returncode, result.stdout) == (2, "")
    assert 'rtmpd: apps.live.grace_s: "ten": a number of seconds >= 0 is expected\n' in result.stderr


def test_what_serve_imports_includes_neither_pyav_nor_the_command_lines_extras():
    names = {
        "av",
        "rich",
        "pygments",
        "rtmpd.repairs",
        "rtmpd.ctl_tables",
        "muxers.repair",
        "muxers.__main__",
    }
    program = f"import sys, rtmpd.cli, rtmpd.server; print(*{names} & set(sys.modules))"

    result = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)

    assert result.stdout.split() == []


def test_a_fault_found_by_reloading_leaves_as_a_configuration_error(run, server, tmp_path):
    path = tmp_path / "rtmpd.toml"
    path.touch()
    run("serve", "--config", str(path))
    path.write_text("zork = 1")

    with pytest.raises(ConfigError, match="zork"):
        server.runs[1][2]()


def test_callbacks_are_listened_for_as_the_options_say(run, monkeypatch):
    calls = []
    monkeypatch.setattr("rtmpd.callback_receiver.listen", lambda *address, **options: calls.append((address, options)))

    assert run("callbacks", "listen").exit_code == 0
    assert run("callbacks", "listen", "--listen", "[::1]:9", "--key", "k", "--fail", "2", "--json").exit_code == 0
    assert calls == [
        (("127.0.0.1", 8090), {"key": "", "fail": 0, "as_json": False}),
        (("::1", 9), {"key": "k", "fail": 2, "as_json": True}),
    ]


@pytest.mark.parametrize("options", [["--listen", "nowhere"], ["--fail", "-1"]])
def test_listening_for_callbacks_with_a_wrong_option_is_told(run, options):
    result = run("callbacks", "listen", *options)

    assert result.exit_code == 2
    assert options[0] in result.stderr
