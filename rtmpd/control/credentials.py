"""What a client has to show at a gate: an address, and a key or a signature."""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence

from rtmpd.control.addresses import is_admitted
from rtmpd.control.gates import Gate
from rtmpd.control.parameters import parameters
from rtmpd.control.signed_urls import EXPIRY_PARAMETER, SIGNATURE_PARAMETER, verify

KEY_PARAMETER = "key"
SIGNED = "signed"
"""The identity of who came with a signed URL: it names the stream, so all who have one may follow each other."""

_TOWARDS = {"publish": "to", "play": "from"}


def identify(gate: Gate, stream: str, query: str, address: str, now: float) -> str:
    """
    Let a client through a gate, as far as the configuration alone can say.

    Args:
        gate: of the application.
        stream: that the client asked for.
        query: of its URL.
        address: its IP address.
        now: unix time in seconds.

    Returns:
        Who it is, for takeovers: its key, SIGNED, or its address where the gate asks for neither.

    Raises:
        Refused: it may not pass.
    """
    if not is_admitted(address, gate.allow, gate.deny):
        raise gate.refused(f"{address} may not {gate.verb} {_TOWARDS[gate.verb]} {gate.app}")
    if not gate.keys and not gate.secrets:
        return address
    given = parameters(query)
    key = _matching(given.get(KEY_PARAMETER, ""), gate.keys)
    if key is not None:
        return f"key:{key}"
    if not gate.secrets:
        raise gate.refused(_key_fault(gate, given))
    fault = verify(query, stream, gate.secrets, now)
    if fault is None:
        return SIGNED
    signed = SIGNATURE_PARAMETER in given or EXPIRY_PARAMETER in given
    raise gate.refused(fault if signed or not gate.keys else _key_fault(gate, given))


def _matching(given: str, accepted: Sequence[str]) -> str | None:
    """Find which key was given; all are compared, each in constant time."""
    text = given.encode("utf-8", "replace")
    matching = [key for key in accepted if hmac.compare_digest(key.encode(), text)]
    return matching[0] if matching else None


def _key_fault(gate: Gate, given: Mapping[str, str]) -> str:
    if given.get(KEY_PARAMETER):
        return f"wrong {gate.verb} key"
    return f"a valid ?{KEY_PARAMETER}={' or a signed URL' if gate.secrets else ''} is needed to {gate.verb}"
