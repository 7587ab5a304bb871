"""What all tests share: peers that may be missing, and how long hypothesis looks."""

from __future__ import annotations

import os
import shutil

import pytest
from hypothesis import HealthCheck, settings

# No limit of time, neither for an example nor for making it: the machine's other load is not the example's fault.
# RTMPD_PROVE=1 is what `make prove` sets: it searches, with new examples each time. A test run has the same ones each time,
# so that it fails for whoever broke something.
_UNTIMED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("test", _UNTIMED, max_examples=100, derandomize=True)
settings.register_profile("prove", _UNTIMED, max_examples=2000)
settings.load_profile("prove" if os.environ.get("RTMPD_PROVE") == "1" else "test")


def pytest_runtest_setup(item):
    for marker in item.iter_markers("peer"):
        missing = [name for name in marker.args if shutil.which(name) is None]
        if missing and os.environ.get("RTMPD_REQUIRE_PEERS") == "1":
            pytest.fail(f"RTMPD_REQUIRE_PEERS=1, and {', '.join(missing)} is not installed", pytrace=False)
        if missing:
            pytest.skip(f"{', '.join(missing)} is not installed")
