"""What is told of relays: a log line and a callback for each change that is one, and none for each try in between."""

from __future__ import annotations

import itertools
from collections.abc import Callable

from rtmpd.control.publications import Publications
from rtmpd.control.push_events import RelayChange, RelayEvent, relay_status
from rtmpd.live.stream import Stream
from rtmpd.logs import Logger
from rtmpd.net.push_relay import RelayState, RelayStatus
from rtmpd.store.publications import PublicationRow

_EVENTS: dict[RelayState, RelayEvent] = {
    RelayState.LIVE: "relay_live",
    RelayState.BACKING_OFF: "relay_lost",
    RelayState.ENDED: "relay_stopped",
}
_LINES: dict[RelayEvent, tuple[str, str]] = {
    "relay_live": ("info", "relay connected"),
    "relay_lost": ("warning", "relay lost"),
    "relay_stopped": ("info", "relay stopped"),
}
"""Level and event of the log line. How often a target can cause them is bounded by the pauses between tries."""


def news_in(state: RelayState, told: RelayEvent | None) -> RelayEvent | None:
    """
    Find what is to be told of a state.

    Args:
        state: of a relay.
        told: what was told of it last.

    Returns:
        The event; None where there is nothing new. The first try that fails is news, those that follow are not.
    """
    event = _EVENTS.get(state)
    return None if event == told else event


class RelayNews:
    """Tells what becomes of relays."""

    def __init__(self, publications: Publications, log: Logger, clock: Callable[[], float]) -> None:
        """
        Prepare.

        Args:
            publications: take callbacks, in the order of everything else that is told of a stream.
            log: for the lines.
            clock: unix seconds.
        """
        self._publications = publications
        self._log = log
        self._clock = clock
        self._numbers = itertools.count(1)

    def row_of(self, stream: Stream) -> PublicationRow | None:
        """The publication that callbacks about a stream name; None where nobody publishes it now."""
        publication = stream.publication
        running = None if publication is None else self._publications.find(publication)
        return None if running is None else running.row

    def tell(self, stream: str, change: RelayChange, status: RelayStatus, row: PublicationRow | None) -> None:
        """
        Tell of a change.

        Args:
            stream: the path.
            change: what happened.
            status: of the relay.
            row: of the stream's newest publication; None: receivers do not hear of it.
        """
        level, event = _LINES[change.event]
        figures = {"connects": status.connects, "bytes_out": status.bytes_out, "skipped_ms": status.skipped_ms}
        getattr(self._log, level)(
            event,
            stream=stream,
            target=change.url_shown,
            target_id=change.target_id,
            reason=change.reason,
            **(figures if change.event == "relay_stopped" else {}),
        )
        if row is not None:
            callback = relay_status(row, self._publications.node, next(self._numbers), change, self._clock())
            self._publications.tell([callback])

    def give_up(self, stream: str, change: RelayChange) -> None:
        """
        Tell of a target that nothing can be relayed to.

        Args:
            stream: the path.
            change: with the reason.
        """
        self._log.warning(
            "relay given up", stream=stream, target=change.url_shown, target_id=change.target_id, reason=change.reason
        )
