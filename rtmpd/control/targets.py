"""Relay targets of pushes, as they are shown: without the keys that their URLs hold, and with what became of them."""

from __future__ import annotations

import re
from typing import NamedTuple, Protocol

from rtmpd.control import models
from rtmpd.control.model_types import RelayState
from rtmpd.session.urls import HIDDEN
from rtmpd.store.pushes import TargetRow

_URL = re.compile(r"(?P<scheme>[^:/]+://)(?P<authority>[^/]*)(?P<path>[^?#]*)(?P<rest>.*)", re.DOTALL)


class TargetState(NamedTuple):
    """What became of a target."""

    state: RelayState
    reason: str
    """Why, where that is not obvious; empty otherwise."""


class TargetStates(Protocol):
    """Knows what became of targets."""

    def state_of(self, target: TargetRow) -> TargetState:
        """Say what became of one."""


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
    # A question mark may stand in a password; behind it, it ends the host.
    user, at, place = parts["authority"].rpartition("@")
    host = place.partition("?")[0].partition("#")[0]
    folder = parts["path"].rstrip("/").rpartition("/")[0]
    return f"{parts['scheme']}{HIDDEN if user or at else ''}{at}{host}{folder}/{HIDDEN}"


def shown(target: TargetRow, states: TargetStates) -> models.Target:
    """
    Show a target.

    Args:
        target: as it is stored.
        states: know what became of it.
    """
    state, reason = states.state_of(target)
    return models.Target(target_id=target.target_id, url=masked(target.url), state=state, reason=reason)
