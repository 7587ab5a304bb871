"""Relays of both directions, as callers see them: one view for streams that leave and for those that enter."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from rtmpd.control import models
from rtmpd.control.model_types import RelayState

RelaySource: TypeAlias = "Callable[[], Iterable[RelayView]]"
"""Knows the relays of one kind."""


@dataclass(frozen=True, slots=True)
class RelayView:
    """A relay at one moment."""

    kind: Literal["push", "pull"]
    stream: str
    """The path of the stream on this server, "app/name"."""
    url_shown: str
    """The other end, without what may be a secret; empty for a pull that is idle."""
    state: RelayState | Literal["idle"]
    reason: str
    """Why the last try ended, one line for people; empty where none did."""
    since: float
    """Unix seconds: when it came to this state."""
    attempts: int
    """How often it has begun to connect."""
    bytes: int
    """Media carried, over all attempts."""
    target_id: str | None = None
    """Of the push's target that it serves; None where the configuration names it, and for pulls."""
    lag_ms: int = 0
    """Media time that the receiving end is behind."""
    skipped_ms: int = 0
    """Media time that the receiving end was too slow for, over all attempts."""


class RelayDesk:
    """Takes requests about relays."""

    def __init__(self, *sources: RelaySource) -> None:
        """
        Prepare.

        Args:
            sources: know the relays.
        """
        self._sources = sources

    def list(self) -> models.RelayList:
        """Every relay of a stream that lives, by their streams."""
        views = [view for source in self._sources for view in source()]
        views.sort(key=lambda view: (view.stream, view.kind, view.url_shown, view.target_id or ""))
        return models.RelayList(relays=[_show(view) for view in views])


def _show(view: RelayView) -> models.Relay:
    return models.Relay(
        kind=view.kind,
        stream=view.stream,
        url=view.url_shown,
        state=view.state,
        reason=view.reason,
        since=view.since,
        attempts=view.attempts,
        bytes=view.bytes,
        target_id=view.target_id,
        lag_ms=view.lag_ms,
        skipped_ms=view.skipped_ms,
    )
