"""What is in deploy/: each configuration loads, each metric that is shown exists, each hardening is there."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import trustme

from rtmpd.config_file import load, validate
from tests.helpers.measuring import measuring, scraped
from tests.helpers.processes import Program, wait_until

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
EXAMPLES = sorted((DEPLOY / "examples").glob("*.toml"))
CERTIFICATES = "/etc/letsencrypt/live/live.example.com"
README = (ROOT / "README.md").read_text()
UNIT = (DEPLOY / "rtmpd.service").read_text()
DOCKERFILE = (DEPLOY / "Dockerfile").read_text()
DASHBOARD = json.loads((DEPLOY / "grafana-dashboard.json").read_text())
DENY_WRITE_EXECUTE = 65
"""prctl(PR_SET_MDWE), of Linux 6.3."""


def settings_of(unit):
    """Keys and values of a unit; of a key that is there more than once, all values."""
    found = {}
    for key, value in re.findall(r"^(\w+)=(.*)$", unit, re.MULTILINE):
        found.setdefault(key, []).append(value)
    return found


def instructions():
    """The Dockerfile's, as (instruction, rest), without comments and continued lines joined."""
    text = re.sub(r"\\\n", " ", re.sub(r"^#.*\n", "", DOCKERFILE, flags=re.MULTILINE))
    return [tuple(line.split(None, 1)) for line in text.splitlines() if line.strip()]


def values_of(instruction):
    return [rest for name, rest in instructions() if name == instruction]


def expressions():
    queries = [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", [])]
    variables = [each["query"]["query"] for each in DASHBOARD["templating"]["list"] if each["type"] == "query"]
    return [*queries, *variables, *(each["expr"] for each in DASHBOARD["annotations"]["list"])]


# Configurations


@pytest.mark.parametrize("text", re.findall(r"```toml\n(.*?)```", README, re.DOTALL))
def test_every_piece_of_configuration_in_the_readme_can_be_used_alone(text):
    assert validate(tomllib.loads(text))


def run(*arguments):
    """What rtmpd says on its command line."""
    command = [sys.executable, "-m", "rtmpd", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)


@pytest.fixture(params=EXAMPLES, ids=[path.stem for path in EXAMPLES])
def example(request, tmp_path):
    """A copy of each, with certificates that are there."""
    issued = trustme.CA().issue_cert("live.example.com")
    issued.cert_chain_pems[0].write_to_path(tmp_path / "fullchain.pem")
    issued.private_key_pem.write_to_path(tmp_path / "privkey.pem")
    copy = tmp_path / request.param.name
    copy.write_text(request.param.read_text().replace(CERTIFICATES, str(tmp_path)))
    return copy


def test_an_example_has_nothing_wrong(example):
    result = run("check", example)

    assert (result.returncode, result.stdout) == (0, f"{example}: nothing wrong\n"), result.stderr


def test_an_example_is_explained_and_has_no_secret_that_looks_like_one(example):
    text = example.read_text()
    config = load(example)
    secrets = [*config.http.token, *([config.callbacks.key] if config.callbacks.key else [])]
    for app in config.apps.values():
        secrets += [*app.publish_key, *app.play_key, *app.publish_secret, *app.play_secret]

    assert text.startswith("# ")
    assert len(re.findall(r"^ *#", text, re.MULTILINE)) >= 3
    assert all(secret.startswith("change-me") for secret in secrets)


def test_a_key_that_is_not_known_would_be_found(tmp_path):
    copy = tmp_path / "wrong.toml"
    copy.write_text((DEPLOY / "examples/minimal.toml").read_text() + "recrod = 1\n")
    result = run("check", copy)

    assert result.returncode != 0
    assert "recrod" in result.stderr


# Metrics


async def test_every_metric_of_the_dashboard_exists_and_every_metric_of_ours_is_shown_or_explained(tmp_path):
    async with measuring(tmp_path) as rig:
        families = (await scraped(rig)).families
    endings = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"], "gauge": [""]}
    known = {f"{family.name}{ending}" for family in families for ending in endings[family.type]}
    shown = set(re.findall(r"\b(?:rtmpd|process)_\w+", " ".join(expressions())))

    assert shown <= known
    unseen = {family.name for family in families if not any(name.startswith(family.name) for name in shown)}
    assert {name for name in unseen if name.startswith("rtmpd_")} == {"rtmpd_streams_left_out"}


def test_every_panel_can_be_told_from_the_others_and_has_its_place():
    panels = DASHBOARD["panels"]

    assert len({panel["id"] for panel in panels}) == len({panel["title"] for panel in panels}) == len(panels)
    taken = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert place["x"] + place["w"] <= 24
        assert not cells & taken
        taken |= cells


def test_a_counter_is_only_shown_by_how_it_grows():
    for expression in expressions():
        for counter in re.finditer(r"\w+_(?:total|bucket|sum)\b", expression):
            assert re.search(r"(rate|increase|label_values)\($", expression[: counter.start()]), expression


def test_prometheus_is_told_where_and_with_which_token():
    text = (DEPLOY / "prometheus.yml").read_text()

    assert [line for line in text.splitlines() if line and not line.lstrip().startswith("#")] == [
        "scrape_configs:",
        "  - job_name: rtmpd",
        "    scrape_interval: 15s",
        "    metrics_path: /metrics",
        "    authorization:",
        "      credentials_file: /etc/prometheus/rtmpd.token",
        "    static_configs:",
        '      - targets: ["127.0.0.1:8080"]',
    ]


# systemd


@pytest.mark.parametrize(
    "setting",
    [
        "NoNewPrivileges=yes",
        "ProtectSystem=strict",
        "ProtectHome=yes",
        "PrivateTmp=yes",
        "PrivateDevices=yes",
        "MemoryDenyWriteExecute=yes",
        "SystemCallFilter=@system-service",
        "CapabilityBoundingSet=",
        "StateDirectory=rtmpd",
        "Restart=on-failure",
        "ExecReload=/bin/kill -HUP $MAINPID",
        "KillMode=mixed",
        "User=rtmpd",
    ],
)
def test_the_service_is_hardened_and_can_be_reloaded(setting):
    key, _, value = setting.partition("=")

    assert value in settings_of(UNIT)[key]


def test_the_service_has_descriptors_for_many_and_time_to_stop():
    settings = settings_of(UNIT)

    assert int(settings["LimitNOFILE"][0]) >= 65_536
    assert int(settings["TimeoutStopSec"][0]) >= 20
    assert not any("@resources" in each for each in settings["SystemCallFilter"])


def test_what_the_service_starts_is_what_the_command_line_takes():
    (start,) = settings_of(UNIT)["ExecStart"]
    options = re.findall(r"--[\w-]+", start)
    told = run("serve", "--help").stdout

    assert options
    assert all(option in told for option in options)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_finds_nothing_wrong_with_the_service(tmp_path):
    unit = tmp_path / "rtmpd.service"
    unit.write_text(UNIT.replace("/opt/rtmpd/bin/rtmpd", "/bin/true"))
    verified = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
    rated = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", "--threshold=20", unit],
        capture_output=True,
        text=True,
        check=False,
    )

    # What it says of the machine's other units is none of ours.
    assert not [line for line in verified.stderr.splitlines() if unit.name in line]
    assert verified.returncode == 0, verified.stderr
    assert rated.returncode == 0, rated.stdout


