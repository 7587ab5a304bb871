"""What is tested is what is installed: the wheel has both packages, their type marks and the program."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    pytest.importorskip("setuptools", minversion="77", reason="the wheel is built with the environment's setuptools")
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("rtmpd", "muxers"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--wheel-dir", out, source], check=True)
    (path,) = out.iterdir()
    return path


@pytest.fixture
def names(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_the_wheel_holds_every_module_of_both_packages_and_their_type_marks(names):
    sources = {str(path.relative_to(ROOT)) for folder in ("rtmpd", "muxers") for path in (ROOT / folder).rglob("*.py")}

    assert names >= sources | {"rtmpd/py.typed", "muxers/py.typed"}


def test_the_wheel_holds_the_console(names):
    files = {str(path.relative_to(ROOT)) for path in (ROOT / "rtmpd" / "web" / "console").iterdir()}

    assert names >= files


def test_the_wheel_holds_nothing_else(names):
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"rtmpd", "muxers"}


def test_the_wheel_installs_the_program_and_the_licence(wheel, names):
    (entry_points,) = (name for name in names if name.endswith("/entry_points.txt"))
    with zipfile.ZipFile(wheel) as archive:
        assert "rtmpd = rtmpd.cli:main" in archive.read(entry_points).decode()
    assert any(name.endswith("LICENSE") for name in names)


def test_the_program_runs_from_the_wheel_alone(wheel, tmp_path):
    program = "import sys; sys.path.insert(0, sys.argv.pop(1)); import rtmpd.cli as c; print(c.__file__); c.main()"

    result = subprocess.run(
        [sys.executable, "-c", program, wheel, "config"], cwd=tmp_path, check=True, capture_output=True, text=True
    )

    assert result.stdout.startswith(str(wheel))
    assert 'listen = "127.0.0.1:1935"' in result.stdout


def test_the_console_is_read_from_the_wheel(wheel, tmp_path):
    program = "import sys; sys.path.insert(0, sys.argv[1]); import rtmpd.web.console as c; print(c.__file__, len(c.Console().routes()))"

    result = subprocess.run(
        [sys.executable, "-c", program, wheel], cwd=tmp_path, check=True, capture_output=True, text=True
    )

    path, routes = result.stdout.split()
    assert path.startswith(str(wheel))
    assert int(routes) == len(list((ROOT / "rtmpd" / "web" / "console").iterdir()))


def test_dependencies_are_pinned_to_a_major_from_above():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    assert all("<" in requirement for requirement in project["dependencies"])


def test_the_changelog_knows_the_version():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]

    assert f"## [{version}]" in (ROOT / "CHANGELOG.md").read_text()
