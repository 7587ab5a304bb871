"""Packages from npm, for tests alone: installed into a folder of the tests'."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

_INSTALL_S = 90


def install(directory: Path, package: str) -> Path:
    """
    Install a package. Where that fails the test fails if peers are required, else it is skipped.

    Args:
        directory: is there; gets node_modules.
        package: NAME@VERSION.

    Returns:
        The package's folder.
    """
    options = ["--no-audit", "--no-fund", "--ignore-scripts", "--no-update-notifier"]
    command = ["npm", "install", *options, "--prefix", directory, package]
    try:
        subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_INSTALL_S, check=True
        )
    except subprocess.SubprocessError as error:
        give_up = pytest.fail if os.environ.get("RTMPD_REQUIRE_PEERS") == "1" else pytest.skip
        give_up(f"{package} cannot be installed: {error}\n{error.stderr}")
    return directory / "node_modules" / package.rpartition("@")[0]
