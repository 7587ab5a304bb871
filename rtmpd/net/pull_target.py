"""What a pull brings: a stream of this server, and on which terms."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PullTarget:
    """The stream of this server that a pull brings."""

    app: str
    name: str
    grace_s: float
    """How long players are kept when a source drops, for the next one to take its place."""
    is_public: bool
    """Whether it can be watched at once; otherwise it is private until a push is started."""

    @property
    def path(self) -> str:
        """The name that URLs and logs use."""
        return f"{self.app}/{self.name}"
