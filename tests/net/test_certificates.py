"""Certificates of listeners."""

from __future__ import annotations

import pytest
import trustme

from rtmpd.config import Certificate
from rtmpd.errors import StartError
from rtmpd.net.certificates import load_certificate, renewed


@pytest.fixture
def pair(tmp_path):
    issued = trustme.CA().issue_cert("127.0.0.1")
    issued.private_key_and_cert_chain_pem.write_to_path(tmp_path / "both.pem")
    return Certificate(tmp_path / "both.pem", tmp_path / "both.pem")


def test_a_certificate_that_cannot_be_used_is_one_clear_line(tmp_path, pair):
    (tmp_path / "bad.pem").write_text("zork")

    with pytest.raises(StartError, match=r"cannot use the certificate .*bad\.pem with the key .*both\.pem: "):
        load_certificate(Certificate(tmp_path / "bad.pem", pair.key))


def test_only_what_is_in_use_is_read_again(pair):
    context = load_certificate(pair)

    assert renewed(None, pair) is None
    assert renewed(context, None) is context
    assert renewed(context, pair) not in {None, context}
