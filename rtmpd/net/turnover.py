"""
The connections that there are, and what those did that have gone: totals that never go back.

Whoever adds a connection and takes it out has it counted; nothing is counted while it is served.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from rtmpd.net.services import Client

MOST_PATHS = 4096
"""Streams of which is known what their players that have gone were sent."""


@dataclass(slots=True)
class Turnover:
    """Of all clients so far."""

    accepted: Counter[str] = field(default_factory=Counter)
    """By kind."""
    closed: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By kind and role."""
    bytes_in: Counter[str] = field(default_factory=Counter)
    """Received from those that have gone, by kind; the same for the next two."""
    bytes_out: Counter[str] = field(default_factory=Counter)
    skipped_ms: Counter[str] = field(default_factory=Counter)
    sent_bytes: dict[str, int] = field(default_factory=dict)
    """To players that have gone, by the path of their stream; those that nobody left for longest are forgotten."""

    def copy(self) -> Turnover:
        """As it is now."""
        return Turnover(*(getattr(self, each.name).copy() for each in fields(self)))

    def left(self, client: Client) -> None:
        """Add what a client did, which is about to be closed."""
        self.closed[client.kind, client.role] += 1
        self.bytes_in[client.kind] += client.bytes_in
        self.bytes_out[client.kind] += client.bytes_out
        self.skipped_ms[client.kind] += client.skipped_ms
        if client.role == "play" and client.bytes_out:
            # Taken out and put in again: it is the newest then.
            self.sent_bytes[client.path] = self.sent_bytes.pop(client.path, 0) + client.bytes_out
            if len(self.sent_bytes) > MOST_PATHS:
                del self.sent_bytes[next(iter(self.sent_bytes))]


class Connections(set["Client"]):
    """Those that there are."""

    def __init__(self) -> None:
        """Start with none."""
        super().__init__()
        self.turnover = Turnover()

    def add(self, client: Client) -> None:
        """Count one that has come; its kind is known."""
        if client not in self:
            self.turnover.accepted[client.kind] += 1
            super().add(client)

    def discard(self, client: object) -> None:
        """Take one out, and keep what it did; before it is closed. Harmless when it is not there."""
        if client in self:
            super().discard(client)
            self.turnover.left(cast("Client", client))
