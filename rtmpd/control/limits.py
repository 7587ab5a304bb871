"""How much an application may hold at once: streams and players."""

from __future__ import annotations

from typing import Protocol

from rtmpd.control.gates import Gate
from rtmpd.live.registry import Registry
from rtmpd.live.stream import StreamState


class Counts(Protocol):
    """What the server holds now."""

    def streams(self, app: str) -> int:
        """Streams of an application that are published, or whose publisher may come back."""

    def players(self, app: str) -> int:
        """Who plays a stream of an application, or waits for one."""

    def is_live(self, app: str, stream: str) -> bool:
        """Whether a stream is one of those that are counted."""


class NoCounts:
    """A server that holds nothing."""

    def streams(self, app: str) -> int:  # noqa: ARG002 - as Counts has it
        """None."""
        return 0

    def players(self, app: str) -> int:  # noqa: ARG002
        """None."""
        return 0

    def is_live(self, app: str, stream: str) -> bool:  # noqa: ARG002
        """No."""
        return False


class RegistryCounts:
    """What a registry holds."""

    def __init__(self, registry: Registry) -> None:
        """
        Count on demand.

        Args:
            registry: of the server.
        """
        self._registry = registry

    def streams(self, app: str) -> int:
        """Streams of an application that are published, or whose publisher may come back."""
        return sum(each.app == app and each.state is not StreamState.IDLE for each in self._registry)

    def players(self, app: str) -> int:
        """Who plays a stream of an application, or waits for one."""
        return sum(len(each.members) for each in self._registry if each.app == app)

    def is_live(self, app: str, stream: str) -> bool:
        """Whether a stream is one of those that are counted."""
        found = self._registry.find(app, stream)
        return found is not None and found.state is not StreamState.IDLE


def check_streams(gate: Gate, stream: str, most: int, counts: Counts) -> None:
    """
    See that there is room for a publisher.

    Args:
        gate: that it wants to pass.
        stream: that it would publish; a takeover needs no room.
        most: streams of the application at once; 0: no limit.
        counts: what there is.

    Raises:
        Refused: there is no room.
    """
    if most and not counts.is_live(gate.app, stream) and counts.streams(gate.app) >= most:
        raise gate.refused(_full(gate.app, most, "stream"))


def check_players(gate: Gate, most: int, counts: Counts) -> None:
    """
    See that there is room for a player.

    Args:
        gate: that it wants to pass.
        most: players of the application at once; 0: no limit.
        counts: what there is.

    Raises:
        Refused: there is no room.
    """
    if most and counts.players(gate.app) >= most:
        raise gate.refused(_full(gate.app, most, "player"))


def _full(app: str, most: int, what: str) -> str:
    return f"{app} has its {most} {what}{'s' * (most > 1)} already (apps.{app}.max_{what}s)"
