"""What opens a gate: addresses, keys, signatures, and what their owners are told otherwise."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network

import pytest

from rtmpd.config import AppConfig
from rtmpd.control.credentials import identify
from rtmpd.control.gates import play_gate, publish_gate
from rtmpd.control.signed_urls import sign
from rtmpd.errors import Refused

NOW = 1_764_000_000.0
GENUINE = sign("secret", "s", 1_764_000_060)
EXPIRED = sign("secret", "s", 1_763_999_999)
FORGED = sign("guess", "s", 1_764_000_060)
WRONG, LATE = "the signature is wrong", "the signature has expired (2025-11-24T15:59:59Z)"
UNSIGNED = "the URL is not signed: txSecret and txTime missing"
OPEN = publish_gate("live", AppConfig())


def enter(gate, query="", address="192.0.2.1"):
    return identify(gate, "s", query, address, NOW)


def refusal(gate, query="", address="192.0.2.1"):
    with pytest.raises(Refused) as caught:
        enter(gate, query, address)
    assert caught.value.code == gate.code
    return caught.value.description


@pytest.mark.parametrize("query", ["", "key=anything", GENUINE, FORGED])
def test_where_nothing_is_asked_for_a_client_is_known_by_its_address(query):
    assert enter(OPEN, query) == "192.0.2.1"


@pytest.mark.parametrize(
    ("keys", "secrets", "query", "identity"),
    [
        (("old", "new"), (), "a=b&key=old", "key:old"),
        (("old", "new"), (), "key=new", "key:new"),
        (("old", "new"), (), "key=wrong&key=new", "key:new"),
        (("k+%",), (), "key=k%2B%25", "key:k+%"),
        ((), ("secret",), GENUINE, "signed"),
        ((), ("other", "secret"), f"a=b&{GENUINE}", "signed"),
        (("k",), ("secret",), "key=k", "key:k"),
        (("k",), ("secret",), f"key=k&{EXPIRED}", "key:k"),
        (("k",), ("secret",), GENUINE, "signed"),
        (("k",), ("secret",), f"key=wrong&{GENUINE}", "signed"),
    ],
)
def test_a_key_or_a_signature_opens_and_is_the_identity(keys, secrets, query, identity):
    assert enter(replace(OPEN, keys=keys, secrets=secrets), query) == identity


@pytest.mark.parametrize(
    ("keys", "secrets", "query", "told"),
    [
        (("k",), (), "", "a valid ?key= is needed to publish"),
        (("k",), (), "key=", "a valid ?key= is needed to publish"),
        (("k",), (), "KEY=k", "a valid ?key= is needed to publish"),
        (("k",), (), GENUINE, "a valid ?key= is needed to publish"),
        (("k",), (), "key=wrong", "wrong publish key"),
        (("k",), (), "key=k&key=wrong", "wrong publish key"),
        (("k",), (), "key=%ff%00", "wrong publish key"),
        (("k",), (), "key=\ud800", "wrong publish key"),
        ((), ("secret",), "", UNSIGNED),
        ((), ("secret",), "key=k", UNSIGNED),
        ((), ("secret",), FORGED, WRONG),
        ((), ("secret",), EXPIRED, LATE),
        (("k",), ("secret",), "", "a valid ?key= or a signed URL is needed to publish"),
        (("k",), ("secret",), "key=wrong", "wrong publish key"),
        (("k",), ("secret",), FORGED, WRONG),
        (("k",), ("secret",), f"key=wrong&{EXPIRED}", LATE),
        (("k",), ("secret",), "txTime=soon", "the URL is not signed: txSecret missing"),
    ],
)
def test_what_does_not_open_is_named_and_never_what_would(keys, secrets, query, told):
    assert refusal(replace(OPEN, keys=keys, secrets=secrets), query) == told


@pytest.mark.parametrize(("gate", "told"), [(publish_gate, "publish to live"), (play_gate, "play from live")])
def test_an_address_that_is_not_admitted_is_told_so_whatever_key_it_has(gate, told):
    guarded = replace(gate("live", AppConfig()), keys=("k",), deny=(ip_network("192.0.2.0/24"),))

    assert refusal(guarded, "key=k", "192.0.2.1") == f"192.0.2.1 may not {told}"
    assert enter(guarded, "key=k", "192.0.3.1") == "key:k"
