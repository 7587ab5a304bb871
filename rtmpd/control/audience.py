"""Who plays which stream, counted over all connections at once: it costs the same for one stream as for all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from rtmpd.net.services import Client


@dataclass(slots=True)
class Audience:
    """The players of one stream."""

    kinds: Counter[str] = field(default_factory=Counter)
    """How many, by `Client.kind`."""
    lag_ms: int = 0
    """Of the one that is farthest behind."""
    skipped_ms: int = 0
    """Media time that they were too slow for, all together."""
    bytes_out: int = 0
    """Taken by their sockets."""

    def add(self, player: Client) -> None:
        """Count one more of them."""
        self.kinds[player.kind] += 1
        self.lag_ms = max(self.lag_ms, player.lag_ms)
        self.skipped_ms += player.skipped_ms
        self.bytes_out += player.bytes_out


def audiences(clients: Iterable[Client]) -> Mapping[str, Audience]:
    """
    Count players.

    Args:
        clients: of any role.

    Returns:
        The audience of each stream that somebody plays or waits for, by its path.
    """
    found: dict[str, Audience] = {}
    for client in clients:
        if client.role == "play":
            found.setdefault(client.path, Audience()).add(client)
    return found
