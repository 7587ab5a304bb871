"""Every source file has its test file, under the same name in the same place."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

WITHOUT_A_TEST = {
    "muxers/pieces.py": "records and a Protocol; the tests of fragments and transport_stream fill them",
    "rtmpd/__main__.py": "calls cli.main; run as a program by tests/test_cli.py",
    "rtmpd/control/model_base.py": "bases; tests/control/test_models.py shows what they take",
    "rtmpd/control/model_streams.py": "answers; tests/control/test_streams.py and test_clients.py fill them",
    "rtmpd/config_listening.py": "values; tests/test_config.py and test_config_file.py show what they take",
    "rtmpd/config_limits.py": "values; tests/test_config.py compares them with those of sessions",
    "rtmpd/live/terms.py": "a record; tests/live/test_stream.py shows what it does",
    "rtmpd/control/push_values.py": "values; tests/control/test_pushes.py shows what comes of them",
    "rtmpd/control/reach.py": "a record; tests/control/test_push_desk.py shows what it does",
    "rtmpd/net/acceptor.py": "what its two kinds share; test_listener.py and test_tls_listener.py show it",
    "rtmpd/net/client_connection.py": "what its two kinds share; test_relay_connection.py and test_pull_connection.py show it",
    "rtmpd/net/pull_target.py": "a record; tests/net/test_pull_feed.py shows what it does",
    "rtmpd/net/policy.py": "a Protocol and its records; the answers are tests/control/test_policy.py's",
    "rtmpd/net/services.py": "a record of what is wired elsewhere",
    "muxers/conformance_checks.py": "tools of the kit; tests/muxers/test_conformance.py shows what they find",
    "muxers/conformance_faults.py": "cases of the kit; tests/muxers/test_conformance.py runs them",
    "muxers/conformance_streams.py": "cases of the kit; tests/muxers/test_conformance.py runs them",
    "rtmpd/web/web_office.py": "puts together what has tests; tests/e2e/test_watching.py and others ask for each output",
    "rtmpd/web/operations.py": "a Protocol; tests/web/test_api.py asks each of its verbs",
    "rtmpd/web/routes.py": "a table; tests/web/test_api.py and test_openapi.py go through it",
    "rtmpd/errors.py": "exceptions without behaviour; each is raised and caught in its users' tests",
}
"""Sources that need no file of their own, and why."""


def test_file_of(source):
    inside = source.removeprefix("rtmpd/")
    folder, _, name = inside.rpartition("/")
    return ROOT / "tests" / folder / f"test_{name}"


test_file_of.__test__ = False

SOURCES = [
    str(path.relative_to(ROOT))
    for folder in ("rtmpd", "muxers")
    for path in sorted((ROOT / folder).rglob("*.py"))
    if path.name != "__init__.py"
]


@pytest.mark.parametrize("source", SOURCES)
def test_a_source_has_its_test_file_or_a_reason_to_have_none(source):
    assert test_file_of(source).is_file() != (source in WITHOUT_A_TEST)


@pytest.mark.parametrize("source", WITHOUT_A_TEST)
def test_what_is_excepted_exists(source):
    assert source in SOURCES


@pytest.mark.parametrize("path", sorted((ROOT / "rtmpd").rglob("__init__.py")))
def test_packages_are_folders_and_nothing_more(path):
    assert path.stat().st_size == 0