def may_deny_write_execute():
    check = "import ctypes; raise SystemExit(ctypes.CDLL(None).prctl(65, 1, 0, 0, 0) != 0)"
    return sys.platform == "linux" and subprocess.run([sys.executable, "-c", check], check=False).returncode == 0


@pytest.mark.e2e
@pytest.mark.skipif(not may_deny_write_execute(), reason="needs Linux 6.3")
def test_the_server_and_its_workers_run_without_memory_that_can_be_written_and_executed(tmp_path):
    (tmp_path / "c.toml").write_text('[apps.live]\nrecord = "auto"\nrecord_formats = ["mp4", "hls"]\n')
    deny = (
        "import ctypes, os, sys\n"
        f"assert ctypes.CDLL(None).prctl({DENY_WRITE_EXECUTE}, 1, 0, 0, 0) == 0\n"
        "os.execv(sys.executable, [sys.executable, '-m', 'rtmpd', *sys.argv[1:]])\n"
    )
    places = ["--data", tmp_path / "data", "--rtmp", "127.0.0.1:0", "--http", "127.0.0.1:0"]
    with Program([sys.executable, "-c", deny, "demo", "--config", tmp_path / "c.toml", *places]) as server:
        recordings = tmp_path / "data" / "recordings"
        wait_until(lambda: any(recordings.rglob("*.m4s")), "a segment that a worker has written")
        server.signal(signal.SIGTERM)
        assert server.wait() == 0


# The image


def test_the_image_is_slim_of_a_fixed_minor_and_runs_as_a_number_that_is_not_root():
    bases = [rest.split()[0] for rest in values_of("FROM")]
    (user,) = values_of("USER")

    assert len(bases) == 2
    assert all(re.fullmatch(r"python:3\.\d+-slim", base) for base in bases)
    assert len(set(bases)) == 1
    assert user.isdigit()
    assert int(user) > 0
    assert f"--uid {user}" in DOCKERFILE
    assert instructions().index(("USER", user)) < next(
        index for index, (name, _) in enumerate(instructions()) if name == "ENTRYPOINT"
    )


def test_what_the_image_copies_is_there_and_let_through():
    ignored = (ROOT / ".dockerignore").read_text().split()
    sources = [source for rest in values_of("COPY") if not rest.startswith("--from") for source in rest.split()[:-1]]

    assert sources
    for source in sources:
        assert (ROOT / source).exists()
        assert f"!{source}" in ignored
    assert ignored[-1] == "**/__pycache__"  # after what is let through, or it would be let through as well


def test_the_image_needs_no_compiler():
    assert "--only-binary :all:" in DOCKERFILE


def test_the_image_is_asked_how_it_is_with_what_it_has():
    (check,) = values_of("HEALTHCHECK")
    command = json.loads(check[check.index("[") :])

    assert command[:2] == ["python", "-c"]
    compile(command[2], "healthcheck", "exec")
    assert "/healthz" in command[2]
    assert "1935 8080" in values_of("EXPOSE")[0]
    config = load(DEPLOY / "examples/container.toml")
    assert (config.rtmp.listen.port, config.http.listen.port) == (1935, 8080)
    assert (config.rtmp.listen.host, config.http.listen.host) == ("0.0.0.0", "0.0.0.0")


def test_data_of_the_image_are_in_its_volume():
    (volume,) = values_of("VOLUME")
    (arguments,) = values_of("CMD")
    command = json.loads(arguments)

    assert command[command.index("--data") + 1] == volume == "/data"
    assert json.loads(values_of("ENTRYPOINT")[0]) == ["rtmpd"]
