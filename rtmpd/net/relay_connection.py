"""One try of a push relay: a connection to a target, which a log is written to once the target grants it."""

from __future__ import annotations

from collections.abc import Callable

from rtmpd.live.log import Log
from rtmpd.net.client_connection import ClientConnection, Parting
from rtmpd.net.dial import Dialled
from rtmpd.net.relay_sink import RelaySink
from rtmpd.net.services import Services
from rtmpd.session.client import ClientSession
from rtmpd.session.events import Event, Publishing


class RelayConnection(ClientConnection[RelaySink]):
    """A connection to one target."""

    __slots__ = ("_log", "_on_live")

    def __init__(
        self, services: Services, dialled: Dialled, session: ClientSession, log: Log, on_live: Callable[[], None]
    ) -> None:
        """
        Begin to talk.

        Args:
            services: of the server.
            dialled: becomes ours.
            session: that publishes, and has said nothing yet.
            log: what is published, once the target grants it.
            on_live: is called then.
        """
        self._log = log
        self._on_live = on_live
        super().__init__(services, dialled, session, RelaySink, "target")

    @property
    def bytes_out(self) -> int:
        """Media taken by the target."""
        return self._sink.sent_bytes

    @property
    def skipped_ms(self) -> int:
        """Media time that the target was too slow for."""
        return self._sink.skipped_ms

    @property
    def lag_ms(self) -> int:
        """Media time between the newest frame of the stream and what the target is being sent."""
        return self._sink.lag_ms

    def finish(self, reason: str) -> None:
        """
        End the publish in the protocol's words, once everything is sent; harmless when it has ended.

        Args:
            reason: for the parting.
        """
        if not self._closed:
            self._finish(Parting(reason))

    def on_drained(self) -> None:
        """Say goodbye behind the last media; when that is sent, too, close."""
        if self._sink.log is not None:
            self._sink.detach()
            self._say_goodbye()
        else:
            super().on_drained()

    def _finish(self, parting: Parting) -> None:
        if self._sink.log is None:
            super()._finish(parting)
            return
        self._parting = parting
        self._sink.ending = True
        self._services.fanout.serve(self._sink)

    def _take_more(self, event: Event) -> None:
        if isinstance(event, Publishing):
            self._begin(event.message_stream_id)

    def _begin(self, message_stream_id: int) -> None:
        self._flush()
        if self._closed or self._parting is not None:
            return
        self._sink.follow(self._log, message_stream_id)
        self._on_live()
        self._services.fanout.serve(self._sink)
