"""What all end-to-end tests share."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme

from tests.helpers.media import Sources
from tests.helpers.server import Certificate

PROVE = os.environ.get("RTMPD_PROVE") == "1"
"""Set by `make prove`: full counts, and figures that a busy machine would miss."""


@pytest.fixture(scope="session")
def sources(tmp_path_factory) -> Sources:
    """Source files, made once for all tests."""
    return Sources(tmp_path_factory.mktemp("sources"))


@pytest.fixture(scope="session")
def issue() -> Callable[[Path], Certificate]:
    """Writes a new certificate for 127.0.0.1 into a directory; all are signed by one authority."""
    authority = trustme.CA()

    def issue(directory: Path) -> Certificate:
        certificate = Certificate(directory / "chain.pem", directory / "key.pem", directory / "authority.pem")
        issued = authority.issue_cert("127.0.0.1")
        certificate.chain.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(certificate.key)
        authority.cert_pem.write_to_path(certificate.authority)
        return certificate

    return issue


@pytest.fixture(scope="session")
def certificate(issue, tmp_path_factory) -> Certificate:
    """For RTMPS on 127.0.0.1."""
    return issue(tmp_path_factory.mktemp("certificate"))


@pytest.fixture
def directory(tmp_path) -> Path:
    """Where a test's server keeps its things."""
    return tmp_path / "server"


@pytest.fixture
def prove() -> bool:
    """Whether to run at full count."""
    return PROVE
