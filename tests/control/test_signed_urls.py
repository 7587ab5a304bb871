"""Signed URLs: genuine, expired, tampered, malformed."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtmpd.control.signed_urls import LATEST_EXPIRY, sign, verify

NOW = 1_764_000_000.5
LATER = 1_764_000_060
EARLIER = 1_764_000_000
GENUINE = sign("primary", "room", LATER)


def test_the_form_is_the_one_that_hosted_services_use():
    digest = hashlib.md5(b"secretroom6e07415c").hexdigest()

    assert sign("secret", "room", 0x6E07415C) == f"txSecret={digest}&txTime=6e07415c"


@pytest.mark.parametrize("secret", ["primary", "backup"])
@pytest.mark.parametrize("around", ["{}", "from=interactive&{}&groupid=9"])
def test_what_either_secret_signed_is_genuine(secret, around):
    query = around.format(sign(secret, "room", LATER))

    assert verify(query, "room", ("primary", "backup"), NOW) is None


def test_a_signature_is_in_force_up_to_the_second_of_its_expiry():
    assert verify(GENUINE, "room", ("primary",), LATER - 0.001) is None
    assert verify(GENUINE, "room", ("primary",), LATER) == "the signature has expired (2025-11-24T16:01:00Z)"


def test_an_expiry_in_capitals_counts_as_it_was_signed():
    digest = hashlib.md5(b"primaryroom6E07415C").hexdigest()

    assert verify(f"txSecret={digest}&txTime=6E07415C", "room", ("primary",), NOW) is None
    assert verify(f"txSecret={digest}&txTime=6e07415c", "room", ("primary",), NOW) == "the signature is wrong"


@pytest.mark.parametrize(
    ("query", "fault"),
    [
        ("", "the URL is not signed: txSecret and txTime missing"),
        ("txTime=6e07415c", "the URL is not signed: txSecret missing"),
        ("txSecret=00", "the URL is not signed: txTime missing"),
        ("txSecret=&txTime=", "the URL is not signed: txSecret and txTime missing"),
        ("txsecret=00&txtime=6e07415c", "the URL is not signed: txSecret and txTime missing"),
        ("txSecret=\udc80&txTime=6e07415c", "the signature is wrong"),
        *(
            (f"txSecret=00&txTime={time}", "txTime is not a unix time in eight hex digits")
            for time in (
                "soon",
                "0x6e0741",
                "-e07415c",
                "+6e07415",
                "6e_07415",
                "6e07415c%0a",
                "6e0741",
                "06e07415c",
                "%D9%A1" * 8,
            )
        ),
        ("txSecret=00&txTime=6e07415c", "the signature is wrong"),
        ("txSecret=%C3%A9&txTime=6e07415c", "the signature is wrong"),
        (GENUINE.upper().replace("TXSECRET", "txSecret").replace("TXTIME", "txTime"), "the signature is wrong"),
        (sign("other", "room", LATER), "the signature is wrong"),
        (sign("primary", "Room", LATER), "the signature is wrong"),
        (sign("other", "room", EARLIER), "the signature is wrong"),
        (sign("primary", "room", EARLIER), "the signature has expired (2025-11-24T16:00:00Z)"),
        (sign("primary", "room", 0), "the signature has expired (1970-01-01T00:00:00Z)"),
    ],
)
def test_what_is_wrong_is_named_and_no_expiry_is_told_to_who_cannot_sign(query, fault):
    assert verify(query, "room", ("primary", "backup"), NOW) == fault


def test_of_a_doubled_parameter_the_last_counts():
    expired = sign("primary", "room", EARLIER)

    assert verify(f"{expired}&{GENUINE}", "room", ("primary",), NOW) is None
    assert (
        verify(f"{GENUINE}&{expired}", "room", ("primary",), NOW) == "the signature has expired (2025-11-24T16:00:00Z)"
    )


def test_nobody_can_sign_without_secrets():
    assert verify(sign("", "room", LATER), "room", (), NOW) == "the signature is wrong"


def test_the_end_of_a_name_cannot_be_moved_into_the_expiry():
    digest = sign("primary", "room12", 0x6E07415C).partition("&")[0]

    assert verify(f"{digest}&txTime=26e07415c", "room1", ("primary",), NOW) is not None
    assert verify(f"{digest}&txTime=126e07415c", "room", ("primary",), NOW) is not None


@pytest.mark.parametrize("expires_at", [-1, LATEST_EXPIRY + 1])
def test_a_time_that_does_not_fit_is_not_signed(expires_at):
    with pytest.raises(ValueError, match=f"{expires_at}: a unix time"):
        sign("primary", "room", expires_at)


@given(st.text(max_size=20), st.integers(0, LATEST_EXPIRY), st.text(max_size=20), st.integers(0, 200))
def test_any_change_to_the_query_or_the_stream_is_found(stream, expires_at, other, place):
    query = sign("primary", stream, expires_at)
    assert verify(query, stream, ("primary",), -1) is None

    place %= len(query)
    changed = query[:place] + ("f" if query[place] != "f" else "e") + query[place + 1 :]
    assert verify(changed, stream, ("primary",), -1) is not None
    if other != stream:
        assert verify(query, other, ("primary",), -1) is not None


@given(st.text())
def test_any_query_is_answered(query):
    assert isinstance(verify(query, "room", ("primary",), NOW), str)
