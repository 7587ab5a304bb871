"""What all end-to-end tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.helpers.media import Sources

PROVE = os.environ.get("RTMPD_PROVE") == "1"
"""Set by `make prove`: full counts, and figures that a busy machine would miss."""


@pytest.fixture(scope="session")
def sources(tmp_path_factory) -> Sources:
    """Source files, made once for all tests."""
    return Sources(tmp_path_factory.mktemp("sources"))


@pytest.fixture
def directory(tmp_path) -> Path:
    """Where a test's server keeps its things."""
    return tmp_path / "server"


@pytest.fixture
def prove() -> bool:
    """Whether to run at full count."""
    return PROVE
