"""Relay targets of pushes, as they are shown: without the keys that their URLs hold, and with what became of them."""

from __future__ import annotations

import re
from typing import NamedTuple, Protocol

from rtmpd.control import models
from rtmpd.store.pushes import TargetRow

HIDDEN = "***"
_URL = re.compile(r"(?P<scheme>[^:/]+://)(?P<authority>[^/?#]*)(?P<path>[^?#]*)(?P<rest>.*)", re.DOTALL)


class RelayState(NamedTuple):
    """What a relay does."""

    state: str
    reason: str
    """Why, where that is not obvious; empty otherwise."""


class Relays(Protocol):
    """Carries streams to targets."""

    def state_of(self, target: TargetRow) -> RelayState:
        """Say what became of a target."""


class NoRelays:
    """Carries nothing: targets are kept, and wait for a server that can."""

    def state_of(self, target: TargetRow) -> RelayState:  # noqa: ARG002 - the same for all
        """Say why a target waits."""
        return RelayState("waiting", "this server does not relay yet")


def masked(url: str) -> str:
    """
    Make a target's URL fit to be shown: services have their keys in its last segment, its query or its password.

    Args:
        url: of a target.

    Returns:
        The URL with these hidden.
    """
    parts = _URL.fullmatch(url)
    if parts is None:
        return HIDDEN
    user, at, host = parts["authority"].rpartition("@")
    folder = parts["path"].rstrip("/").rpartition("/")[0]
    return f"{parts['scheme']}{HIDDEN if user or at else ''}{at}{host}{folder}/{HIDDEN}"


def shown(target: TargetRow, relays: Relays) -> models.Target:
    """
    Show a target.

    Args:
        target: as it is stored.
        relays: know what became of it.
    """
    state = relays.state_of(target)
    return models.Target(target_id=target.target_id, url=masked(target.url), state=state.state, reason=state.reason)
