"""
Signed URLs: who was given one may publish or play one stream until it expires.

The form is that of hosted services, so that their tools can make them: `?txSecret=S&txTime=T`, where T is the expiry in
unix seconds, in hex, and S the lower-case hex MD5 of secret + stream + T.

T has exactly eight digits here, which last until the year 2106. With any number of digits whoever may use `room12` until
6e07415c could use `room1` until 26e07415c: both are signed alike.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Sequence
from datetime import UTC, datetime

from rtmpd.control.parameters import parameters

SIGNATURE_PARAMETER = "txSecret"
EXPIRY_PARAMETER = "txTime"
LATEST_EXPIRY = 0xFFFFFFFF


def sign(secret: str, stream: str, expires_at: int) -> str:
    """
    Make the query of a signed URL.

    Args:
        secret: one of those that the application is configured with.
        stream: the stream's name, without its application.
        expires_at: unix time in seconds, up to LATEST_EXPIRY.

    Returns:
        The query, without a question mark.

    Raises:
        ValueError: the time cannot be written in eight digits.
    """
    if not 0 <= expires_at <= LATEST_EXPIRY:
        raise ValueError(f"{expires_at}: a unix time from 0 to {LATEST_EXPIRY} is expected")
    expiry = f"{expires_at:08x}"
    return f"{SIGNATURE_PARAMETER}={_signature(secret, stream, expiry)}&{EXPIRY_PARAMETER}={expiry}"


def verify(query: str, stream: str, secrets: Sequence[str], now: float) -> str | None:
    """
    Check a signed URL.

    Args:
        query: of the URL; of a parameter that comes twice the last counts.
        stream: that is asked for.
        secrets: each of them may have signed it.
        now: unix time in seconds.

    Returns:
        None if it is genuine and in force, else what is wrong with it, for its user. That it has expired is only said of
        a genuine one.
    """
    given = parameters(query)
    signature, expiry = given.get(SIGNATURE_PARAMETER, ""), given.get(EXPIRY_PARAMETER, "")
    missing = [name for name, value in ((SIGNATURE_PARAMETER, signature), (EXPIRY_PARAMETER, expiry)) if not value]
    if missing:
        return f"the URL is not signed: {' and '.join(missing)} missing"
    if not re.fullmatch("[0-9A-Fa-f]{8}", expiry):
        return f"{EXPIRY_PARAMETER} is not a unix time in eight hex digits"
    # All are compared, each in constant time: how long it takes tells nothing of which one came close.
    sent = signature.encode("utf-8", "replace")
    matching = [hmac.compare_digest(_signature(each, stream, expiry).encode(), sent) for each in secrets]
    if not any(matching):
        return "the signature is wrong"
    expires_at = int(expiry, 16)
    if now >= expires_at:
        return f"the signature has expired ({datetime.fromtimestamp(expires_at, UTC):%Y-%m-%dT%H:%M:%SZ})"
    return None


def _signature(secret: str, stream: str, expiry: str) -> str:
    text = f"{secret}{stream}{expiry}".encode("utf-8", "replace")
    return hashlib.md5(text, usedforsecurity=False).hexdigest()  # the form demands it
